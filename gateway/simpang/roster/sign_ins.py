"""When a camera that refused our password may be asked again. Pure; times are microseconds UTC.

Many cameras lock an account after five to seven tries, for every client at our address. So the tries come
at once, after 10 and after 30 minutes, and then hourly: at most three in an hour, ONVIF and RTSP together.
"""

from __future__ import annotations

from collections.abc import Sequence

_MINUTE_US = 60 * 1_000_000
# After the first, the second and every further refusal in a row.
WAITS_US = (10 * _MINUTE_US, 20 * _MINUTE_US, 60 * _MINUTE_US)


def next_try_us(refused: Sequence[int], now_us: int) -> int:
    """The earliest moment for the next sign-in, given the refusals since one was accepted, oldest first.

    A refusal from the future (the clock was set back) counts as one of now.
    """
    past = [min(time_us, now_us) for time_us in refused]
    if not past:
        return now_us
    wait_us = WAITS_US[min(len(past), len(WAITS_US)) - 1]
    return max(past[-1] + wait_us, now_us)
