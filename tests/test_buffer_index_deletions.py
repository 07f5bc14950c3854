"""The record of everything that was removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest_asyncio

from recordings import KEY, SECOND_US, START_US, Take, forget_row, recorded
from simpang_buffer.index.changes import recount
from simpang_buffer.index.deletions import DAY_US, Deletion, Order, deletions
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.retention import Limits, Retention, Space
from simpang_buffer.index.rows import Place
from simpang_buffer.model import FIRST_FOLDER, GapReason, RunHeader, Segment, StreamKey

MINUTE_US = 60 * SECOND_US
T0 = START_US // DAY_US * DAY_US
ALWAYS = (0, START_US * 2)


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


def row(minute: int, *, run: int = 1, key: StreamKey = KEY, folder: int = 1, late_us: int = 0) -> Segment:
    at_us = T0 + minute * MINUTE_US + late_us
    return Segment(key, run, minute, at_us, at_us + MINUTE_US, 1000 + minute, 60, 900, 0, 15, "avc1", 1, 1,
                   b"h" * 32, b"s" * 16, folder)  # fmt: skip


async def fill(index: Index, rows: list[Segment]) -> dict[int, Place]:
    """Places by minute."""
    for run in sorted({one.run for one in rows}):
        header = RunHeader("site", KEY.camera, KEY.stream, run, 0, "avc1", T0, "rtcp", 0, None, 0)  # type: ignore[arg-type]  # SQLite takes the word as well
        await index.add_run(header, 1, 1)
    await index.add_segments(rows)
    found = await index.db.read("select stream_id, start_us, run, seq from segment")
    return {place[3]: (place[0], place[1], place[2], place[3]) for place in found}


async def gone(index: Index) -> list[Deletion]:
    return await deletions(index.db, None, *ALWAYS)


def evicted(rule: str, at_us: int = 5) -> Order:
    return Order(GapReason.EVICTED, rule, at_us=at_us)


async def test_a_record_says_what_rule_how_much_and_when(index: Index) -> None:
    places = await fill(index, [row(minute) for minute in range(4)])

    await index.remove([(evicted("space", 7), [places[0]]), (evicted("age", 8), [places[2], places[3]])])
    await index.remove([(evicted("space", 9), [places[1]])])

    assert await gone(index) == [
        Deletion(
            KEY, T0 + 2 * MINUTE_US, T0 + 4 * MINUTE_US, GapReason.EVICTED, "age", "", "", 2005, 2, 8, 8
        ),
        Deletion(KEY, T0, T0 + 2 * MINUTE_US, GapReason.EVICTED, "space", "", "", 2001, 2, 7, 9),
    ]


async def test_records_are_joined_within_a_day_of_footage_and_across_no_hole(index: Index) -> None:
    rows = [row(1438), row(1439), row(1440), row(1442, run=2), row(1443, run=2, late_us=500)]
    places = await fill(index, rows)

    for one in rows:
        await index.remove([(evicted("space"), [places[one.seq]])])

    assert [(one.start_us, one.end_us, one.segments) for one in await gone(index)] == [
        (T0 + 1442 * MINUTE_US, T0 + 1444 * MINUTE_US + 500, 2),
        (T0 + 1440 * MINUTE_US, T0 + 1441 * MINUTE_US, 1),
        (T0 + 1438 * MINUTE_US, T0 + 1440 * MINUTE_US, 2),
    ]


async def test_neighbours_of_different_kinds_leave_no_moment_between(index: Index) -> None:
    """Else the microseconds between two files would be a gap of their own, without a reason."""
    rows = [row(0), row(1, late_us=400), row(2, late_us=800)]
    places = await fill(index, rows)

    await index.remove([(evicted("age"), [places[0]])])
    await index.remove([(evicted("age"), [places[2]])])
    await index.remove([(Order(GapReason.DELETED, "person", "Ani", "test", 5), [places[1]])])

    found = sorted(await index.gone(KEY, *ALWAYS), key=lambda one: one.start_us)
    assert [one.reason for one in found] == [GapReason.EVICTED, GapReason.DELETED, GapReason.EVICTED]
    assert found[0].end_us == found[1].start_us and found[1].end_us == found[2].start_us


async def test_a_stream_that_flaps_leaves_a_bounded_record(index: Index) -> None:
    rows = [row(minute * 2, run=minute + 1) for minute in range(400)]
    places = await fill(index, rows)

    for one in rows:
        await index.remove([(evicted("space"), [places[one.seq]])])

    found = await gone(index)
    assert len(found) == 200
    assert sum(one.segments for one in found) == 400
    assert sum(one.size_bytes for one in found) == sum(one.size_bytes for one in rows)


async def test_runs_explain_gaps_before_all_footage_and_are_not_kept_for_ever(index: Index) -> None:
    rows = [row(minute, run=minute + 1) for minute in range(1100)]
    places = await fill(index, rows)

    await index.remove([(evicted("space"), [places[minute] for minute in range(1099)])])

    runs = await index.db.read("select min(run), max(run) from run")
    assert runs == [(101, 1100)]


async def test_sums_by_folder_and_stream_follow(index: Index) -> None:
    rows = [row(0), row(1, folder=2), row(2, folder=2)]
    places = await fill(index, rows)
    await forget_row(index, rows[0])

    await index.remove([(evicted("space"), [places[1]])])

    kept = await index.db.read("select folder_id, bytes, segments from stored order by 1")
    assert kept == [(1, 0, 0), (2, 1002, 1)]
    assert await index.faults() == []
    async with index.db.transaction() as tx:
        await recount(tx)
    assert await index.db.read("select folder_id, bytes, segments from stored") == [(2, 1002, 1)]
    assert (await index.garbage(1), await index.garbage(2)) == ([], [rows[1].path])


async def test_a_person_deletes_with_name_and_reason(index: Index) -> None:
    await recorded(index, Take(seconds=6, segment_s=2, run=1))
    keeper = Retention(
        index,
        lambda total_bytes: Limits(1 << 40, 0, 30),
        now_us=lambda: START_US + 60 * SECOND_US,
        clock_trusted=lambda: True,
        spaces=lambda: {FIRST_FOLDER: Space(1 << 40, 1 << 40)},
    )

    done = await keeper.delete(KEY, START_US, START_US + 4 * SECOND_US, who="Ani", why="wrong camera")

    (record,) = await gone(index)
    assert (record.rule, record.who, record.why, record.reason) == (
        "person", "Ani", "wrong camera", GapReason.DELETED,
    )  # fmt: skip
    assert (record.segments, record.size_bytes) == (done.segments, done.size_bytes)
    assert record.first_at_us == START_US + 60 * SECOND_US
    assert not list((index.media / "gate" / "main" / "000001").glob("00000[01].mp4"))


async def test_what_the_disk_lost_is_on_record_too(index: Index) -> None:
    one = row(0)
    await fill(index, [one])

    await index.condemn([one], GapReason.DISK_ERROR, at_us=9)

    assert [(record.rule, record.reason) for record in await gone(index)] == [("lost", GapReason.DISK_ERROR)]


async def test_the_list_is_of_one_camera_or_all_and_comes_in_pages(index: Index) -> None:
    rows = [row(minute * 10, run=minute + 1) for minute in range(7)]
    places = await fill(index, rows)
    await index.remove([(evicted("space"), list(places.values()))])

    pages = [await deletions(index.db, "gate", *ALWAYS, after=at, limit=3) for at in (0, 3, 6)]

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [one for page in pages for one in page] == await gone(index)
    assert await deletions(index.db, "yard", *ALWAYS) == []
    assert replace(pages[0][0], size_bytes=0).start_us == rows[-1].start_us


async def test_rows_far_apart_go_without_those_between(index: Index) -> None:
    """Neighbours are read as a stretch; these stand too far apart for that."""
    places = await fill(index, [row(minute) for minute in range(300)])

    removed = await index.remove([(evicted("space"), [places[299], places[0], places[150], (1, 7, 1, 0)])])

    assert removed.places == {places[0], places[150], places[299]}
    assert removed.size_bytes == 1000 + 1150 + 1299
    left = await index.segments(KEY, *ALWAYS)
    assert [one.seq for one in left] == [seq for seq in range(300) if seq not in (0, 150, 299)]
    assert [path.name for path in await index.garbage()] == ["000000.mp4", "000150.mp4", "000299.mp4"]
    assert await index.faults() == []
