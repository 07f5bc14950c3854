"""How a stream is doing while it records: what was put right of it, and how late its pictures are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simpang_buffer.recording.lag import Lag
from simpang_buffer.recording.repairs import Repairs

# Tenths of a second are the beat's own.
_NEWS_S = 0.5


class Condition:
    """Over all sessions of one recorder."""

    def __init__(self) -> None:
        self._repairs = Repairs()
        self._lag: Lag | None = None
        self._told_lag_s = 0.0

    def session(self, counts: Mapping[str, int], clock_rate: int) -> None:
        """A new one: what it repairs is counted in counts; clock_rate: of its pictures' stamps."""
        self._repairs.follow(counts)
        self._lag = Lag(clock_rate)

    def picture(self, rtp_time: int, now_s: float) -> None:
        if self._lag is not None:
            self._lag.take(rtp_time, now_s)

    def news(self, now_s: float, *, recording: bool) -> dict[str, Any] | None:
        """The fields of a `condition` message, where something has changed since the last."""
        lag_s = self._lag.worst_s(now_s) if self._lag is not None and recording else 0.0
        repairs = self._repairs.news()
        if repairs is None and abs(lag_s - self._told_lag_s) < _NEWS_S:
            return None
        self._told_lag_s = lag_s
        return {"repairs": repairs or self._repairs.totals(), "lag_s": round(lag_s, 1)}
