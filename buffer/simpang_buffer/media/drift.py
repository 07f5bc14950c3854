"""How far a camera's clock drifts from ours, so that a long run's wall time stays right.

Crystals drift by 20 ppm; cameras that stamp 25 pictures a second and send 21 drift by a sixth (QUIRKS 10.3).
Decode times keep what the camera says. Only the wall time of a moment in the run follows the arrivals,
slowly, and never backwards.
"""

from __future__ import annotations

# Delay on the way varies; its least value over so long shows the clocks. Wi-Fi lags for seconds only. The
# first windows are shorter, so that a clock that is far off is found out soon.
_WINDOW_US = 20_000_000
_FIRST_WINDOW_US = 2_500_000
# Less is jitter, not drift: of the delay, and of its change from one window to the next.
_DEADBAND_US = 100_000
# At most a quarter: wall time then still runs at three quarters of the camera's pace at least.
_MAX_RATE = 0.25
# A few milliseconds of delay that varies are 20 ppm of four minutes, and 100 ppm of less.
_MEASURABLE_US = 60_000_000


class Drift:
    """Pure: fed with moments of the run and their arrivals; says what to add to the run's own reckoning."""

    def __init__(self) -> None:
        # The delay that needs no correction: of the run's anchor, or else the least of the first window.
        self._baseline_us: int | None = None
        self._window_us = _FIRST_WINDOW_US
        self._window_start_us: int | None = None
        self._least_us = 0
        # Of the window before: its least delay, and how long it was.
        self._previous_us: int | None = None
        self._previous_window_us = 0
        # The first long window's end and least delay, beside which the drift is measured; and the last one's.
        self._measured: tuple[int, int] | None = None
        self._last: tuple[int, int] = (0, 0)
        # The correction is a line: at _since_us of the run it was _base_us, and it changes by _rate.
        self._since_us = 0
        self._base_us = 0.0
        self._rate = 0.0

    def anchor(self, delay_us: int) -> None:
        """The run is anchored so that a picture of this delay (arrival minus run_us) needs no correction."""
        self._baseline_us = delay_us

    def observe(self, run_us: int, arrival_us: int) -> None:
        """A picture that stands at run_us of the run arrived at arrival_us."""
        delay_us = arrival_us - run_us
        if self._window_start_us is None:
            self._window_start_us, self._least_us = run_us, delay_us
        self._least_us = min(self._least_us, delay_us)
        if run_us - self._window_start_us < self._window_us:
            return
        if self._baseline_us is None:
            self._baseline_us = self._least_us
        slope = self._slope()
        # The least delay of a window is that of its beginning where delays grow.
        late_us = self._least_us + max(0.0, slope) * self._window_us - self._baseline_us
        correction_us = self.correction_us(run_us)
        error_us = late_us - correction_us
        self._base_us, self._since_us = float(correction_us), run_us
        # What was missed is made up for within the next window, and what goes on is followed.
        rate = slope + (error_us / _WINDOW_US if abs(error_us) > _DEADBAND_US else 0.0)
        self._rate = max(-_MAX_RATE, min(_MAX_RATE, rate))
        if self._window_us == _WINDOW_US:
            self._last = run_us, self._least_us
            self._measured = self._measured or self._last
        self._previous_us, self._previous_window_us = self._least_us, self._window_us
        self._window_us = min(2 * self._window_us, _WINDOW_US)
        self._window_start_us, self._least_us = run_us, delay_us

    @property
    def ppm(self) -> float | None:
        """How much faster than ours the camera's clock has run, on the average; None until it can be told."""
        if self._measured is None or self._last[0] - self._measured[0] < _MEASURABLE_US:
            return None
        (first_us, delay_us), (last_us, last_delay_us) = self._measured, self._last
        shrunk_us = delay_us - last_delay_us
        return round(shrunk_us * 1_000_000 / (last_us - first_us - shrunk_us), 1)

    def correction_us(self, run_us: int) -> int:
        """What to add to anchor plus run_us for the wall time of that moment."""
        return int(self._base_us + self._rate * max(0, run_us - self._since_us))

    def _slope(self) -> float:
        """How fast delays change, 0 where it may be jitter."""
        if self._previous_us is None:
            return 0.0
        change_us = self._least_us - self._previous_us
        if abs(change_us) <= _DEADBAND_US:
            return 0.0
        # From the beginning of the window before, where delays grow; from its end, where they shrink.
        return change_us / (self._previous_window_us if change_us > 0 else self._window_us)
