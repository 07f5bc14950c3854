"""Times on the wire: RFC 3339, UTC, microseconds (`2026-11-24T02:00:00.000000Z`)."""

from __future__ import annotations

import datetime as dt

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ONE_US = dt.timedelta(microseconds=1)
# A clock that was never set says 1970, in places the day before.
FIRST_YEAR, LAST_YEAR = 1970, 9998


def format_time(time_us: int) -> str:
    """UTC microseconds as RFC 3339."""
    moment = _EPOCH + time_us * _ONE_US
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06}Z"


def parse_time(text: str) -> int:
    """RFC 3339 with any offset, to UTC microseconds. Raises ValueError, also for a time without an offset or
    in a year that no clock of ours shows.

    A blank before the offset is what an unescaped "+" in a query becomes (form decoding); it is read as
    meant.
    """
    if len(text) > 40:
        raise ValueError("too long for a time")
    try:
        moment = dt.datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise ValueError("not an RFC 3339 time such as 2026-11-24T02:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("says no time zone: end it with Z or an offset such as +07:00")
    # Outside, no moment was recorded, and some cannot even be written in UTC.
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"is not between the years {FIRST_YEAR} and {LAST_YEAR}")
    return (moment - _EPOCH) // _ONE_US
