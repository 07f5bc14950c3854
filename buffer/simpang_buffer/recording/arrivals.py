"""The gateway's wall clock as a run sees it: steady, and watched for steps (QUIRKS 10.7). Pure."""

from __future__ import annotations

# NTP slews by 500 ppm at most, and half a second between two beats is a process that was asleep: what moves
# further than this from one beat to the next was set.
STEP_US = 500_000


class Arrivals:
    """Times of arrival on the monotonic clock's pace; `stepped` once the wall clock has left it.

    A machine that was suspended has stepped too: its monotonic clock stood still.
    """

    def __init__(self, now_us: int, monotonic_s: float, boot_us: int = 0) -> None:
        """boot_us: CLOCK_BOOTTIME, read beside the other two."""
        self.stepped = False
        self._offset_us = now_us - _us(monotonic_s)
        self._less_boot_us = _us(monotonic_s) - boot_us

    @property
    def wall_less_boot_us(self) -> int:
        """What to take from UTC as the run counts it for the time since boot."""
        return self._offset_us + self._less_boot_us

    def at(self, now_us: int, monotonic_s: float) -> int:
        """UTC of this moment as the run counts it. now_us: the wall clock, read beside the monotonic one."""
        moved_us = now_us - _us(monotonic_s) - self._offset_us
        if abs(moved_us) >= STEP_US:
            self.stepped = True
        elif not self.stepped:
            self._offset_us += moved_us  # a slew is followed
        return _us(monotonic_s) + self._offset_us


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
