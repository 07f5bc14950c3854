"""Decode times for pictures that come in decode order with the times at which they are shown.

With B-frames a picture is sent before others that are shown earlier. MP4 wants decode times that rise; the
decoder wants no picture shown before it is decoded. The n-th decode time is therefore the n-th smallest
presentation time, `depth` pictures later, where `depth` is how many pictures were overtaken at most. An SPS
bounds it, often far too high, or not at all, so it is learned from the first pictures and grows when needed.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")

# H.264 annex A.3.1 and H.265 section 7.4.3.2.1 allow no decoder to need more.
MAX_DEPTH = 16
# The first pictures show their order: enough for two B-frames in a row, and for a pyramid of three.
_LEARN_FROM = 5


class Ordered(NamedTuple, Generic[Item]):
    """dts rises strictly; pts >= dts. Both count from the first picture's decode time, which is 0."""

    dts: int
    pts: int
    item: Item


class DecodeOrder(Generic[Item]):
    """Holds back up to 5 pictures, or a second, at the start of a stream that may reorder; none otherwise.

    lead: how far all presentation times were put back, in ticks, so that decode times can precede them; known
    from the first picture that comes out.
    """

    def __init__(self, limit: int | None, ticks_per_s: int) -> None:
        """limit: Sps.reorder of the stream; None where unknown."""
        self._limit = MAX_DEPTH if limit is None else min(limit, MAX_DEPTH)
        self._ticks_per_s = ticks_per_s
        self._held: list[tuple[int, Item]] | None = [] if self._limit else None
        self._depth = 0
        # The largest presentation times that have no decode time made of them yet.
        self._waiting: list[int] = []
        self._recent: deque[int] = deque(maxlen=MAX_DEPTH)
        self._last = -1
        self.lead = 0

    @property
    def reorders(self) -> bool:
        """Whether a picture may come behind one that is shown later."""
        return self._limit > 0

    @property
    def settled(self) -> bool:
        """Whether `lead` is known: nothing is held back any more."""
        return self._held is None

    def push(self, pts: int, item: Item) -> Sequence[Ordered[Item]]:
        """One picture; all those whose decode time is now known."""
        if self._held is None:
            return (self._order(pts, item),)
        self._held.append((pts, item))
        times = [held for held, _ in self._held]
        enough = len(times) >= min(self._limit + 3, _LEARN_FROM)
        if enough or max(times) - min(times) >= self._ticks_per_s:
            return self.flush()
        return ()

    def flush(self) -> Sequence[Ordered[Item]]:
        """What is held back; nothing more is needed to date it."""
        if not self._held:
            return ()
        held, self._held = self._held, None
        times = [pts for pts, _ in held]
        self._depth = max(_overtaken(times[:number], pts) for number, pts in enumerate(times))
        in_order = sorted(times)
        gaps = sorted(after - before for before, after in itertools.pairwise(in_order))
        gap = max(1, gaps[len(gaps) // 2]) if gaps else 1
        self.lead = self._depth * gap
        first = times[0] + self.lead
        self._waiting = [first - gap * back for back in range(self._depth, 0, -1)]
        return [self._order(pts, item) for pts, item in held]

    def _order(self, pts: int, item: Item) -> Ordered[Item]:
        pts += self.lead
        if self._limit:
            self._depth = min(max(self._depth, _overtaken(self._recent, pts)), self._limit)
            self._recent.append(pts)
        heapq.heappush(self._waiting, pts)
        dts = self._last + 1
        while len(self._waiting) > self._depth:
            dts = max(dts, heapq.heappop(self._waiting))
        self._last = dts
        # A picture that overtakes more than any before it is shown a moment late, once.
        return Ordered(dts, max(pts, dts), item)


def _overtaken(earlier: Sequence[int] | deque[int], pts: int) -> int:
    return sum(other > pts for other in earlier)
