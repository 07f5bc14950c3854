"""Holds: what they protect, how much they may take, and the record that they leave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from recordings import KEY, SECOND_US, START_US, Take, recorded
from simpang_buffer.index.errors import HoldsFull
from simpang_buffer.index.holds import (
    MOST_HOLDS,
    HoldWish,
    all_held_bytes,
    expire,
    hold,
    holds,
    release,
    release_case,
)
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.retention import DAY_US, Limits, Retention, Space
from simpang_buffer.model import FIRST_FOLDER, GapReason, StreamKey

SUB = StreamKey("gate", "sub")
MUCH = 1 << 40
ASKED = HoldWish("gate", None, START_US, START_US + 4 * SECOND_US, "accident", "Unit Laka", case="LP-117")


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


def retention(index: Index, *, now_us: int = START_US, trusted: bool = True, max_bytes: int = 0) -> Retention:
    return Retention(
        index,
        lambda total_bytes: Limits(max_bytes, 0, 30),
        now_us=lambda: now_us,
        clock_trusted=lambda: trusted,
        spaces=lambda: {FIRST_FOLDER: Space(MUCH, MUCH)},
    )


async def left(index: Index, key: StreamKey = KEY) -> list[int]:
    return [row.seq for row in await index.segments(key, 0, START_US * 2)]


async def test_what_is_held_stays_whatever_the_space_and_the_age(index: Index) -> None:
    await recorded(index, Take(seconds=8, segment_s=2, run=1))
    await recorded(index, Take(seconds=8, segment_s=2, run=1, key=SUB))
    await hold(index.db, replace(ASKED, stream="main", start_us=START_US + 3 * SECOND_US), START_US, MUCH)

    await retention(index, now_us=START_US + 400 * DAY_US).run_once()

    assert (await left(index), await left(index, SUB)) == ([1], [])


async def test_a_hold_of_a_camera_is_one_of_all_its_streams_and_of_no_other(index: Index) -> None:
    other = StreamKey("yard", "main")
    for key in (KEY, SUB, other):
        await recorded(index, Take(seconds=4, segment_s=2, run=1, key=key))
    await hold(index.db, ASKED, START_US, MUCH)

    await retention(index).run_once()

    assert [len(await left(index, key)) for key in (KEY, SUB, other)] == [2, 2, 0]


async def test_a_hold_made_while_eviction_chooses_is_not_overlooked(index: Index) -> None:
    """The check stands in the transaction that condemns."""
    run = await recorded(index, Take(seconds=4, segment_s=2, run=1))
    await hold(index.db, ASKED, START_US, MUCH)

    assert await index.condemn(run.rows, GapReason.EVICTED) == 0
    assert await index.condemn(run.rows, GapReason.DELETED) == 0
    # What the disk has lost, nothing can hold.
    assert await index.condemn(run.rows[:1], GapReason.DISK_ERROR) == 1


async def test_what_is_still_to_be_recorded_is_held_as_it_comes(index: Index) -> None:
    await hold(index.db, ASKED, START_US - 1, MUCH)
    await recorded(index, Take(seconds=8, segment_s=2, run=1))

    await retention(index).run_once()

    assert await left(index) == [0, 1]


async def test_a_hold_ends_by_its_date_under_a_trusted_clock_only(index: Index) -> None:
    await recorded(index, Take(seconds=2, run=1))
    until_us = START_US + DAY_US
    made = await hold(index.db, replace(ASKED, until_us=until_us), START_US, MUCH)

    await retention(index, now_us=until_us + 1, trusted=False).run_once()
    untrusted = await left(index)
    await retention(index, now_us=until_us - 1).run_once()
    early = await left(index)
    await retention(index, now_us=until_us + 1).run_once()

    assert (untrusted, early, await left(index)) == ([0], [0], [])
    (record,) = await holds(index.db, ended=True)
    assert record == replace(made, released_us=until_us + 1, released_by="")
    assert await expire(index.db, until_us + 5) == []


async def test_a_release_frees_the_footage_at_the_next_look_and_leaves_a_record(index: Index) -> None:
    await recorded(index, Take(seconds=4, segment_s=2, run=1))
    made = await hold(index.db, ASKED, START_US, MUCH)
    keeper = retention(index)
    await keeper.run_once()

    released = await release(index.db, made.id, "Kanit Laka", START_US + 9, "closed")
    again = await release(index.db, made.id, "somebody else", START_US + 99)
    await keeper.run_once()

    assert await left(index) == []
    assert (
        released
        == again
        == replace(made, released_us=START_US + 9, released_by="Kanit Laka", released_why="closed")
    )
    assert await holds(index.db) == []
    assert await holds(index.db, ended=True) == [released]
    assert await release(index.db, 999, "x", START_US) is None


async def test_a_case_is_released_together(index: Index) -> None:
    await hold(index.db, ASKED, START_US, MUCH)
    await hold(index.db, replace(ASKED, camera="yard"), START_US, MUCH)
    kept = await hold(index.db, replace(ASKED, case="LP-118"), START_US, MUCH)
    nameless = await hold(index.db, replace(ASKED, case=""), START_US, MUCH)

    released = await release_case(index.db, "LP-117", "Kanit", START_US)

    assert [one.wish.camera for one in released] == ["gate", "yard"]
    assert await holds(index.db) == [kept, nameless]
    assert await release_case(index.db, "", "Kanit", START_US) == []


async def test_holds_and_pins_together_are_bounded_and_legal_ones_are_not(index: Index) -> None:
    run = await recorded(index, Take(seconds=8, segment_s=2, run=1))
    sizes = [row.size_bytes for row in run.rows]
    most = sum(sizes[:3])
    await index.pin("job", KEY, START_US, START_US + 2 * SECOND_US)

    first = await hold(index.db, ASKED, START_US + DAY_US, most)
    with pytest.raises(HoldsFull, match=f"{sum(sizes)} bytes in all, of {most} bytes"):
        await hold(index.db, replace(ASKED, end_us=START_US + 8 * SECOND_US), START_US + DAY_US, most)
    legal = await hold(
        index.db, replace(ASKED, end_us=START_US + 8 * SECOND_US, legal=True), START_US + DAY_US, most
    )

    # What pin and hold share counts once; the refused one is not made.
    assert await holds(index.db) == [first, legal]
    assert await all_held_bytes(index.db) == sum(sizes)
    with pytest.raises(HoldsFull):
        await index.pin("other", KEY, START_US, START_US + 8 * SECOND_US, max_bytes=most)
    # What the legal one holds takes nothing from the rest.
    await hold(index.db, replace(ASKED, end_us=START_US + 6 * SECOND_US), START_US + DAY_US, most)


async def test_time_to_come_counts_by_the_rate_of_the_last_day(index: Index) -> None:
    run = await recorded(index, Take(seconds=2, run=1))
    now_us = run.rows[0].start_us + DAY_US
    ahead = replace(ASKED, start_us=now_us, end_us=now_us + 10 * DAY_US)
    half_us = START_US + DAY_US // 2
    new = replace(ASKED, start_us=half_us, end_us=half_us + DAY_US)

    # Half a day after the camera was new, a day takes twice what there is.
    with pytest.raises(HoldsFull):
        await hold(index.db, new, half_us, 2 * run.rows[0].size_bytes - 1)
    with pytest.raises(HoldsFull):
        await hold(index.db, ahead, now_us, 10 * run.rows[0].size_bytes - 1)
    await hold(index.db, ahead, now_us, 10 * run.rows[0].size_bytes)


async def test_a_program_gone_wrong_makes_no_endless_list(index: Index) -> None:
    async with index.db.transaction() as tx:
        await tx.run_many(
            """insert into hold (camera, start_us, end_us, reason, who, made_us)
               values ('gate', ?, ?, 'x', 'y', 0)""",
            [(number, number + 1) for number in range(MOST_HOLDS)],
        )

    with pytest.raises(HoldsFull, match="1000 holds"):
        await hold(index.db, replace(ASKED, legal=True), START_US, MUCH)
    first = await holds(index.db, limit=600)
    rest = await holds(index.db, after=first[-1].id, limit=600)
    assert len({one.id for one in first + rest}) == MOST_HOLDS
