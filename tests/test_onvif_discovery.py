"""Finding devices: messages as real ones write them, on loopback, over two networks without a route out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer_ipycam import ipycam
from simpang_onvif import xml
from simpang_onvif.device import Device
from simpang_onvif.discovery import MAX_PER_ADDRESS, Discovery, discover, service_url
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.interfaces import local_interfaces
from simpang_onvif.probe_message import (
    MAX_DATAGRAM_BYTES,
    PROBE_TYPES,
    Announcement,
    Kind,
    probe,
    read,
)
from simpang_onvif.ws_discovery import GROUP, PORT, targets

NETNS = Path(__file__).with_name("netns_discovery.py")


def announcement(kind: str, epr: str, *, scopes: str = "", xaddrs: str = "", types: str = "") -> bytes:
    return (
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"'
        f' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"><e:Body><d:{kind}>'
        f"<a:EndpointReference><a:Address>{epr}</a:Address></a:EndpointReference>"
        f"<d:Types>{types}</d:Types><d:Scopes>{scopes}</d:Scopes><d:XAddrs>{xaddrs}</d:XAddrs>"
        f"</d:{kind}></e:Body></e:Envelope>"
    ).encode()


def device(*xaddrs: str, address: str = "10.0.4.21") -> Device:
    return Device("urn:uuid:1", address, xaddrs, "", "", "", "eth0")


def say(data: bytes, sender: str = "127.0.0.1") -> None:
    """One multicast datagram on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.bind((sender, 0))
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        mouth.sendto(data, (GROUP, PORT))


async def until(holds: Callable[[], bool], say_again: Callable[[], None] | None = None) -> None:
    """Polls with a deadline; a datagram may be lost or be sent before anybody listens."""
    async with asyncio.timeout(8):
        while not holds():
            if say_again is not None:
                say_again()
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def looking(*, every_s: float, seconds: float) -> AsyncIterator[Discovery]:
    discovery = Discovery(interfaces=["lo"], every_s=every_s, seconds=seconds)
    task = asyncio.create_task(discovery.keep_running(), name="discovery")
    try:
        yield discovery
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_ipycam_is_found_on_loopback_once() -> None:
    async with ipycam(name="North Gate") as peer:
        found = [device async for device in discover(interfaces=["lo"], seconds=1.5)]

    [ours] = [device for device in found if device.epr == peer.epr]
    assert (ours.name, ours.interface, ours.problem) == ("North Gate", "lo", None)
    assert service_url(ours) == f"http://{peer.address}/onvif/device_service"


async def test_ipycam_is_found_by_asking_its_address() -> None:
    async with ipycam(host="127.0.0.1") as peer:
        found = [
            device async for device in discover(interfaces=["lo"], targets=["127.0.0.1/32"], seconds=1.5)
        ]

    assert peer.epr in [device.epr for device in found]


async def test_loopback_is_not_looked_at_unless_named() -> None:
    assert "lo" not in {interface.name for interface in local_interfaces()}
    assert {interface.name for interface in local_interfaces(["lo"])} == {"lo"}
    with pytest.raises(OnvifError) as caught:
        targets(["127.0.0.1"], loopback=False)
    assert caught.value.reason is Reason.REFUSED_BY_POLICY


async def test_device_comes_as_soon_as_it_answers() -> None:
    async with (
        ipycam() as peer,
        asyncio.timeout(4),
        aclosing(discover(interfaces=["lo"], seconds=60)) as devices,
    ):
        async for device in devices:
            if device.epr == peer.epr:
                break


@pytest.mark.parametrize("named", [["nowhere0"], ["nowhere0", "nowhere1"]])
async def test_interface_that_is_not_there_is_named(named: list[str]) -> None:
    with pytest.raises(OnvifError, match="nowhere0"):
        _ = [device async for device in discover(interfaces=named, seconds=0.1)]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (["camera.example"], Reason.MALFORMED),
        (["10.0.0.0/33"], Reason.MALFORMED),
        (["fe80::1"], Reason.MALFORMED),
        (["10.0.0.0/8"], Reason.LIMIT),
        (["10.0.0.0/23", "10.0.2.0/22"], Reason.LIMIT),
        (["239.255.255.250"], Reason.REFUSED_BY_POLICY),
    ],
)
def test_target_that_cannot_be_asked_is_named(named: list[str], reason: Reason) -> None:
    with pytest.raises(OnvifError) as caught:
        targets(named, loopback=False)

    assert caught.value.reason is reason


def test_targets_are_hosts() -> None:
    hosts = targets(["10.0.4.8/30", "10.0.9.1"], loopback=False)

    assert hosts == ["10.0.4.9", "10.0.4.10", "10.0.9.1"]


async def test_hello_is_heard_and_bye_believed_from_the_device_itself() -> None:
    """In a round so long that no probe could explain it."""
    hello = announcement("Hello", "urn:uuid:hello-1", scopes="onvif://www.onvif.org/name/Hello%20there")
    bye = announcement("Bye", "urn:uuid:hello-1")

    def known(discovery: Discovery) -> bool:
        return "urn:uuid:hello-1" in [device.epr for device in discovery.devices()]

    async with looking(every_s=600, seconds=0.05) as discovery:
        await until(lambda: known(discovery), lambda: say(hello, "127.0.1.5"))
        assert discovery.changed.is_set()
        [heard] = [device for device in discovery.devices() if device.epr == "urn:uuid:hello-1"]
        assert (heard.name, heard.address) == ("Hello there", "127.0.1.5")

        say(bye, "127.0.1.6")  # somebody else's word
        other = announcement("Hello", "urn:uuid:hello-2", types="dn:NetworkVideoTransmitter")
        await until(
            lambda: "urn:uuid:hello-2" in [device.epr for device in discovery.devices()],
            lambda: say(other),
        )
        assert known(discovery)

        discovery.changed.clear()
        await until(lambda: not known(discovery), lambda: say(bye, "127.0.1.5"))
        assert discovery.changed.is_set()


async def test_device_that_falls_silent_is_forgotten() -> None:
    async with looking(every_s=0.4, seconds=0.3) as discovery:
        async with ipycam() as peer:
            await until(lambda: peer.epr in [device.epr for device in discovery.devices()])
            peer.process.kill()  # says no Bye
            await until(lambda: peer.epr not in [device.epr for device in discovery.devices()])

        assert discovery.where_looked() == ["lo 127.0.0.1/8"]


async def test_round_can_be_asked_for() -> None:
    async with looking(every_s=600, seconds=0.3) as discovery:
        await until(lambda: discovery.where_looked() != [])
        async with ipycam() as peer:
            # Its Hello may have been heard; a Bye takes that away, so that only a probe can find it.
            say(announcement("Bye", peer.epr))
            await until(lambda: peer.epr not in [device.epr for device in discovery.devices()])

            await until(
                lambda: peer.epr in [device.epr for device in discovery.devices()], discovery.probe_now
            )


async def test_missing_interface_is_shown_where_it_was_looked_for() -> None:
    discovery = Discovery(interfaces=["lo", "nowhere0"], targets=["127.0.1.9"], every_s=0, seconds=0)

    await discovery.run_once()

    assert discovery.where_looked() == ["lo 127.0.0.1/8", "nowhere0: not there", "127.0.1.9"]


async def test_flood_of_made_up_devices_is_bounded() -> None:
    async with looking(every_s=600, seconds=0.05) as discovery:
        await until(lambda: discovery.where_looked() != [])
        for number in range(3_000):
            say(announcement("Hello", f"urn:uuid:flood-{number}", scopes="onvif://x"), "127.0.1.7")
            if number % 100 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(discovery.devices()) > 50)

        flood = [device for device in discovery.devices() if "flood" in device.epr]

    assert 50 < len(flood) <= 256


def test_cameras_on_two_networks_are_found_and_a_factory_address_is_named() -> None:
    """Each interface of the gateway hears its own cameras; no default route is needed."""
    alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this system lets no test make a network namespace")
    done = subprocess.run(
        [*alone, sys.executable, str(NETNS)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr

    found = {device["address"]: device for device in json.loads(done.stdout)}

    assert set(found) == {"10.77.1.21", "10.77.2.22", "192.168.77.9"}
    assert [found[address]["interface"] for address in sorted(found)] == ["g1", "g2", "g2"]
    assert [found[address]["problem"] for address in sorted(found)] == [None, None, "unreachable"]
    assert "10.77.2.0/24" in found["192.168.77.9"]["detail"]


def test_probe_is_one_of_several_forms_with_an_id_of_its_own() -> None:
    ids = set()
    for types in PROBE_TYPES:
        root = xml.parse(probe(types)).root
        wanted = xml.find(root, "Body", "Probe", "Types")
        assert (wanted is not None) == bool(types)
        if wanted is not None:
            assert wanted.text == types
            assert types.partition(":")[0] in wanted.nsmap
        ids.add(xml.text(root, "Header", "MessageID"))

    assert len(ids) == len(PROBE_TYPES) == 3


def test_answer_is_read_as_cameras_write_it() -> None:
    data = announcement(
        "ProbeMatch",
        "urn:uuid:a",
        types="dn:NetworkVideoTransmitter tds:Device",
        scopes="onvif://www.onvif.org/Profile/Streaming onvif://www.onvif.org/name/Hik%20VISION%00%E2%80%AE"
        " onvif://www.onvif.org/hardware/DS-2CD onvif://www.onvif.org/location/country/china",
        xaddrs="http://192.168.1.64/onvif/device_service http://[fe80::1]/onvif/device_service",
    )

    [heard] = read(data, "10.0.4.21", "eth0")

    assert heard.kind is Kind.MATCH
    assert heard.device == Device(
        epr="urn:uuid:a",
        address="10.0.4.21",
        xaddrs=("http://192.168.1.64/onvif/device_service", "http://[fe80::1]/onvif/device_service"),
        name="Hik VISION",
        hardware="DS-2CD",
        location="china",
        interface="eth0",
    )


@pytest.mark.parametrize(
    "data",
    [
        announcement("ProbeMatch", "urn:uuid:printer", types="wsdp:Device wprt:PrintDeviceType"),
        announcement("Probe", "x", types="dn:NetworkVideoTransmitter"),
        announcement("Bye", ""),
        probe(""),
        b"",
        b"\xff" * 1_000,
        b'<!DOCTYPE x [<!ENTITY a "b">]><x/>',
        announcement("ProbeMatch", "x", scopes="onvif://x " + "y" * MAX_DATAGRAM_BYTES),
    ],
)
def test_everything_else_on_the_port_is_passed_over(data: bytes) -> None:
    assert read(data, "10.0.4.21", "eth0") == []


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode(errors="replace")))
def test_any_datagram_is_passed_over_or_read(data: bytes) -> None:
    for heard in read(data, "10.0.4.21", "eth0"):
        assert heard.device.address == "10.0.4.21"


def test_what_a_device_names_is_bounded() -> None:
    data = announcement(
        "ProbeMatch",
        "urn:uuid:" + "e" * 1_000,
        scopes="onvif://www.onvif.org/name/" + "n" * 900 + " onvif://x" * 100,
        xaddrs="http://10.0.0.1/ " * 50 + "http://" + "h" * 600,
    )

    [heard] = read(data, "10.0.4.21", "eth0")

    assert len(heard.device.epr) == 128
    assert len(heard.device.name) == 64
    assert len(heard.device.xaddrs) == 8


@pytest.mark.parametrize(
    ("found", "url"),
    [
        (device(), "10.0.4.21"),
        (device("http://10.0.4.21:8000/onvif/device_service"), "http://10.0.4.21:8000/onvif/device_service"),
        # Axis names 169.254 beside the right address, others a lease of long ago (Lorex LNB45ABB).
        (device("http://169.254.3.4/x", "http://10.0.4.21:81/y"), "http://10.0.4.21:81/y"),
        (device("http://192.168.1.9:2020/onvif/device"), "http://10.0.4.21:2020/onvif/device"),
        (device("http://0.0.0.0/onvif/device_service"), "http://10.0.4.21/onvif/device_service"),
        (device("http://evil.example/x", "file:///etc/passwd", "http://[", "http://a:b/"), "10.0.4.21"),
        (device("http://10.0.4.21@8.8.8.8/x"), "http://10.0.4.21/x"),
    ],
)
def test_device_is_asked_where_it_answered(found: Device, url: str) -> None:
    assert service_url(found) == url


def test_one_address_cannot_crowd_the_others_out() -> None:
    discovery = Discovery()

    for number in range(2_000):
        made_up = Device(f"urn:{number}", "10.0.4.66", (), "Fake", "", "", "eth0")
        discovery._hear(Announcement(Kind.MATCH, made_up))
    discovery._hear(Announcement(Kind.MATCH, Device("urn:a", "10.0.4.21", (), "Utara", "", "", "eth0")))

    heard = [device.address for device in discovery.devices()]
    assert (heard.count("10.0.4.66"), heard.count("10.0.4.21")) == (MAX_PER_ADDRESS, 1)


def test_address_longer_than_any_is_left_out() -> None:
    long = f"http://10.0.4.21/onvif/{'x' * 300}"
    answer = announcement(
        "ProbeMatch",
        "urn:a",
        xaddrs=f"{long} http://10.0.4.21/onvif/device",
        types="dn:NetworkVideoTransmitter",
    )

    (announced,) = read(answer, "10.0.4.21", "eth0")

    assert announced.device.xaddrs == ("http://10.0.4.21/onvif/device",)
