"""Allowed hours and billing months. Pure: local time is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from simpang.config.values import Window

_MINUTES_PER_DAY = 24 * 60


def is_open(windows: Sequence[Window], local: datetime) -> bool:
    """Whether `local` lies in one of the windows; no windows means always.

    A window belongs to the day on which it opens: `fri 22:00-05:00` is open on Saturday at four.
    """
    return not windows or any(_covers(window, local) for window in windows)


def month_start(local: date, billing_day: int) -> date:
    """The day on which the billing month of `local` began. billing_day: 1 to 28."""
    if local.day >= billing_day:
        return local.replace(day=billing_day)
    year, month = (local.year, local.month - 1) if local.month > 1 else (local.year - 1, 12)
    return date(year, month, billing_day)


def _covers(window: Window, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    length = (window.end_minute - window.start_minute) % _MINUTES_PER_DAY or _MINUTES_PER_DAY
    for days_ago in (0, 1):
        since = minute + days_ago * _MINUTES_PER_DAY - window.start_minute
        if 0 <= since < length and (local.weekday() - days_ago) % 7 in window.weekdays:
            return True
    return False
