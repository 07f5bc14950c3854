"""What might be evicted next: of each stream and folder the oldest segments that nobody holds, read in pages
and kept from look to look, since most looks find nothing to do.

What is passed over (held, or of an event) is not read again at every look: only where it may have become
free, because a hold or pin ended or an event was told of late, and each hour, when everything is read anew,
since files may be taken in late and runs dated anew.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from simpang_buffer.index.database import Row as DatabaseRow
from simpang_buffer.index.events import EVENT_MOST_US, event_spans
from simpang_buffer.index.eviction import Queue, Row, Rule
from simpang_buffer.index.index import Index
from simpang_buffer.index.misdated import Misdated, misdated_runs
from simpang_buffer.index.protection import Protected, Protection, protection
from simpang_buffer.index.rows import Place
from simpang_buffer.index.spans import Spans
from simpang_buffer.model import StreamKey

# Held in memory of each queue: 25 kB.
_PAGE = 100
# Read at once where much is evicted or passed over; judging them takes the loop a millisecond.
_LONG_PAGE = 1000
_ANEW_US = 3_600_000_000
# No segment is longer (segment_s is at most ten minutes, but key frames may be minutes apart).
_LONGEST_US = 1_800_000_000
_FIRST = (-(1 << 62), -1, -1)


class _Kind(enum.Enum):
    """Which rows of a stream and folder make one queue, the oldest first."""

    ALL = enum.auto()
    PLAIN = enum.auto()
    EVENT = enum.auto()
    MISDATED = enum.auto()


@dataclass
class _Window:
    """Rows read and not yet evicted; at: (start_us, run, seq) of the last row looked at; more: it may not be
    the last; limit: how many are read next."""

    rows: deque[Row] = field(default_factory=deque)
    at: tuple[int, int, int] = _FIRST
    more: bool = True
    limit: int = _PAGE


class Candidates:
    """booted_us: when this machine booted, by its clock of now (None: not known): a run of this boot cannot
    be older, whatever it was dated by a clock that was set since. margin_us: so much around an event is kept
    as long as it.
    """

    def __init__(self, index: Index, margin_us: int, booted_us: Callable[[], int | None]) -> None:
        self.protection = Protection()
        self._index = index
        self._margin_us = margin_us
        self._booted_us = booted_us
        self._windows: dict[tuple[StreamKey, int, _Kind], _Window] = {}
        # Streams with runs of this boot that say they are older than it, from this run on.
        self._misdated: dict[StreamKey, dict[int, Misdated]] = {}
        self._folders: dict[StreamKey, set[int]] = {}
        self._ids: dict[StreamKey, int] = {}
        self._last_event = 0
        self._trusted: bool | None = None
        self._read_at_us: int | None = None

    async def look(self, now_us: int, clock_trusted: bool) -> None:
        """Notes what has changed since the last look."""
        for window in self._windows.values():
            window.limit = _PAGE
        stale = self._read_at_us is None or not 0 <= now_us - self._read_at_us < _ANEW_US
        if stale or clock_trusted != self._trusted:
            await self._start_over(now_us, clock_trusted)
        held = await protection(self._index.db.read)
        if held.ranges != self.protection.ranges:
            freed, self.protection = self.protection.ranges - held.ranges, held
            self._rewind(freed)
            for (key, _, _), window in self._windows.items():
                window.rows = deque(
                    row for row in window.rows if not held.covers(key, row.start_us, row.end_us)
                )
        events = await self._index.db.read(
            "select id, camera, start_us from event where id > ?", (self._last_event,)
        )
        self._last_event = max((row[0] for row in events), default=self._last_event)
        self._rewind((row[1], None, row[2] - self._margin_us, row[2] + EVENT_MOST_US) for row in events)
        for camera, stream, id_, folder in await self._index.db.read(
            """select c.camera, c.stream, c.id, s.folder_id from stored s join stream c on c.id = s.stream_id
               where s.segments > 0"""
        ):
            key = StreamKey(camera, stream)
            self._ids[key] = id_
            self._folders.setdefault(key, set()).add(folder)

    def forget(self) -> None:
        """Everything is read anew at the next look: older rows may have come."""
        self._read_at_us = None

    async def queues(self, rules: Callable[[StreamKey], Rule], folders: Collection[int]) -> list[Queue]:
        """Every queue of these folders, those that ran dry filled again."""
        found = []
        for key, stored in self._folders.items():
            rule = rules(key)
            # Without a trusted clock an event is no reason: there is one order, that of recording.
            apart = bool(self._trusted) and rule.event_us > rule.max_us
            kinds = [_Kind.PLAIN, _Kind.EVENT] if apart else [_Kind.ALL]
            if key in self._misdated:
                kinds.append(_Kind.MISDATED)
            for folder in stored.intersection(folders):
                for kind in kinds:
                    window = self._windows.setdefault((key, folder, kind), _Window())
                    while not window.rows:
                        if not await self._fill(window, key, folder, kind):
                            break
                    found.append(Queue(key, folder, kind is _Kind.EVENT, window.rows, window.more))
        return found

    def drop(self, key: StreamKey, places: frozenset[Place]) -> None:
        """They were evicted, or may not be: they are looked at no more."""
        for (of, _, _), window in self._windows.items():
            if of != key:
                continue
            while window.rows and window.rows[0].place in places:
                window.rows.popleft()
            if any(row.place in places for row in window.rows):
                window.rows = deque(row for row in window.rows if row.place not in places)

    async def _start_over(self, now_us: int, clock_trusted: bool) -> None:
        self._windows.clear()
        self._folders.clear()
        self._trusted, self._read_at_us = clock_trusted, now_us
        self._last_event = (await self._index.db.read("select coalesce(max(id), 0) from event"))[0][0]
        self._misdated = {}
        if clock_trusted:
            self._misdated = await misdated_runs(self._index.db, now_us, self._booted_us())

    def _rewind(self, ranges: Iterable[Protected]) -> None:
        """Has read anew what lies in them or behind, and was passed over or taken for something else."""
        for camera, stream, start_us, _ in ranges:
            back = (start_us - _LONGEST_US, -1, -1)
            for (key, _, _), window in self._windows.items():
                if key.camera != camera or stream not in (None, key.stream):
                    continue
                if not self._trusted:
                    window.rows, window.at, window.more = deque(), _FIRST, True
                elif window.at > back:
                    window.rows = deque(row for row in window.rows if row.start_us < back[0])
                    window.at, window.more = back, True

    async def _fill(self, window: _Window, key: StreamKey, folder: int, kind: _Kind) -> bool:
        """Looks at the rows behind; whether there may be more."""
        # Most queues give up a row now and then; one that was emptied at once has more to give.
        limit, window.limit = window.limit, _LONG_PAGE
        rows = await self._read(key, window.at, limit, kind)
        spans = Spans()
        apart = kind in (_Kind.PLAIN, _Kind.EVENT)
        if apart and rows:
            ends_us = max(row[3] for row in rows)
            spans = await event_spans(self._index.db, key.camera, rows[0][2], ends_us, self._margin_us)
        held, id_ = self.protection.of(key), self._ids[key]
        wrong = self._misdated.get(key, {})
        if rows:
            window.at = (rows[-1][2], rows[-1][0], rows[-1][1])
        for run, seq, start_us, end_us, size_bytes, ordinal, where in rows:
            if where != folder or held.touch(start_us, end_us):
                continue
            if apart and spans.touch(start_us, end_us) != (kind is _Kind.EVENT):
                continue
            misdated = wrong.get(run)
            if misdated is not None and end_us >= misdated.below_us:
                misdated = None
            if (misdated is None) == (kind is _Kind.MISDATED):
                continue
            end_us = end_us if misdated is None else misdated.latest_us
            window.rows.append(Row(ordinal, start_us, end_us, size_bytes, (id_, start_us, run, seq)))
        window.more = len(rows) == limit
        return window.more

    async def _read(
        self, key: StreamKey, at: tuple[int, int, int], limit: int, kind: _Kind
    ) -> list[DatabaseRow]:
        start_us, run, seq = at
        if kind is _Kind.MISDATED and at == _FIRST:
            run = min(self._misdated[key])
        if self._trusted and kind is not _Kind.MISDATED:
            return await self._index.db.read(
                """select run, seq, start_us, start_us + duration_us, size_bytes, ordinal, folder_id
                   from segment
                   where stream_id = ? and (start_us, run, seq) > (?, ?, ?)
                   order by start_us, run, seq limit ?""",
                (self._ids[key], start_us, run, seq, limit),
            )
        return await self._index.db.read(
            """select s.run, s.seq, s.start_us, s.end_us, s.size_bytes, s.ordinal, s.folder_id
               from run r join segment s
                 on s.stream_id = r.stream_id and s.start_us between r.start_us and r.end_us and s.run = r.run
               where r.stream_id = ?1 and r.run >= ?2 and (r.run > ?2 or s.start_us > ?3)
               order by r.run, s.start_us limit ?4""",
            (self._ids[key], run, start_us, limit),
        )
