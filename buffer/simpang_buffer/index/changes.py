"""Changes to several tables that belong together, made inside a transaction of the caller."""

from __future__ import annotations

from simpang_buffer.index.database import Transaction
from simpang_buffer.model import GapReason, Segment, StreamKey

# Later than any time that a microsecond column is given.
_FOREVER_US = 1 << 62


async def condemn(tx: Transaction, segment: Segment, reason: GapReason) -> bool:
    """Row to garbage, with a note of what is gone. False if the row is not there, or pinned.

    A pin protects from eviction and deletion; what the disk has lost it cannot protect.
    """
    stream_id = await stream_id_of(tx, segment.key)
    pinned = await tx.value(
        "select 1 from pin where stream_id = ? and start_us < ? and end_us > ? limit 1",
        (stream_id, segment.end_us, segment.start_us),
    )
    if (pinned and reason is not GapReason.DISK_ERROR) or not await forget(tx, stream_id, segment):
        return False
    await tx.run(
        "insert into garbage values (?, ?) on conflict do nothing",
        (segment.path.as_posix(), segment.folder),
    )
    await _note_gone(tx, stream_id, segment.start_us, segment.end_us, reason)
    await _forget_old_runs(tx, stream_id)
    return True


async def forget(tx: Transaction, stream_id: int, segment: Segment) -> bool:
    """Drops the row alone, so that its file is unknown. False if it is not there."""
    removed = await tx.run(
        "delete from segment where stream_id = ? and start_us = ? and run = ? and seq = ?",
        (stream_id, segment.start_us, segment.run, segment.seq),
    )
    if removed:
        await tx.run(
            "update stream set bytes = bytes - ?, segments = segments - 1 where id = ?",
            (segment.size_bytes, stream_id),
        )
    return bool(removed)


async def recount(tx: Transaction) -> None:
    """The sums kept in `stream`, from the rows."""
    await tx.run(
        """update stream set
             bytes = (select coalesce(sum(size_bytes), 0) from segment where stream_id = id),
             segments = (select count(*) from segment where stream_id = id),
             longest_us = (select coalesce(max(end_us - start_us), 0) from segment where stream_id = id)"""
    )


async def pinned_bytes(tx: Transaction) -> int:
    """What all pins hold; a segment that two pins hold counts for each."""
    return int(
        await tx.value(
            """select coalesce(sum(s.size_bytes), 0) from pin p join stream c on c.id = p.stream_id
               join segment s on s.stream_id = p.stream_id and s.start_us < p.end_us and s.end_us > p.start_us
                             and s.start_us >= p.start_us - c.longest_us"""
        )
    )


async def stream_id_of(tx: Transaction, key: StreamKey) -> int:
    """The stream's id, made at first."""
    await tx.run("insert into stream (camera, stream) values (?, ?) on conflict do nothing", names(key))
    return int(await tx.value("select id from stream where camera = ? and stream = ?", names(key)))


def names(key: StreamKey) -> tuple[str, str]:
    return key.camera, key.stream


async def _note_gone(tx: Transaction, stream_id: int, start_us: int, end_us: int, reason: GapReason) -> None:
    """Joins the stretch with neighbours of its reason that no remaining footage lies between, so that a
    stream evicted for years has a row, not a million."""
    before_us = await tx.value(
        "select end_us from segment where stream_id = ? and start_us < ? order by start_us desc limit 1",
        (stream_id, start_us),
    )
    after_us = await tx.value(
        "select start_us from segment where stream_id = ? and start_us >= ? order by start_us limit 1",
        (stream_id, start_us),
    )
    near = (
        stream_id,
        reason,
        before_us if before_us is not None else -_FOREVER_US,
        after_us if after_us is not None else _FOREVER_US,
    )
    neighbours = await tx.rows(
        """select start_us, end_us from gone
           where stream_id = ? and reason = ? and start_us >= ? and end_us <= ?""",
        near,
    )
    await tx.run(
        "delete from gone where stream_id = ? and reason = ? and start_us >= ? and end_us <= ?", near
    )
    await tx.run(
        """insert into gone (stream_id, start_us, end_us, reason) values (?, ?, ?, ?)
           on conflict (stream_id, start_us, reason) do update set end_us = max(end_us, excluded.end_us)""",
        (
            stream_id,
            min([start_us, *(row[0] for row in neighbours)]),
            max([end_us, *(row[1] for row in neighbours)]),
            reason,
        ),
    )


async def _forget_old_runs(tx: Transaction, stream_id: int) -> None:
    """Runs whose footage is gone and older than all that remains; the newest stays, it may be recording."""
    await tx.run(
        """delete from run where stream_id = ?1
             and end_us <= (select min(start_us) from segment where stream_id = ?1)
             and run < (select max(run) from run where stream_id = ?1)""",
        (stream_id,),
    )
