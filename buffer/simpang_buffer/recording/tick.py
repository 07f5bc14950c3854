"""One beat for all streams of a process.

A loop that wakes for every packet costs as much as ffmpeg; one that reads what has gathered on a beat costs a
fraction of that. Where somebody watches, the beat is 10 ms; where nobody does, every ninth one is enough.

Streams are read in turn, and one that takes much time rests in proportion, so that no camera, however fast or
malicious, takes more than a quarter of the process from the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

# A camera with Nagle's algorithm (gst-rtsp-server) sends the rest of a picture once its first packet is
# acknowledged, which reading does: a live picture is late by up to two beats. Measured: 15 ms, with 30 ms 45.
PERIOD_S = 0.01
# Measured with 16 streams of 3.5 Mbit/s: reading each 90 ms costs two thirds of reading each 30 ms. What
# comes meanwhile at 10 Mbit/s still fits the smallest receive buffer (128 kB).
_IDLE_BEATS = 9
_REST_FACTOR = 3


@dataclass(slots=True, eq=False)
class _Member:
    pump: Callable[[], None]
    watched: Callable[[], bool]
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
            watched = any(member.watched() for member in self._members)
            period_s = self._period_s if watched else self._period_s * _IDLE_BEATS
            # Even when a turn took longer than a period, the loop's other work gets its chance.
            await asyncio.sleep(max(period_s - (self._monotonic() - began), 0.001))

    def turn(self, now: float) -> None:
        """One beat: every member whose turn it is is pumped; one that raises is out."""
        began = now
        # A beat comes a little early or late; half a beat's grace keeps idle members on every ninth.
        idle_s = self._period_s * (_IDLE_BEATS - 0.5)
        for member in list(self._members):
            if now < member.not_before:
                continue
            try:
                member.pump()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the member's own end
                self._leave(member)
                if not member.failed.done():
                    member.failed.set_exception(error)
            ended = self._monotonic()
            rested = ended + _REST_FACTOR * (ended - began)
            member.not_before = rested if member.watched() else max(rested, now + idle_s)
            began = ended

    async def work(self, pump: Callable[[], None], watched: Callable[[], bool]) -> NoReturn:
        """Calls pump on its beats until it raises, and raises that. pump must not take long; watched: whether
        somebody waits for what it reads."""
        member = _Member(pump, watched, asyncio.get_running_loop().create_future())
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
