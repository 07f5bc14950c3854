"""Runs of a wrong clock are dated anew: rows, what is gone, pins, holds and events, in one transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from simpang_buffer.index.clock_moves import BootClock, Move, dated_until, due_moves, move_due, move_run
from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.events import Event, EventKind, Events
from simpang_buffer.index.holds import HoldWish, hold, holds, release
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.protection import protection
from simpang_buffer.index.retention import Limits, Retention
from simpang_buffer.index.rows import Run
from simpang_buffer.index.space import Space
from simpang_buffer.model import AnchorSource, GapReason, RunHeader, Segment, StreamKey

MAIN, SUB = StreamKey("gate", "main"), StreamKey("gate", "sub")
MINUTE_US = 60_000_000
DAY_US = 86_400_000_000
NOW_US = 1_795_000_000_000_000
# Two minutes after a boot at 1970.
OLD_US = 120_000_000


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        yield opened


def segment(key: StreamKey, run: int, seq: int, start_us: int) -> Segment:
    counts = (1000 + seq, 60, 900, seq * 15, 15)
    seal = bytes((run, seq)) * 8
    end_us = start_us + MINUTE_US
    return Segment(key, run, seq, start_us, end_us, *counts, "avc1", 64, 48, b"h" * 32, seal)


async def recorded(
    index: Index,
    run: int,
    anchor_us: int,
    *,
    key: StreamKey = MAIN,
    minutes: int = 5,
    source: AnchorSource = AnchorSource.BOOT,
    boot: tuple[str, int] | None = ("boot", OLD_US),
    offset_us: int | None = None,
) -> list[Segment]:
    boot_id, boot_us = boot or (None, None)
    anchor = (anchor_us, source, offset_us, None, 0, boot_id, boot_us)
    header = RunHeader("site", key.camera, key.stream, run, 0, "avc1", *anchor)
    await index.add_run(header, 64, 48)
    rows = [segment(key, run, seq, anchor_us + seq * MINUTE_US) for seq in range(minutes)]
    await index.add_segments(rows)
    return rows


async def everything(index: Index, key: StreamKey = MAIN) -> list[Segment]:
    return await index.segments(key, -(1 << 60), 1 << 60)


async def run_of(index: Index, run: int, key: StreamKey = MAIN) -> Run:
    found = await index.run(key, run)
    assert found is not None
    return found


def moved(rows: Sequence[Segment], by_us: int) -> list[Segment]:
    return [replace(row, start_us=row.start_us + by_us, end_us=row.end_us + by_us) for row in rows]


@pytest.mark.parametrize("by_us", [NOW_US, -OLD_US, 90_000_000, -90_000_000, 1, 0])
async def test_a_run_moves_as_one_and_what_it_was_is_kept(by_us: int, index: Index) -> None:
    """By less than a file's length too, when every row moves to where another just was."""
    rows = await recorded(index, 1, OLD_US, offset_us=NOW_US)
    others = await recorded(index, 2, OLD_US + DAY_US)
    order = [row[1].seal for row in await index.in_order(0, 100)]

    shifts = [await move_run(index, MAIN, 1, OLD_US + by_us) for _ in range(3)]

    assert shifts == [by_us, 0, 0]
    assert await everything(index) == [*moved(rows, by_us), *others]
    run = await run_of(index, 1)
    assert (run.anchor_us, run.recorded_anchor_us, run.moved_us) == (OLD_US + by_us, OLD_US, by_us)
    assert (run.start_us, run.end_us) == (OLD_US + by_us, OLD_US + by_us + 5 * MINUTE_US)
    assert run.camera_offset_us == NOW_US - by_us
    assert [row[1].seal for row in await index.in_order(0, 100)] == order
    assert await index.faults() == []


async def test_a_run_may_move_to_where_others_are(index: Index) -> None:
    there = await recorded(index, 1, NOW_US, source=AnchorSource.RTCP)
    rows = await recorded(index, 2, OLD_US)

    await move_run(index, MAIN, 2, NOW_US)

    assert await everything(index) == [*there, *moved(rows, NOW_US - OLD_US)]
    assert await index.faults() == []


async def test_a_run_that_there_is_not_is_passed_over(index: Index) -> None:
    assert await move_run(index, MAIN, 9, NOW_US) == 0


async def test_files_that_are_found_later_are_dated_like_their_run(index: Index) -> None:
    await recorded(index, 1, OLD_US, minutes=2)
    await move_run(index, MAIN, 1, NOW_US)
    late, last = segment(MAIN, 1, 2, OLD_US + 2 * MINUTE_US), segment(MAIN, 1, 3, OLD_US + 3 * MINUTE_US)
    header = RunHeader(
        "site", "gate", "main", 1, 2, "avc1", OLD_US, AnchorSource.BOOT, None, None, 30, "boot", OLD_US
    )

    await index.take_in(MAIN, header, [late])
    await index.add_segments([last])

    assert [row.start_us for row in await everything(index)] == [NOW_US + n * MINUTE_US for n in range(4)]
    assert (await run_of(index, 1)).end_us == NOW_US + 4 * MINUTE_US


async def test_what_is_gone_of_a_run_moves_along_unless_it_may_be_anothers(index: Index) -> None:
    rows = await recorded(index, 1, OLD_US)
    await index.condemn(rows[:2], GapReason.DELETED, at_us=5)
    other = await recorded(index, 2, OLD_US + 10 * MINUTE_US)
    await index.condemn(other[:1], GapReason.DELETED, at_us=5)

    await move_run(index, MAIN, 1, NOW_US)

    assert [(one.start_us, one.end_us) for one in await index.gone(MAIN, 0, 1 << 60)] == [
        (OLD_US + 10 * MINUTE_US, OLD_US + 11 * MINUTE_US),
        (NOW_US, NOW_US + 2 * MINUTE_US),
    ]


async def test_what_may_be_gone_of_two_runs_stays_on_record_where_it_is(index: Index) -> None:
    """Two boots at 1970."""
    rows = await recorded(index, 1, OLD_US)
    await recorded(index, 2, OLD_US, boot=("another", OLD_US))
    await index.condemn(rows[:1], GapReason.DELETED)

    await move_run(index, MAIN, 1, NOW_US)

    assert [one.start_us for one in await index.gone(MAIN, 0, 1 << 60)] == [OLD_US]


async def test_a_pin_goes_on_to_hold_what_it_held(index: Index) -> None:
    rows = await recorded(index, 1, OLD_US)
    await index.pin("job", MAIN, 0, OLD_US + 2 * MINUTE_US)

    for _ in range(2):
        await move_run(index, MAIN, 1, NOW_US)

    held = (await protection(index.db.read)).of(MAIN)
    assert [held.touch(row.start_us, row.end_us) for row in moved(rows, NOW_US - OLD_US)] == [True] * 2 + [
        False
    ] * 3
    await index.unpin("job")
    assert await index.pins() == []


def wish(start_us: int, end_us: int, *, stream: str | None = None, until_us: int | None = None) -> HoldWish:
    return HoldWish("gate", stream, start_us, end_us, "an accident", "installer", "2026/5", until_us=until_us)


async def test_a_hold_moves_with_the_last_of_the_footage_that_it_holds(index: Index) -> None:
    main, sub = await recorded(index, 1, OLD_US), await recorded(index, 1, OLD_US, key=SUB)
    made = await hold(index.db, wish(OLD_US, OLD_US + MINUTE_US, until_us=OLD_US + DAY_US), OLD_US, 10**9)

    await move_run(index, MAIN, 1, NOW_US)
    between = (await protection(index.db.read)).ranges
    await move_run(index, SUB, 1, NOW_US)

    held = await holds(index.db)
    assert between == {("gate", None, OLD_US, OLD_US + MINUTE_US), ("gate", None, NOW_US, NOW_US + MINUTE_US)}
    (only,) = held
    assert only.id == made.id
    assert (only.wish.start_us, only.wish.end_us) == (NOW_US, NOW_US + MINUTE_US)
    # It was to end a day later, by the clock of then.
    assert only.wish.until_us == NOW_US + DAY_US
    found = await protection(index.db.read)
    by_us = NOW_US - OLD_US
    assert found.covers(MAIN, *(moved(main, by_us)[0].start_us, moved(main, by_us)[0].end_us))
    assert found.covers(SUB, *(moved(sub, by_us)[0].start_us, moved(sub, by_us)[0].end_us))


async def test_a_hold_over_other_footage_stays_and_has_a_second_like_it(index: Index) -> None:
    await recorded(index, 1, OLD_US)
    await recorded(index, 2, OLD_US + 2 * MINUTE_US, boot=("another", OLD_US))
    made = await hold(index.db, wish(OLD_US, OLD_US + 3 * MINUTE_US, until_us=NOW_US + DAY_US), OLD_US, 10**9)
    released = await hold(index.db, wish(OLD_US, OLD_US + MINUTE_US, stream="main"), OLD_US, 10**9)
    await release(index.db, released.id, "installer", OLD_US)

    for _ in range(2):
        await move_run(index, MAIN, 1, NOW_US)

    first, second = await holds(index.db)
    assert (first.id, first.wish) == (made.id, made.wish)
    # The date at which it ends was given by a clock that is right.
    assert second.wish == replace(made.wish, start_us=NOW_US, end_us=NOW_US + 3 * MINUTE_US)
    assert (second.made_us, second.wish.case) == (made.made_us, "2026/5")


async def test_an_event_moves_with_the_last_stream_of_its_camera(index: Index) -> None:
    await recorded(index, 1, OLD_US)
    await recorded(index, 1, OLD_US, key=SUB)
    events = Events(index.db)
    await events.add(Event("gate", EventKind.MOTION, OLD_US + 5_000_000, OLD_US + 9_000_000))

    await move_run(index, MAIN, 1, NOW_US)
    (before,) = await events.list(0, 1 << 60)
    await move_run(index, SUB, 1, NOW_US)
    (after,) = await events.list(0, 1 << 60)

    assert (before.start_us, after.start_us, after.end_us) == (
        OLD_US + 5_000_000,
        NOW_US + 5_000_000,
        NOW_US + 9_000_000,
    )


async def test_a_move_that_fails_half_way_has_moved_nothing(index: Index) -> None:
    rows = await recorded(index, 1, OLD_US)
    await index.pin("job", MAIN, OLD_US, OLD_US + MINUTE_US)
    await Events(index.db).add(Event("gate", EventKind.MOTION, OLD_US, OLD_US + 1))
    with contextlib.closing(sqlite3.connect(index.db.path)) as other:
        other.execute("create trigger broken before update on event begin select raise(abort, 'no'); end")
        with pytest.raises(StorageError):
            await move_run(index, MAIN, 1, NOW_US)
        broken = await everything(index), await run_of(index, 1), len(await index.pins())
        other.execute("drop trigger broken")

    await move_run(index, MAIN, 1, NOW_US)

    assert broken[0] == rows
    assert (broken[1].recorded_anchor_us, broken[2]) == (None, 1)
    assert await everything(index) == moved(rows, NOW_US - OLD_US)


@dataclass(frozen=True)
class Known:
    """A run: its anchor, the time since boot then, of which boot, and whether a trusted clock dated it."""

    anchor_us: int
    boot_us: int
    boot_id: str = "boot"
    dated: bool = True


NOW = BootClock("boot", NOW_US, trusted=True)
UNKNOWN = replace(NOW, trusted=False)
# Of an earlier boot, since when a trusted clock dated no run.
LATER = BootClock("later", NOW_US + DAY_US, trusted=True)
DUE: dict[str, tuple[list[Known], BootClock, int | None]] = {
    "the clock of now": ([], NOW, NOW_US + OLD_US),
    "the clock of now is not right": ([], UNKNOWN, None),
    "another boot": ([], LATER, None),
    "a later run of the same boot": ([Known(NOW_US - 5 + 900, 900_000_000)], LATER, None),
    "the next of them": (
        [Known(NOW_US + OLD_US + 60, OLD_US + 50), Known(NOW_US + OLD_US + 90, OLD_US + 60)],
        LATER,
        NOW_US + OLD_US + 10,
    ),
    "before the clock of now": ([Known(NOW_US + OLD_US + 60, OLD_US + 50)], NOW, NOW_US + OLD_US + 10),
    "an earlier run, where no later one tells": ([Known(NOW_US + OLD_US - 60, OLD_US - 50)], LATER,
                                                NOW_US + OLD_US - 10),
    "an earlier run of this boot, whose clock may be set yet": ([Known(NOW_US, OLD_US - 50)], UNKNOWN, None),
    "a run of another boot": ([Known(NOW_US, OLD_US + 50, "another")], LATER, None),
    "a run that nobody dated": ([Known(NOW_US, OLD_US + 50, dated=False)], LATER, None),
}  # fmt: skip


@pytest.mark.parametrize("case", DUE)
async def test_a_run_is_dated_by_the_clock_of_its_boot(case: str, index: Index) -> None:
    known, now, due_us = DUE[case]
    if case == "a later run of the same boot":
        due_us = known[0].anchor_us - known[0].boot_us + OLD_US
    await recorded(index, 1, OLD_US)
    for number, one in enumerate(known):
        source = AnchorSource.ARRIVAL if one.dated else AnchorSource.BOOT
        await recorded(
            index, 2 + number, one.anchor_us, key=SUB, source=source, boot=(one.boot_id, one.boot_us)
        )

    found = [move for move in await due_moves(index, now) if move.key == MAIN]

    assert found == ([] if due_us is None else [Move(MAIN, 1, due_us)])


async def test_a_run_whose_clock_was_right_is_dated_where_it_is(index: Index) -> None:
    rows = await recorded(index, 1, NOW_US + OLD_US + 700)

    (move,) = await move_due(index, NOW, lambda key, run: False)

    assert move.anchor_us == NOW_US + OLD_US + 700
    assert await everything(index) == rows
    assert (await run_of(index, 1)).recorded_anchor_us == move.anchor_us


async def test_a_run_that_is_still_written_waits(index: Index) -> None:
    await recorded(index, 1, OLD_US)
    await recorded(index, 2, OLD_US + DAY_US, boot=("boot", OLD_US + DAY_US))

    first = await move_due(index, NOW, lambda key, run: run == 2)
    second = await move_due(index, NOW, lambda key, run: False)
    third = await move_due(index, NOW, lambda key, run: False)

    assert ([one.run for one in first], [one.run for one in second], third) == ([1], [2], [])
    # What was moved dates what is left of its boot, when that is no longer the clock's.
    await recorded(index, 3, OLD_US + 7, boot=("boot", OLD_US + 7))
    assert await due_moves(index, LATER) == [Move(MAIN, 3, NOW_US + OLD_US + 7)]


async def test_the_newest_footage_is_that_which_a_trusted_clock_dated(index: Index) -> None:
    none = await dated_until(index)
    await recorded(index, 1, NOW_US + DAY_US)
    untrusted = await dated_until(index)
    await recorded(index, 2, NOW_US, source=AnchorSource.RTCP)
    dated = await dated_until(index)
    await move_run(index, MAIN, 1, NOW_US + DAY_US)

    assert (none, untrusted, dated) == (None, None, NOW_US + 5 * MINUTE_US)
    assert await dated_until(index) == NOW_US + DAY_US + 5 * MINUTE_US


@pytest.mark.parametrize(
    ("next_days", "evicted"),
    [(None, 0), (20, 0), (40, 3)],
    ids=["nothing dated behind it", "lately", "long ago"],
)
async def test_what_nobody_could_date_is_too_old_once_what_came_after_it_is(
    next_days: int | None, evicted: int, index: Index
) -> None:
    """Of a boot whose clock was never right: its rows say 1970."""
    await recorded(index, 1, OLD_US, minutes=3, boot=("never right", OLD_US))
    young = await recorded(index, 2, NOW_US - DAY_US, minutes=1, source=AnchorSource.RTCP, key=SUB)
    if next_days is not None:
        await recorded(index, 2, NOW_US - next_days * DAY_US, minutes=1, source=AnchorSource.RTCP)
    retention = Retention(
        index,
        lambda total: Limits(max_bytes=10**12, min_free_bytes=0, max_days=30),
        now_us=lambda: NOW_US,
        clock_trusted=lambda: True,
        spaces=lambda: {1: Space(10**13, 10**13)},
    )

    await retention.run_once()

    left = await everything(index)
    assert sum(row.run == 1 for row in left) == 3 - evicted
    assert await everything(index, SUB) == young


async def test_what_nobody_could_date_makes_room_in_the_order_of_recording(index: Index) -> None:
    """And holds up nothing that is older."""
    first = await recorded(index, 1, NOW_US - 3 * DAY_US, minutes=2, source=AnchorSource.RTCP)
    await recorded(index, 2, OLD_US, minutes=2, boot=("never right", OLD_US))
    last = await recorded(index, 3, NOW_US - DAY_US, minutes=2, source=AnchorSource.RTCP)
    kept = sum(row.size_bytes for row in (*first, *last))

    def retention(most_bytes: int) -> Retention:
        return Retention(
            index,
            lambda total: Limits(max_bytes=most_bytes, min_free_bytes=0, max_days=30),
            now_us=lambda: NOW_US,
            clock_trusted=lambda: True,
            spaces=lambda: {1: Space(10**13, 10**13)},
        )

    await retention(kept).run_once()
    once = [row.run for row in sorted(await everything(index), key=lambda row: (row.run, row.seq))]
    await retention(2100).run_once()
    twice = [row.run for row in sorted(await everything(index), key=lambda row: (row.run, row.seq))]

    assert once == [2, 2, 3, 3]
    assert twice == [3, 3]
