"""Rows in groups: how many transactions it takes, and that nobody waits for long."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from recordings import Take, record
from simpang_buffer.index.database import Transaction
from simpang_buffer.index.errors import Busy, StorageFull
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import Segment, StreamKey
from simpang_buffer.recording.protocol import Message, run_fields, segment_fields
from simpang_buffer.recording.row_writer import RowWriter


@dataclass
class Site:
    index: Index
    writer: RowWriter
    told: list[Message] = field(default_factory=list)
    full: list[float] = field(default_factory=list)

    async def commits(self) -> int:
        """How often the database was written since it was opened."""
        return int((await self.index.db.read("pragma data_version"))[0][0])


@contextlib.asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    async with open_index(folder / "index.db") as index:

        async def then(message: Message) -> None:
            here.told.append(message)

        here = Site(index, RowWriter(index, then, lambda: here.full.append(0)))
        task = asyncio.create_task(here.writer.run(), name="rows")
        try:
            yield here
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def said_of(folder: Path, count: int) -> tuple[list[Message], list[Message], list[Segment]]:
    """What a recorder says of so many streams: opened and closed, and their rows."""
    opened: list[Message] = []
    closed: list[Message] = []
    rows: list[Segment] = []
    (folder / "media").mkdir()
    for number in range(count):
        key = StreamKey(f"camera-{number}", "main")
        take = Take(key=key, seconds=2, width=64, height=48)
        recording = await asyncio.to_thread(record, folder / "media", take)
        (row,) = recording.rows
        header = recording.files[0].head.header
        size = {"width": 64, "height": 48, "folder": 1}
        opened.append(Message("opened", key, run_fields(header) | size))
        place = {"run": row.run, "seq": row.seq}
        closed.append(Message("closed", key, place | {"segment": segment_fields(row)}))
        rows.append(row)
    return opened, closed, rows


async def test_all_files_of_a_group_are_one_transaction(tmp_path: Path) -> None:
    opened, closed, rows = await said_of(tmp_path, 12)
    async with site(tmp_path) as here:
        for message in opened:
            await here.writer.put(message)
        await here.writer.flushed()
        before = await here.commits()

        for message in closed:
            await here.writer.put(message)
        await here.writer.flushed()

        assert await here.commits() == before + 1
        assert {one.path async for one in _all(here.index)} == {row.path for row in rows}
        assert here.told == [*opened, *closed]


async def test_a_run_that_begins_comes_along_with_files_that_are_closed(tmp_path: Path) -> None:
    opened, closed, _ = await said_of(tmp_path, 6)
    async with site(tmp_path) as here:
        await here.writer.flushed()
        before = await here.commits()

        for message in opened[:5]:
            await here.writer.put(message)
        await asyncio.sleep(0)
        assert await here.commits() == before
        await here.writer.put(closed[0])
        await here.writer.put(opened[5])
        async with asyncio.timeout(1.5):
            while len(here.told) < 7:
                await asyncio.sleep(0.01)

        assert await here.commits() == before + 1


async def test_the_next_file_of_a_run_costs_no_transaction(tmp_path: Path) -> None:
    opened, _, _ = await said_of(tmp_path, 1)
    async with site(tmp_path) as here:
        await here.writer.put(opened[0])
        await here.writer.flushed()
        before = await here.commits()

        await here.writer.put(Message("opened", opened[0].stream, {**opened[0].fields, "seq": 1}))
        await here.writer.flushed()

        assert await here.commits() == before
        assert len(here.told) == 2


async def test_a_run_has_its_row_within_seconds_though_nothing_is_closed(tmp_path: Path) -> None:
    """Its number must not be given twice: chunks of it may have been sent."""
    opened, _, _ = await said_of(tmp_path, 1)
    key = opened[0].stream
    assert key is not None
    async with site(tmp_path) as here:
        await here.writer.put(opened[0])
        async with asyncio.timeout(4):
            while not here.told:
                await asyncio.sleep(0.02)

        assert await here.index.run(key, 1) is not None


async def test_a_full_disk_is_told_and_waited_for(tmp_path: Path) -> None:
    opened, closed, rows = await said_of(tmp_path, 2)
    async with site(tmp_path) as here:
        failures = iter([StorageFull("no room"), StorageFull("no room")])
        at_once = here.index.db.at_once

        async def full(body: Callable[[Transaction], Coroutine[object, object, None]]) -> None:
            if error := next(failures, None):
                raise error
            await at_once(body)

        here.index.db.at_once = full  # type: ignore[method-assign,assignment] # a disk that fills and empties
        for message in (*opened, *closed):
            await here.writer.put(message)
        await here.writer.flushed()

        assert len(here.full) == 2
        assert {one.path async for one in _all(here.index)} == {row.path for row in rows}
        assert here.told == [*opened, *closed]


async def test_rows_wait_while_another_program_keeps_the_index_locked(tmp_path: Path) -> None:
    """Somebody looks into it with a shell: no recorder is ended for that."""
    opened, closed, rows = await said_of(tmp_path, 1)
    async with site(tmp_path) as here:
        assert here.index.db._writer is not None
        await here.index.db._writer.execute("pragma busy_timeout = 50")
        locked = asyncio.Event()
        at_once = here.index.db.at_once

        async def tried(body: Callable[[Transaction], Coroutine[object, object, None]]) -> None:
            try:
                await at_once(body)
            except Busy:
                locked.set()
                raise

        here.index.db.at_once = tried  # type: ignore[method-assign,assignment] # so that the test hears of it
        with contextlib.closing(sqlite3.connect(here.index.db.path, isolation_level=None)) as other:
            other.execute("begin immediate")
            for message in (*opened, *closed):
                await here.writer.put(message)
            async with asyncio.timeout(10):
                await locked.wait()
            other.execute("rollback")
        await here.writer.flushed()

        assert {one.path async for one in _all(here.index)} == {row.path for row in rows}


async def _all(index: Index) -> AsyncIterator[Segment]:
    for key in await index.streams():
        for one in await index.segments(key, 0, 1 << 60):
            yield one
