"""Times on the command line: RFC 3339, `now`, or `-10m` before now."""

from __future__ import annotations

import datetime as dt
import re
import time

from simpang.cli.exits import CliError, Exit
from simpang.web.times import FIRST_YEAR, format_time, parse_time

_RELATIVE = re.compile(r"-(\d{1,9}(?:\.\d{1,6})?)([smhd])")
_UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


def now_us() -> int:
    return time.time_ns() // 1000


def parse_when(text: str, option: str, now_us: int) -> int:
    """Microseconds UTC. Raises CliError (usage) that names the option."""
    if text == "now":
        return now_us
    if (relative := _RELATIVE.fullmatch(text)) is not None:
        then_us = now_us - int(float(relative[1]) * _UNITS_US[relative[2]])
        if then_us < 0:
            raise CliError(Exit.USAGE, f"{option} {text}: is before the year {FIRST_YEAR}")
        return then_us
    try:
        return parse_time(text)
    except ValueError as error:
        raise CliError(Exit.USAGE, f"{option} {text!r}: {error}; or write -10m, -2h, -1d, now") from None


def parse_range(start: str, end: str, now_us: int) -> tuple[int, int]:
    """[start, end) in microseconds UTC, not empty. Raises CliError (usage)."""
    start_us, end_us = parse_when(start, "--start", now_us), parse_when(end, "--end", now_us)
    if end_us <= start_us:
        raise CliError(Exit.USAGE, f"--end {end} is not later than --start {start}")
    return start_us, end_us


def local(time_text: str | None) -> str:
    """An RFC 3339 time of the API as a person reads it here: `24 Nov 09:00:00`."""
    if time_text is None:
        return "-"
    return dt.datetime.fromisoformat(time_text).astimezone().strftime("%d %b %H:%M:%S")


__all__ = ["format_time", "local", "now_us", "parse_range", "parse_when"]
