"""What is evicted, and in which order: pure functions of space, ages, quotas, holds, events, now, and whether
the clock is trusted.

- What is held or pinned never goes.
- Under a trusted clock, what is older than its maximum age goes, stream by stream, which is cheapest.
- Else something goes only where a shortage is about it. First goes what has used up most of its life: its age
  as a share of its maximum age times its weight. So where space is short every stream loses the same share.
- What is younger than its minimum age goes last, the first recorded first, for recording must go on; for a
  quota alone it does not go.
- Where the clock is not trusted no age is believed: the first recorded goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import NamedTuple, TypeAlias

from simpang_buffer.index.protection import Protection
from simpang_buffer.index.rows import Place
from simpang_buffer.index.space import Shortage
from simpang_buffer.model import StreamKey


@dataclass(frozen=True, slots=True)
class Rule:
    """How long a stream is kept. event_us: the maximum age of footage of an event, at least max_us."""

    max_us: int
    min_us: int = 0
    event_us: int = 0
    weight: float = 1.0

    def life_us(self, event: bool) -> int:
        return max(self.max_us, self.event_us) if event else self.max_us


class Row(NamedTuple):
    """One segment. ordinal: its place in the order of recording, over all streams. place: of its row."""

    ordinal: int
    start_us: int
    end_us: int
    size_bytes: int
    place: Place = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Queue:
    """A stream's segments in one folder, of events or not, the oldest first: by time where the clock is
    trusted, else as they were recorded. more: there are others behind them."""

    key: StreamKey
    folder: int
    event: bool
    rows: Sequence[Row]
    more: bool = False


class Victim(NamedTuple):
    """rule: age, space, quota or order (space, under a clock that is not trusted). young: it had not reached
    its minimum age."""

    row: Row
    key: StreamKey
    folder: int
    rule: str
    young: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """short: what no victim mends. dry: more rows are wanted before the next victim can be named."""

    victims: list[Victim]
    short: list[Shortage]
    dry: bool


# Lower goes first: (too old, old enough, or young; the queue, its share of life (negative), or 0; ordinal).
_Place: TypeAlias = tuple[int, float, int]
_TOO_OLD, _OLD_ENOUGH, _YOUNG = 0, 1, 2


def evictions(
    queues: Iterable[Queue],
    rules: Callable[[StreamKey], Rule],
    shortages: Iterable[Shortage],
    protection: Protection,
    now_us: int,
    clock_trusted: bool,
    *,
    most: int | None = None,
) -> Choice:
    """Whom to evict now, in order. most: at most so many."""
    short = [_Short(one) for one in shortages if one.bytes > 0]
    heap: list[tuple[_Place, int]] = []
    open_queues = [_Open(queue, rules(queue.key), protection) for queue in queues]
    for number, queue in enumerate(open_queues):
        queue.push(heap, number, now_us, clock_trusted)
    victims: list[Victim] = []
    dry = any(queue.dry for queue in open_queues)
    while heap and not dry and (most is None or len(victims) < most):
        place, number = heappop(heap)
        queue = open_queues[number]
        rule = _why(place, queue.queue, short, clock_trusted)
        if rule is None:
            # What stands behind is younger, so nothing of this queue is wanted.
            continue
        rows = [queue.take()]
        if rule == "age":
            # No other queue has a say in it, so all that is too old here goes at once.
            rows += queue.take_too_old(now_us, None if most is None else most - len(victims) - 1)
        key, folder = queue.queue.key, queue.queue.folder
        victims += [Victim(row, key, folder, rule, place[0] == _YOUNG) for row in rows]
        for one in short:
            if one.what.is_about(key, folder):
                one.left -= sum(row.size_bytes for row in rows)
        queue.push(heap, number, now_us, clock_trusted)
        dry = queue.dry
    left = [replace(one.what, bytes=one.left) for one in short if one.left > 0]
    return Choice(victims, left, dry)


class _Short:
    """A shortage and how much of it the victims leave."""

    __slots__ = ("left", "what")

    def __init__(self, what: Shortage) -> None:
        self.what = what
        self.left = what.bytes


class _Open:
    """A queue and how far it is read."""

    def __init__(self, queue: Queue, rule: Rule, protection: Protection) -> None:
        self.queue = queue
        self.dry = False
        # A deque is slow in its middle.
        self._rows = list(queue.rows)
        self._rule = rule
        self._held = protection.of(queue.key)
        self._at = 0

    def push(self, heap: list[tuple[_Place, int]], number: int, now_us: int, clock_trusted: bool) -> None:
        """Its next row that nobody holds takes its place in the order."""
        rows = self._rows
        while self._at < len(rows) and self._held.touch(rows[self._at].start_us, rows[self._at].end_us):
            self._at += 1
        if self._at == len(rows):
            self.dry = self.queue.more
            return
        place = _place(rows[self._at], self._rule, self.queue.event, now_us, clock_trusted, number)
        heappush(heap, (place, number))

    def take(self) -> Row:
        self._at += 1
        return self._rows[self._at - 1]

    def take_too_old(self, now_us: int, most: int | None) -> list[Row]:
        """Those that follow and are too old, at most so many."""
        latest_us = now_us - self._rule.life_us(self.queue.event)
        taken: list[Row] = []
        while self._at < len(self._rows) and (most is None or len(taken) < most):
            row = self._rows[self._at]
            if not self._held.touch(row.start_us, row.end_us):
                if row.end_us >= latest_us:
                    break
                taken.append(row)
            self._at += 1
        return taken


def _place(row: Row, rule: Rule, event: bool, now_us: int, clock_trusted: bool, queue: int) -> _Place:
    if not clock_trusted:
        return _OLD_ENOUGH, 0.0, row.ordinal
    # A time to come is the time of a clock that was wrong: its age is not known, its place in the order is.
    age_us = max(now_us - row.end_us, 0)
    if age_us > rule.life_us(event):
        return _TOO_OLD, queue, row.ordinal
    if age_us < rule.min_us:
        return _YOUNG, 0.0, row.ordinal
    return _OLD_ENOUGH, -age_us / (rule.life_us(event) * rule.weight), row.ordinal


def _why(place: _Place, queue: Queue, short: Sequence[_Short], clock_trusted: bool) -> str | None:
    if place[0] == _TOO_OLD:
        return "age"
    about = [one.what for one in short if one.left > 0 and one.what.is_about(queue.key, queue.folder)]
    if any(one.quota is None for one in about):
        return "space" if clock_trusted else "order"
    return "quota" if about and place[0] != _YOUNG else None
