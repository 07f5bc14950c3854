"""The uplink's ceiling: a token bucket over the bytes handed to the socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

# What TCP, IP and TLS add to 16 kB writes on a 1,500-byte path, so that the ceiling holds on the wire.
WIRE_FACTOR = 1.04
# Idle time is not saved up: after a pause a sender may be this far ahead, no more.
BURST_S = 0.1


class Ceiling:
    """Shared by all that send. rate_bps None: no ceiling.

    `take` waits until the bytes may go; those who wait are served in order, each at the shared rate.
    """

    def __init__(self, rate_bps: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate_bps = rate_bps
        self._clock = clock
        self._free_at = clock()

    def reserve(self, size_bytes: int) -> float:
        """Books size_bytes and returns the seconds to wait before they may go."""
        if self.rate_bps is None:
            return 0.0
        now = self._clock()
        start = max(self._free_at, now - BURST_S)
        self._free_at = start + size_bytes * WIRE_FACTOR * 8 / self.rate_bps
        return max(0.0, start - now)

    async def take(self, size_bytes: int) -> None:
        delay_s = self.reserve(size_bytes)
        if delay_s > 0:
            await asyncio.sleep(delay_s)
