"""Our own IPv4 addresses that cameras may be seen from."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of one interface: a machine with two networks on a cable has two of them."""

    name: str
    network: ipaddress.IPv4Interface

    @property
    def address(self) -> str:
        return str(self.network.ip)

    def __str__(self) -> str:
        return f"{self.name} {self.network}"


def local_interfaces(names: Sequence[str] = ()) -> list[Interface]:
    """Addresses of the interfaces that are up: of those named, or else of all but loopback ones.

    Loopback must be named: no device of another machine is there.
    """
    stats = psutil.net_if_stats()
    found = []
    for name, addresses in sorted(psutil.net_if_addrs().items()):
        if name not in stats or not stats[name].isup:
            continue
        for address in addresses:
            if address.family is not socket.AF_INET or not address.netmask:
                continue
            interface = Interface(name, ipaddress.IPv4Interface(f"{address.address}/{address.netmask}"))
            if name in names if names else not interface.network.is_loopback:
                found.append(interface)
    return found
