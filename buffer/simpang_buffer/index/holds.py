"""Holds: ranges that nobody evicts because a person said so, and what they take together with the pins.

A hold over time that is still to come holds what will be recorded then. One that has ended, by a person or by
its own date, stays in the table as the record of who held what, why, and who let it go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simpang_buffer.index.database import Database, Row, Transaction
from simpang_buffer.index.errors import HoldsFull
from simpang_buffer.index.spans import Spans

# Each is looked at for every page of evictions; more are a program that has gone wrong.
MOST_HOLDS = 1000
_DAY_US = 86_400_000_000
# A rate that was measured over less would be a guess.
_LEAST_MEASURED_US = 10_000_000


@dataclass(frozen=True, slots=True)
class HoldWish:
    """stream: None for all of the camera's. case: holds of one case can be released together.

    legal: not bound by what holds may take. until_us: when it ends by itself, None for never.
    """

    camera: str
    stream: str | None
    start_us: int
    end_us: int
    reason: str
    who: str
    case: str = ""
    legal: bool = False
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """released_us: when it ended, None while it holds; released_by and released_why: who did it ("" for its
    own date) and why."""

    id: int
    wish: HoldWish
    made_us: int
    released_us: int | None = None
    released_by: str | None = None
    released_why: str = ""


_COLUMNS = (
    "id, camera, stream, start_us, end_us, reason, who, case_ref, legal, until_us, made_us, released_us, "
    "released_by, released_why"
)


async def hold(database: Database, wish: HoldWish, now_us: int, max_bytes: int) -> Hold:
    """Makes it. max_bytes: what all holds but legal ones may take, with the pins; what is still to be
    recorded counts by the rate of the last day. Raises HoldsFull, which says the figures.
    """
    async with database.transaction() as tx:
        if await tx.value("select count(*) from hold where released_us is null") >= MOST_HOLDS:
            raise HoldsFull(f"there are {MOST_HOLDS} holds already; release some, or hold longer ranges")
        before = 0 if wish.legal else await held_bytes(tx, now_us)
        await tx.run(
            """insert into hold (camera, stream, start_us, end_us, reason, who, case_ref, legal, until_us,
                                 made_us) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (wish.camera, wish.stream, wish.start_us, wish.end_us, wish.reason, wish.who, wish.case,
             int(wish.legal), wish.until_us, now_us),
        )  # fmt: skip
        made = Hold(int(await tx.value("select last_insert_rowid()")), wish, now_us)
        if not wish.legal and (held := await held_bytes(tx, now_us)) > max_bytes:
            raise HoldsFull(
                f"this would hold {_size(held - before)} more, {_size(held)} in all, of {_size(max_bytes)} "
                "that holds may take (buffer.hold_max_percent); release another, or hold less"
            )
    return made


async def release(database: Database, id_: int, who: str, now_us: int, why: str = "") -> Hold | None:
    """Ends it; None where there is no such hold. One that has ended stays as it is."""
    async with database.transaction() as tx:
        await tx.run(
            """update hold set released_us = ?, released_by = ?, released_why = ?
               where id = ? and released_us is null""",
            (now_us, who, why, id_),
        )
        rows = await tx.rows(f"select {_COLUMNS} from hold where id = ?", (id_,))
    return _hold_of(rows[0]) if rows else None


async def release_case(database: Database, case: str, who: str, now_us: int, why: str = "") -> list[Hold]:
    """Ends all of the case that hold; returns them."""
    return await _release(database, "case_ref = ? and case_ref <> ''", (case,), who, now_us, why)


async def expire(database: Database, now_us: int) -> list[Hold]:
    """Ends those whose time is up. Only to be asked under a trusted clock."""
    due = await database.read(
        "select 1 from hold where released_us is null and until_us <= ? limit 1", (now_us,)
    )
    return await _release(database, "until_us <= ?", (now_us,), "", now_us, "") if due else []


async def holds(
    database: Database, *, camera: str | None = None, ended: bool = False, after: int = 0, limit: int = 500
) -> list[Hold]:
    """Those that hold; ended: also those that no longer do. By id, from the first above `after`."""
    rows = await database.read(
        f"""select {_COLUMNS} from hold where id > ?1 and (?2 is null or camera = ?2)
            and (?3 or released_us is null) order by id limit ?4""",
        (after, camera, ended, limit),
    )
    return [_hold_of(row) for row in rows]


async def all_held_bytes(database: Database) -> int:
    """What nobody may evict now: pins and all holds, legal ones among them."""
    async with database.transaction() as tx:
        return await held_bytes(tx, legal=True)


async def held_bytes(tx: Transaction, now_us: int | None = None, *, legal: bool = False) -> int:
    """What pins and holds take, legal ones only where asked; what several hold counts once. now_us: counts
    also what is still to be recorded, at the rate of the last day before it."""
    ranges = await tx.rows(
        """select c.id, h.start_us, h.end_us from hold h join stream c
             on c.camera = h.camera and (h.stream is null or c.stream = h.stream)
           where h.released_us is null and (? or not h.legal)
           union select stream_id, start_us, end_us from pin""",
        (legal,),
    )
    by_stream: dict[int, list[tuple[int, int]]] = {}
    for stream_id, start_us, end_us in ranges:
        by_stream.setdefault(stream_id, []).append((start_us, end_us))
    held = 0
    for stream_id, stretches in by_stream.items():
        spans = Spans(stretches)
        counted_to_us = None
        for start_us, end_us in spans:
            size, last_us = await _bytes_between(tx, stream_id, start_us, end_us, counted_to_us)
            held += size
            counted_to_us = last_us if last_us is not None else counted_to_us
        ahead_us = 0 if now_us is None else sum(max(0, end - max(start, now_us)) for start, end in spans)
        if now_us is not None and ahead_us:
            held += await _bytes_in(tx, stream_id, now_us, ahead_us)
    return held


async def _bytes_in(tx: Transaction, stream_id: int, now_us: int, ahead_us: int) -> int:
    """What so much time to come will take, at the rate of the last day, or of what there is of it."""
    rows = await tx.rows(
        """select coalesce(sum(size_bytes), 0), min(start_us) from segment
           where stream_id = ? and start_us >= ? and start_us < ?""",
        (stream_id, now_us - _DAY_US, now_us),
    )
    size_bytes, first_us = (rows[0][0], rows[0][1]) if rows[0][1] is not None else (0, now_us)
    return int(size_bytes) * ahead_us // max(now_us - int(first_us), _LEAST_MEASURED_US)


async def _bytes_between(
    tx: Transaction, stream_id: int, start_us: int, end_us: int, above_us: int | None
) -> tuple[int, int | None]:
    """Of segments that touch the range and start above `above_us`, and where the last of them starts."""
    rows = await tx.rows(
        """select coalesce(sum(size_bytes), 0), max(start_us) from segment
           where stream_id = ?1 and start_us < ?3 and end_us > ?2 and (?4 is null or start_us > ?4)
             and start_us >= ?2 - (select longest_us from stream where id = ?1)""",
        (stream_id, start_us, end_us, above_us),
    )
    return int(rows[0][0]), rows[0][1]


async def _release(
    database: Database, which: str, values: Sequence[object], who: str, now_us: int, why: str
) -> list[Hold]:
    async with database.transaction() as tx:
        rows = await tx.rows(f"select id from hold where released_us is null and {which}", values)
        ids = [row[0] for row in rows]
        await tx.run_many(
            "update hold set released_us = ?, released_by = ?, released_why = ? where id = ?",
            [(now_us, who, why, id_) for id_ in ids],
        )
        found = [await tx.rows(f"select {_COLUMNS} from hold where id = ?", (id_,)) for id_ in ids]
    return [_hold_of(rows[0]) for rows in found]


def _hold_of(row: Row) -> Hold:
    id_, camera, stream, start_us, end_us, reason, who, case, legal, until_us, *rest = row
    wish = HoldWish(camera, stream, start_us, end_us, reason, who, case, bool(legal), until_us)
    return Hold(id_, wish, *rest)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 10**7 else f"{size_bytes} bytes"
