"""The camera's clock, carried on our monotonic one: a step of our own cannot spoil a signature. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from simpang_onvif import xml

# A camera without a battery starts in 1970 or 2000; beyond this no such clock is meant.
_YEARS = range(1970, 2100)
# A camera tells whole seconds, cut off: on average it is half a second further than it says. Signatures are
# dated as it says, for some refuse a date in their future.
_MEAN_CUT_S = 0.5


@dataclass(frozen=True, slots=True)
class CameraClock:
    """utc: what the camera said, when our monotonic clock stood at monotonic_s."""

    utc: datetime
    monotonic_s: float

    def now(self, monotonic_s: float) -> datetime:
        return self.utc + timedelta(seconds=monotonic_s - self.monotonic_s)

    def offset_s(self, wall_s: float, monotonic_s: float) -> float:
        """Camera minus ours, which at that moment stood at wall_s (Unix time); within half a second."""
        return self.now(monotonic_s).timestamp() + _MEAN_CUT_S - wall_s


def read_utc(reply: xml.Element) -> datetime | None:
    """UTCDateTime of a GetSystemDateAndTimeResponse (Core 8.2.5); None where absent or impossible.

    A leap second and an hour of 24 are carried over, as seen from cameras.
    """
    date = xml.find(reply, "SystemDateAndTime", "UTCDateTime", "Date")
    time = xml.find(reply, "SystemDateAndTime", "UTCDateTime", "Time")
    year, month, day = (int(xml.number(xml.text(date, name))) for name in ("Year", "Month", "Day"))
    hour, minute, second = (int(xml.number(xml.text(time, name))) for name in ("Hour", "Minute", "Second"))
    if time is None or year not in _YEARS or hour > 24 or minute > 60 or second > 60:
        return None
    try:
        midnight = datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None
    return midnight + timedelta(hours=hour, minutes=minute, seconds=second)
