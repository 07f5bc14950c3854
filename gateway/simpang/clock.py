"""Whether this machine's clock can be believed."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

# include/uapi/linux/timex.h
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000


@dataclass(frozen=True, slots=True)
class Clock:
    """trusted: the kernel says that something keeps it right. offset_s: how far off that thinks it is."""

    trusted: bool
    source: str
    offset_s: float | None


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


def read_clock() -> Clock:
    """What the kernel says (adjtimex(2), which without modes only reads)."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0 or state == _TIME_ERROR or timex.status & _STA_UNSYNC:
        return Clock(trusted=False, source="none", offset_s=None)
    scale = 1e9 if timex.status & _STA_NANO else 1e6
    return Clock(trusted=True, source="ntp", offset_s=timex.offset / scale)
