"""The index is made anew from the media files alone: newest first, and nothing is deleted."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from recordings import KEY, SECOND_US, START_US, Take, index_all, recorded, written
from simpang_buffer.index.check import check
from simpang_buffer.index.database import open_database
from simpang_buffer.index.foreign import foreign_streams, make_way, renamed_camera
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rebuild import Rebuild
from simpang_buffer.index.retention import Limits, Retention
from simpang_buffer.index.space import Space
from simpang_buffer.media.seal import run_box, table_box
from simpang_buffer.model import GapReason, Segment, StreamKey, segment_path
from stopping import Countdown, PowerCut, StoppingFiles, StoppingIndex

SUB = StreamKey("gate", "sub")
LATE_US = START_US + 60 * SECOND_US


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


def rebuild(index: Index, **options: object) -> Rebuild:
    settings = {"rest": 0.0, **options}
    site = str(settings.pop("site", "site"))
    return Rebuild(index, {1: MediaFiles(index.media)}, site, **settings)  # type: ignore[arg-type]  # a test's bag


async def rows(index: Index, key: StreamKey = KEY) -> list[Segment]:
    return await index.segments(key, 0, START_US * 2)


async def three_runs(index: Index) -> None:
    """Two streams, two codecs, a reason; the last run was not closed."""
    await recorded(index, Take(seconds=8, segment_s=2, run=1))
    await recorded(index, Take(seconds=8, segment_s=2, run=1, key=SUB))
    await recorded(index, Take("h265", 4, 2, LATE_US, 2, previous_end=GapReason.UNREACHABLE))


async def everything(index: Index) -> object:
    keys = await index.streams()
    return (
        [await rows(index, key) for key in keys],
        [await index.runs(key, 0, START_US * 2) for key in keys],
        await index.stream_totals(),
        [await index.next_run(key) for key in keys],
    )


async def lose_index(folder: Path) -> None:
    for path in list(folder.glob("index.db*")):
        await asyncio.to_thread(path.unlink)


async def test_a_lost_index_is_as_it_was(tmp_path: Path) -> None:
    async with open_index(tmp_path / "index.db") as index:
        index.media.mkdir()
        await three_runs(index)
        before = await everything(index)
    await lose_index(tmp_path)

    async with open_index(tmp_path / "index.db") as again:
        work = rebuild(again)
        report = await work.run()

        assert report.problems == ()
        assert (work.done, work.total) == (10, 10)
        assert await everything(again) == before
        assert await check(again.media, again, deep=True) == []
        # Eviction goes by the order of recording, although the newest were taken in first.
        order = [row.start_us for _, row in await again.in_order(0, 100)]
        assert order == sorted(order)


async def test_torn_files_are_taken_in_as_far_as_they_are_good(index: Index) -> None:
    await written(index.media, Take(seconds=6, segment_s=2, run=1), close=False)
    torn = index.media / segment_path(KEY, 1, 2)
    await asyncio.to_thread(os.truncate, torn, torn.stat().st_size - 9)

    await rebuild(index).run()

    assert [(row.seq, row.fragments) for row in await rows(index)] == [(0, 2), (1, 2), (2, 1)]
    assert await check(index.media, index, deep=True) == []


async def test_the_newest_are_there_first_and_what_is_known_is_not_read_again(index: Index) -> None:
    for run in range(1, 5):
        start_us = START_US + run * 100 * SECOND_US
        await written(index.media, Take(seconds=4, segment_s=1, run=run, start_us=start_us))
    countdown = Countdown(2)
    seen: list[list[int]] = []

    class Seen(StoppingIndex):
        async def take_in(self, key: StreamKey, header: object, segments: object, **more: object) -> int:  # type: ignore[override]  # only looks
            seen.append([row.run for row in segments])  # type: ignore[attr-defined]  # segments
            return await super().take_in(key, header, segments, **more)  # type: ignore[arg-type]  # passed on

    stopped = Seen(index.db, index.media, countdown)
    stopped.keep_run_number = index.keep_run_number  # type: ignore[method-assign]  # no step of interest
    with pytest.raises(PowerCut):
        await rebuild(stopped).run()
    assert [row.run for row in await rows(index)] == [3] * 4 + [4] * 4

    countdown.left = None
    await rebuild(stopped).run()

    # The third was cut off before it was done; after the kill it is the first.
    assert [runs[0] for runs in seen] == [4, 3, 2, 2, 1]
    assert len(await rows(index)) == 16
    assert await index.settled_run(KEY) == 4


async def test_the_newest_of_all_streams_come_first(index: Index) -> None:
    """A stream that was recorded last year does not keep yesterday's waiting."""
    for key, run, seconds in ((KEY, 1, 0), (SUB, 1, 500), (KEY, 2, 1000), (SUB, 2, 1500)):
        start_us = START_US + seconds * SECOND_US
        await written(index.media, Take(seconds=2, segment_s=1, run=run, key=key, start_us=start_us))
    seen: list[tuple[StreamKey, int]] = []

    class Seen(Index):
        async def take_in(self, key: StreamKey, header: object, segments: object, **more: object) -> int:  # type: ignore[override]  # only looks
            seen.append((key, segments[0].run))  # type: ignore[index]  # segments
            return await super().take_in(key, header, segments, **more)  # type: ignore[arg-type]  # passed on

    await rebuild(Seen(index.db, index.media)).run()

    assert seen == [(SUB, 2), (KEY, 2), (SUB, 1), (KEY, 1)]


@pytest.mark.parametrize("end", range(12))
async def test_power_may_go_between_any_two_steps(tmp_path: Path, end: int) -> None:
    (tmp_path / "media").mkdir()
    await written(tmp_path / "media", Take(seconds=4, segment_s=1, run=1))
    await written(tmp_path / "media", Take(seconds=4, segment_s=2, run=2, start_us=LATE_US), close=False)
    await written(tmp_path / "media", Take(seconds=2, run=1, site="pasar", key=SUB))
    torn = tmp_path / "media" / segment_path(KEY, 2, 1)
    await asyncio.to_thread(os.truncate, torn, torn.stat().st_size - 9)

    async def work(steps: int | None) -> None:
        countdown = Countdown(steps)
        async with open_database(tmp_path / "index.db") as database:
            index = StoppingIndex(database, tmp_path / "media", countdown)
            files = {1: StoppingFiles(tmp_path / "media", countdown)}
            await Rebuild(index, files, "site", own=lambda: {"gate"}, rest=0).run()

    for steps in (end, end // 2):
        try:
            await work(steps)
        except PowerCut:
            continue
    await work(None)

    async with open_index(tmp_path / "index.db") as index:
        assert [(row.run, row.seq) for row in await rows(index)] == [
            *((1, seq) for seq in range(4)),
            (2, 0),
            (2, 1),
        ]
        assert [row.run for row in await rows(index, StreamKey("gate-pasar", "sub"))] == [1]
        assert await check(index.media, index, deep=True) == []


async def test_what_is_being_written_is_left_alone(index: Index) -> None:
    run = await written(index.media, Take(seconds=4, segment_s=2, run=3), close=False)
    open_bytes = run.files[1].path.read_bytes()

    await rebuild(index, is_free=lambda key, run, seq: (key, run, seq) < (KEY, 3, 1)).run()

    assert [row.seq for row in await rows(index)] == [0]
    assert run.files[1].path.read_bytes() == open_bytes


async def test_rows_recorded_meanwhile_are_the_last_to_go_whatever_the_clock_says(index: Index) -> None:
    """The gateway has just started and believes it is 1970."""
    await written(index.media, Take(seconds=4, segment_s=2, run=1))
    work = rebuild(index)
    await work.survey()
    live = await written(index.media, Take(seconds=2, run=2, start_us=SECOND_US))
    await index_all(index, live)

    await work.run()

    assert [row.run for _, row in await index.in_order(0, 10)] == [1, 1, 2]


async def test_a_clock_that_was_set_back_does_not_change_the_order_of_recording(index: Index) -> None:
    starts_us = [START_US, 5 * SECOND_US, START_US + 20 * SECOND_US, START_US + 40 * SECOND_US]
    for run, start_us in enumerate(starts_us, 1):
        await written(index.media, Take(seconds=4, segment_s=1, run=run, start_us=start_us))

    await rebuild(index).run()

    assert [row.run for _, row in await index.in_order(0, 100)] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4


async def test_eviction_can_have_the_oldest_taken_in_first(index: Index) -> None:
    for run in range(1, 6):
        start_us = START_US + run * 100 * SECOND_US
        for key in (KEY, SUB):
            await written(index.media, Take(seconds=4, segment_s=2, run=run, start_us=start_us, key=key))
    work = rebuild(index)
    running = asyncio.create_task(work.take_oldest(1))
    await work.survey()

    size_bytes = await running
    more = await work.take_oldest(size_bytes + 1)

    known = [(row.key, row.run) for _, row in await index.in_order(0, 100)]
    assert {run for _, run in known} == {1, 2}
    assert size_bytes > 0
    assert more > size_bytes
    # Both ends meet.
    await work.run()
    assert (work.done, work.total) == (20, 20)
    assert len(await rows(index)) == len(await rows(index, SUB)) == 10


async def test_nothing_that_may_be_footage_is_deleted(index: Index) -> None:
    run = await written(index.media, Take(seconds=6, segment_s=2, run=1), close=False)
    header, whole, first = (file.path for file in run.files)
    content = {}
    for path, at in ((header, 5), (first, run.files[2].fragments[0].offset + 700)):
        data = bytearray(path.read_bytes())
        data[at] ^= 0xFF
        path.write_bytes(data)
        content[path.with_name(path.name + ".unknown")] = bytes(data)

    report = await rebuild(index).run()

    assert report.removed == ()
    assert {index.media / path for path in report.aside} == set(content)
    assert {path: path.read_bytes() for path in content} == content
    assert [row.path for row in await rows(index)] == [whole.relative_to(index.media)]


async def test_what_cannot_be_read_is_named_and_tried_again(index: Index) -> None:
    await written(index.media, Take(seconds=4, segment_s=2, run=1))
    path = index.media / segment_path(KEY, 1, 1)
    path.rename(path.with_suffix(".kept"))
    path.symlink_to(path)

    report = await rebuild(index).run()

    assert [problem.path for problem in report.problems] == [segment_path(KEY, 1, 1)]
    assert await index.settled_run(KEY) == 0
    path.unlink()
    path.with_suffix(".kept").rename(path)
    assert (await rebuild(index).run()).problems == ()
    assert [row.seq for row in await rows(index)] == [0, 1]


# A disk that was moved from another gateway


async def test_footage_of_another_site_keeps_its_ids_and_says_whose_it_is(index: Index) -> None:
    yard = StreamKey("yard", "main")
    await written(index.media, Take(seconds=4, segment_s=2, run=7, key=yard, site="pasar"))
    await recorded(index, Take(seconds=2))

    await rebuild(index).run()

    assert await foreign_streams(index.db) == {yard: "pasar"}
    assert [(row.run, row.path) for row in await rows(index, yard)] == [
        (7, segment_path(yard, 7, 0)),
        (7, segment_path(yard, 7, 1)),
    ]
    assert await check(index.media, index, deep=True) == []


@pytest.mark.parametrize("known", [True, False])
async def test_an_id_that_is_ours_is_not_shared(index: Index, known: bool) -> None:
    """Both sites have a camera `gate`; whether the index knew ours or all was lost."""
    ours = await written(index.media, Take(seconds=2, run=3))
    if known:
        await index_all(index, ours)
    await written(index.media, Take(seconds=2, run=1, site="pasar"))

    await rebuild(index).run()
    again = await rebuild(index).run()

    theirs = StreamKey("gate-pasar", "main")
    assert await foreign_streams(index.db) == {theirs: "pasar"}
    assert [row.run for row in await rows(index)] == [3]
    assert [row.run for row in await rows(index, theirs)] == [1]
    assert (again.adopted, again.aside, again.problems) == ((), (), ())
    assert await check(index.media, index, deep=True) == []


async def test_an_id_that_becomes_ours_is_made_way_for(index: Index) -> None:
    await written(index.media, Take(seconds=2, run=1, site="pasar"))
    await rebuild(index).run()

    renamed = await make_way(index.db, [MediaFiles(index.media)], KEY)

    assert renamed == StreamKey("gate-pasar", "main")
    assert await make_way(index.db, [MediaFiles(index.media)], KEY) is None
    fresh = Index(index.db, index.media)
    assert (await rows(fresh), len(await rows(fresh, renamed))) == ([], 1)
    assert await check(index.media, fresh, deep=True) == []
    await recorded(fresh, Take(seconds=2, run=await fresh.next_run(KEY)))
    assert await check(index.media, fresh, deep=True) == []


async def test_a_run_that_two_disks_of_another_site_hold_is_kept_twice_and_named(index: Index) -> None:
    await written(index.media, Take(seconds=2, run=1, site="pasar"))
    await rebuild(index, own=lambda: {"gate"}).run()
    await written(index.media, Take(seconds=2, run=1, site="pasar"))

    report = await rebuild(index, own=lambda: {"gate"}).run()

    assert [problem.path for problem in report.problems] == [segment_path(KEY, 1, 0).parent]
    assert (index.media / segment_path(KEY, 1, 0)).exists()


def test_a_new_name_fits_and_says_both() -> None:
    assert renamed_camera("pasar", "gate") == "gate-pasar"
    long = renamed_camera("pasar-induk-pontianak", "gerbang-utara-1")
    assert len(long) <= 32
    assert long != renamed_camera("pasar-induk-pontianak", "gerbang-utara-2")


async def test_a_second_folder_is_read_as_well(tmp_path: Path) -> None:
    async with open_index(tmp_path / "index.db") as index:
        index.media.mkdir()
        run = await written(index.media, Take(seconds=6, segment_s=2, run=1))
        other = tmp_path / "other"
        moved = other / run.rows[1].path
        moved.parent.mkdir(parents=True)
        await asyncio.to_thread(shutil.move, index.media / run.rows[1].path, moved)

        await Rebuild(index, {1: MediaFiles(index.media), 4: MediaFiles(other)}, "site", rest=0).run()

        assert await rows(index) == [run.rows[0], replace(run.rows[1], folder=4), run.rows[2]]


async def test_eviction_during_a_rebuild_takes_what_is_oldest_on_the_disk(index: Index) -> None:
    for run in range(1, 4):
        await written(index.media, Take(seconds=4, segment_s=2, run=run, start_us=START_US + run * 10**8))
    newest = await written(index.media, Take(seconds=4, segment_s=2, run=4, start_us=START_US + 4 * 10**8))
    await index_all(index, newest)
    total = sum(held.bytes for held in (await index.stream_totals()).values())
    work = rebuild(index)
    await work.survey()

    async def oldest_first(size_bytes: int, keys: Collection[StreamKey] | None) -> bool:
        return await work.take_oldest(size_bytes, keys) > 0

    retention = Retention(
        index,
        lambda total_bytes: Limits(max_bytes=total - 1, min_free_bytes=0, max_days=1000),
        now_us=lambda: START_US,
        clock_trusted=lambda: False,
        spaces=lambda: {1: Space(1 << 40, 1 << 39)},
        oldest_first=oldest_first,
    )
    evicted = await retention.run_once()

    assert evicted == 1
    known = [(row.run, row.seq) for row in await rows(index)]
    assert (1, 0) not in known
    assert {(4, 0), (4, 1)} <= set(known)
    await work.run()
    assert await check(index.media, index) == []


@pytest.mark.parametrize("poison", ["first_chunk", "time"])
async def test_a_file_that_no_row_can_hold_stops_nothing(index: Index, poison: str) -> None:
    """Somebody's disk, with right checksums."""
    run = await written(index.media, Take(seconds=4, segment_s=2, run=1))
    file = run.files[0]
    head, fragments = file.head.header, file.fragments
    if poison == "first_chunk":
        head = replace(head, first_chunk=-1)
    else:
        fragments = [replace(one, start_us=(1 << 63) + one.start_us) for one in fragments]
    body = file.path.read_bytes()[len(file.head.to_bytes()) :][
        : sum(one.size_bytes + 68 for one in fragments)
    ]
    start = file.head.init + run_box(head)
    shift = len(start) - len(file.head.to_bytes())
    moved = [replace(one, offset=one.offset + shift) for one in fragments]
    file.path.write_bytes(start + body + table_box(moved, run.rows[0].seal * 2))

    report = await rebuild(index).run()

    assert report.problems == ()
    assert (1, 1) in [(row.run, row.seq) for row in await rows(index)]
    assert len(list(file.path.parent.iterdir())) == 2
