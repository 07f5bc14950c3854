"""WS-Discovery on the wire: one socket for each of our addresses, since a camera's network is seldom the
one with the default route.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Self

from simpang_onvif import probe_message
from simpang_onvif.device import Device
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.interfaces import Interface
from simpang_onvif.probe_message import Announcement
from simpang_onvif.text import clean

GROUP = "239.255.255.250"
PORT = 3702

# When each form is sent, as parts of the time to listen: a lost datagram and a camera that is busy get
# another chance, and the last leaves time for the 500 ms that an answer may be delayed (WS-Discovery 1.0
# section 2.4).
_SEND_AT = (0.0, 0.15, 0.4)
# Datagrams per sender and per socket: one per form and repeat, and an NVR answers for each of its channels.
_MAX_PER_SENDER = 256
_MAX_IN_ALL = 8_192
# A /22: more is a scan of somebody's network.
MAX_TARGETS = 1_024
# 200 datagrams a second do not overrun the neighbour table of a small gateway.
_TARGET_SPACING_S = 0.005

# <linux/in.h>; the socket module names it from Python 3.14 on.
_IP_MULTICAST_ALL = 49

Heard = Callable[[Announcement], None]


def targets(named: Sequence[str], *, loopback: bool) -> list[str]:
    """Each host of networks and addresses written as "10.0.4.0/24" or "10.0.4.21".

    Raises OnvifError for what is neither, too many hosts, or loopback where it is not allowed.
    """
    hosts: list[str] = []
    for text in named:
        try:
            network = ipaddress.IPv4Network(text, strict=False)
        except ValueError as error:
            problem = f"{clean(text)!r} is no IPv4 address or network"
            raise OnvifError(Reason.MALFORMED, problem, "write it as 10.0.4.0/24") from error
        if network.num_addresses + len(hosts) > MAX_TARGETS:
            raise OnvifError(Reason.LIMIT, f"{network} has too many addresses", f"name at most {MAX_TARGETS}")
        if network.is_multicast or (network.is_loopback and not loopback):
            raise OnvifError(Reason.REFUSED_BY_POLICY, f"{network} holds no camera", "name a camera network")
        hosts += [str(host) for host in network.hosts()]
    return hosts


@contextmanager
def probing(ours: Sequence[Interface], hosts: Sequence[str], seconds: float, heard: Heard) -> Iterator[None]:
    """While open, probes are sent and each answer is handed to `heard`; needs a running loop.

    An interface that goes away or refuses is passed over: the others go on.
    """
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    with ExitStack() as stack:
        stack.callback(_cancel, timers)
        for interface in ours:
            with suppress(OSError):  # the address is gone since it was listed
                ear = stack.enter_context(_Ear(_probe_socket(interface.address), interface, heard))
                timers += [
                    loop.call_later(part * seconds, ear.send, types, GROUP)
                    for part, types in itertools.product(_SEND_AT, probe_message.PROBE_TYPES)
                ]
        if hosts:
            ear = stack.enter_context(_Ear(_probe_socket(""), None, heard))
            timers += [
                loop.call_later(at * _TARGET_SPACING_S, ear.send, types, host)
                for at, (types, host) in enumerate(itertools.product(probe_message.PROBE_TYPES, hosts))
            ]
        yield


@contextmanager
def listening(ours: Sequence[Interface], heard: Heard) -> Iterator[None]:
    """While open, each Hello and Bye on these interfaces is handed to `heard`; needs a running loop."""
    with ExitStack() as stack:
        for interface in ours:
            # Another program may hold the port alone: probing finds the devices all the same.
            with suppress(OSError):
                stack.enter_context(_Ear(_group_socket(interface.address), interface, heard))
        yield


def _cancel(timers: Sequence[asyncio.TimerHandle]) -> None:
    for timer in timers:
        timer.cancel()


class _Ear:
    """One socket, read as datagrams come; what exceeds the limits above is dropped unread until it is
    closed."""

    def __init__(self, opened: socket.socket, interface: Interface | None, heard: Heard) -> None:
        """interface: where it hears, or None where any network may answer."""
        self._socket = opened
        self._interface = interface
        self._heard = heard
        self._counts: Counter[str] = Counter()
        self._left = _MAX_IN_ALL

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def send(self, types: str, host: str) -> None:
        # No route, no neighbour, cable pulled: this datagram is lost, as any may be.
        with suppress(OSError):
            self._socket.sendto(probe_message.probe(types), (host, PORT))

    def _read(self) -> None:
        # A few at a time: a flood on one socket does not hold up the loop.
        for _ in range(16):
            try:
                datagram, (sender, _port) = self._socket.recvfrom(probe_message.MAX_DATAGRAM_BYTES + 1)
            except OSError:  # nothing more, or an ICMP answer to a probe
                return
            self._counts[sender] += 1
            self._left -= 1
            if self._left <= 0:
                asyncio.get_running_loop().remove_reader(self._socket)
                return
            if self._counts[sender] <= _MAX_PER_SENDER:
                self._take(datagram, sender)

    def _take(self, datagram: bytes, sender: str) -> None:
        name = self._interface.name if self._interface else ""
        for announcement in probe_message.read(datagram, sender, name):
            device = announcement.device
            if self._interface is not None:
                device = _judged(device, self._interface)
            self._heard(Announcement(announcement.kind, device))


def _judged(device: Device, interface: Interface) -> Device:
    """A camera with the address of another network hears multicast, answers it, and can be asked nothing
    more."""
    if ipaddress.IPv4Address(device.address) in interface.network.network:
        return device
    return replace(
        device,
        problem=Reason.UNREACHABLE,
        detail=f"{device.address} is not in {interface.name}'s network {interface.network.network}; "
        "give the camera an address there, or this gateway a second one in the camera's network",
    )


def _probe_socket(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.bind((address, 0))
        if address:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
    except OSError:
        opened.close()
        raise
    return opened


def _group_socket(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Else Linux hands it what any other program's membership brings in, from every interface.
        opened.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        # To the group's address: unicast probes to a device on this very machine stay that device's.
        opened.bind((GROUP, PORT))
        membership = socket.inet_aton(GROUP) + socket.inet_aton(address)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    except OSError:
        opened.close()
        raise
    return opened
