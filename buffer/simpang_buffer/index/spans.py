"""Stretches of time, merged, and asked whether something touches them. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Spans:
    """The union of the given stretches, (start_us, end_us) each. Never changes."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, stretches: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start_us, end_us in sorted(stretches):
            if self._ends and start_us <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end_us)
            else:
                self._starts.append(start_us)
                self._ends.append(end_us)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def touch(self, start_us: int, end_us: int) -> bool:
        """Whether some moment of [start_us, end_us) is in a stretch; an empty range is taken for a moment."""
        if not self._starts:
            return False
        before = bisect_left(self._starts, max(end_us, start_us + 1))
        return before > 0 and self._ends[before - 1] > start_us

    def within(self, start_us: int, end_us: int) -> Iterator[tuple[int, int]]:
        """The stretches that touch the range, whole."""
        first, last = bisect_right(self._ends, start_us), bisect_left(self._starts, end_us)
        return zip(self._starts[first:last], self._ends[first:last], strict=True)
