"""Two camera networks and no route out, in network namespaces of this process and a child; run by a test.

Started by `unshare --net`, so everything made here ends with the process. This namespace is the gateway's:
it has 10.77.1.1/24, 10.77.2.1/24 and no default route. The child's holds cameras at 10.77.1.21, 10.77.2.22
and, on the second network, 192.168.77.9, a factory address. Prints what `discover` yields as JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import select
import signal
import socket
import subprocess
import sys

from simpang_onvif.discovery import discover

GROUP, PORT = "239.255.255.250", 3702
CAMERAS = {"10.77.1.21": "c1", "10.77.2.22": "c2", "192.168.77.9": "c2"}


def ip(*words: str, inside: int | None = None) -> None:
    enter = [] if inside is None else ["nsenter", "--net", "--target", str(inside)]
    subprocess.run([*enter, "ip", *words], check=True, capture_output=True)


def camera_network() -> None:
    """The child: answers probes from each camera address, on the link where that address is."""
    sockets = {}
    for address in CAMERAS:
        each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.setsockopt(socket.IPPROTO_IP, 49, 0)  # IP_MULTICAST_ALL
        each.bind((GROUP, PORT))
        each.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(address)
        )
        sockets[each] = address
    print("listening", flush=True)
    while True:
        for each in select.select(list(sockets), [], [])[0]:
            _, asker = each.recvfrom(65_536)
            reply = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            reply.bind((sockets[each], 0))
            reply.sendto(match(sockets[each]), asker)
            reply.close()


def match(address: str) -> bytes:
    return (
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><ProbeMatches><ProbeMatch>'
        f"<EndpointReference><Address>urn:uuid:{address}</Address></EndpointReference>"
        "<Types>dn:NetworkVideoTransmitter</Types><Scopes>onvif://www.onvif.org/name/Cam</Scopes>"
        f"<XAddrs>http://{address}/onvif/device_service</XAddrs></ProbeMatch></ProbeMatches></e:Body></e:Envelope>"
    ).encode()


def main() -> None:
    child = subprocess.Popen(
        ["unshare", "--net", sys.executable, __file__, "wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "made\n"
        ip("link", "set", "lo", "up")
        for number, peer in ((1, "c1"), (2, "c2")):
            ip("link", "add", f"g{number}", "type", "veth", "peer", "name", peer, "netns", str(child.pid))
            ip("address", "add", f"10.77.{number}.1/24", "dev", f"g{number}")
            ip("link", "set", f"g{number}", "up")
            # A strict reverse path filter would drop the factory address's answer before we see it.
            for name in ("all", f"g{number}"):
                with open(f"/proc/sys/net/ipv4/conf/{name}/rp_filter", "w") as switch:
                    switch.write("0")
        for address, link in CAMERAS.items():
            ip("address", "add", f"{address}/24", "dev", link, inside=child.pid)
        for link in ("c1", "c2"):
            ip("link", "set", link, "up", inside=child.pid)
        # So that the factory-addressed camera can answer at all, as real ones do by their ARP cache.
        ip("route", "add", "default", "via", "10.77.2.1", inside=child.pid)
        child.stdin.write("go\n")
        child.stdin.flush()
        assert child.stdout.readline() == "listening\n"
        print(json.dumps(asyncio.run(look())))
    finally:
        child.kill()
        child.wait()


async def look() -> list[dict[str, object]]:
    return [dataclasses.asdict(device) async for device in discover(seconds=2.0)]


if __name__ == "__main__":
    if sys.argv[1:] == ["wait"]:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends with the test whatever happens
        if os.getppid() == 1:
            sys.exit(1)
        print("made", flush=True)
        sys.stdin.readline()
        camera_network()
    else:
        main()
