"""How often a session may begin a new run because some clock was set. Pure."""

from __future__ import annotations

from collections import deque

# A clock that is set is set once or twice. One that is set all the time, or a camera whose stamps start over
# with every picture, would cost a file and its syncs each time: then the run goes on, by the arrivals.
_MOST = 3
_WITHIN_S = 30.0


class Restarts:
    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=_MOST)

    def may(self, now_s: float) -> bool:
        """Whether one more is bearable; it is then taken as done."""
        if len(self._last) == _MOST and now_s - self._last[0] < _WITHIN_S:
            return False
        self._last.append(now_s)
        return True
