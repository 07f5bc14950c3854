"""How far a camera's clock drifts from ours, so that a long run's wall time stays right.

Crystals drift by 20 ppm; cameras that stamp 25 pictures a second and send 21 drift by a sixth (QUIRKS 10.3).
Decode times keep what the camera says. Only the wall time of a moment in the run follows the arrivals,
slowly, and never backwards.
"""

from __future__ import annotations

# Delay on the way varies; its least value over so long shows the clocks. Wi-Fi lags for seconds only.
_WINDOW_US = 20_000_000
# Less is jitter, not drift: of the delay, and of its change within a window.
_DEADBAND_US = 100_000
_DEADBAND_RATE = 0.005
# At most a quarter: wall time then still runs at three quarters of the camera's pace at least.
_MAX_RATE = 0.25
# A few milliseconds of delay that varies are 20 ppm of four minutes, and 100 ppm of less.
_MEASURABLE_US = 60_000_000


class Drift:
    """Pure: fed with moments of the run and their arrivals; says what to add to the run's own reckoning."""

    def __init__(self) -> None:
        self._baseline_us: int | None = None
        self._baseline_at_us = 0
        self._window_start_us: int | None = None
        self._least_us = 0
        self._previous_us = 0
        # The correction is a line: at _since_us of the run it was _base_us, and it changes by _rate.
        self._since_us = 0
        self._base_us = 0.0
        self._rate = 0.0

    def observe(self, run_us: int, arrival_us: int) -> None:
        """A picture that stands at run_us of the run arrived at arrival_us."""
        delay_us = arrival_us - run_us
        if self._window_start_us is None:
            self._window_start_us, self._least_us = run_us, delay_us
        self._least_us = min(self._least_us, delay_us)
        if run_us - self._window_start_us < _WINDOW_US:
            return
        if self._baseline_us is None:
            self._baseline_us = self._previous_us = self._least_us
            self._baseline_at_us = run_us
        correction_us = self.correction_us(run_us)
        error_us = self._least_us - self._baseline_us - correction_us
        self._base_us, self._since_us = float(correction_us), run_us
        # What was missed is made up for within the next window, and what goes on is followed.
        rate = (self._least_us - self._previous_us) / _WINDOW_US
        rate = rate if abs(rate) > _DEADBAND_RATE else 0.0
        if abs(error_us) > _DEADBAND_US:
            rate += error_us / _WINDOW_US
        self._rate = max(-_MAX_RATE, min(_MAX_RATE, rate))
        self._previous_us = self._least_us
        self._window_start_us, self._least_us = run_us, delay_us

    @property
    def ppm(self) -> float | None:
        """How much faster than ours the camera's clock has run, on the average; None until it can be told."""
        if self._baseline_us is None or self._window_start_us is None:
            return None
        # Of the last whole window, beside the first.
        since_us = self._window_start_us - self._baseline_at_us
        if since_us < _MEASURABLE_US:
            return None
        return round((self._baseline_us - self._previous_us) * 1_000_000 / since_us, 1)

    def correction_us(self, run_us: int) -> int:
        """What to add to anchor plus run_us for the wall time of that moment."""
        return int(self._base_us + self._rate * max(0, run_us - self._since_us))
