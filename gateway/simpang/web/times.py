"""Times on the wire: RFC 3339, UTC, microseconds (`2026-11-24T02:00:00.000000Z`)."""

from __future__ import annotations

import datetime as dt

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ONE_US = dt.timedelta(microseconds=1)


def format_time(time_us: int) -> str:
    """UTC microseconds as RFC 3339."""
    moment = _EPOCH + time_us * _ONE_US
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06}Z"


def parse_time(text: str) -> int:
    """RFC 3339 with any offset, to UTC microseconds. Raises ValueError, also for a time without an offset.

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
    return (moment - _EPOCH) // _ONE_US
