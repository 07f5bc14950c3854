"""Changes to several tables that belong together, made inside a transaction of the caller."""

from __future__ import annotations

from simpang_buffer.index.database import Transaction
from simpang_buffer.model import Segment, StreamKey


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
        await tx.run(
            """update stored set bytes = bytes - ?, segments = segments - 1
               where stream_id = ? and folder_id = ?""",
            (segment.size_bytes, stream_id, segment.folder),
        )
    return bool(removed)


async def recount(tx: Transaction) -> None:
    """The sums kept in `stream` and `stored`, from the rows."""
    await tx.run("delete from stored")
    await tx.run(
        """insert into stored select stream_id, folder_id, sum(size_bytes), count(*) from segment
           group by stream_id, folder_id"""
    )
    await tx.run(
        """update stream set
             bytes = (select coalesce(sum(size_bytes), 0) from segment where stream_id = id),
             segments = (select count(*) from segment where stream_id = id),
             longest_us = (select coalesce(max(duration_us), 0) from segment where stream_id = id),
             last_ordinal = max(last_ordinal,
                                (select coalesce(max(ordinal), 0) from segment where stream_id = id))"""
    )


async def stream_id_of(tx: Transaction, key: StreamKey) -> int:
    """The stream's id, made at first."""
    await tx.run("insert into stream (camera, stream) values (?, ?) on conflict do nothing", names(key))
    return int(await tx.value("select id from stream where camera = ? and stream = ?", names(key)))


def names(key: StreamKey) -> tuple[str, str]:
    return key.camera, key.stream
