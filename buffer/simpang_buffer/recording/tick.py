"""One beat for all streams of a process.

A loop that wakes for every packet costs as much as ffmpeg; one that reads what has gathered every 30 ms costs
a sixth of that. Every stream is read on the beat, and one that takes much time rests in proportion, so that
no camera, however fast or malicious, takes more than a quarter of the process from the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

# Short enough that a live picture is not late for it, long enough that wake-ups do not count.
PERIOD_S = 0.03
_REST_FACTOR = 3


@dataclass(slots=True, eq=False)
class _Member:
    pump: Callable[[], None]
    failed: asyncio.Future[NoReturn]
    not_before: float = 0.0


class Tick:
    """`run` is the beat; `work` joins it."""

    def __init__(
        self, *, period_s: float = PERIOD_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._period_s = period_s
        self._monotonic = monotonic
        self._members: dict[_Member, None] = {}
        self._joined = asyncio.Event()

    async def run(self) -> NoReturn:
        """Until cancelled. Rests while nobody works."""
        while True:
            await self._joined.wait()
            began = self._monotonic()
            self.turn(began)
            # Even when a turn took longer than a period, the loop's other work gets its chance.
            await asyncio.sleep(max(self._period_s - (self._monotonic() - began), 0.001))

    def turn(self, now: float) -> None:
        """One beat: every member that is not resting is pumped; one that raises is out."""
        began = now
        for member in list(self._members):
            if began < member.not_before:
                continue
            try:
                member.pump()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the member's own end
                self._leave(member)
                if not member.failed.done():
                    member.failed.set_exception(error)
            ended = self._monotonic()
            member.not_before = ended + _REST_FACTOR * (ended - began)
            began = ended

    async def work(self, pump: Callable[[], None]) -> NoReturn:
        """Calls pump on every beat until it raises, and raises that. pump must not take long."""
        member = _Member(pump, asyncio.get_running_loop().create_future())
        self._members[member] = None
        self._joined.set()
        try:
            await member.failed
            raise AssertionError("a pump only ends by raising")
        finally:
            self._leave(member)

    def _leave(self, member: _Member) -> None:
        self._members.pop(member, None)
        if not self._members:
            self._joined.clear()
