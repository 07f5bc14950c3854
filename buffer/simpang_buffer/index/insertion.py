"""Runs and segments become rows, many in one transaction, each with its place in the order of eviction.

`ordinal` is that order, over all streams: milliseconds, about when a file ended by the clock of then, but
always above those of all rows that were recorded before, whatever the clock said. A file that is taken in
late (its recorder died, the index was lost) is put where it would have stood: by its own time, and behind the
runs of its stream that came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from simpang_buffer.index.changes import stream_id_of
from simpang_buffer.index.database import Transaction
from simpang_buffer.model import RunHeader, Segment, StreamKey

# meta: rows recorded from now on stand behind this, though what came before is not in the index yet.
ORDINAL_FLOOR = "ordinal_floor"


async def insert_run(
    tx: Transaction, key: StreamKey, header: RunHeader, width: int, height: int, *, late: bool = False
) -> None:
    """The first row of a run stays as it is. key: the header's own but for footage of another site. late: it
    was recorded before runs that the index holds."""
    stream_id = await stream_id_of(tx, key)
    added = await tx.run(
        """insert into run (stream_id, run, anchor_us, anchor_source, camera_offset_us, previous_end,
                            codec, width, height, boot_id, anchor_boot_us)
           values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing""",
        (stream_id, header.run, header.anchor_us, header.anchor_source, header.camera_offset_us,
         header.previous_end, header.codec, width, height, header.boot_id, header.anchor_boot_us),
    )  # fmt: skip
    if added and not late:
        # The index may have been exchanged under a run, and heard of its files before it hears of the run.
        await tx.run(
            """update run set (start_us, end_us, last_seq) =
                 (select min(start_us), max(end_us), coalesce(max(seq), -1) from segment
                  where stream_id = ?1 and run = ?2 and start_us >= anchor_us)
               where stream_id = ?1 and run = ?2""",
            (stream_id, header.run),
        )
    await tx.run("update stream set next_run = max(next_run, ?) where id = ?", (header.run + 1, stream_id))


async def insert_segments(
    tx: Transaction, segments: Sequence[Segment], *, late: bool = False, shift_us: int = 0
) -> int:
    """Adds the rows and what derives from them; a row that is there already stays. Returns how many are new.

    late: they were recorded before rows that the index holds. shift_us: how much later than they say the
    files were recorded, where that is known.
    """
    added = 0
    for (key, run), group in groupby(segments, key=lambda one: (one.key, one.run)):
        added += await _insert_of_run(tx, await stream_id_of(tx, key), run, list(group), late, shift_us)
    return added


async def _insert_of_run(
    tx: Transaction, stream_id: int, run: int, given: list[Segment], late: bool, shift_us: int
) -> int:
    given = await _as_dated(tx, stream_id, run, given)
    start_us, end_us = min(one.start_us for one in given), max(one.end_us for one in given)
    rows = await tx.rows(
        "select seq, start_us from segment where stream_id = ? and start_us between ? and ? and run = ?",
        (stream_id, start_us, max(one.start_us for one in given), run),
    )
    known = set(rows)
    # By their place in the table, so that one that is given twice is added once.
    new = list({(one.seq, one.start_us): one for one in given}.items())
    segments = [one for place, one in new if place not in known]
    if not segments:
        return 0
    if late:
        ordinals = await _late_ordinals(tx, stream_id, run, segments, shift_us)
    else:
        ordinals = await _next_ordinals(tx, segments)
    formats = {one.header_sha256: (one.header_sha256, one.codec, one.width, one.height) for one in segments}
    await tx.run_many(
        "insert into format (header_sha256, codec, width, height) values (?, ?, ?, ?) on conflict do nothing",
        list(formats.values()),
    )
    await tx.run_many(
        """insert into segment (stream_id, start_us, run, seq, duration_us, size_bytes, fragments, frames,
                                first_chunk, chunks, format_id, ordinal, seal, folder_id)
           values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (select id from format where header_sha256 = ?), ?, ?, ?)""",
        [
            (stream_id, one.start_us, run, one.seq, one.end_us - one.start_us, one.size_bytes, one.fragments,
             one.frames, one.first_chunk, one.chunks, one.header_sha256, ordinal, one.seal, one.folder)
            for one, ordinal in zip(segments, ordinals, strict=True)
        ],
    )  # fmt: skip
    await tx.run(
        """update run set start_us = min(coalesce(start_us, ?1), ?1), end_us = max(coalesce(end_us, ?2), ?2),
                          last_seq = max(last_seq, ?3) where stream_id = ?4 and run = ?5""",
        (start_us, end_us, max(one.seq for one in segments), stream_id, run),
    )
    await tx.run(
        """update stream set longest_us = max(longest_us, ?), bytes = bytes + ?, segments = segments + ?,
                             last_ordinal = max(last_ordinal, ?) where id = ?""",
        (
            max(one.end_us - one.start_us for one in segments),
            sum(one.size_bytes for one in segments),
            len(segments),
            max(ordinals),
            stream_id,
        ),
    )
    await tx.run_many(
        """insert into stored values (?, ?, ?, 1) on conflict (stream_id, folder_id)
           do update set bytes = bytes + excluded.bytes, segments = segments + 1""",
        [(stream_id, one.folder, one.size_bytes) for one in segments],
    )
    return len(segments)


async def _as_dated(tx: Transaction, stream_id: int, run: int, given: list[Segment]) -> list[Segment]:
    """Times are those in the files: where the run was dated anew since, the rows are, too."""
    moved_us = await tx.value(
        "select coalesce(anchor_us - recorded_anchor_us, 0) from run where stream_id = ? and run = ?",
        (stream_id, run),
    )
    if not moved_us:
        return given
    return [replace(one, start_us=one.start_us + moved_us, end_us=one.end_us + moved_us) for one in given]


async def _next_ordinals(tx: Transaction, segments: Sequence[Segment]) -> list[int]:
    """Behind everything, the ordinal floor included."""
    last = await tx.value(
        """select max((select max(last_ordinal) from stream),
                      coalesce((select cast(value as integer) from meta where key = ?), 0))""",
        (ORDINAL_FLOOR,),
    )
    ordinals = []
    for one in segments:
        last = max(last + 1, one.end_us // 1000)
        ordinals.append(last)
    return ordinals


async def _late_ordinals(
    tx: Transaction, stream_id: int, run: int, segments: Sequence[Segment], shift_us: int
) -> list[int]:
    least = 1 + await _last_ordinal_before(tx, stream_id, run)
    # Those that would be negative were dated before 1970, by a clock that nobody believes.
    return [max((one.start_us + shift_us) // 1000, least) for one in segments]


async def _last_ordinal_before(tx: Transaction, stream_id: int, run: int) -> int:
    """That of the last segment of the stream's run before, 0 where there is none."""
    before = await tx.rows(
        """select run, start_us, end_us from run where stream_id = ? and run < ? and last_seq >= 0
           order by run desc limit 1""",
        (stream_id, run),
    )
    if not before:
        return 0
    number, start_us, end_us = before[0]
    found = await tx.value(
        """select ordinal from segment where stream_id = ? and start_us between ? and ? and run = ?
           order by start_us desc limit 1""",
        (stream_id, start_us, end_us, number),
    )
    return int(found or 0)
