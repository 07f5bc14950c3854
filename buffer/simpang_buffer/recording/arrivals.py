"""The gateway's wall clock as a run sees it: steady, and watched for steps (QUIRKS 10.7). Pure."""

from __future__ import annotations

# NTP slews by 500 ppm at most, and half a second between two beats is a process that was asleep: what moves
# further than this from one beat to the next was set.
_STEP_US = 500_000


class Arrivals:
    """Times of arrival on the monotonic clock's pace; `stepped` once the wall clock has left it."""

    def __init__(self, now_us: int, monotonic_s: float) -> None:
        self.stepped = False
        self._offset_us = now_us - _us(monotonic_s)

    def at(self, now_us: int, monotonic_s: float) -> int:
        """UTC of this moment as the run counts it. now_us: the wall clock, read beside the monotonic one."""
        moved_us = now_us - _us(monotonic_s) - self._offset_us
        if abs(moved_us) >= _STEP_US:
            self.stepped = True
        elif not self.stepped:
            self._offset_us += moved_us  # a slew is followed
        return _us(monotonic_s) + self._offset_us


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
