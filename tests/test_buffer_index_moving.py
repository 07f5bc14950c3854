"""Moving a folder's footage: every step may be the last of a process, and nothing is lost or left over."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from recordings import KEY, START_US, Take, recorded
from simpang_buffer.index.check import check
from simpang_buffer.index.copying import Copier
from simpang_buffer.index.folder_identity import FolderPlan
from simpang_buffer.index.folders import Folders
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.moving import Mover, MoveRefused
from simpang_buffer.index.space import Limits
from simpang_buffer.model import GapReason, Segment
from simpang_buffer.reading.sources import sources

ALL = (0, START_US * 2)
BYTES_PER_S = 10**9


@dataclass
class Site:
    index: Index
    folders: Folders
    mover: Mover

    async def rows(self) -> list[Segment]:
        return await self.index.segments(KEY, *ALL)

    async def whole(self) -> bool:
        """Index and files agree, also about what is nobody's."""
        files = self.folders.files()
        for one in files:
            await empty_garbage(self.index, one)
        found = await check(self.index.media, self.index, deep=True, folders=files)
        kept = {one.root / row.path for row in await self.rows() for one in files if one.folder == row.folder}
        on_disk = {path for one in files for path in one.root.rglob("*.mp4")}
        return found == [] and kept == on_disk

    async def done(self) -> None:
        async with asyncio.timeout(20):
            while self.mover.move is not None and self.mover.move.state != "done":
                assert await self.mover.run_once()


@contextlib.asynccontextmanager
async def opened(data: Path, copier: Copier | None = None) -> AsyncIterator[Site]:
    async with open_index(data / "index.db") as index:
        first = FolderPlan(data / "media", lambda total: Limits(total, 0, 30), first=True)
        second = FolderPlan(data.parent / "second", first.limits, mount=False)
        folders = Folders(index, "digulis", [first, second], data=data, now_us=lambda: START_US)
        mover = Mover(index, folders, now_us=lambda: START_US, copier=copier)
        await mover.prepare()
        await folders.look()
        yield Site(index, folders, mover)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("data/media", "second"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path / "data"


@pytest_asyncio.fixture
async def at(data: Path) -> AsyncIterator[Site]:
    async with opened(data) as site:
        await recorded(site.index, Take(seconds=10, segment_s=1, run=1))
        await site.folders.look()
        yield site


async def test_all_footage_lies_in_the_other_folder_and_is_what_it_was(at: Site) -> None:
    before = await at.rows()
    bytes_before = [at.index.path_of(row).read_bytes() for row in before]

    await at.mover.begin(1, 2, BYTES_PER_S)
    await at.done()

    after = await at.rows()
    assert {row.folder for row in after} == {2}
    assert [(row.seq, row.seal, row.size_bytes) for row in after] == [
        (row.seq, row.seal, row.size_bytes) for row in before
    ]
    assert [at.index.path_of(row).read_bytes() for row in after] == bytes_before
    assert list(at.index.media.rglob("*.mp4")) == []
    assert await at.index.garbage() == []
    assert await at.index.faults() == []
    assert await at.whole()
    assert at.mover.move is not None
    assert (at.mover.move.state, at.mover.move.left_bytes) == ("done", 0)


async def test_what_is_newest_comes_first_and_progress_is_told(at: Site) -> None:
    await at.mover.begin(1, 2, BYTES_PER_S)
    assert await at.mover.run_once()

    rows, move = await at.rows(), at.mover.move
    assert [row.folder for row in rows] == [1] * 2 + [2] * 8
    assert move is not None
    assert move.left_bytes == sum(row.size_bytes for row in rows[:2])
    assert move.total_bytes == sum(row.size_bytes for row in rows)


async def test_nothing_new_is_written_to_a_folder_that_moves_until_it_is_released(at: Site) -> None:
    async def ordered() -> list[int]:
        await at.folders.look()
        return [one.id for one in at.folders.ordered]

    seen = [await ordered()]
    await at.mover.begin(1, 2, BYTES_PER_S)
    seen.append(await ordered())
    await at.done()
    seen.append(await ordered())
    await at.mover.stop()
    seen.append(await ordered())

    assert [sorted(one) for one in seen] == [[1, 2], [2], [2], [1, 2]]


class Dies(Copier):
    """The process ends after so many copies."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    async def copy(self, source: MediaFiles, target: MediaFiles, row: Segment, bytes_per_s: int) -> None:
        if self.left == 0:
            raise MemoryError("the end")
        self.left -= 1
        await super().copy(source, target, row, bytes_per_s)


@pytest.mark.parametrize("after", [0, 1, 8, 9])
async def test_a_move_goes_on_after_its_process_has_died_amid_copies(data: Path, after: int) -> None:
    async with opened(data, Dies(after)) as at:
        await recorded(at.index, Take(seconds=10, segment_s=1, run=1))
        before = await at.rows()
        await at.mover.begin(1, 2, BYTES_PER_S)
        with pytest.raises(MemoryError):
            await at.done()

    async with opened(data) as at:
        assert await at.whole()
        assert [row.folder for row in await at.rows()] == [1] * (10 - after // 8 * 8) + [2] * (after // 8 * 8)
        await at.done()

        assert [(row.seq, row.seal, row.folder) for row in await at.rows()] == [
            (row.seq, row.seal, 2) for row in before
        ]
        assert await at.whole()


class DiesAt:
    """The n-th transaction or unlink of a process is the one that it does not live to see."""

    def __init__(self, index: Index, number: int) -> None:
        self.left = number
        self._transaction = index.db.transaction
        self._at_once = index.db.at_once
        self._drop = index.drop_garbage
        index.db.transaction = self._counted  # type: ignore[method-assign,assignment]  # a process that dies there
        index.db.at_once = self._counted_at_once  # type: ignore[method-assign,assignment]  # the same
        index.drop_garbage = self._dropped  # type: ignore[method-assign]  # the same

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise MemoryError("the end")

    @contextlib.asynccontextmanager
    async def _counted(self) -> AsyncIterator[object]:
        self._count()
        async with self._transaction() as tx:
            yield tx

    async def _counted_at_once(self, *given: Any, **named: Any) -> object:
        self._count()
        return await self._at_once(*given, **named)

    async def _dropped(self, *given: object) -> None:
        # The files are unlinked, the list does not say so yet.
        self._count()
        await self._drop(*given)  # type: ignore[arg-type]  # passed on


@pytest.mark.parametrize("number", range(8))
async def test_no_step_may_not_be_the_last(data: Path, number: int) -> None:
    async with opened(data) as at:
        await recorded(at.index, Take(seconds=10, segment_s=1, run=1))
        before = [(row.seq, row.seal) for row in await at.rows()]
        await at.mover.begin(1, 2, BYTES_PER_S)
        DiesAt(at.index, number)
        with pytest.raises(MemoryError):
            await at.done()

    async with opened(data) as at:
        assert await at.whole()
        assert [(row.seq, row.seal) for row in await at.rows()] == before
        await at.done()
        assert {row.folder for row in await at.rows()} == {2}
        assert await at.whole()


async def test_garbage_is_emptied_meanwhile_and_takes_no_copy_with_it(at: Site) -> None:
    class Emptied(Copier):
        async def copy(self, source: MediaFiles, target: MediaFiles, row: Segment, bytes_per_s: int) -> None:
            await super().copy(source, target, row, bytes_per_s)
            for files in at.folders.files():
                await empty_garbage(at.index, files)

    at.mover._copier = Emptied()
    await at.mover.begin(1, 2, BYTES_PER_S)
    await at.done()

    assert {row.folder for row in await at.rows()} == {2}
    assert await at.whole()


async def test_what_is_evicted_while_it_is_copied_leaves_no_copy(at: Site) -> None:
    class Evicting(Copier):
        async def copy(self, source: MediaFiles, target: MediaFiles, row: Segment, bytes_per_s: int) -> None:
            await super().copy(source, target, row, bytes_per_s)
            if row.seq == 9:
                await at.index.condemn([row], GapReason.EVICTED)
                await empty_garbage(at.index, source)

    at.mover._copier = Evicting()
    await at.mover.begin(1, 2, BYTES_PER_S)
    await at.done()

    assert [row.seq for row in await at.rows()] == list(range(9))
    assert await at.whole()


@pytest.mark.parametrize("harm", ["another", "shorter", "gone"])
async def test_a_file_that_is_not_what_its_row_says_stays_where_it_is(at: Site, harm: str) -> None:
    row = (await at.rows())[5]
    path = at.index.path_of(row)
    if harm == "another":
        async with at.index.db.transaction() as tx:
            await tx.run("update segment set seal = zeroblob(16) where seq = 5")
    elif harm == "shorter":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()

    await at.mover.begin(1, 2, BYTES_PER_S)
    await at.done()

    assert [one.seq for one in await at.rows() if one.folder == 1] == [5]
    assert not (at.index.files(2).root / row.path).exists()
    assert at.mover.move is not None
    assert (at.mover.move.problems, at.mover.move.left_bytes) == (1, row.size_bytes)


async def test_damage_is_moved_as_it_is(at: Site) -> None:
    """A bad sector costs its second; the rest of the file is worth as much on the other disk."""
    row = (await at.rows())[5]
    path = at.index.path_of(row)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)

    await at.mover.begin(1, 2, BYTES_PER_S)
    await at.done()

    assert {one.folder for one in await at.rows()} == {2}
    assert (at.index.files(2).root / row.path).read_bytes() == damaged


async def test_a_disk_that_does_not_keep_what_is_written_gets_no_original_deleted(at: Site) -> None:
    class Loses(Copier):
        def _pour(self, reading: int, writing: int, size_bytes: int, bytes_per_s: int) -> bytes:
            digest = super()._pour(reading, writing, size_bytes, bytes_per_s)
            os.pwrite(writing, b"\0", size_bytes // 2)
            return digest

    at.mover._copier = Loses()
    await at.mover.begin(1, 2, BYTES_PER_S)

    with pytest.raises(OSError, match="does not hold what was written"):
        await at.mover.run_once()
    assert {row.folder for row in await at.rows()} == {1}
    assert await at.whole()


async def test_a_reader_that_meets_a_moved_file_finds_it_again(at: Site) -> None:
    """Rows are read before their files, and files move in between."""
    rows = at.index.segments
    moved = False

    async def late(*given: object) -> list[Segment]:
        nonlocal moved
        found = await rows(*given)  # type: ignore[arg-type]  # passed on
        if not moved:
            moved = True
            await at.mover.begin(1, 2, BYTES_PER_S)
            await at.done()
        return found

    at.index.segments = late  # type: ignore[method-assign]  # a reader that is overtaken
    found = await sources(at.index, lambda key: None, KEY, START_US, START_US + 10_000_000)

    assert len(found) == 10
    assert {source.path.is_relative_to(at.index.files(2).root) for source in found} == {True}


async def test_a_move_waits_for_a_folder_that_is_missing_and_goes_on_when_it_is_back(at: Site) -> None:
    second = at.index.files(2).root
    await at.mover.begin(1, 2, BYTES_PER_S)
    await at.mover.run_once()
    aside = second.rename(second.with_name("pulled"))
    await at.folders.look()

    assert not await at.mover.run_once()
    waiting = at.mover.move
    aside.rename(second)
    await at.folders.look()
    await at.done()

    assert waiting is not None
    assert (waiting.state, str(second) in waiting.words) == ("waiting", True)
    assert await at.whole()
    assert {row.folder for row in await at.rows()} == {2}


async def test_what_cannot_be_moved_is_refused_in_words(at: Site) -> None:
    for source, target, words in ((1, 1, "same folder"), (1, 7, "no media folder 7"), (7, 1, "folder 7")):
        with pytest.raises(MoveRefused, match=words):
            await at.mover.begin(source, target)
    await at.mover.begin(1, 2)

    with pytest.raises(MoveRefused, match="stop that one"):
        await at.mover.begin(1, 2)


async def test_a_copy_keeps_to_its_rate_and_a_stop_is_heard_at_once(data: Path) -> None:
    """A stop is heard within a tenth of a second, though the next piece is due in a minute."""
    async with opened(data) as at:
        await recorded(at.index, Take(seconds=4, run=1))
        await recorded(at.index, Take(seconds=4, run=2, start_us=START_US + 10_000_000))
        await at.mover.begin(1, 2, 20_000)  # the second file's first piece is due 50 s after the first's
        began = asyncio.get_running_loop().time()
        step = asyncio.create_task(at.mover.run_once(), name="step")
        await asyncio.wait([step], timeout=0.5)
        assert not step.done()
        await at.mover.stop()
        await step

        assert asyncio.get_running_loop().time() - began < 5
        assert at.mover.move is None
        assert await at.whole()


async def test_what_was_still_recorded_when_a_move_began_is_moved_as_well(at: Site) -> None:
    await at.mover.begin(1, 2, BYTES_PER_S)
    await at.mover.run_once()
    await recorded(at.index, Take(seconds=3, segment_s=1, run=2, start_us=START_US + 20_000_000))

    await at.done()

    assert {row.folder for row in await at.rows()} == {2}
    assert len(await at.rows()) == 13
    assert at.mover.move is not None
    assert (at.mover.move.words, at.mover.move.problems) == ("", 0)
    assert await at.whole()


class Pulls(Copier):
    """A folder's disk goes after so many copies; an empty folder is left at its path."""

    def __init__(self, folder: Path, after: int) -> None:
        super().__init__()
        self.folder, self.left = folder, after

    async def copy(self, source: MediaFiles, target: MediaFiles, row: Segment, bytes_per_s: int) -> None:
        if self.left == 0:
            await asyncio.to_thread(self.folder.rename, self.folder.with_name("pulled"))
            await asyncio.to_thread(self.folder.mkdir)
        self.left -= 1
        await super().copy(source, target, row, bytes_per_s)


@pytest.mark.parametrize("name", ["media", "second"])
async def test_a_disk_that_goes_amid_a_move_loses_nothing(at: Site, name: str) -> None:
    """It takes a second until that is known, and what lies under a mount point belongs to another disk."""
    folder = {"media": at.index.media, "second": at.index.files(2).root}[name]
    at.mover._copier = Pulls(folder, 3)
    await at.mover.begin(1, 2, BYTES_PER_S)

    with pytest.raises(OSError, match="has gone"):
        await at.mover.run_once()
    under = list(folder.rglob("*.mp4"))
    folder.rename(folder.with_name("under"))
    folder.with_name("pulled").rename(folder)
    await at.done()

    assert under == []
    assert {row.folder for row in await at.rows()} == {2}
    assert at.mover.move is not None
    assert at.mover.move.problems == 0
    assert await at.whole()


async def test_a_copy_that_is_cancelled_writes_no_more(data: Path) -> None:
    """A stop of the daemon waits for its threads."""
    async with opened(data) as at:
        await recorded(at.index, Take(seconds=4, run=1))
        await recorded(at.index, Take(seconds=4, run=2, start_us=START_US + 10_000_000))
        await at.mover.begin(1, 2, 20_000)  # the second file's first piece is due 50 s after the first's
        began = asyncio.get_running_loop().time()
        step = asyncio.create_task(at.mover.run_once(), name="step")
        await asyncio.wait([step], timeout=0.5)
        step.cancel()
        await asyncio.wait([step])

        assert step.cancelled()
        await asyncio.get_running_loop().shutdown_default_executor()
        assert asyncio.get_running_loop().time() - began < 5
