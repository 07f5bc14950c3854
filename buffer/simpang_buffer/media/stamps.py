"""A camera's 32-bit RTP stamps to one line of ticks.

Pictures come with stamps that wrap, repeat, stand still, leap for one picture, or start over (QUIRKS 10.4 to
10.6). What is plausible is believed to the tick. What is not is dated by its arrival; if the stamps go on
consistently from there, they have started over, which `jumped` says: the recorder then begins a new run.
"""

from __future__ import annotations

# A stamp may be ahead of its arrival by so much: buffered streams come in bursts.
_AHEAD_S = 5
# How far behind the newest picture a picture may be: B-frames at a few pictures a second ...
_BEHIND_REORDERED_S = 2.0
# ... or, where nothing is reordered, the jitter of a careless clock.
_BEHIND_S = 0.5
# So many pictures that agree with each other, and not with the line, are a new line.
_PICTURES_OF_A_NEW_LINE = 3


class Stamps:
    """Ticks of one track's RTP clock, 0 for the first stamp. Pure: arrivals are arguments."""

    def __init__(self, clock_rate: int) -> None:
        self._rate = clock_rate
        # The newest believed stamp, as sent and unwrapped, and how far ticks are from unwrapped stamps.
        self._raw: int | None = None
        self._unwrapped = 0
        self._shift = 0
        # The newest picture's place and arrival.
        self._newest = 0
        self._newest_arrival_us = 0
        self._spacing = clock_rate // 25
        self._repeats = 0
        # A stamp that does not fit, and how many have followed it in good order.
        self._stray = 0
        self._stray_arrival_us = 0
        self._strays = 0
        self.jumped = False
        self.restamped = 0

    def place(self, stamp: int, arrival_us: int, *, reordered: bool) -> int:
        """The picture's ticks: unless `reordered`, later than those of all before it."""
        if self._raw is None:
            self._raw, self._newest_arrival_us = stamp, arrival_us
            return 0
        waited = max(0, (arrival_us - self._newest_arrival_us) * self._rate // 1_000_000)
        step = signed(stamp - self._raw)
        unwrapped = self._unwrapped + step
        ticks = unwrapped + self._shift
        if step == 0:
            ticks = self._repeated(waited)
        elif self._fits(ticks - self._newest, waited, reordered):
            self._believe(stamp, unwrapped)
            if ticks <= self._newest and not reordered:
                ticks = self._newest + 1
        else:
            ticks = self._restamp(stamp, unwrapped, waited, arrival_us, reordered)
        if ticks > self._newest:
            self._newest, self._newest_arrival_us = ticks, arrival_us
        return ticks

    @property
    def newest_stamp(self) -> int:
        """The newest believed stamp, as sent; 0 before the first."""
        return self._raw or 0

    def _fits(self, ahead: int, waited: int, reordered: bool) -> bool:
        behind = _BEHIND_REORDERED_S if reordered else _BEHIND_S
        return -behind * self._rate <= ahead <= waited + _AHEAD_S * self._rate

    def _believe(self, stamp: int, unwrapped: int) -> None:
        step = unwrapped - self._unwrapped
        if step > 0:
            self._spacing = min(step, self._rate)
        self._raw, self._unwrapped = stamp, unwrapped
        self._strays = self._repeats = 0

    def _repeated(self, waited: int) -> int:
        # Two pictures with one stamp: the second stands within the usual distance, so that the next, rightly
        # stamped one is still later. A clock that stands still is replaced by the arrivals.
        self._repeats += 1
        most = self._spacing // 2 if self._repeats == 1 else self._rate
        self.restamped += 1
        return self._newest + max(1, min(waited, most))

    def _restamp(self, stamp: int, unwrapped: int, waited: int, arrival_us: int, reordered: bool) -> int:
        self.restamped += 1
        ticks = self._newest + max(1, min(waited, self._rate))
        since_stray = max(0, (arrival_us - self._stray_arrival_us) * self._rate // 1_000_000)
        step = signed(stamp - self._stray)
        if self._strays and step and self._fits(step, since_stray, reordered):
            self._strays += 1
        else:
            self._strays = 1
        self._stray, self._stray_arrival_us = stamp, arrival_us
        if self._strays >= _PICTURES_OF_A_NEW_LINE:
            self.jumped = True
            self._shift = ticks - unwrapped
            self._believe(stamp, unwrapped)
        return ticks


def signed(difference: int) -> int:
    """The shorter way round a 32-bit counter (RFC 3550 appendix A.3)."""
    return ((difference + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
