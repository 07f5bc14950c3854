"""The index: one row per closed segment, one writer. Times are microseconds UTC.

Invariants kept here (buffer/README.md): a row is added only after its file is durable; a segment leaves the
index only for the garbage list, in one transaction that also records what is gone and why.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from simpang_buffer.index.changes import names, stream_id_of
from simpang_buffer.index.database import Database, Transaction, media_beside, open_database
from simpang_buffer.index.deletions import Order, Removed, condemn, places_of
from simpang_buffer.index.errors import HoldsFull
from simpang_buffer.index.holds import held_bytes
from simpang_buffer.index.insertion import insert_run, insert_segments
from simpang_buffer.index.integrity import integrity_faults
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rows import (
    RUN_COLUMNS,
    SEGMENT_COLUMNS,
    Doomed,
    Gone,
    Pin,
    Place,
    Run,
    StreamTotals,
    run_of,
    segment_of,
    stretches,
)
from simpang_buffer.model import FIRST_FOLDER, GapReason, RunHeader, Segment, StreamKey, segment_path

# meta: no run is numbered below; what an index does not know of may bear those numbers.
LEAST_RUN = "least_run"
_NOWHERE = Path("/nonexistent")
_SELECT_SEGMENTS = f"select {SEGMENT_COLUMNS} from segment s join format f on f.id = s.format_id"


@asynccontextmanager
async def open_index(
    path: Path, media: Path | None = None, *, read_only: bool = False
) -> AsyncIterator[Index]:
    """Opens DATA/index.db, creating it at first. media: where segment paths start, by default the `media`
    folder beside it. read_only: for a look from another process while the daemon writes.

    Raises CorruptIndex, NewerSchema, ReadOnly or StorageFull, which say what to do.
    """
    async with open_database(path, read_only=read_only) as database:
        yield Index(database, media or media_beside(path))


class Index:
    """Every method is one transaction or one read; every write is durable when it returns."""

    def __init__(self, database: Database, media: Path) -> None:
        self.media = media
        # Where each media folder is, and those that cannot be read now; kept by folders.py where there are
        # more than the first.
        self.places: dict[int, Path] = {FIRST_FOLDER: media}
        self.absent: frozenset[int] = frozenset()
        # Copies of a move, by folder and path: on the garbage list until they are whole, and left alone.
        self.spared: set[tuple[int, Path]] = set()
        # For the modules beside this one that keep tables of their own (holds, events).
        self.db = database
        # Of the file that was open then: another one counts its streams anew.
        self._ids: dict[StreamKey, int] = {}
        self._generation = database.generation

    def path_of(self, segment: Segment) -> Path:
        """Where the segment's file lies, absolute as far as the media folder is. A folder that nobody has
        seen since the start has no place: the path is then of a file that is not there."""
        return self.places.get(segment.folder, _NOWHERE) / segment.path

    def files(self, folder: int = FIRST_FOLDER) -> MediaFiles:
        return MediaFiles(self.places.get(folder, _NOWHERE), folder)

    # Streams and runs

    async def add_stream(self, key: StreamKey) -> int:
        """The stream's id, made at first."""
        if (known := await self._id(key)) is not None:
            return known
        async with self.db.transaction() as tx:
            return await stream_id_of(tx, key)

    async def streams(self) -> list[StreamKey]:
        """Every stream ever recorded."""
        return [
            StreamKey(*row) for row in await self.db.read("select camera, stream from stream order by 1, 2")
        ]

    async def stream_totals(self) -> dict[StreamKey, StreamTotals]:
        rows = await self.db.read(
            """select camera, stream, bytes, segments,
                      (select start_us from segment where stream_id = id order by start_us limit 1),
                      (select end_us from segment where stream_id = id order by start_us desc limit 1)
               from stream"""
        )
        return {StreamKey(camera, stream): StreamTotals(*rest) for camera, stream, *rest in rows}

    async def next_run(self, key: StreamKey) -> int:
        """A run number above every one that add_run or keep_run_number was ever given for the stream."""
        await self.add_stream(key)
        rows = await self.db.read(
            """select max(next_run, coalesce((select cast(value as integer) from meta where key = ?3), 0))
               from stream where camera = ?1 and stream = ?2""",
            (*names(key), LEAST_RUN),
        )
        return int(rows[0][0])

    async def add_run(self, header: RunHeader, width: int, height: int) -> None:
        """Idempotent: the first row of a run stays as it is."""
        async with self.db.transaction() as tx:
            await insert_run(tx, header.key, header, width, height)

    async def keep_run_number(self, key: StreamKey, run: int) -> None:
        """The run was used, though nothing of it may be left: what was sent of it bears its number."""
        async with self.db.transaction() as tx:
            await tx.run(
                "update stream set next_run = max(next_run, ?) where id = ?",
                (run + 1, await stream_id_of(tx, key)),
            )

    async def runs(self, key: StreamKey, start_us: int, end_us: int) -> list[Run]:
        """Runs with footage ever added in the range, and the first run after it (whose previous_end explains
        the range's end), in order."""
        rows = await self.db.read(
            f"""select {RUN_COLUMNS} from run where stream_id = ? and end_us > ? and start_us < ? union all
                select * from (select {RUN_COLUMNS} from run where stream_id = ? and start_us >= ?
                               order by start_us, run limit 1) order by run""",
            (await self._id(key), start_us, end_us, await self._id(key), end_us),
        )
        return [run_of(key, row) for row in rows]

    async def run(self, key: StreamKey, run: int) -> Run | None:
        rows = await self.db.read(
            f"select {RUN_COLUMNS} from run where stream_id = ? and run = ?",
            (await self._id(key), run),
        )
        return run_of(key, rows[0]) if rows else None

    async def newest_run(self, key: StreamKey) -> Run | None:
        rows = await self.db.read(
            f"select {RUN_COLUMNS} from run where stream_id = ? order by run desc limit 1",
            (await self._id(key),),
        )
        return run_of(key, rows[0]) if rows else None

    async def newest_runs(self) -> dict[StreamKey, int]:
        rows = await self.db.read(
            """select camera, stream, newest from
                 (select camera, stream, (select max(run) from run where stream_id = id) as newest
                  from stream)
               where newest is not null"""
        )
        return {StreamKey(camera, stream): run for camera, stream, run in rows}

    async def settled_run(self, key: StreamKey) -> int:
        """Runs below it hold no file that is unknown: adoption need not look there."""
        rows = await self.db.read("select settled_run from stream where id = ?", (await self._id(key),))
        return int(rows[0][0]) if rows else 0

    async def settle(self, key: StreamKey, run: int) -> None:
        async with self.db.transaction() as tx:
            await tx.run(
                "update stream set settled_run = max(settled_run, ?) where id = ?",
                (run, await stream_id_of(tx, key)),
            )

    # Segments

    async def add_segment(self, segment: Segment) -> None:
        """The file must be durable and its run added. Idempotent."""
        await self.add_segments([segment])

    async def add_segments(self, segments: Sequence[Segment]) -> None:
        """Rows of many streams in one transaction, as `add_segment`, in the order they were recorded."""
        await self.db.at_once(lambda tx: insert_segments(tx, segments))

    async def take_in(
        self,
        key: StreamKey,
        header: RunHeader,
        segments: Sequence[Segment],
        *,
        size: tuple[int, int] | None = None,
        shift_us: int = 0,
    ) -> int:
        """Run and rows of files recorded before rows that the index holds; returns how many are new.

        key: the header's own, but for footage of another site. A run whose clock was corrected since keeps
        the correction. size: width and height at its start. shift_us: see `insert_segments`.
        """

        async def insert(tx: Transaction) -> int:
            width, height = size or (segments[0].width, segments[0].height)
            await insert_run(tx, key, header, width, height, late=True)
            return await insert_segments(tx, segments, late=True, shift_us=shift_us)

        return await self.db.at_once(insert)

    async def segments(self, key: StreamKey, start_us: int, end_us: int) -> list[Segment]:
        """Segments that overlap the range, in the order they were recorded (by run and sequence)."""
        rows = await self.db.read(
            f"""{_SELECT_SEGMENTS} where s.stream_id = ? and s.start_us < ? and s.end_us > ?
                and s.start_us >= ? - (select longest_us from stream where id = ?) order by s.run, s.seq""",
            (stream_id := await self._id(key), end_us, start_us, start_us, stream_id),
        )
        return [segment_of(key, row) for row in rows]

    async def extents(
        self, key: StreamKey, start_us: int, end_us: int
    ) -> list[tuple[int, int, int, int, int]]:
        """(run, seq, start_us, end_us, size_bytes) of the segments that overlap the range and can be read
        now, by start.

        A month takes some 40 ms, where whole segments would take a second.
        """
        absent = "and folder_id not in (select value from json_each(?4))" if self.absent else "and ?4 = '[]'"
        rows: list[Any] = await self.db.read(
            f"""select run, seq, start_us, start_us + duration_us, size_bytes from segment
                where stream_id = ?1 and start_us < ?2 and start_us + duration_us > ?3
                  and start_us >= ?3 - (select longest_us from stream where id = ?1)
                  {absent} order by start_us""",
            (await self._id(key), end_us, start_us, json.dumps(sorted(self.absent))),
        )
        return rows

    async def segments_of_run(self, key: StreamKey, run: int) -> list[Segment]:
        """Every segment of a run that the index holds, in order."""
        stream_id = await self._id(key)
        rows = await self.db.read(
            f"""{_SELECT_SEGMENTS} join run r on r.stream_id = s.stream_id and r.run = s.run
                where s.stream_id = ? and s.run = ? and s.start_us between r.start_us and r.end_us
                order by s.seq""",
            (stream_id, run),
        )
        return [segment_of(key, row) for row in rows]

    async def oldest(self, key: StreamKey) -> Segment | None:
        return await self._one(key, "order by s.start_us, s.run, s.seq limit 1")

    async def newest(self, key: StreamKey) -> Segment | None:
        return await self._one(key, "order by s.start_us desc, s.run desc, s.seq desc limit 1")

    async def in_order(self, after: int, limit: int) -> list[tuple[int, Segment]]:
        """(ordinal, segment) of all streams in the order they were added, from the first above `after`. Reads
        the whole index."""
        rows = await self.db.read(
            f"""select s.ordinal, c.camera, c.stream, {SEGMENT_COLUMNS} from segment s
                join format f on f.id = s.format_id join stream c on c.id = s.stream_id
                where s.ordinal > ? order by s.ordinal, s.stream_id, s.start_us, s.run, s.seq limit ?""",
            (after, limit),
        )
        return [(row[0], segment_of(StreamKey(row[1], row[2]), row[3:])) for row in rows]

    # Deleting: condemn, unlink, sync the folder, drop_garbage

    async def condemn(
        self, segments: Iterable[Segment], reason: GapReason, *, at_us: int | None = None
    ) -> int:
        """Moves the segments' paths to the garbage list and records what is gone and why; returns how many.

        reason: evicted, deleted or disk-error. Rows that are no longer there are passed over, and so is, but
        for disk-error, what is held or pinned: a pin made before this call is never overlooked.
        """
        order = Order(reason, "lost" if reason is GapReason.DISK_ERROR else "", at_us=at_us)
        async with self.db.transaction() as tx:
            return len((await condemn(tx, await places_of(tx, segments), order)).places)

    async def remove(self, orders: Sequence[tuple[Order, Sequence[Place]]]) -> Removed:
        """As `condemn`, for rows by their places, each set with why it goes; all in one transaction."""

        async def condemn_all(tx: Transaction) -> Removed:
            begun_s = time.monotonic()
            done = [await condemn(tx, places, order) for order, places in orders]
            return Removed(
                frozenset[Place]().union(*(one.places for one in done)),
                sum(one.size_bytes for one in done),
                time.monotonic() - begun_s,
            )

        return await self.db.at_once(condemn_all)

    async def garbage(self, folder: int | None = None) -> list[Path]:
        """Paths relative to their media folder (None: of all folders) that are to be unlinked."""
        rows = await self.db.read(
            """select c.camera, c.stream, g.run, g.seq from garbage g join stream c on c.id = g.stream_id
               where ?1 is null or g.folder_id = ?1 order by 1, 2, 3, 4""",
            (folder,),
        )
        return [segment_path(StreamKey(camera, stream), run, seq) for camera, stream, run, seq in rows]

    async def doomed(self, folder: int, after: Doomed | None = None, limit: int = -1) -> list[Doomed]:
        """What is on the garbage list of a folder, run by run, behind `after`."""
        keys = {id_: key for key, id_ in (await self._all_ids()).items()}
        at = (await self._id(after.key), after.run, after.seq) if after else (0, 0, -1)
        rows = await self.db.read(
            """select stream_id, run, seq from garbage
               where folder_id = ? and (stream_id, run, seq) > (?, ?, ?)
               order by stream_id, run, seq limit ?""",
            (folder, *at, limit),
        )
        return [Doomed(keys[stream_id], run, seq) for stream_id, run, seq in rows if stream_id in keys]

    async def drop_garbage(self, files: Iterable[Doomed], folder: int = FIRST_FOLDER) -> None:
        """Only after the files are unlinked and their folders synced. Of all writes the one that a power cut
        may undo: then they are unlinked once more."""
        ids = await self._all_ids()
        gone = [
            (folder, ids[key], run, *stretch)
            for (key, run), group in groupby(files, key=itemgetter(0, 1))
            for stretch in stretches(one.seq for one in group)
        ]
        sql = """delete from garbage
                 where folder_id = ? and stream_id = ? and run = ? and seq between ? and ?"""
        await self.db.at_once(lambda tx: tx.run_many(sql, gone), durable=False)

    async def gone(self, key: StreamKey, start_us: int, end_us: int) -> list[Gone]:
        """Stretches in the range that were recorded and are no more, in order."""
        rows = await self.db.read(
            """select start_us, end_us, reason from gone
               where stream_id = ? and start_us < ? and end_us > ? order by 1""",
            (await self._id(key), end_us, start_us),
        )
        return [Gone(start, end, GapReason(reason)) for start, end, reason in rows]

    async def faults(self) -> list[str]:
        """What SQLite finds wrong with the file, and totals that differ from the rows. Reads everything."""
        return await integrity_faults(self.db)

    # Pins

    async def pin(
        self, job: str, key: StreamKey, start_us: int, end_us: int, *, max_bytes: int | None = None
    ) -> None:
        """Holds the range for the job until `unpin`. Idempotent.

        max_bytes: what all pins may take, with the holds that are not legal ones; raises HoldsFull beyond it,
        and the job waits (recording does not).
        """
        async with self.db.transaction() as tx:
            stream_id = await stream_id_of(tx, key)
            await tx.run(
                "insert into pin values (?, ?, ?, ?) on conflict do nothing",
                (job, stream_id, start_us, end_us),
            )
            if max_bytes is not None and (held := await held_bytes(tx)) > max_bytes:
                raise HoldsFull(
                    f"{key}: this would hold {held} bytes, of {max_bytes}; wait until another job ends"
                )

    async def unpin(self, job: str) -> None:
        async with self.db.transaction() as tx:
            await tx.run("delete from pin where job = ?", (job,))

    async def pins(self) -> list[Pin]:
        rows = await self.db.read(
            "select job, camera, stream, start_us, end_us from pin join stream on stream.id = pin.stream_id"
        )
        return [Pin(job, StreamKey(camera, stream), start, end) for job, camera, stream, start, end in rows]

    # Facts

    async def meta(self, key: str) -> str | None:
        rows = await self.db.read("select value from meta where key = ?", (key,))
        return rows[0][0] if rows else None

    async def set_meta(self, key: str, value: str) -> None:
        async with self.db.transaction() as tx:
            await tx.run(
                "insert into meta values (?, ?) on conflict (key) do update set value = excluded.value",
                (key, value),
            )

    async def _id(self, key: StreamKey) -> int | None:
        if self._generation != self.db.generation:
            self._ids, self._generation = {}, self.db.generation
        if key not in self._ids:
            rows = await self.db.read("select id from stream where camera = ? and stream = ?", names(key))
            if not rows:
                return None
            self._ids[key] = rows[0][0]
        return self._ids[key]

    async def _all_ids(self) -> dict[StreamKey, int]:
        rows = await self.db.read("select camera, stream, id from stream")
        return {StreamKey(camera, stream): id_ for camera, stream, id_ in rows}

    async def _one(self, key: StreamKey, tail: str) -> Segment | None:
        rows = await self.db.read(f"{_SELECT_SEGMENTS} where s.stream_id = ? {tail}", (await self._id(key),))
        return segment_of(key, rows[0]) if rows else None
