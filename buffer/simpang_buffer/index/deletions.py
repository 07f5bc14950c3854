"""Rows become garbage, and what is gone is recorded: when, by which rule, at whose wish.

Set by set: a page of a thousand rows costs some twenty statements, and its transaction takes a few
milliseconds, which is how long a closed segment waits for its row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from simpang_buffer.index.database import Database, Row, Transaction
from simpang_buffer.index.protection import protection
from simpang_buffer.index.rows import Place
from simpang_buffer.model import GapReason, Segment, StreamKey

DAY_US = 86_400_000_000
# Files of one run follow each other but for rounding; what lies further apart has a reason of its own.
_JOINED_US = 1_000_000
# A stream that flaps all day leaves no more rows than this for it.
_MOST_A_DAY = 200
# Runs tell why there is no footage, also before all that remains; so many are kept for it.
_MOST_OLD_RUNS = 1000
_ROWS = "select stream_id, start_us, run, seq, start_us + duration_us, size_bytes, folder_id from segment"
_IN = """(stream_id, start_us, run, seq) in
         (select value ->> 0, value ->> 1, value ->> 2, value ->> 3 from json_each(?))"""


@dataclass(frozen=True, slots=True)
class Order:
    """Why something is removed. rule: space, quota, age, order, person or lost. who and why: of a person.

    at_us: now, None where that is not known.
    """

    reason: GapReason
    rule: str = ""
    who: str = ""
    why: str = ""
    at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed: the rows, and their bytes."""

    places: frozenset[Place] = frozenset()
    size_bytes: int = 0
    # How long the transaction kept others from writing, its commit aside.
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Deletion:
    """A stretch that is gone. first_at_us and last_at_us: when it was removed, None for very old records."""

    key: StreamKey
    start_us: int
    end_us: int
    reason: GapReason
    rule: str
    who: str
    why: str
    size_bytes: int
    segments: int
    first_at_us: int | None
    last_at_us: int | None


async def condemn(tx: Transaction, places: Iterable[Place], order: Order) -> Removed:
    """Moves the rows to the garbage list and records what is gone. Rows that are no longer there are passed
    over, and so is what is held or pinned now, but for what the disk has lost: that nothing can hold.
    """
    rows = await _rows_of(tx, places)
    if order.reason is not GapReason.DISK_ERROR and (held := await protection(tx.rows)).ranges:
        named = await tx.rows("select id, camera, stream from stream")
        keys = {id_: StreamKey(camera, stream) for id_, camera, stream in named}
        rows = [row for row in rows if not held.covers(keys[row[0]], row[1], row[4])]
    if not rows:
        return Removed()
    await tx.run_many(
        "delete from segment where stream_id = ? and start_us = ? and run = ? and seq = ?",
        [row[:4] for row in rows],
    )
    await tx.run_many(
        "insert into garbage values (?, ?, ?, ?) on conflict do nothing",
        [(row[6], row[0], row[2], row[3]) for row in rows],
    )
    await _subtract(tx, rows)
    await _record(tx, list(_stretches(rows, order)))
    await tx.run_many(
        """delete from run where stream_id = ?1
             and run <= (select max(run) from run where stream_id = ?1) - ?2
             and end_us <= (select min(start_us) from segment where stream_id = ?1)""",
        [(stream_id, _MOST_OLD_RUNS) for stream_id in {row[0] for row in rows}],
    )
    return Removed(frozenset(row[:4] for row in rows), sum(row[5] for row in rows))


async def deletions(
    database: Database, camera: str | None, start_us: int, end_us: int, *, after: int = 0, limit: int = 500
) -> list[Deletion]:
    """What is gone of the footage in the range, newest footage first; all cameras where none is named.

    after: how many to pass over.
    """
    rows = await database.read(
        """select c.camera, c.stream, g.start_us, g.end_us, g.reason, g.rule, g.who, g.why, g.bytes,
                  g.segments, g.first_at_us, g.last_at_us
           from gone g join stream c on c.id = g.stream_id
           where (?1 is null or c.camera = ?1) and g.start_us < ?3 and g.end_us > ?2
           order by g.start_us desc, c.camera, c.stream, g.reason limit ?5 offset ?4""",
        (camera, start_us, end_us, after, limit),
    )
    return [Deletion(StreamKey(row[0], row[1]), row[2], row[3], GapReason(row[4]), *row[5:]) for row in rows]


async def _rows_of(tx: Transaction, places: Iterable[Place]) -> list[Row]:
    """(stream_id, start_us, run, seq, end_us, size_bytes, folder_id) of those that are there, in this order.

    Most are neighbours, and reading from the first to the last takes a third of asking for each.
    """
    found: list[Row] = []
    for stream_id, group in groupby(sorted(places), key=itemgetter(0)):
        wanted = list(group)
        most = 2 * len(wanted) + 100
        rows = await tx.rows(
            f"{_ROWS} where stream_id = ? and start_us between ? and ? order by start_us, run, seq limit ?",
            (stream_id, wanted[0][1], wanted[-1][1], most),
        )
        if len(rows) == most:
            rows = await tx.rows(f"{_ROWS} where {_IN} order by start_us, run, seq", (json.dumps(wanted),))
        chosen = set(wanted)
        found += [row for row in rows if row[:4] in chosen]
    return found


async def _subtract(tx: Transaction, rows: Sequence[Row]) -> None:
    """From the sums of streams and folders."""
    sums: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        place = sums.setdefault((row[0], row[6]), [0, 0])
        place[0] += row[5]
        place[1] += 1
    values = [(size, count, stream, folder) for (stream, folder), (size, count) in sums.items()]
    await tx.run_many(
        "update stored set bytes = bytes - ?, segments = segments - ? where stream_id = ? and folder_id = ?",
        values,
    )
    await tx.run_many(
        "update stream set bytes = bytes - ?, segments = segments - ? where id = ?",
        [value[:3] for value in values],
    )


class _Stretch(NamedTuple):
    """A row of `gone`, or what is to become one."""

    stream_id: int
    start_us: int
    end_us: int
    reason: str
    rule: str
    who: str
    why: str
    size_bytes: int
    segments: int
    first_at_us: int | None
    last_at_us: int | None

    @property
    def day(self) -> int:
        return self.start_us // DAY_US

    def joins(self, later: _Stretch) -> bool:
        mine = (self.stream_id, self.day, self.reason, self.rule, self.who, self.why)
        return mine == (later.stream_id, later.day, later.reason, later.rule, later.who, later.why)

    def with_(self, other: _Stretch) -> _Stretch:
        """Both as one; times of removal as far as known."""
        firsts = [at for at in (self.first_at_us, other.first_at_us) if at is not None]
        lasts = [at for at in (self.last_at_us, other.last_at_us) if at is not None]
        return self._replace(
            start_us=min(self.start_us, other.start_us),
            end_us=max(self.end_us, other.end_us),
            size_bytes=self.size_bytes + other.size_bytes,
            segments=self.segments + other.segments,
            first_at_us=min(firsts, default=None),
            last_at_us=max(lasts, default=None),
        )


def _stretches(rows: Sequence[Row], order: Order) -> Iterable[_Stretch]:
    """rows: of `_rows_of`."""
    at: list[Row] = []
    end_us = 0
    for row in (*rows, None):
        if at and (
            row is None
            or row[0] != at[0][0]
            or row[1] // DAY_US != at[0][1] // DAY_US
            or row[1] > end_us + _JOINED_US
        ):
            yield _Stretch(
                at[0][0], at[0][1], end_us, order.reason, order.rule, order.who, order.why,
                sum(one[5] for one in at), len(at), order.at_us, order.at_us,
            )  # fmt: skip
            at = []
        if row is not None:
            end_us = max(end_us, row[4]) if at else row[4]
            at.append(row)


async def _record(tx: Transaction, stretches: Sequence[_Stretch]) -> None:
    """Adds the stretches, each joined with the rows beside it where they are of one kind and day. Where they
    are not, the moment between two files is closed, so that it is no gap of its own."""
    known = await _beside(tx, stretches)
    written = dict(known)
    for stretch in stretches:
        merged = stretch
        for place, one in list(written.items()):
            if one.stream_id != merged.stream_id:
                continue
            near = one.start_us <= merged.end_us + _JOINED_US and merged.start_us <= one.end_us + _JOINED_US
            if one.joins(merged) and (near or await _may_bridge(tx, one, merged)):
                del written[place]
                merged = one.with_(merged)
            elif near and one.end_us < merged.start_us:
                merged = merged._replace(start_us=one.end_us)
            elif near and merged.end_us < one.start_us:
                merged = merged._replace(end_us=one.start_us)
        place = (merged.stream_id, merged.start_us, merged.reason)
        if place in written:
            found = written[place]._replace(rule=merged.rule, who=merged.who, why=merged.why)
            merged = found.with_(merged)
        written[place] = merged
    await tx.run_many(
        "delete from gone where stream_id = ? and start_us = ? and reason = ?",
        [place for place, one in known.items() if written.get(place) != one],
    )
    await tx.run_many(
        """insert into gone (stream_id, start_us, end_us, reason, rule, who, why, bytes, segments,
                             first_at_us, last_at_us) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           on conflict (stream_id, start_us, reason) do update set end_us = max(end_us, excluded.end_us),
             bytes = bytes + excluded.bytes, segments = segments + excluded.segments,
             rule = excluded.rule, who = excluded.who, why = excluded.why,
             last_at_us = excluded.last_at_us""",
        [
            (one.stream_id, one.start_us, one.end_us, one.reason, one.rule, one.who, one.why, one.size_bytes,
             one.segments, one.first_at_us, one.last_at_us)
            for place, one in written.items() if known.get(place) != one
        ],
    )  # fmt: skip


async def _beside(tx: Transaction, stretches: Sequence[_Stretch]) -> dict[tuple[int, int, str], _Stretch]:
    """The rows of `gone` that stand before each stretch, within it, or right behind it."""
    places = [(one.stream_id, one.start_us, one.end_us + _JOINED_US) for one in stretches]
    rows = await tx.rows(
        """with place as (select value ->> 0 as stream_id, value ->> 1 as start_us, value ->> 2 as end_us
                          from json_each(?1)),
                beside as (
             select p.stream_id, (select max(start_us) from gone g
                                  where g.stream_id = p.stream_id and g.start_us <= p.start_us) as start_us
             from place p
             union
             select g.stream_id, g.start_us from place p join gone g
               on g.stream_id = p.stream_id and g.start_us between p.start_us and p.end_us)
           select g.stream_id, g.start_us, g.end_us, g.reason, g.rule, g.who, g.why, g.bytes, g.segments,
                  g.first_at_us, g.last_at_us
           from beside b join gone g on g.stream_id = b.stream_id and g.start_us = b.start_us""",
        (json.dumps(places),),
    )
    return {(row[0], row[1], row[3]): _Stretch(*row) for row in rows}


async def _may_bridge(tx: Transaction, before: _Stretch, after: _Stretch) -> bool:
    """Whether the day has so many rows already that the hole between these two is not kept apart."""
    first, second = sorted((before, after), key=lambda one: one.start_us)
    day_us = first.day * DAY_US
    count = await tx.value(
        "select count(*) from gone where stream_id = ? and start_us between ? and ?",
        (first.stream_id, day_us, day_us + DAY_US - 1),
    )
    if count < _MOST_A_DAY:
        return False
    remaining = await tx.value(
        "select 1 from segment where stream_id = ? and start_us >= ? and start_us < ? limit 1",
        (first.stream_id, first.start_us, second.start_us),
    )
    return remaining is None


async def places_of(tx: Transaction, segments: Iterable[Segment]) -> list[Place]:
    """Where their rows would be; without those of streams that there are not."""
    named = await tx.rows("select camera, stream, id from stream")
    ids = {StreamKey(camera, stream): id_ for camera, stream, id_ in named}
    return [(ids[one.key], one.start_us, one.run, one.seq) for one in segments if one.key in ids]
