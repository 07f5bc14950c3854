"""What a gateway does to its disk, one thing at a time, to be killed anywhere: `kill_scenarios.py NAME DATA`.

What must still be there after a kill is printed when it is promised, a line each: `kept STREAM END_US`, `held
CAMERA`. `prepared` makes the folder that a scenario starts from.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

from media_samples import video
from recorded_runs import pictures, video_format
from recordings import START_US, Recording, Take, index_all, record
from simpang_buffer.index.adoption import adopt
from simpang_buffer.index.backup import back_up, backup_path
from simpang_buffer.index.clock_moves import move_run
from simpang_buffer.index.folder_identity import FolderPlan
from simpang_buffer.index.folders import Folders
from simpang_buffer.index.holds import HoldWish, hold, release
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.moving import Mover
from simpang_buffer.index.rebuild import Rebuild
from simpang_buffer.index.retention import Limits, Retention
from simpang_buffer.model import FIRST_FOLDER, AnchorSource, StreamKey
from simpang_buffer.recording.places import only
from simpang_buffer.recording.segment_writer import RunStart, SegmentWriter
from simpang_buffer.recording.sync import Disk, FileClosed, FileOpened, Report

GATE, YARD = StreamKey("gate", "main"), StreamKey("yard", "sub")
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
ALWAYS = (-(1 << 62), 1 << 62)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def recording(data: Path) -> None:
    """Two streams side by side through create, flush, rotate and close; each row as the daemon commits it."""
    units = video("h264", frames=90, width=96, height=64, key_every=15)
    reports: queue.SimpleQueue[Sequence[Report]] = queue.SimpleQueue()
    async with open_index(data / "index.db") as index:
        with Disk(reports.put, flush_s=0.05, gather_s=0.0) as disk:
            writers = {key: _writer(key, data / "media", await index.next_run(key)) for key in (GATE, YARD)}
            for unit in pictures(units):
                for writer in writers.values():
                    disk.submit(writer.add_picture(unit, video_format("h264", units)))
                await asyncio.sleep(0.003)
            for writer in writers.values():
                disk.submit(writer.finish())
            await asyncio.to_thread(_settled, disk)
        while not reports.empty():
            for report in reports.get():
                if isinstance(report, FileOpened):
                    head = report.file.head
                    await index.add_run(head.header, head.video.width, head.video.height)
                elif isinstance(report, FileClosed) and report.segment is not None:
                    await index.add_segments([report.segment])
                    say("kept", report.segment.key, report.segment.end_us)


async def adopting(data: Path) -> None:
    async with open_index(data / "index.db") as index:
        await adopt(data / "media", index)
        await _say_kept(data)


async def evicting(data: Path) -> None:
    """Down to half, then one range by hand."""
    async with open_index(data / "index.db") as index:
        totals = await index.stream_totals()
        half = sum(total.bytes for total in totals.values()) // 2
        retention = Retention(
            index,
            lambda _: Limits(max_bytes=half, min_free_bytes=0, max_days=3650),
            now_us=lambda: START_US + HOUR_US,
            clock_trusted=lambda: True,
        )
        await retention.run_once()


async def holding(data: Path) -> None:
    async with open_index(data / "index.db") as index:
        made = [
            await hold(index.db, _wish(camera), START_US + HOUR_US, 1 << 40) for camera in ("yard", "gate")
        ]
        say("held", "gate", made[1].id)
        await release(index.db, made[0].id, "a clerk", START_US + HOUR_US)
        await evicting(data)


async def migrating(data: Path) -> None:
    async with open_index(data / "index.db") as index:
        await adopt(data / "media", index)
        await _say_kept(data)


async def backing_up(data: Path) -> None:
    await asyncio.to_thread(back_up, data / "index.db", backup_path(data / "index.db"))
    await _say_kept(data)


async def rebuilding(data: Path) -> None:
    async with open_index(data / "index.db") as index:
        await Rebuild(index, {FIRST_FOLDER: MediaFiles(data / "media")}, "site", rest=0).run()


async def dating_anew(data: Path) -> None:
    """The clock was an hour slow."""
    async with open_index(data / "index.db") as index:
        for key in (GATE, YARD):
            await move_run(index, key, 1, START_US + 60 * SECOND_US + HOUR_US)
        await _say_kept(data)


async def moving(data: Path) -> None:
    """All footage to a second disk."""
    async with site_folders(data) as (index, folders):
        mover = Mover(index, folders, now_us=lambda: START_US)
        await mover.prepare()
        await folders.look()
        await mover.begin(1, 2, 1 << 40)
        while mover.move is not None and mover.move.state != "done":
            await mover.run_once()
        await _say_kept(data)


@asynccontextmanager
async def site_folders(data: Path) -> AsyncIterator[tuple[Index, Folders]]:
    """The data folder, and a second disk in it."""
    async with open_index(data / "index.db") as index:
        plans = [
            FolderPlan(place, lambda total: Limits(total, 0, 30), mount=False, first=place.name == "media")
            for place in (data / "media", data / "second")
        ]
        yield index, Folders(index, "site", plans, data=data, now_us=lambda: START_US)


SCENARIOS: dict[str, Callable[[Path], Awaitable[None]]] = {
    "recording": recording,
    "adopting": adopting,
    "evicting": evicting,
    "holding": holding,
    "migrating": migrating,
    "backing_up": backing_up,
    "rebuilding": rebuilding,
    "dating_anew": dating_anew,
    "moving": moving,
}


async def prepared(name: str, data: Path) -> None:
    """What the scenario finds: two closed runs that the index knows, and a torn tail that it does not."""
    media = data / "media"
    media.mkdir(parents=True)
    if name == "moving":
        (data / "second").mkdir()
    async with open_index(data / "index.db") as index:
        if name == "recording":
            return
        for key in (GATE, YARD):
            await index_all(index, await asyncio.to_thread(_short, media, key, 1))
            if name in ("adopting", "migrating", "rebuilding"):
                await asyncio.to_thread(_short, media, key, 2, close=False)
                await asyncio.to_thread(_tear, media / key.camera / key.stream / "000002")
    if name == "migrating":
        await asyncio.to_thread(_as_schema_1, data / "index.db")
    if name == "rebuilding":
        for path in data.glob("index.db*"):
            path.unlink()


def _short(media: Path, key: StreamKey, run: int, *, close: bool = True) -> Recording:
    take = Take(key=key, run=run, seconds=4, segment_s=1, start_us=START_US + run * 60 * SECOND_US)
    return record(media, take, close=close)


def _tear(folder: Path) -> None:
    last = max(folder.iterdir())
    with last.open("ab") as file:
        file.write(b"\0" * 500)


def _as_schema_1(path: Path) -> None:
    """The same rows in the tables of the first release."""
    old = Path(__file__).with_name("old_index_0001.sql").read_text()
    with closing(sqlite3.connect(path)) as new:
        rows = {
            # A row had its seal whole then.
            table: new.execute(
                f"select {columns} from {table}".replace("seal", "cast(seal || seal as blob)")
            ).fetchall()
            for table, columns in _SCHEMA_1.items()
        }
    for left in path.parent.glob("index.db*"):
        left.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.executescript(old)
        for table in ("garbage", "gone", "pin", "segment", "run", "format", "stream"):
            database.execute(f"delete from {table}")
        for table, values in rows.items():
            marks = ", ".join("?" * len(_SCHEMA_1[table].split(",")))
            database.executemany(f"insert into {table} ({_SCHEMA_1[table]}) values ({marks})", values)
        database.execute("pragma journal_mode = wal")
        database.commit()


_SCHEMA_1 = {
    "stream": "id, camera, stream, next_run, settled_run, longest_us, bytes, segments",
    "format": "id, header_sha256, codec, width, height",
    "run": "stream_id, run, anchor_us, anchor_source, camera_offset_us, previous_end, codec, width, height, "
    "start_us, end_us, last_seq",
    "segment": "stream_id, start_us, run, seq, end_us, size_bytes, fragments, frames, first_chunk, chunks, "
    "format_id, ordinal, seal",
}


def _wish(camera: str) -> HoldWish:
    return HoldWish(camera, None, START_US, START_US + HOUR_US, "evidence", "a clerk", "case-1")


def _writer(key: StreamKey, media: Path, run: int) -> SegmentWriter:
    start = RunStart("site", key, run, None, None)
    return SegmentWriter(start, only(media), None, lambda: (START_US, AnchorSource.RTCP), segment_s=2)


def _settled(disk: Disk) -> None:
    while disk.queued_bytes:
        os.sched_yield()


async def _say_kept(data: Path) -> None:
    """What the index holds now, which was promised long before."""
    async with open_index(data / "index.db") as index:
        for key in (GATE, YARD):
            newest = await index.newest(key)
            if newest is not None:
                say("kept", key, newest.end_us)


if __name__ == "__main__":
    asyncio.run(SCENARIOS[sys.argv[1]](Path(sys.argv[2])))
