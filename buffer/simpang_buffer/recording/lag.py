"""How far behind a camera's pictures are (QUIRKS 14.3: over Wi-Fi TCP lags, then bursts). Pure."""

from __future__ import annotations

# A camera's clock may be slow by 100 ppm and more, which would look like a lag that only grows; a hung
# connection lags within seconds.
_FORGIVEN_PPM = 300
_WRAP = 1 << 32
# A stamp farther off is another clock (10.4, 10.6): what follows it is compared with it.
_LEAP_S = 60.0
# A camera may send a picture a second.
_SILENT_S = 1.5


class Lag:
    """Compares the pace of the pictures' stamps with that of their arrival: the smallest delay seen counts as
    none. lag_s: of the last picture."""

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._stamp: int | None = None
        self._stream_s = 0.0
        self._least_s = 0.0
        self._arrival_s = 0.0
        self.lag_s = 0.0
        self._worst_s = 0.0

    def worst_s(self, now_s: float) -> float:
        """The most since the last call; while nothing comes it grows."""
        silent_s = 0.0 if self._stamp is None else now_s - self._arrival_s
        worst_s = max(self._worst_s, self.lag_s + silent_s if silent_s > _SILENT_S else self.lag_s)
        self._worst_s = self.lag_s
        return worst_s

    def take(self, rtp_time: int, arrival_s: float) -> None:
        """A picture in the order of its decoding. arrival_s: on a monotonic clock."""
        before, self._stamp = self._stamp, rtp_time
        if before is None:
            self._begin(arrival_s)
            return
        step = (rtp_time - before + _WRAP // 2) % _WRAP - _WRAP // 2
        self._stream_s += step / self._clock_rate
        if abs(step / self._clock_rate) > _LEAP_S:
            self._begin(arrival_s)
            return
        delay_s = arrival_s - self._stream_s
        forgiven_s = (arrival_s - self._arrival_s) * _FORGIVEN_PPM / 1e6
        self._least_s = min(self._least_s + forgiven_s, delay_s)
        self._arrival_s = arrival_s
        self.lag_s = delay_s - self._least_s
        self._worst_s = max(self._worst_s, self.lag_s)

    def _begin(self, arrival_s: float) -> None:
        self._least_s = arrival_s - self._stream_s
        self._arrival_s = arrival_s
        self.lag_s = 0.0
