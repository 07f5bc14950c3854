"""`buffer check` finds every way in which index and files can disagree, and repairs what can be."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from recordings import KEY, START_US, Recording, Take, index_all, recorded, written
from simpang_buffer.index.adoption import adopt
from simpang_buffer.index.check import Depth, check
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.media.boxes import Scan
from simpang_buffer.model import GapReason, segment_path
from simpang_buffer.reading.clips import clips
from simpang_buffer.reading.tail import no_tail


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


def database(index: Index, sql: str) -> None:
    with sqlite3.connect(index.media.parent / "index.db") as raw:
        raw.execute(sql)
    raw.close()


def change(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def middle(run: Recording) -> Path:
    return run.files[1].path


Damage = Callable[[Index, Recording], object]
DAMAGE: dict[str, tuple[Damage, list[str], bool]] = {
    "file deleted": (lambda index, run: middle(run).unlink(), ["missing"], True),
    "file cut": (
        lambda index, run: os.truncate(middle(run), middle(run).stat().st_size - 5),
        ["short"],
        True,
    ),
    "file emptied": (lambda index, run: os.truncate(middle(run), 0), ["short"], True),
    "file grown": (
        lambda index, run: os.truncate(middle(run), middle(run).stat().st_size + 5),
        ["long"],
        False,
    ),
    "byte changed": (
        lambda index, run: change(middle(run), run.files[1].fragments[1].offset + 700, b"#"),
        ["sealed"],
        False,
    ),
    "header changed": (lambda index, run: change(middle(run), 5, b"#"), ["unread"], False),
    "row forgotten": (
        lambda index, run: database(index, "delete from segment where seq = 1"),
        ["index", "unknown"],
        True,
    ),
    "row wrong": (
        lambda index, run: database(index, "update segment set frames = 7 where seq = 1"),
        ["differs"],
        False,
    ),
    "totals wrong": (lambda index, run: database(index, "update stream set bytes = 1"), ["index"], True),
    "row and garbage": (
        lambda index, run: database(
            index, f"insert into garbage values (1, 1, {run.rows[1].run}, {run.rows[1].seq})"
        ),
        ["garbage"],
        True,
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_each_disagreement_has_its_code_and_its_repair(index: Index, damage: str) -> None:
    do, codes, repairable = DAMAGE[damage]
    run = await recorded(index, Take(seconds=6, segment_s=2, run=1))
    assert await check(index.media, index, deep=True) == []
    await asyncio.to_thread(do, index, run)

    found = await check(index.media, index, deep=True)
    repaired = await check(index.media, index, deep=True, repair=True)
    after = await check(index.media, index, deep=True)

    assert [finding.code for finding in found] == codes
    assert all(finding.path in (None, run.rows[1].path) for finding in found)
    assert [finding.repaired for finding in repaired] == [repairable] * len(codes)
    assert [finding.code for finding in after] == ([] if repairable else codes)
    # Nothing that was whole was lost on the way.
    rows = await index.segments(KEY, 0, START_US * 2)
    assert {row.seq for row in rows} >= {0, 2}


async def test_a_cut_file_keeps_what_is_still_sealed(index: Index) -> None:
    run = await recorded(index, Take(seconds=6, segment_s=2, run=1))
    second = run.files[1].fragments[1]
    await asyncio.to_thread(os.truncate, middle(run), second.offset + 5)

    await check(index.media, index, repair=True)

    rows = await index.segments(KEY, 0, START_US * 2)
    assert [(row.seq, row.fragments) for row in rows] == [(0, 2), (1, 1), (2, 2)]
    assert [gap.reason for gap in (await clips(index, no_tail, KEY, START_US, rows[2].end_us)).gaps] == [
        "disk-error"
    ]


async def test_what_is_being_recorded_is_no_fault(index: Index) -> None:
    run = await written(index.media, Take(seconds=4, segment_s=2, run=1), close=False)
    await index_all(index, run)
    path = segment_path(KEY, 1, 1)

    assert [(one.code, one.path) for one in await check(index.media, index)] == [("unknown", path)]
    assert await check(index.media, index, open_files=[path]) == []
    assert await check(index.media, index, recording=True) == []


async def test_an_orphan_is_a_fault_although_somebody_records(index: Index) -> None:
    orphan = await written(index.media, Take(seconds=4, segment_s=2, run=1), close=False)
    await index_all(index, orphan)
    await recorded(index, Take(seconds=2, run=2))
    await written(index.media, Take(seconds=2, run=3), close=False)

    found = await check(index.media, index, recording=True)

    assert [(one.code, one.path) for one in found] == [("unknown", segment_path(KEY, 1, 1))]


async def test_a_check_beside_eviction_and_recording_finds_nothing(index: Index) -> None:
    runs = [
        await recorded(index, Take(seconds=4, segment_s=1, run=run, start_us=START_US + run * 10**7))
        for run in range(1, 8)
    ]
    done = asyncio.Event()

    async def evict() -> None:
        for run in runs[:5]:
            for row in run.rows:
                await index.condemn([row], GapReason.EVICTED)
                await empty_garbage(index, MediaFiles(index.media))
        done.set()

    async with (
        asyncio.TaskGroup() as group,
        open_index(index.media.parent / "index.db", read_only=True) as other,
    ):
        group.create_task(evict())
        checks = 0
        while not done.is_set() or not checks:
            assert await check(index.media, other, recording=True) == []
            checks += 1


async def test_a_file_that_had_no_room_for_its_table_is_whole(index: Index) -> None:
    """Adopted on a full disk, it ends with its last seal."""
    run = await written(index.media, Take(seconds=4, run=1), close=False)
    path = run.files[0].path

    class Full(MediaFiles):
        def close_torn(self, path: Path, scanned: Scan) -> None:
            os.truncate(self.root / path, scanned.good_end)

    await adopt(index.media, index, files=Full(index.media))

    assert path.stat().st_size == (await index.segments(KEY, 0, START_US * 2))[0].size_bytes
    for depth in Depth:
        assert await check(index.media, index, depth=depth) == []
