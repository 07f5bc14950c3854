"""The pages that eviction reads: what is passed over is found again when it becomes free, and no clock that
was wrong makes footage old."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest_asyncio

from simpang_buffer.index.events import EVENT_MOST_US, MOST_A_DAY, Event, EventKind, Events, TooManyEvents
from simpang_buffer.index.eviction import Rule
from simpang_buffer.index.holds import HoldWish, hold, release
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.retention import DAY_US, Limits, Policy, Retention, Space
from simpang_buffer.index.space import Quota
from simpang_buffer.model import AnchorSource, RunHeader, Segment, StreamKey

KEY = StreamKey("gate", "main")
MINUTE_US = 60_000_000
NOW_US = 1_790_000_000_000_000 // DAY_US * DAY_US
MARGIN_US = 10_000_000
MUCH = 1 << 50


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


async def fill(
    index: Index, ages_days: list[float], *, key: StreamKey = KEY, run: int = 1, first: int = 0,
    boot: str | None = None, folder: int = 1,
) -> None:  # fmt: skip
    """Segments of a minute and 1000 bytes that ended so long ago, in the order of recording."""
    header = RunHeader("s", key.camera, key.stream, run, 0, "avc1", 0, AnchorSource.RTCP, 0, None, 0, boot, 0)
    await index.add_run(header, 1, 1)
    rows = []
    for seq, age in enumerate(ages_days, first):
        end_us = NOW_US - int(age * DAY_US)
        rows.append(
            Segment(key, run, seq, end_us - MINUTE_US, end_us, 1000, 60, 900, 0, 15, "avc1", 1, 1, b"h" * 32,
                    b"s" * 16, folder)
        )  # fmt: skip
    await index.add_segments(rows)


async def left(index: Index, key: StreamKey = KEY) -> list[float]:
    """Ages in days."""
    rows = await index.segments(key, -(1 << 62), 1 << 62)
    return [round((NOW_US - row.end_us) / DAY_US, 3) for row in sorted(rows, key=lambda row: row.start_us)]


def retention(
    index: Index, rule: Rule | Callable[[StreamKey], Rule], *, now_us: int = NOW_US, trusted: bool = True,
    max_bytes: int = MUCH, booted_us: int | None = None, quota: int | None = None,
    spaces: dict[int, Space] | None = None, open_bytes: int = 0,
) -> Retention:  # fmt: skip
    quotas = [Quota("q", frozenset({KEY}), quota)] if quota is not None else []
    return Retention(
        index,
        lambda total_bytes: Limits(max_bytes, 0, 30),
        now_us=lambda: now_us,
        clock_trusted=lambda: trusted,
        policy=Policy(rule if callable(rule) else lambda key: rule, lambda keys, total: quotas, MARGIN_US),
        spaces=lambda: spaces or {1: Space(MUCH, MUCH)},
        open_bytes=lambda: {1: open_bytes},
        booted_us=lambda: booted_us,
    )


KEEP = Rule(30 * DAY_US)


async def test_a_long_held_front_is_passed_over_and_found_again_when_it_is_released(index: Index) -> None:
    ages = [90 - minute / 1440 for minute in range(2500)]
    await fill(index, [*ages, 40, 29])
    front = HoldWish("gate", None, 0, NOW_US - 60 * DAY_US, "r", "w")
    made = await hold(index.db, front, NOW_US, MUCH)
    keeper = retention(index, KEEP)

    first = await keeper.run_once()
    second = await keeper.run_once()
    await release(index.db, made.id, "w", NOW_US)
    third = await keeper.run_once()

    assert (first, second, third) == (1, 0, 2500)
    assert await left(index) == [29]


async def test_a_pin_that_ends_frees_what_it_held(index: Index) -> None:
    await fill(index, [40, 35, 29])
    await index.pin("job", KEY, NOW_US - 41 * DAY_US, NOW_US - 34 * DAY_US)
    keeper = retention(index, KEEP)

    held = await keeper.run_once()
    await index.unpin("job")

    assert (held, await keeper.run_once()) == (0, 2)


async def test_a_hold_that_comes_while_the_page_is_in_memory_is_kept(index: Index) -> None:
    await fill(index, [29, 28, 27])
    keeper = retention(index, KEEP)
    await keeper.run_once()
    wish = HoldWish("gate", "main", NOW_US - 29 * DAY_US - MINUTE_US, NOW_US - 29 * DAY_US, "r", "w")
    await hold(index.db, wish, NOW_US, MUCH)

    tight = retention(index, KEEP, max_bytes=1000)
    keeper._limits = tight._limits
    await keeper.run_once()

    assert await left(index) == [29]


async def test_event_footage_is_kept_longer_also_when_the_event_is_told_late(index: Index) -> None:
    await fill(index, [70, 50, 45, 40, 29])
    events = Events(index.db)
    at_us = NOW_US - int(50 * DAY_US) + MARGIN_US - 1
    await events.add(Event("gate", EventKind.MOTION, at_us, at_us))
    await events.add(Event("gate", EventKind.MOTION, NOW_US - 70 * DAY_US - 1, NOW_US - 70 * DAY_US))
    await events.add(Event("yard", EventKind.MOTION, NOW_US - 45 * DAY_US - 1, NOW_US - 45 * DAY_US))
    rule = Rule(30 * DAY_US, event_us=60 * DAY_US)

    await retention(index, rule).run_once()
    of_events = await left(index)
    young = retention(index, Rule(100 * DAY_US, event_us=200 * DAY_US))
    await young.run_once()
    await events.add(Event("gate", EventKind.LINE, NOW_US - 29 * DAY_US - 1, NOW_US - 29 * DAY_US))
    young._limits = lambda total_bytes: Limits(1000, 0, 30)
    await young.run_once()

    assert of_events == [50, 29]
    # 50 days of 200 are a quarter of its life, 29 of 200 less.
    assert await left(index) == [29]


async def test_an_event_that_never_ends_keeps_an_hour(index: Index) -> None:
    hours = [50 - hour / 24 for hour in range(5)]
    await fill(index, hours)
    await Events(index.db).add(Event("gate", EventKind.MOTION, NOW_US - 50 * DAY_US - MINUTE_US))

    await retention(index, Rule(30 * DAY_US, event_us=60 * DAY_US)).run_once()

    assert await left(index) == [round(age, 3) for age in hours[:2]]
    assert EVENT_MOST_US == 3_600_000_000


async def test_what_a_wrong_clock_dated_in_this_boot_is_not_too_old(index: Index) -> None:
    """At boot the clock said what it was when the power went, 40 days ago; it was set an hour later."""
    await fill(index, [41, 41 - 1 / 1440], run=1, boot="before")
    await index.set_meta("boot_id", "now")
    await fill(index, [40, 20_000], run=2, first=2, boot="now")

    await retention(index, KEEP, booted_us=NOW_US - DAY_US // 24).run_once()

    assert await left(index) == [20_000, 40]


async def test_it_is_judged_when_the_clock_becomes_trusted_and_goes_in_its_turn(index: Index) -> None:
    await index.set_meta("boot_id", "now")
    await fill(index, [29], run=1, boot="before")
    trusted = False
    keeper = retention(index, KEEP, booted_us=NOW_US - DAY_US)
    keeper._clock_trusted = lambda: trusted
    await keeper.run_once()

    await fill(index, [40], run=2, first=1, boot="now")
    trusted = True
    await keeper.run_once()
    kept = await left(index)
    keeper._limits = lambda total_bytes: Limits(1000, 0, 30)
    await keeper.run_once()

    assert kept == [40, 29]
    # What is a day old at most outlasts what is 29.
    assert await left(index) == [40]


async def test_time_to_come_is_not_too_old_and_not_lost_for_want_of_a_date(index: Index) -> None:
    await fill(index, [-3650, 20, 10])

    await retention(index, KEEP, max_bytes=2000).run_once()

    assert await left(index) == [10, -3650]


async def test_without_a_trusted_clock_runs_go_in_the_order_of_recording(index: Index) -> None:
    await fill(index, [-299, -300], run=1)
    await fill(index, [5000, 4999], run=2, first=2)
    keeper = retention(index, Rule(DAY_US, min_us=DAY_US), trusted=False, max_bytes=3000)

    await keeper.run_once()
    first = await left(index)
    keeper._limits = lambda total_bytes: Limits(1000, 0, 30)
    await keeper.run_once()

    assert first == [5000, 4999, -300]
    assert await left(index) == [4999]


async def test_files_that_are_still_open_count_as_used(index: Index) -> None:
    await fill(index, [3, 2, 1])

    await retention(index, KEEP, max_bytes=3000, open_bytes=1500).run_once()

    assert await left(index) == [1]


async def test_each_folder_is_kept_within_its_own_space_and_one_that_is_away_is_left_alone(
    index: Index,
) -> None:
    await fill(index, [29, 28], run=1)
    await fill(index, [27, 26], run=2, first=2, folder=2)
    await fill(index, [90, 5], run=3, first=4, folder=3)
    spaces = {1: Space(MUCH, MUCH), 2: Space(1 << 30, 1 << 20)}
    keeper = retention(index, KEEP, spaces=spaces)
    keeper._limits = lambda total_bytes: Limits(1000 if total_bytes == 1 << 30 else MUCH, 0, 30)

    await keeper.run_once()

    assert await left(index) == [90, 29, 28, 26, 5]


async def test_a_quota_that_minimum_ages_exceed_is_said_and_young_footage_that_goes_is_said(
    index: Index,
) -> None:
    await fill(index, [9, 5, 1])
    rule = Rule(30 * DAY_US, min_us=7 * DAY_US)
    over = retention(index, rule, quota=1000)
    await over.run_once()
    kept = await left(index)
    full = retention(index, rule, max_bytes=1000)
    await full.run_once()

    assert kept == [5, 1]
    assert [(one.bytes, one.quota.name if one.quota else "") for one in over.status.short] == [(1000, "q")]
    assert await left(index) == [1]
    assert full.status.young[KEY].age_us == 5 * DAY_US
    assert over.status.young == {}


async def test_a_flood_is_bounded_by_camera_and_day_and_old_events_are_forgotten(index: Index) -> None:
    events = Events(index.db)
    async with index.db.transaction() as tx:
        await tx.run_many(
            "insert into event (camera, kind, start_us) values ('gate', 'motion', ?)",
            [(NOW_US + number,) for number in range(MOST_A_DAY)],
        )
    again = Event("gate", EventKind.MOTION, NOW_US)

    for _ in range(3):
        try:
            await events.add(again)
        except TooManyEvents as error:
            assert "gate" in str(error)
    other = await events.add(Event("yard", EventKind.MOTION, NOW_US))
    next_day = await events.add(Event("gate", EventKind.MOTION, NOW_US + DAY_US))
    await events.end(other, NOW_US - 5)
    await events.end(other, NOW_US + 5)

    assert events.refused == {"gate": 3}
    assert [one.end_us for one in await events.list(NOW_US, NOW_US + 1, camera="yard")] == [NOW_US]
    forgotten = 0
    while more := await events.forget_before(NOW_US + DAY_US):
        forgotten += more
    assert forgotten == MOST_A_DAY + 1
    assert [one.id for one in await events.list(0, NOW_US * 2)] == [next_day]
