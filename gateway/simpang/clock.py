"""Whether this machine's clock can be believed: pure, but for reading it.

It is trusted when the kernel says that something keeps it right (NTP), or when it is later than all that was
recorded and an installer has said that it is right, for this boot and as long as nothing sets it again.

A trusted clock that leaps by more than a day may have been led astray (a time server in 2099), and a clock
that decides what is too old to keep must not be. If it was trusted before in this boot, it is not trusted any
more until it is back, or a person confirms it, or it has been stable for a day. If it only differs from what
it last was before the machine was off, times are believed and ages are not, until the same.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass

# include/uapi/linux/timex.h
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000

# Slewing moves a clock by 500 ppm; what moves it further between two looks has set it.
STEP_US = 500_000
_SLEW = 0.0005
DAY_US = 86_400_000_000
# After a clock was set: whoever set it may set it again.
_SETTLES_US = 300_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """trusted: its times may be believed. source: who keeps it, ntp, installer or none. offset_s: how far off
    the kernel thinks it is. ages_believed: it may decide that footage is too old. jumped_s: it has leapt so
    far (from what it was before the machine was off, where it is trusted all the same), and nobody has
    confirmed that yet."""

    trusted: bool
    source: str
    offset_s: float | None
    ages_believed: bool = False
    jumped_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The clocks at one moment. synchronised: the kernel says that something keeps the wall clock right."""

    wall_us: int
    boot_us: int
    synchronised: bool
    offset_s: float | None = None

    @property
    def less_boot_us(self) -> int:
        """What setting the clock changes, and nothing else does."""
        return self.wall_us - self.boot_us


@dataclass(frozen=True, slots=True)
class Remembered:
    """What outlives the process. boot_id: the boot that word and trusted are of. word, trusted: UTC minus the
    time since boot when an installer vouched for the clock, and when it was last trusted; as of boot_us.
    seen_us: UTC when it was last trusted, in whatever boot."""

    boot_id: str = ""
    word_less_us: int | None = None
    trusted_less_us: int | None = None
    boot_us: int = 0
    seen_us: int | None = None


class TrustedClock:
    """`observe` it once a second."""

    def __init__(self, boot_id: str, before: Remembered) -> None:
        same = before.boot_id == boot_id
        self._boot_id = boot_id
        self._word_us = before.word_less_us if same else None
        self._trusted_us = before.trusted_less_us if same else None
        self._seen_us = before.seen_us
        self._last = Reading(0, 0, False)
        # UTC minus the time since boot at the last look; before the first, how far slewing may have moved it.
        self._less_us: int | None = self._word_us
        self._since_us = before.boot_us
        self._stepped_at_us: int | None = None
        # A leap that nobody has confirmed: how far, and since when (by the time since boot).
        self._jump_us: int | None = None
        self._jumped_at_us = 0
        self._off_before = False

    def observe(self, reading: Reading) -> Clock:
        """What is to be thought of it now."""
        less_us = reading.less_boot_us
        if self._less_us is not None:
            slewed_us = int((reading.boot_us - self._since_us) * _SLEW)
            if abs(less_us - self._less_us) >= STEP_US + slewed_us:
                self._word_us = None
                self._stepped_at_us = reading.boot_us
        if self._word_us is not None:
            self._word_us = less_us
        self._less_us, self._since_us, self._last = less_us, reading.boot_us, reading
        if self._source != "none":
            self._judge_leap(reading)
        if self.clock().trusted:
            self._trusted_us = less_us
            if self._jump_us is None:
                self._seen_us = reading.wall_us
        return self.clock()

    def confirm(self, reading: Reading) -> Clock:
        """An installer says that the clock is right as it is now."""
        self._word_us = self._less_us = self._trusted_us = reading.less_boot_us
        self._since_us, self._jump_us = reading.boot_us, None
        self._seen_us = reading.wall_us
        return self.observe(reading)

    def clock(self) -> Clock:
        """As of the last look."""
        source = self._source
        trusted = source != "none" and (self._jump_us is None or self._off_before)
        calm = self._stepped_at_us is None or self._last.boot_us - self._stepped_at_us >= _SETTLES_US
        return Clock(
            trusted,
            source,
            self._last.offset_s if source == "ntp" else None,
            trusted and self._jump_us is None and calm,
            None if self._jump_us is None else self._jump_us / 1e6,
        )

    def remembered(self) -> Remembered:
        return Remembered(self._boot_id, self._word_us, self._trusted_us, self._last.boot_us, self._seen_us)

    @property
    def _source(self) -> str:
        if self._last.synchronised:
            return "ntp"
        return "none" if self._word_us is None else "installer"

    def _judge_leap(self, reading: Reading) -> None:
        """Beside what it was when it was last trusted: in this boot, or before the machine was off."""
        now_us, since_us = reading.boot_us, max(self._jumped_at_us, self._stepped_at_us or 0)
        in_boot_us = 0 if self._trusted_us is None else reading.less_boot_us - self._trusted_us
        off_us = 0 if self._seen_us is None else reading.wall_us - self._seen_us
        if self._jump_us is not None:
            is_back = abs(off_us if self._off_before else in_boot_us) <= DAY_US
            if is_back or (reading.synchronised and now_us - since_us >= DAY_US):
                self._jump_us, self._trusted_us = None, reading.less_boot_us
                return
        if abs(in_boot_us) > DAY_US and (self._jump_us is None or self._off_before):
            self._jump_us, self._jumped_at_us, self._off_before = in_boot_us, now_us, False
        elif self._jump_us is None and self._trusted_us is None and abs(off_us) > DAY_US:
            self._jump_us, self._jumped_at_us, self._off_before = off_us, now_us, True


def read_clock() -> Reading:
    """The clocks now, and what the kernel says (adjtimex(2), which without modes only reads)."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    boot_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    wall_us = time.time_ns() // 1000
    if state < 0 or state == _TIME_ERROR or timex.status & _STA_UNSYNC:
        return Reading(wall_us, boot_us, False)
    scale = 1e9 if timex.status & _STA_NANO else 1e6
    return Reading(wall_us, boot_us, True, timex.offset / scale)


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        # The rest of struct timex, which the kernel fills in and nobody here reads.
        ("rest", ctypes.c_long * 32),
    )
