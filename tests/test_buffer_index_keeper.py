"""The index is kept whole beside recording: what the last run left, faults, rebuilds, backups."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from recordings import KEY, START_US, Take, forget_row, recorded, written
from simpang_buffer.index.backup import back_up, backup_path, damage
from simpang_buffer.index.check import check
from simpang_buffer.index.errors import CorruptIndex, StorageError, Unreadable
from simpang_buffer.index.index import Index
from simpang_buffer.index.keeper import Condition, IndexKeeper
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.opening import open_whole_index
from simpang_buffer.index.recovery import read_due
from simpang_buffer.media.boxes import Scan
from simpang_buffer.model import RunHeader, StreamKey, segment_path

NOW_US = START_US + 3_600_000_000


class SlowFiles(MediaFiles):
    """A file of many gigabytes: reading it takes until the test says so."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def read_back(self, path: Path) -> Scan:
        self._loop.call_soon_threadsafe(self.reading.set)
        asyncio.run_coroutine_threadsafe(self.go_on.wait(), self._loop).result()
        return super().read_back(path)


@dataclass
class Kept:
    index: Index
    keeper: IndexKeeper
    runs: list[tuple[RunHeader, int, int]] = field(default_factory=list)

    async def rows(self) -> list[tuple[int, int]]:
        return [(row.run, row.seq) for row in await self.index.segments(KEY, 0, START_US * 2)]


@contextlib.asynccontextmanager
async def kept(data: Path, files: MediaFiles | None = None, **options: object) -> AsyncIterator[Kept]:
    """An index with its keeper running, as the daemon has it."""
    media = data / "media"
    await asyncio.to_thread(media.mkdir, exist_ok=True)
    async with open_whole_index(data / "index.db", media, "site", NOW_US) as (index, due):
        runs: list[tuple[RunHeader, int, int]] = []
        keeper = IndexKeeper(
            index,
            "site",
            folders=lambda: [files or MediaFiles(media)],
            due=due,
            now_us=lambda: NOW_US,
            open_runs=lambda: runs,
            **options,  # type: ignore[arg-type]  # a test's bag of the keeper's own options
        )
        await keeper.prepare()
        running = asyncio.create_task(keeper.run())
        try:
            yield Kept(index, keeper, runs)
        finally:
            running.cancel()
            await asyncio.wait([running])


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.01)


def ok(one: Kept) -> Callable[[], bool]:
    return lambda: one.keeper.condition().state == "ok"


@pytest_asyncio.fixture
async def data(tmp_path: Path) -> Path:
    """Footage of a daemon that was killed: a closed run, and one whose last file is open."""
    async with kept(tmp_path) as one:
        await recorded(one.index, Take(seconds=4, segment_s=2, run=1))
    await written(
        tmp_path / "media", Take(seconds=4, segment_s=2, run=2, start_us=START_US + 10**7), close=False
    )
    return tmp_path


async def test_streams_can_be_recorded_before_what_lies_there_is_taken_in(data: Path) -> None:
    files = SlowFiles(data / "media")
    async with kept(data, files) as one:
        await files.reading.wait()

        # A stream's run number is above all that lie there, and its rows are written while the file is read.
        assert await one.index.next_run(KEY) == 3
        await recorded(one.index, Take(seconds=2, run=3, start_us=START_US + 2 * 10**7))
        assert one.keeper.condition().state == "adopting"

        files.go_on.set()
        await until(ok(one))
        assert await one.rows() == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0)]
        assert await check(one.index.media, one.index, deep=True) == []


async def test_what_is_recorded_meanwhile_is_not_touched(data: Path) -> None:
    files = SlowFiles(data / "media")
    async with kept(data, files) as one:
        await files.reading.wait()
        live = await written(data / "media", Take(seconds=4, run=3), close=False)
        before = live.files[0].path.read_bytes()

        files.go_on.set()
        await until(ok(one))

        assert live.files[0].path.read_bytes() == before
        assert await one.index.run(KEY, 3) is None


async def test_a_missing_index_is_rebuilt_and_backed_up(data: Path) -> None:
    (data / "index.db").unlink()
    async with kept(data) as one:
        states = {one.keeper.condition().state}
        await until(ok(one))

        assert states == {"rebuilding"}
        assert await one.rows() == [(1, 0), (1, 1), (2, 0), (2, 1)]
        assert read_due(data / "index.db") is None
        await until(lambda: one.keeper.condition().backup_us is not None)
        assert await asyncio.to_thread(damage, backup_path(data / "index.db")) is None


async def test_a_rebuild_that_was_cut_off_goes_on_at_the_next_start(data: Path) -> None:
    (data / "index.db").unlink()
    files = SlowFiles(data / "media")
    async with kept(data, files) as one:
        await files.reading.wait()
        assert one.keeper.condition().total == 4
        files.go_on.set()
        running = [task for task in asyncio.all_tasks() if task.get_name() == "index: adoption and rebuild"]
        running[0].cancel()

    async with kept(data) as one:
        assert one.keeper.condition().state == "rebuilding"
        await until(ok(one))
        assert await one.rows() == [(1, 0), (1, 1), (2, 0), (2, 1)]


async def test_a_person_may_ask_for_a_rebuild(data: Path) -> None:
    async with kept(data) as one:
        await until(ok(one))
        path = one.index.media / segment_path(KEY, 1, 0)
        lost = (await one.index.segments(KEY, 0, START_US * 2))[1]
        await forget_row(one.index, lost)
        await asyncio.to_thread(path.unlink)

        one.keeper.rebuild()

        assert one.keeper.condition().due is not None
        await until(ok(one))
        assert await one.rows() == [(1, 1), (2, 0), (2, 1)]


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


async def ruin(one: Kept) -> None:
    """Overwrites the database under its open connections."""
    await one.index.db.reopen(lambda: overwrite(one.index.db.path))


@pytest.mark.parametrize("backup", [True, False])
async def test_an_index_that_breaks_while_it_runs_is_replaced_and_rebuilt(data: Path, backup: bool) -> None:
    async with kept(data) as one:
        await until(ok(one))
        if backup:
            await asyncio.to_thread(back_up, one.index.db.path, backup_path(one.index.db.path))
        # A run goes on meanwhile: its first file is closed after the fault.
        live = await written(
            data / "media", Take(seconds=4, segment_s=2, run=5, start_us=START_US + 3 * 10**7)
        )
        head = live.files[0].head
        one.runs.append((head.header, head.video.width, head.video.height))

        with contextlib.suppress(CorruptIndex):
            await ruin(one)
        with contextlib.suppress(StorageError):
            await one.index.segments(KEY, 0, START_US * 2)

        await until(lambda: one.keeper.condition().due is not None)
        due = one.keeper.condition().due
        assert due is not None and (due.cause, due.from_backup) == ("damaged", backup)
        assert due.aside is not None and (data / due.aside).exists()
        await until(lambda: one.index.db.fault is None)
        for row in live.rows:
            await one.index.add_segment(row)
        await until(ok(one))
        assert await one.rows() == [(1, 0), (1, 1), (2, 0), (2, 1), (5, 0), (5, 1)]
        assert [row.seq for row in await one.index.segments_of_run(KEY, 5)] == [0, 1]
        assert await check(one.index.media, one.index, deep=True) == []


async def test_a_fault_that_a_check_does_not_confirm_replaces_nothing(data: Path) -> None:
    async with kept(data) as one:
        await until(ok(one))
        one.index.db.note(CorruptIndex("a read said so, once"))

        await until(ok(one))

        assert len(await one.rows()) == 4
        assert list(data.glob("index.db.damaged*")) == []


async def test_an_index_that_was_removed_while_it_was_open_is_made_anew(data: Path) -> None:
    async with kept(data) as one:
        await until(ok(one))
        for path in list(data.glob("index.db*")):
            await asyncio.to_thread(path.unlink)

        await until(lambda: one.keeper.condition().due is not None)
        due = one.keeper.condition().due
        assert due is not None and due.cause == "missing"
        await until(ok(one))

        assert len(await one.rows()) == 4
        assert (data / "index.db").exists()


async def test_a_disk_that_comes_and_goes_does_not_cost_the_index(data: Path) -> None:
    clock = [0.0]
    async with kept(data, monotonic=lambda: clock[0]) as one:
        await until(ok(one))
        for _ in range(3):
            await asyncio.to_thread((data / ".index-probe").mkdir)
            one.index.db.note(Unreadable("the disk refuses"))
            await until(lambda: one.keeper.condition().state == "failing")
            clock[0] += 600
            await asyncio.to_thread((data / ".index-probe").rmdir)
            await until(ok(one))

        assert list(data.glob("index.db.damaged*")) == []
        assert len(await one.rows()) == 4


async def test_while_its_folder_cannot_be_written_the_index_is_read_and_then_goes_on(data: Path) -> None:
    if os.geteuid() == 0:
        writable = data / ".index-probe"
        # Root writes anywhere; a folder in the way of the probe is refused to everybody.
        block: Callable[[], object] = writable.mkdir
        release: Callable[[], object] = writable.rmdir
    else:
        block, release = (lambda: data.chmod(0o555)), (lambda: data.chmod(0o755))
    async with kept(data) as one:
        await until(ok(one))
        await asyncio.to_thread(block)
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY
        with pytest.raises(StorageError), one.index.db._translated():
            raise error

        found = one.keeper.condition()
        assert (found.state, "readonly" in found.detail) == ("failing", True)
        await asyncio.sleep(0)
        assert len(await one.rows()) == 4

        await asyncio.to_thread(release)
        await until(ok(one))
        await one.index.set_meta("a", "b")
        assert one.keeper.condition() == Condition(backup_us=one.keeper.condition().backup_us)


async def test_backups_are_made_and_skipped_with_a_reason(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept(data, backup_every_s=0.05, backup_after_s=0.01) as one:
        await until(lambda: one.keeper.condition().backup_us == NOW_US)
        assert one.keeper.condition().backup_skipped is None

        # What the disk refuses is no reason to stop.
        target = backup_path(data / "index.db")
        blocked = target.with_name(target.name + ".new")
        await asyncio.to_thread(blocked.mkdir)
        await until(lambda: one.keeper.condition().backup_skipped is not None)
        await asyncio.to_thread(blocked.rmdir)
        await until(lambda: one.keeper.condition().backup_skipped is None)


async def test_a_stream_that_is_new_since_the_start_is_not_adopted(data: Path) -> None:
    media = data / "media"
    other = StreamKey("yard", "main")
    async with open_whole_index(data / "index.db", media, "site", NOW_US) as (index, due):
        keeper = IndexKeeper(
            index, "site", folders=lambda: [MediaFiles(media)], due=due, now_us=lambda: NOW_US
        )
        await keeper.prepare()
        live = await written(media, Take(seconds=4, key=other), close=False)
        before = live.files[0].path.read_bytes()
        running = asyncio.create_task(keeper.run())
        await until(lambda: keeper.condition().state == "ok")
        running.cancel()
        await asyncio.wait([running])

        assert live.files[0].path.read_bytes() == before
        assert await index.run(other, 1) is None


async def test_a_run_that_an_exchanged_index_hears_of_late_has_its_files(data: Path) -> None:
    async with kept(data) as one:
        await until(ok(one))
        live = await written(
            data / "media", Take(seconds=4, segment_s=2, run=9, start_us=START_US + 5 * 10**7)
        )
        for row in live.rows:
            await one.index.add_segment(row)

        head = live.files[0].head
        await one.index.add_run(head.header, head.video.width, head.video.height)

        assert await one.index.segments_of_run(KEY, 9) == live.rows
        run = await one.index.run(KEY, 9)
        assert run is not None and (run.last_seq, run.end_us) == (1, live.rows[1].end_us)
