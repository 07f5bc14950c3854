"""What is evicted, in which order, and that recording never waits for space that can be had."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from recordings import KEY, SECOND_US, START_US, Take, recorded, written
from simpang_buffer.index.adoption import adopt
from simpang_buffer.index.check import check
from simpang_buffer.index.database import Database, open_database
from simpang_buffer.index.deletions import Order, Removed
from simpang_buffer.index.errors import StorageFull
from simpang_buffer.index.garbage import MOST_STUCK
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.reserve import RESERVE_BYTES, Reserve, has_room
from simpang_buffer.index.retention import (
    DAY_US,
    FIRST_PAGE,
    Limits,
    Retention,
    Space,
    excess_bytes,
)
from simpang_buffer.index.rows import Place
from simpang_buffer.model import FIRST_FOLDER, GapReason, StreamKey, segment_path
from stopping import Countdown, StoppingFiles

SUB = StreamKey("gate", "sub")
PLENTY = Space(total_bytes=1 << 40, free_bytes=1 << 39)
KEEP_ALL = Limits(max_bytes=1 << 40, min_free_bytes=0, max_days=30)


@pytest.mark.parametrize(
    ("free_bytes", "used_bytes", "excess"),
    [(100, 50, 0), (99, 50, 1), (100, 1001, 1), (40, 1100, 100), (0, 0, 100)],
)
def test_excess_is_what_the_worse_of_both_limits_asks(free_bytes: int, used_bytes: int, excess: int) -> None:
    limits = Limits(max_bytes=1000, min_free_bytes=100, max_days=30)

    assert max(excess_bytes(Space(1 << 20, free_bytes), used_bytes, limits), 0) == excess


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


def retention(
    index: Index,
    limits: Limits,
    *,
    trusted: bool = True,
    now_us: int = START_US,
    room: bool = True,
    files: MediaFiles | None = None,
) -> Retention:
    return Retention(
        index,
        lambda total_bytes: limits,
        now_us=lambda: now_us,
        clock_trusted=lambda: trusted,
        spaces=lambda: {FIRST_FOLDER: PLENTY},
        has_room=lambda path: room,
        files=files,
    )


async def left(index: Index, *keys: StreamKey) -> list[tuple[str, int, int]]:
    return [
        (key.stream, row.run, row.seq)
        for key in keys or (KEY,)
        for row in await index.segments(key, -(1 << 62), 1 << 62)
    ]


async def test_the_order_of_eviction_is_that_of_recording_whatever_the_clock_said(index: Index) -> None:
    # The gateway started in 2036, its clock was set, and another stream began in between.
    await recorded(index, Take(seconds=2, run=1, start_us=START_US + 4000 * DAY_US))
    await recorded(index, Take(seconds=2, run=1, key=SUB))
    await recorded(index, Take(seconds=2, run=2))
    total = sum(one.bytes for one in (await index.stream_totals()).values())

    await retention(index, replace(KEEP_ALL, max_bytes=total - 1), trusted=False).run_once()
    first = await left(index, KEY, SUB)
    await retention(index, replace(KEEP_ALL, max_bytes=1), trusted=False).run_once()

    assert first == [("main", 2, 0), ("sub", 1, 0)]
    assert await left(index, KEY, SUB) == []
    assert await check(index.media, index, deep=True) == []


async def test_old_footage_goes_from_every_stream_and_its_folders_with_it(index: Index) -> None:
    for run, days in enumerate((1, 2, 40), start=1):
        await recorded(index, Take(seconds=4, segment_s=2, run=run, start_us=START_US + days * DAY_US))
    await recorded(index, Take(seconds=2, run=1, key=SUB))

    evicted = await retention(index, KEEP_ALL, now_us=START_US + 40 * DAY_US).run_once()

    assert evicted == 5
    assert await left(index, KEY, SUB) == [("main", 3, 0), ("main", 3, 1)]
    assert [path.name for path in (index.media / "gate" / "main").iterdir()] == ["000003"]
    assert await check(index.media, index, deep=True) == []


async def test_delete_takes_whole_segments_within_the_range_but_for_pinned_ones(index: Index) -> None:
    run = await recorded(index, Take(seconds=10, segment_s=2, run=1))
    await index.pin("job", KEY, START_US + 5 * SECOND_US, START_US + 6 * SECOND_US)

    deleted = await retention(index, KEEP_ALL).delete(KEY, START_US + 1 * SECOND_US, START_US + 8 * SECOND_US)

    assert (deleted.segments, deleted.held_segments) == (2, 1)
    assert deleted.held_bytes == run.rows[2].size_bytes
    assert await left(index) == [("main", 1, 0), ("main", 1, 2), ("main", 1, 4)]
    assert {one.reason for one in await index.gone(KEY, 0, START_US * 2)} == {GapReason.DELETED}


async def test_asked_for_space_something_goes_although_the_limits_are_kept(index: Index) -> None:
    await recorded(index, Take(seconds=4, segment_s=2, run=1))
    keeper = retention(index, KEEP_ALL, room=False)

    untouched = await keeper.run_once()
    keeper.request_space()
    freed = await keeper.run_once()
    afterwards = await keeper.run_once()

    assert (untouched, freed, afterwards) == (0, 2, 0)


async def test_requests_do_not_eat_the_archive_where_room_is_not_what_is_missing(index: Index) -> None:
    """The index may lie on another disk, which is full: footage that goes would not help it."""
    await recorded(index, Take(seconds=4, segment_s=2, run=1))
    keeper = retention(index, KEEP_ALL, room=True)

    keeper.request_space()

    assert await keeper.run_once() == 0


@pytest.mark.parametrize(
    ("options", "room"), [("size=64m", True), ("size=8m", False), ("size=64m,nr_inodes=1", False)]
)
def test_room_is_what_a_file_system_gives(tmp_path: Path, options: str, room: bool) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", tmp_path], check=True)
    try:
        assert has_room(tmp_path) is room
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


async def test_a_request_wakes_the_loop(index: Index) -> None:
    await recorded(index, Take(seconds=4, segment_s=2, run=1))
    keeper = retention(index, KEEP_ALL, room=False)
    running = asyncio.create_task(keeper.run())
    try:
        keeper.request_space()
        async with asyncio.timeout(4):  # its own pace is 5 s
            while await left(index):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class FullDisk:
    """A disk of `capacity` bytes that holds the media folder and nothing else."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def __call__(self, media: Path) -> Space:
        used = sum(path.stat().st_size for path in media.rglob("*.mp4"))
        return Space(self.capacity, max(self.capacity - used, 0))


async def test_recording_goes_on_for_ever_on_a_small_disk(index: Index) -> None:
    """Invariant 5: each minute finds room for the next, and only the oldest footage pays."""
    twin = index.media.parent / "twin"
    twin.mkdir()
    size = (await written(twin, Take(seconds=2))).rows[0].size_bytes + 100  # a header differs by digits
    disk = FullDisk(5 * size)
    keeper = Retention(
        index,
        lambda total_bytes: Limits(total_bytes, min_free_bytes=2 * size, max_days=30),
        now_us=lambda: START_US,
        clock_trusted=lambda: False,
        spaces=lambda: {FIRST_FOLDER: disk(index.media)},
    )

    for run in range(1, 30):
        assert (await asyncio.to_thread(disk, index.media)).free_bytes >= size, f"no room for run {run}"
        await recorded(index, Take(seconds=2, run=run, start_us=START_US + run * 10 * SECOND_US))
        await keeper.run_once()

    assert [run for _, run, _ in await left(index)] == [27, 28, 29]
    assert await check(index.media, index, deep=True) == []


class FullIndex(Index):
    """Finds no room for a transaction until the reserve is given back."""

    def __init__(self, database: Database, media: Path, reserve: Path) -> None:
        super().__init__(database, media)
        self._reserve = reserve

    async def remove(self, orders: Sequence[tuple[Order, Sequence[Place]]]) -> Removed:
        if self._reserve.exists() and self._reserve.stat().st_size:
            raise StorageFull("no space left")
        return await super().remove(orders)


async def test_a_disk_full_to_the_last_block_is_emptied_with_the_reserve(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 100_000)
    async with open_database(tmp_path / "index.db") as database:
        full = FullIndex(database, tmp_path / "media", tmp_path / "reserve")
        full.media.mkdir()
        await recorded(full, Take(seconds=4, segment_s=2, run=1))
        await asyncio.to_thread(reserve.keep)
        keeper = Retention(
            full,
            lambda total_bytes: replace(KEEP_ALL, max_bytes=0),
            now_us=lambda: START_US,
            clock_trusted=lambda: False,
            spaces=lambda: {FIRST_FOLDER: PLENTY},
            reserve=reserve,
        )

        evicted = await keeper.run_once()

        assert (evicted, await left(full)) == (2, [])
        # Taken again as soon as there is room.
        assert (tmp_path / "reserve").stat().st_size == 100_000


class SlowIndex(Index):
    """Each deletion takes so long."""

    def __init__(self, database: Database, media: Path, took_s: float) -> None:
        super().__init__(database, media)
        self.took_s = took_s
        self.pages: list[int] = []

    async def remove(self, orders: Sequence[tuple[Order, Sequence[Place]]]) -> Removed:
        self.pages.append(sum(len(places) for _, places in orders))
        return replace(await super().remove(orders), took_s=self.took_s)


@pytest.mark.parametrize(
    ("took_s", "pages"), [(0.0, [50, 50, 200]), (0.01, [50, 50, 100, 100]), (5.0, [50] * 6)]
)
async def test_less_is_evicted_at_once_where_others_wait_long(
    tmp_path: Path, took_s: float, pages: list[int]
) -> None:
    async with open_database(tmp_path / "index.db") as database:
        slow = SlowIndex(database, tmp_path / "media", took_s)
        slow.media.mkdir()
        run = await recorded(slow, Take(seconds=1, run=1))
        many = [
            replace(run.rows[0], seq=seq, start_us=START_US + seq, end_us=START_US + seq + 1)
            for seq in range(1, 300)
        ]
        await slow.add_segments(many)

        await retention(slow, replace(KEEP_ALL, max_bytes=0)).run_once()

        assert slow.pages == pages


async def test_what_could_not_be_unlinked_is_tried_again(index: Index) -> None:
    run = await recorded(index, Take(seconds=2, run=1))
    await index.condemn(run.rows, GapReason.EVICTED)

    class Stuck(StoppingFiles):
        def unlink_in(self, folder: int, key: StreamKey, run: int, seq: int) -> None:
            raise PermissionError(1, "Operation not permitted")

    report = await adopt(index.media, index, files=Stuck(index.media, Countdown()))
    assert report.adopted == ()
    assert await index.garbage() == [run.rows[0].path]
    assert await check(index.media, index) == []

    await retention(index, KEEP_ALL).run_once()

    assert await index.garbage() == []
    assert not (index.media / run.rows[0].path).exists()


class OneStuck(MediaFiles):
    """Some files are immutable."""

    def __init__(self, root: Path, stuck: Iterable[Path]) -> None:
        super().__init__(root)
        self._stuck = set(stuck)

    def unlink_in(self, folder: int, key: StreamKey, run: int, seq: int) -> None:
        if segment_path(key, run, seq) in self._stuck:
            raise PermissionError(1, "Operation not permitted")
        super().unlink_in(folder, key, run, seq)


async def test_a_file_that_cannot_be_deleted_does_not_stop_eviction(
    index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    """Invariant 5: else one file, stuck for ever, would in the end stop all recording."""
    run = await recorded(index, Take(seconds=6, segment_s=2, run=1))
    stuck = run.rows[0].path
    keeper = retention(
        index, replace(KEEP_ALL, max_bytes=run.rows[2].size_bytes), files=OneStuck(index.media, [stuck])
    )

    await keeper.run_once()
    await keeper.run_once()

    assert await left(index) == [("main", 1, 2)]
    assert await index.garbage() == [stuck]
    assert [path.name for path in index.media.rglob("*.mp4")] == ["000000.mp4", "000002.mp4"]
    (said,) = [one.getMessage() for one in caplog.records if one.name.endswith("retention")]
    assert stuck.as_posix() in said and "Operation not permitted" in said


async def test_a_disk_that_deletes_nothing_does_not_empty_the_index(index: Index) -> None:
    for number in range(1, 4):
        at_us = START_US + number * DAY_US
        await recorded(index, Take(seconds=MOST_STUCK, segment_s=1, run=number, start_us=at_us))
    rows = await index.segments(KEY, 0, START_US * 2)
    frozen = OneStuck(index.media, [row.path for row in rows])
    keeper = retention(index, replace(KEEP_ALL, max_bytes=rows[-1].size_bytes), files=frozen)

    for _ in range(3):
        with pytest.raises(PermissionError):
            await keeper.run_once()

    # A page went before it was known.
    assert len(await left(index)) == len(rows) - FIRST_PAGE


async def test_a_real_disk_without_a_free_block_has_room_again(tmp_path: Path) -> None:
    """Not even the index can be written; the reserve makes the first eviction possible."""
    alone = (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    )
    script = Path(__file__).with_name("full_disk.py")

    process = await asyncio.create_subprocess_exec(
        *alone, sys.executable, str(script), str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()

    assert process.returncode == 0
    found = json.loads(output)
    assert found["free"][0] == 0 and found["refused"]
    assert found["evicted"] > 0
    assert found["free"][1] >= 1 << 20
    assert found["reserve"] == RESERVE_BYTES
    assert found["faults"] == []


async def test_adoption_beside_eviction_trips_over_nothing(index: Index) -> None:
    """Files vanish under adoption's eyes: what was evicted in between is no trouble of a file."""
    for run in range(1, 13):
        await recorded(index, Take(seconds=2, run=run, start_us=START_US + run * 10 * SECOND_US))
    left_open = await written(index.media, Take(seconds=2, run=20), close=False)
    keeper = retention(index, replace(KEEP_ALL, max_bytes=1))

    async with asyncio.TaskGroup() as group:
        evicting = group.create_task(keeper.run_once())
        adoptions = [group.create_task(adopt(index.media, index)) for _ in range(3)]

    reports = [one.result() for one in adoptions]
    assert [report.problems for report in reports] == [(), (), ()]
    assert evicting.result() >= 12
    await keeper.run_once()
    assert await left(index) == []
    assert not (index.media / left_open.files[0].path).exists()
    assert await check(index.media, index, deep=True) == []
