"""The gateway's clock is set while it records: 1970 at boot and NTP later, hours back, to and fro (10.7).

Whatever it does: every picture is recorded once, nothing overlaps within a run, gaps are called by their
name, nothing is evicted, and once the clock is right all footage stands where it was taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest

from clock_site import ARCHIVE, ARCHIVE_DAYS, DAY_US, TRUE_BOOT_US, Clocks, ClockSite, clock_site, rows_of
from recorder_bench import KEY
from simpang.clock_keeper import ClockKeeper
from simpang_buffer.index.clock_moves import is_dated
from simpang_buffer.index.index import open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rebuild import Rebuild
from simpang_buffer.model import GapReason
from simpang_buffer.reading.clips import clips
from simpang_buffer.reading.coverage import coverage
from simpang_buffer.reading.gaps import RunStart, Stretch, explain
from simpang_buffer.reading.tail import no_tail

HOUR_US = 3_600_000_000
YEAR_US = 365 * DAY_US

Act: TypeAlias = Callable[[ClockSite], Awaitable[None]]


def to(
    true: bool = False, *, by_us: int = 0, synchronised: bool | None = None, at_us: int | None = None
) -> Act:
    """The clock is set: to the truth, by so much, or to a time."""

    async def act(site: ClockSite) -> None:
        clocks = site.clocks
        clocks.wall_us = clocks.true_us if true else clocks.wall_us + by_us if at_us is None else at_us
        if synchronised is not None:
            clocks.synchronised = synchronised

    return act


async def confirmed(site: ClockSite) -> None:
    await site.keeper.trust()


async def asleep(site: ClockSite) -> None:
    """Suspended for an hour: the monotonic clock stands still."""
    site.clocks.go_on(HOUR_US)
    site.clocks.asleep_us += HOUR_US


@dataclass(frozen=True)
class Scenario:
    """acts: after so many seconds of recording each. runs: how many there are in the end. trusted: whether
    all of them are dated. off_us: how far from the truth all that is dated stands. split: a run lies where
    the clock was wrong while it was trusted, so the time line has a hole or an overlap."""

    clocks: Callable[[], Clocks]
    acts: list[tuple[float, Act]] = field(default_factory=list)
    runs: int = 1
    trusted: bool = True
    off_us: int = 0
    split: bool = False


def unset() -> Clocks:
    return Clocks(wall_us=30_000_000, synchronised=False)


def unkept(off_us: int = 0) -> Clocks:
    return Clocks(wall_us=TRUE_BOOT_US + 30_000_000 + off_us, synchronised=False)


SCENARIOS = {
    "nothing happens": Scenario(Clocks),
    "1970 at boot, NTP later": Scenario(unset, [(25, to(True, synchronised=True))], runs=2),
    "1970 at boot, NTP never": Scenario(unset, trusted=False, off_us=-TRUE_BOOT_US),
    "hours ahead at boot, NTP sets it back": Scenario(
        lambda: unkept(3 * HOUR_US), [(25, to(True, synchronised=True))], runs=2
    ),
    "NTP finds it right": Scenario(unkept, [(25, to(True, synchronised=True))], runs=2),
    "set twice before NTP": Scenario(
        unset,
        [(12, to(by_us=40 * YEAR_US)), (12, to(by_us=-HOUR_US)), (12, to(True, synchronised=True))],
        runs=4,
    ),
    "hours back while trusted": Scenario(Clocks, [(25, to(by_us=-3 * HOUR_US))], runs=2, split=True),
    "hours ahead while trusted": Scenario(Clocks, [(25, to(by_us=3 * HOUR_US))], runs=2, split=True),
    "a second back and forth": Scenario(
        Clocks,
        [(15, to(by_us=1_000_000)), (15, to(by_us=-1_000_000)), (15, to(by_us=1_000_000)),
         (15, to(by_us=-1_000_000))],
        runs=5,
        split=True,
    ),
    # By more than once in ten seconds nobody is served: then the run goes on by its own clock for a while.
    "set every two seconds": Scenario(
        Clocks, [(2, to(by_us=by_us)) for by_us in (1_000_000, -1_000_000) * 8], runs=5, split=True
    ),
    "a leap second": Scenario(Clocks, [(25, to(by_us=-1_000_000))], runs=2, split=True),
    "slewed by 500 ppm": Scenario(lambda: Clocks(slew_ppm=500), [(60, to())]),
    "suspended": Scenario(Clocks, [(25, asleep)], runs=2),
    "2099 while synchronised, and back": Scenario(
        Clocks, [(20, to(by_us=73 * YEAR_US)), (40, to(True))], runs=3
    ),
    "an installer confirms it": Scenario(unkept, [(20, confirmed)], runs=2),
    "confirmed, then set by something": Scenario(
        unkept, [(20, confirmed), (20, to(by_us=-300_000_000)), (20, to(True, synchronised=True))], runs=4
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_clock_that_is_set_costs_no_picture_and_no_footage(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = SCENARIOS[name]
    clocks = scenario.clocks()
    async with clock_site(tmp_path, clocks, monkeypatch) as (site, end):
        for seconds, act in scenario.acts:
            await site.play(seconds)
            await act(site)
        await site.play(25)
        await end()
        # Longer than the clock's keeper waits before it looks for what is to be dated anew.
        for _ in range(6):
            clocks.go_on(61_000_000)
            await site.look()

        await check(site, scenario)


async def test_the_files_alone_tell_when_they_were_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is lost after the next boot, when nobody knows what the clock of the one before was."""
    scenario = SCENARIOS["set twice before NTP"]
    clocks = scenario.clocks()
    async with clock_site(tmp_path, clocks, monkeypatch) as (site, end):
        for seconds, act in scenario.acts:
            await site.play(seconds)
            await act(site)
        await site.play(25)
        await end()
        clocks.go_on(61_000_000)
        await site.look()
        known = await site.rows()
        (tmp_path / "lost").mkdir()

        async with open_index(tmp_path / "lost" / "index.db", tmp_path / "media") as index:
            await Rebuild(index, {1: MediaFiles(index.media)}, "site", rest=0).run()
            before = [row.start_us for row in await rows_of(index)]
            clocks.wall_us, clocks.synchronised = 10_000_000, False
            later = ClockKeeper(index, site, "of the next boot", read=clocks.reading)
            await later.prepare()
            found = await rows_of(index)

    assert min(before) < YEAR_US
    assert [(row.run, row.seq, row.start_us, row.end_us) for row in found] == [
        (row.run, row.seq, row.start_us, row.end_us) for row in known
    ]


@pytest.mark.parametrize(("synchronised", "evicted"), [(True, 9), (False, 0)])
async def test_age_evicts_under_a_trusted_clock_only(
    synchronised: bool, evicted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(synchronised=synchronised)
    async with clock_site(tmp_path, clocks, monkeypatch, max_days=ARCHIVE_DAYS - 9) as (site, end):
        await site.play(1)
        await end()

        assert site.evicted == evicted


@pytest.mark.parametrize("confirms", [True, False])
async def test_what_a_leap_would_evict_goes_once_it_is_confirmed_or_has_lasted_a_day(
    confirms: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks()
    async with clock_site(tmp_path, clocks, monkeypatch) as (site, end):
        await site.play(1)
        await end()
        clocks.wall_us += 10 * DAY_US
        evicted = []
        for hours in range(26):
            if hours == 2 and confirms:
                await confirmed(site)
            clocks.go_on(HOUR_US)
            for _ in range(5):
                await site.look()
            evicted.append(site.evicted)

    assert evicted[1] == 0
    # What is older than 30 days now: all but the last twenty.
    first = next(hour for hour, count in enumerate(evicted) if count)
    assert (first, evicted[first] >= 9) == (2 if confirms else 24, True)


@pytest.mark.parametrize(
    ("hole_us", "reason", "found"),
    [
        (40_000, GapReason.CLOCK_STEP, []),
        (HOUR_US, GapReason.CLOCK_STEP, [GapReason.CLOCK_STEP]),
        (40_000, GapReason.TIMEOUT, [GapReason.TIMEOUT]),
        (-HOUR_US, GapReason.CLOCK_STEP, []),
    ],
)
def test_a_step_of_the_clock_is_a_gap_where_it_left_one(
    hole_us: int, reason: GapReason, found: list[GapReason]
) -> None:
    """Back in time there is none; two runs of one session follow each other but for a picture's length."""
    ends_us, begins_us = 2 * HOUR_US, 2 * HOUR_US + hole_us
    runs = [RunStart(HOUR_US, ends_us, None), RunStart(begins_us, begins_us + HOUR_US, reason)]
    stretches = [Stretch(run.start_us, run.end_us, number) for number, run in enumerate(runs)]
    up_to_us = max(stretch.end_us for stretch in stretches)

    gaps = list(explain(HOUR_US if hole_us > 0 else begins_us, up_to_us, stretches, runs, [], None))

    assert [gap.reason for gap in gaps] == found
    assert all((gap.start_us, gap.end_us) == (ends_us, begins_us) for gap in gaps)


async def check(site: ClockSite, scenario: Scenario) -> None:
    rows = await site.rows()
    found = [await site.index.run(KEY, run) for run in sorted({row.run for row in rows})]
    runs = [run for run in found if run is not None]

    assert site.samples() == site.sent
    assert sum(row.frames for row in rows) == len(site.sent)
    assert len(runs) == scenario.runs
    for before, after in itertools.pairwise(rows):
        assert before.run != after.run or before.end_us <= after.start_us + 1
    assert [run.previous_end for run in runs[1:]] == [GapReason.CLOCK_STEP] * (len(runs) - 1)
    assert {is_dated(run.anchor_source, run.recorded_anchor_us) for run in runs} == {scenario.trusted}

    assert site.evicted == 0
    archived = (await site.index.stream_totals())[ARCHIVE]
    assert archived.segments == ARCHIVE_DAYS

    start_us, end_us = min(row.start_us for row in rows), max(row.end_us for row in rows)
    seen = await coverage(site.index, no_tail, KEY, start_us, end_us, rows[-1].end_us, GapReason.DISABLED)
    assert all(gap.end_us > gap.start_us and gap.reason is GapReason.CLOCK_STEP for gap in seen.gaps)
    clip = await clips(site.index, no_tail, KEY, start_us, end_us)
    assert sum(piece.fragment.frames for part in clip.parts for piece in part.pieces()) == len(site.sent)

    # Each fragment, as it is read back, beside the moment when its first picture was taken; where a trusted
    # clock was set, beside what that showed.
    number, off_us = 0, []
    due_us = site.shown_us if scenario.split else [taken + scenario.off_us for taken in site.taken_us]
    for part in clip.parts:
        for piece in part.pieces():
            off_us.append(piece.fragment.start_us - due_us[number])
            number += piece.fragment.frames
    # Recorders read on a beat of 90 ms, and 500 ppm of a minute are 30 ms.
    wrong = [off for off in off_us if abs(off) > 150_000]
    if scenario.split:
        # From the step to the next key frame the old run goes on.
        assert len(wrong) <= 2 * len(scenario.acts)
    else:
        assert wrong == []
        assert seen.gaps == () or any(act is asleep for _, act in scenario.acts)
