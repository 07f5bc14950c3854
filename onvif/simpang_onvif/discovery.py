"""Finding cameras: once, for a person who waits, or continuously, for the gateway.

Several probe forms, each more than once, from a socket for each of our addresses; loopback only when it is
named.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from simpang_onvif import ws_discovery
from simpang_onvif.device import Device
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.interfaces import Interface, local_interfaces
from simpang_onvif.probe_message import Announcement, Kind, service_url

__all__ = ["Discovery", "discover", "service_url"]

# A site has 16 cameras, a camera network of a city block some hundred devices; beyond, somebody makes them
# up.
MAX_DEVICES = 1_024
# The largest NVR has 64 channels: more at one address are made up, and must not crowd the others out.
MAX_PER_ADDRESS = 64
# A camera that misses its probes so many times has gone, or its network has.
_ROUNDS_UNSEEN = 3


async def discover(
    *,
    interfaces: Sequence[str] | None = None,
    targets: Sequence[str] = (),
    seconds: float = 4.0,
) -> AsyncGenerator[Device, None]:
    """Each device as it first answers, for so many seconds. Who stops early closes it (`aclosing`).

    interfaces: names of ours to look on; None or empty for all but loopback. targets: addresses and networks
    to ask one by one, where multicast does not reach; loopback ones only where "lo" is named. Raises
    OnvifError for a target that cannot be asked, and where none of the named interfaces is there.
    """
    names = interfaces or ()
    ours = local_interfaces(names)
    if names and not ours:
        raise OnvifError(
            Reason.UNREACHABLE,
            f"no interface {', '.join(names)} with an IPv4 address is up",
            "see `ip address`",
        )
    hosts = ws_discovery.targets(targets, loopback=_has_loopback(ours))
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    found: asyncio.Queue[Device] = asyncio.Queue()
    seen: set[tuple[str, str]] = set()

    def heard(announcement: Announcement) -> None:
        identity = announcement.device.identity
        if announcement.kind is Kind.MATCH and identity not in seen and len(seen) < MAX_DEVICES:
            seen.add(identity)
            found.put_nowait(announcement.device)

    with ws_discovery.probing(ours, hosts, seconds, heard):
        while (left := until - loop.time()) > 0:
            try:
                device = await asyncio.wait_for(found.get(), left)
            except TimeoutError:
                return
            yield device


@dataclass(slots=True)
class _Seen:
    device: Device
    at_s: float


class Discovery:
    """What is on the camera networks now: probes every `every_s`, hears Hello and Bye in between.

    changed: set whenever `devices()` differs from before; whoever waits for it clears it.
    """

    def __init__(
        self,
        *,
        interfaces: Sequence[str] = (),
        targets: Sequence[str] = (),
        every_s: float = 60.0,
        seconds: float = 4.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """As for `discover`; an interface that is not there yet is looked for in each round."""
        self.changed = asyncio.Event()
        self._names = tuple(interfaces)
        self._targets = tuple(targets)
        self._every_s = max(every_s, seconds)
        self._seconds = seconds
        self._monotonic = monotonic
        self._wanted = asyncio.Event()
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._looked: tuple[str, ...] = ()

    def devices(self) -> list[Device]:
        """Those that answered lately, by address."""
        return sorted(
            (seen.device for seen in self._seen.values()), key=lambda device: _order(device.address)
        )

    def where_looked(self) -> list[str]:
        """For the page: "eth0 10.0.4.2/24", "10.0.9.0/24", or "eth1: not there" for a named interface."""
        return list(self._looked)

    def probe_now(self) -> None:
        """Starts the next round at once."""
        self._wanted.set()

    async def keep_running(self) -> None:
        """Rounds without end."""
        while True:
            await self.run_once()

    async def run_once(self) -> None:
        """One round: probes, then listens until the next one is due or asked for."""
        self._wanted.clear()
        ours = local_interfaces(self._names)
        hosts = ws_discovery.targets(self._targets, loopback=_has_loopback(ours))
        there = {interface.name for interface in ours}
        missing = [f"{name}: not there" for name in self._names if name not in there]
        self._looked = (*(str(interface) for interface in ours), *missing, *self._targets)
        with ws_discovery.listening(ours, self._hear):
            with ws_discovery.probing(ours, hosts, self._seconds, self._hear):
                await asyncio.sleep(self._seconds)
            self._forget()
            try:
                await asyncio.wait_for(self._wanted.wait(), self._every_s - self._seconds)
            except TimeoutError:
                return

    def _hear(self, announcement: Announcement) -> None:
        device = announcement.device
        known = self._seen.get(device.identity)
        if announcement.kind is Kind.BYE:
            if known is not None:
                del self._seen[device.identity]
                self.changed.set()
            return
        if known is None and (len(self._seen) >= MAX_DEVICES or self._crowded(device.address)):
            return
        # A Hello may name less than a match does; the fuller word stands.
        if known is not None and announcement.kind is Kind.HELLO and not device.xaddrs:
            device = known.device
        self._seen[device.identity] = _Seen(device, self._monotonic())
        if known is None or known.device != device:
            self.changed.set()

    def _crowded(self, address: str) -> bool:
        return sum(seen_at == address for _, seen_at in self._seen) >= MAX_PER_ADDRESS

    def _forget(self) -> None:
        oldest_s = self._monotonic() - _ROUNDS_UNSEEN * self._every_s
        gone = [identity for identity, seen in self._seen.items() if seen.at_s < oldest_s]
        for identity in gone:
            del self._seen[identity]
        if gone:
            self.changed.set()


def _has_loopback(ours: Sequence[Interface]) -> bool:
    return any(interface.network.is_loopback for interface in ours)


def _order(address: str) -> tuple[int, ...]:
    return tuple(int(part) for part in address.split(".") if part.isdecimal())
