"""Keeps watch over this machine's clock, tells the recorders, and has runs dated anew once it is right.

What an installer said and when the clock was last right are facts in the index (meta), so that they outlive
the daemon and go where the footage goes. Footage of an untrusted clock is dated by the time since boot; ages
decide nothing until all that can be is dated by the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import logging
import time
from collections.abc import Callable
from typing import Protocol

from simpang.clock import Clock, Reading, Remembered, TrustedClock, read_clock
from simpang.web.times import format_time
from simpang_buffer.index.clock_moves import BootClock, dated_until, due_moves, move_due
from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.index import Index
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.clock_word import ClockWord

logger = logging.getLogger(__name__)

_EVERY_S = 1.0
# Recorders are told again before slewing (500 ppm) makes the word one about another clock.
_TELL_US = 60_000_000
# How long runs of a wrong clock may stand where they were after it was set, and how often a rebuilt index is
# looked through for them.
_MOVE_US = 5_000_000
_LOOK_US = 60_000_000
# How old the clock's last right time may be that is known after a power cut.
_REMEMBER_US = 600_000_000
_META = "clock"


class ClockRefused(Exception):
    """The clock cannot be set or confirmed; says why and what a person can do."""


class Recorders(Protocol):
    """What is asked of the recorder pool."""

    def tell_clock(self, word: ClockWord) -> None: ...

    def is_open(self, key: StreamKey, run: int) -> bool: ...


class ClockKeeper:
    """`prepare` before anything is recorded, then `run`."""

    def __init__(
        self,
        index: Index,
        recorders: Recorders,
        boot_id: str,
        *,
        read: Callable[[], Reading] = read_clock,
        set_us: Callable[[int], object] = lambda us: time.clock_settime_ns(time.CLOCK_REALTIME, us * 1000),
    ) -> None:
        self._index = index
        self._recorders = recorders
        self._boot_id = boot_id
        self._read = read
        self._set_us = set_us
        self._clock = TrustedClock(boot_id, Remembered())
        self._known = Clock(trusted=False, source="none", offset_s=None)
        self._told: ClockWord | None = None
        self._told_at_us = 0
        self._remembered = Remembered()
        # Whether all runs are dated that can be, as of _looked_at_us; None until that is known.
        self._dated = False
        self._looked_at_us: int | None = None

    def clock(self) -> Clock:
        """What is known; never waits. Ages count only once every run is dated that can be."""
        known = self._known
        return dataclasses.replace(known, ages_believed=known.ages_believed and self._dated)

    async def prepare(self) -> None:
        """Reads what is remembered, and tells the recorders."""
        with contextlib.suppress(StorageError):
            # An index that fails ends no recording, and its own keeper says so: nothing is remembered then.
            self._clock = TrustedClock(self._boot_id, _remembered(await self._index.meta(_META)))
        await self.look()

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """One look at the clock and what follows from it."""
        reading = self._read()
        before, self._known = self._known, self._clock.observe(reading)
        self._note(before, reading)
        self._tell(reading)
        if before.trusted != self._known.trusted:
            self._dated, self._looked_at_us = False, None
        with contextlib.suppress(StorageError):
            # As above: while the index fails nothing can be dated anew, and is at the next look.
            await self._move(reading)
            await self._remember()

    async def trust(self, *, although_earlier: bool = False) -> Clock:
        """An installer has compared it. although_earlier: than footage that a trusted clock has dated.
        Raises ClockRefused and StorageError."""
        reading = self._read()
        await self._refuse_earlier(reading.wall_us, although_earlier)
        return await self._confirmed(reading)

    async def set(self, now_us: int, *, although_earlier: bool = False) -> Clock:
        """Sets it, and trusts it. Raises ClockRefused and StorageError."""
        if self._known.source == "ntp" and self._known.jumped_s is None:
            raise ClockRefused(
                "the clock is kept by a time server, which would set it back; switch that off first "
                "(timedatectl set-ntp false), or see to the server"
            )
        await self._refuse_earlier(now_us, although_earlier)
        try:
            self._set_us(now_us)
        except OSError as error:
            if error.errno != errno.EPERM:
                raise ClockRefused(
                    f"the clock cannot be set to {format_time(now_us)}: {error.strerror}"
                ) from error
            raise ClockRefused(
                "this gateway may not set the clock: give its service CAP_SYS_TIME (AmbientCapabilities="
                "CAP_SYS_TIME), or set it as root (`date -s`) and say `simpang clock trust`"
            ) from error
        return await self._confirmed(self._read())

    async def _confirmed(self, reading: Reading) -> Clock:
        self._known = self._clock.confirm(reading)
        logger.info(
            "the clock (%s) is trusted: an installer says that it is right", format_time(reading.wall_us)
        )
        self._dated, self._looked_at_us = False, None
        self._tell(reading)
        await self._move(reading)
        await self._remember(now=True)
        return self.clock()

    async def _refuse_earlier(self, now_us: int, although_earlier: bool) -> None:
        newest_us = await dated_until(self._index)
        if newest_us is not None and now_us < newest_us and not although_earlier:
            raise ClockRefused(
                f"{format_time(now_us)} is earlier than the newest footage, of {format_time(newest_us)}; if "
                "it is that which was dated wrongly, say so (`--although-earlier`)"
            )

    def _note(self, before: Clock, reading: Reading) -> None:
        now = self._known
        if before.trusted != now.trusted:
            if now.trusted:
                logger.info("the clock (%s) is trusted: %s", format_time(reading.wall_us), now.source)
            else:
                logger.warning(
                    "the clock (%s) is not trusted any more; footage is dated by the time since boot",
                    format_time(reading.wall_us),
                )
        if before.jumped_s is None and now.jumped_s is not None:
            logger.warning(
                "the clock leapt by %.0f s; nothing is deleted by age until it is confirmed", now.jumped_s
            )

    def _tell(self, reading: Reading) -> None:
        word = ClockWord(self._known.trusted, reading.less_boot_us, self._boot_id)
        told = self._told
        if (
            told is None
            or told.trusted != word.trusted
            # Half of what a recorder takes for a step, so that it never thinks so of a slew.
            or abs(told.wall_less_boot_us - word.wall_less_boot_us) > 100_000
            or reading.boot_us - self._told_at_us >= _TELL_US
        ):
            self._told, self._told_at_us = word, reading.boot_us
            self._recorders.tell_clock(word)

    async def _move(self, reading: Reading) -> None:
        every_us = _LOOK_US if self._dated else _MOVE_US
        if self._looked_at_us is not None and reading.boot_us - self._looked_at_us < every_us:
            return
        self._looked_at_us = reading.boot_us
        now = BootClock(self._boot_id, reading.less_boot_us, self._known.trusted)
        for move in await move_due(self._index, now, self._recorders.is_open):
            logger.info("%s: run %d is dated anew, from %s", move.key, move.run, format_time(move.anchor_us))
        self._dated = not await due_moves(self._index, now)

    async def _remember(self, *, now: bool = False) -> None:
        known, new = self._remembered, self._clock.remembered()
        changed = (known.word_less_us is None) != (new.word_less_us is None)
        old = (new.seen_us or 0) - (known.seen_us or 0)
        if now or changed or abs(old) >= _REMEMBER_US:
            self._remembered = new
            await self._index.set_meta(_META, json.dumps(dataclasses.asdict(new)))


def _remembered(said: str | None) -> Remembered:
    """Nothing, where it cannot be read: then nobody has vouched for anything."""
    try:
        fields = json.loads(said or "{}")
        known = {name: fields.get(name) for name in Remembered.__dataclass_fields__}
        numbers = [known[name] for name in ("word_less_us", "trusted_less_us", "boot_us", "seen_us")]
        if not all(number is None or isinstance(number, int) for number in numbers):
            raise ValueError("not a number")
    except (ValueError, AttributeError):
        return Remembered()
    return Remembered(
        str(known["boot_id"] or ""),
        known["word_less_us"],
        known["trusted_less_us"],
        known["boot_us"] or 0,
        known["seen_us"],
    )
