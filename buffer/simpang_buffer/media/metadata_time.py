"""Decode times of metadata documents: by their RTP stamps, which a sender report or their arrival anchors."""

from __future__ import annotations

from collections.abc import Callable

from simpang_buffer.media.stamps import signed
from simpang_buffer.model import VIDEO_TIMESCALE

# Where stamps and arrival part by more, stamps have started over or mean nothing: documents come some seconds
# late at most, when a camera takes its time to find out what it sees.
_BELIEVABLE_US = 5_000_000
# A report about a stamp so far away is about another stream.
_REPORT_REACH_S = 30


class MetadataTime:
    """Ticks are of the pictures' timescale, from the run's start.

    moment_us: RunClock.moment_us, given when something was made by the camera's clock, where that is known,
    and when it came.
    """

    def __init__(self, clock_rate: int, moment_us: Callable[[int | None, int], int | None]) -> None:
        self._clock_rate = clock_rate
        self._moment_us = moment_us
        self._report: tuple[int, int] | None = None
        # A stamp, and when in the run it was. by_report: the track's own sender report says so.
        self._base: tuple[int, int] | None = None
        self._by_report = False
        self._last = -1

    def report(self, ntp_us: int, rtp_time: int) -> None:
        """A sender report of the track."""
        self._report = ntp_us, rtp_time

    def place(self, stamp: int, arrival_us: int) -> int | None:
        """The document's decode time, later than that of any before it; None before the run has begun."""
        arrived_us = self._moment_us(None, arrival_us)
        if arrived_us is None:
            return None
        if self._base is None or not self._by_report:
            self._anchor_by_report(stamp, arrival_us, arrived_us)
        at_us = arrived_us
        if self._base is not None:
            base_stamp, base_us = self._base
            at_us = base_us + signed(stamp - base_stamp) * 1_000_000 // self._clock_rate
        if self._base is None or abs(at_us - arrived_us) > _BELIEVABLE_US:
            at_us, self._by_report = arrived_us, False
        # Moved along, so that 32 bits never wrap between the base and a stamp.
        self._base = stamp, at_us
        if at_us < 0:
            return None
        self._last = max(at_us * VIDEO_TIMESCALE // 1_000_000, self._last + 1)
        return self._last

    def _anchor_by_report(self, stamp: int, arrival_us: int, arrived_us: int) -> None:
        if self._report is None:
            return
        ntp_us, reported = self._report
        since_report = signed(stamp - reported)
        if abs(since_report) > _REPORT_REACH_S * self._clock_rate:
            return
        made_us = self._moment_us(ntp_us + since_report * 1_000_000 // self._clock_rate, arrival_us)
        if made_us is not None and made_us != arrived_us and abs(made_us - arrived_us) <= _BELIEVABLE_US:
            self._base, self._by_report = (stamp, made_us), True
