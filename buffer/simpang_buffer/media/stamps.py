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
# A run follows arrivals that come up to so much faster or slower than their stamps say (cameras that stamp 25
# pictures a second and send 21, 10.3); the wall time of its moments does, too (drift.py). What goes further
# adds up: ahead of that by no more than a burst, behind it by no more than a link that lags (14.3).
_PACE = 4
_BEHIND_ARRIVALS_S = 30
# A lag that has lasted for two such windows is how late the stream is now.
_WINDOW_US = 30_000_000
# So many pictures that agree with each other, and not with the line, are a new line.
_PICTURES_OF_A_NEW_LINE = 3
# A careless clock steps back now and then; one that runs backwards tells nothing.
_MOST_BACKWARDS = 2


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
        # The first arrival, the last, and how late at least pictures arrive beside the first, in ticks: in
        # the window before and in this one, which began at _window_us.
        self._first_arrival_us = 0
        self._arrival_us = 0
        self._least_before = self._least = 0
        self._window_us = 0
        self._spacing = clock_rate // 25
        self._repeats = 0
        # A stamp that does not fit, and how many have followed it in good order.
        self._stray = 0
        self._stray_arrival_us = 0
        self._strays = 0
        self._backwards = 0
        self.jumped = False
        self.restamped = 0

    def place(self, stamp: int, arrival_us: int, *, reordered: bool) -> int:
        """The picture's ticks: unless `reordered`, later than those of all before it."""
        if self._raw is None:
            self._raw, self._newest_arrival_us = stamp, arrival_us
            self._first_arrival_us = self._arrival_us = self._window_us = arrival_us
            return 0
        waited = max(0, (arrival_us - self._newest_arrival_us) * self._rate // 1_000_000)
        step = signed(stamp - self._raw)
        unwrapped = self._unwrapped + step
        ticks = unwrapped + self._shift
        if step == 0:
            ticks = self._repeated(waited)
        elif (
            self._fits(ticks - self._newest, waited, reordered)
            and self._keeps_pace(ticks, arrival_us)
            and (step > 0 or reordered or self._backwards < _MOST_BACKWARDS)
        ):
            self._believe(stamp, unwrapped)
            if ticks <= self._newest and not reordered:
                ticks = self._newest + 1
        else:
            ticks = self._restamp(stamp, unwrapped, arrival_us, reordered)
        self._follow(ticks, arrival_us)
        if ticks > self._newest:
            self._newest, self._newest_arrival_us = ticks, arrival_us
        return ticks

    def place_of(self, stamp: int) -> int:
        """Where a stamp stands that belongs to no picture: a sender report's, about the newest picture."""
        return self._unwrapped + self._shift + signed(stamp - (self._raw or 0))

    @property
    def newest_stamp(self) -> int:
        """The newest believed stamp, as sent; 0 before the first."""
        return self._raw or 0

    def _fits(self, ahead: int, waited: int, reordered: bool) -> bool:
        behind = _BEHIND_REORDERED_S if reordered else _BEHIND_S
        return -behind * self._rate <= ahead <= waited + _AHEAD_S * self._rate

    def _keeps_pace(self, ticks: int, arrival_us: int) -> bool:
        """Steps that are small enough each, and yet lead away from the arrivals, are believed no further."""
        ahead = min(self._least_before, self._least) - self._late(ticks, arrival_us)
        return -_BEHIND_ARRIVALS_S * self._rate <= ahead <= _AHEAD_S * self._rate

    def _follow(self, ticks: int, arrival_us: int) -> None:
        most = max(0, (arrival_us - self._arrival_us) * self._rate // (_PACE * 1_000_000))
        self._arrival_us = arrival_us
        late = max(self._late(ticks, arrival_us), min(self._least_before, self._least) - most)
        self._least = min(self._least, late)
        if arrival_us - self._window_us >= _WINDOW_US:
            self._window_us = arrival_us
            self._least_before, self._least = self._least, late

    def _late(self, ticks: int, arrival_us: int) -> int:
        return (arrival_us - self._first_arrival_us) * self._rate // 1_000_000 - ticks

    def _believe(self, stamp: int, unwrapped: int) -> None:
        step = unwrapped - self._unwrapped
        if step > 0:
            self._spacing = min(step, self._rate)
        self._raw, self._unwrapped = stamp, unwrapped
        self._strays = self._repeats = 0
        self._backwards = 0 if step > 0 else self._backwards + 1

    def _repeated(self, waited: int) -> int:
        # Two pictures with one stamp: the second stands within the usual distance, so that the next, rightly
        # stamped one is still later. A clock that stands still is replaced by the arrivals.
        self._repeats += 1
        most = self._spacing // 2 if self._repeats == 1 else self._rate
        self.restamped += 1
        return self._newest + max(1, min(waited, most))

    def _restamp(self, stamp: int, unwrapped: int, arrival_us: int, reordered: bool) -> int:
        self.restamped += 1
        # Where it stands by its arrival, if that is later, and not so far that a stall becomes a picture's.
        arrived = self._late(0, arrival_us) - min(self._least_before, self._least)
        ticks = max(self._newest + 1, min(arrived, self._newest + self._rate))
        since_stray = max(0, (arrival_us - self._stray_arrival_us) * self._rate // 1_000_000)
        step = signed(stamp - self._stray)
        if self._strays and (step > 0 or (step and reordered)) and self._fits(step, since_stray, reordered):
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
