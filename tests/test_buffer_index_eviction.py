"""What must hold of eviction, whatever the footage, the rules and the space: pure, so tried in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simpang_buffer.index.eviction import Choice, Queue, Row, Rule, Victim, evictions
from simpang_buffer.index.protection import Protection
from simpang_buffer.index.space import Limits, Quota, Shortage, Space, Usage, excess_bytes, shortages
from simpang_buffer.model import StreamKey

# Two cores are shared with whatever else is tested.
tried = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))

DAY_US = 86_400_000_000
NOW_US = 1_800_000_000_000_000
MAIN, SUB, OTHER = StreamKey("gate", "main"), StreamKey("gate", "sub"), StreamKey("yard", "main")


def days(*ages: float, first: int = 1, size: int = 100) -> list[Row]:
    """Segments of an hour that ended so many days ago."""
    return [
        Row(first + at, NOW_US - int(age * DAY_US) - DAY_US // 24, NOW_US - int(age * DAY_US), size)
        for at, age in enumerate(ages)
    ]


def chosen(
    queues: Sequence[Queue],
    rule: Rule | dict[StreamKey, Rule],
    *short: Shortage,
    held: Protection | None = None,
    trusted: bool = True,
    most: int | None = None,
) -> Choice:
    rules = rule if isinstance(rule, dict) else dict.fromkeys((MAIN, SUB, OTHER), rule)
    return evictions(queues, rules.__getitem__, short, held or Protection(), NOW_US, trusted, most=most)


def ordinals(choice: Choice) -> list[int]:
    return [victim.row.ordinal for victim in choice.victims]


KEEP = Rule(30 * DAY_US)


def test_nothing_goes_while_space_suffices_and_it_is_young() -> None:
    queue = Queue(MAIN, 1, False, days(29, 3, 0))

    assert chosen([queue], KEEP) == Choice([], [], False)


def test_what_is_too_old_goes_although_there_is_room() -> None:
    queue = Queue(MAIN, 1, False, days(90, 31, 29))

    found = chosen([queue], KEEP)

    assert [(victim.row.ordinal, victim.rule) for victim in found.victims] == [(1, "age"), (2, "age")]


def test_main_goes_before_sub_where_it_is_to_be_kept_shorter() -> None:
    """30 days of main and 90 of sub: each loses the same share of what it was promised."""
    queues = [
        Queue(MAIN, 1, False, days(29, 20, 10, first=10)),
        Queue(SUB, 1, False, days(85, 60, 30, 10, first=1)),
    ]
    rules = {MAIN: Rule(30 * DAY_US), SUB: Rule(90 * DAY_US)}

    found = chosen(queues, rules, Shortage(400))

    # Shares of life: main 29/30, sub 85/90, main 20/30 and sub 60/90 (the earlier recorded first).
    assert ordinals(found) == [10, 1, 2, 11]


def test_weight_makes_a_stream_outlast_another_where_space_is_short() -> None:
    queues = [Queue(MAIN, 1, False, days(20, 8, first=1)), Queue(OTHER, 1, False, days(19, 11, first=10))]
    rules = {MAIN: Rule(30 * DAY_US, weight=2), OTHER: Rule(30 * DAY_US)}

    assert ordinals(chosen(queues, rules, Shortage(300))) == [10, 11, 1]


def test_footage_of_events_outlasts_the_rest() -> None:
    queues = [
        Queue(MAIN, 1, False, days(31, 25, first=1)),
        Queue(MAIN, 1, True, days(61, 40, first=10)),
    ]
    rule = Rule(30 * DAY_US, event_us=60 * DAY_US)

    assert ordinals(chosen(queues, rule)) == [1, 10]
    assert ordinals(chosen(queues, rule, Shortage(300))) == [1, 10, 2]


def test_minimum_ages_hold_while_anything_else_can_go_and_recording_goes_on_all_the_same() -> None:
    queues = [Queue(MAIN, 1, False, days(6, 1, first=1)), Queue(OTHER, 1, False, days(5, 0.5, first=10))]
    rules = {MAIN: Rule(30 * DAY_US, min_us=7 * DAY_US), OTHER: KEEP}

    found = chosen(queues, rules, Shortage(300))
    more = chosen(queues, rules, Shortage(400))

    assert [(v.row.ordinal, v.young) for v in found.victims] == [(10, False), (11, False), (1, True)]
    assert ordinals(more) == [10, 11, 1, 2]


def test_a_quota_takes_from_its_own_streams_alone_and_not_what_is_below_its_minimum_age() -> None:
    queues = [Queue(MAIN, 1, False, days(9, 6, 1, first=1)), Queue(OTHER, 1, False, days(29, first=10))]
    rules = {MAIN: Rule(30 * DAY_US, min_us=5 * DAY_US), OTHER: KEEP}
    quota = Quota("camera gate", frozenset({MAIN, SUB}), 100)

    found = chosen(queues, rules, Shortage(300, None, quota))

    assert [(v.row.ordinal, v.rule) for v in found.victims] == [(1, "quota"), (2, "quota")]
    assert found.short == [Shortage(100, None, quota)]


def test_a_folder_that_is_full_takes_nothing_from_another() -> None:
    queues = [Queue(MAIN, 1, False, days(29, 5, first=1)), Queue(MAIN, 2, False, days(2, 1, first=10))]

    assert ordinals(chosen(queues, KEEP, Shortage(150, folder=2))) == [10, 11]
    assert ordinals(chosen(queues, KEEP, Shortage(150))) == [1, 2]


def test_without_a_trusted_clock_only_space_evicts_and_the_first_recorded_goes_first() -> None:
    queues = [
        Queue(MAIN, 1, False, [Row(5, 0, 10, 100), Row(6, NOW_US * 2, NOW_US * 2 + 1, 100)]),
        Queue(SUB, 1, False, [Row(4, NOW_US - 9, NOW_US, 100), Row(7, 0, 1, 100)]),
    ]
    rule = Rule(DAY_US, min_us=DAY_US)

    assert chosen(queues, rule, trusted=False).victims == []
    found = chosen(queues, rule, Shortage(300), trusted=False)
    assert [(v.row.ordinal, v.rule) for v in found.victims] == [(4, "order"), (5, "order"), (6, "order")]


@dataclass(frozen=True)
class Case:
    """Anything that may lie in a buffer."""

    queues: list[Queue]
    rules: dict[StreamKey, Rule]
    short: list[Shortage]
    held: Protection
    trusted: bool


@st.composite
def cases(draw: st.DrawFn) -> Case:
    keys = [MAIN, SUB, OTHER]
    ages = st.floats(-2, 100, allow_nan=False)
    numbers = iter(draw(st.permutations(range(1, 200))))
    trusted = draw(st.booleans())
    queues = []
    for key in keys:
        for folder in (1, 2):
            for event in (False, True) if trusted else (False,):
                rows = [
                    Row(next(numbers), end - DAY_US // 24, end, draw(st.integers(1, 300)))
                    for end in (NOW_US - int(age * DAY_US) for age in draw(st.lists(ages, max_size=6)))
                ]
                rows.sort(key=(lambda row: row.start_us) if trusted else (lambda row: row.ordinal))
                queues.append(Queue(key, folder, event, rows))
    rules = {}
    for key in keys:
        least = draw(st.floats(0, 40))
        rules[key] = Rule(
            int(draw(st.floats(max(least, 0.5), 90)) * DAY_US),
            int(least * DAY_US),
            int(draw(st.floats(0, 99)) * DAY_US),
            draw(st.sampled_from([0.5, 1, 3])),
        )
    quotas = [Quota("a", frozenset({MAIN, SUB}), 1), Quota("b", frozenset({OTHER}), 1)]
    short = [
        Shortage(draw(st.integers(0, 2000)), folder, quota)
        for folder, quota in ((1, None), (2, None), (None, None), (None, quotas[0]), (None, quotas[1]))
    ]
    ranges = []
    for camera, stream in draw(st.lists(st.sampled_from([("gate", None), ("gate", "main"), ("yard", None)]))):
        end = NOW_US - int(draw(ages) * DAY_US)
        ranges.append((camera, stream, end - int(draw(st.floats(0.01, 20)) * DAY_US), end))
    return Case(queues, rules, short, Protection(ranges), trusted)


def choose(case: Case, queues: Sequence[Queue] | None = None, short: Any = None) -> Choice:
    return evictions(
        case.queues if queues is None else queues,
        case.rules.__getitem__,
        case.short if short is None else short,
        case.held,
        NOW_US,
        case.trusted,
    )


def left_of(case: Case, choice: Choice) -> list[tuple[Queue, Row]]:
    gone = set(ordinals(choice))
    return [(queue, row) for queue in case.queues for row in queue.rows if row.ordinal not in gone]


@tried
@given(cases())
def test_nothing_held_goes_and_nothing_twice(case: Case) -> None:
    found = choose(case)

    for victim in found.victims:
        assert not case.held.covers(victim.key, victim.row.start_us, victim.row.end_us)
    assert len(set(ordinals(found))) == len(found.victims)


@tried
@given(cases())
def test_nothing_goes_that_is_neither_too_old_nor_wanted(case: Case) -> None:
    """Each victim but those of age was needed at its turn; without a shortage nothing young ever goes."""
    short = {id(one): one.bytes for one in case.short}
    for victim in choose(case).victims:
        age_us = NOW_US - victim.row.end_us
        about = [one for one in case.short if one.is_about(victim.key, victim.folder)]
        match victim.rule:
            case "age":
                assert case.trusted and age_us > case.rules[victim.key].max_us
            case "quota":
                assert any(one.quota and short[id(one)] > 0 for one in about)
                assert not victim.young
            case rule:
                assert rule == ("space" if case.trusted else "order")
                assert any(one.quota is None and short[id(one)] > 0 for one in about)
        for one in about:
            short[id(one)] -= victim.row.size_bytes


@tried
@given(cases())
def test_space_is_made_as_long_as_anything_can_go(case: Case) -> None:
    """Recording goes on: what stays short of space has nothing left that is not held."""
    found = choose(case)

    for one in found.short:
        left = [
            row for queue, row in left_of(case, found) if one.is_about(queue.key, queue.folder)
            and not case.held.covers(queue.key, row.start_us, row.end_us)
            and (one.quota is None or NOW_US - row.end_us >= case.rules[queue.key].min_us or not case.trusted)
        ]  # fmt: skip
        assert left == []


@tried
@given(cases())
def test_minimum_ages_are_kept_while_anything_else_can_go(case: Case) -> None:
    found = choose(case)

    if any(victim.young for victim in found.victims):
        young = [victim for victim in found.victims if victim.young]
        for queue, row in left_of(case, found):
            if case.held.covers(queue.key, row.start_us, row.end_us):
                continue
            old_enough = max(NOW_US - row.end_us, 0) >= case.rules[queue.key].min_us
            # Elsewhere (another folder, which is not full) old footage may stay while young goes here.
            assert not (old_enough and all(one.folder == queue.folder for one in young))


@tried
@given(cases())
def test_age_counts_under_a_trusted_clock_only(case: Case) -> None:
    found = choose(case, short=[])

    assert {victim.rule for victim in found.victims} <= ({"age"} if case.trusted else set())
    if case.trusted:
        for queue, row in left_of(case, found):
            too_old = NOW_US - row.end_us > case.rules[queue.key].life_us(queue.event)
            assert not too_old or case.held.covers(queue.key, row.start_us, row.end_us)


@tried
@given(cases(), st.integers(1, 4), st.integers(1, 5))
def test_page_by_page_it_comes_to_the_same(case: Case, window: int, most: int) -> None:
    """The loop sees the fronts of the queues only, and a few victims at a time."""
    whole = choose(case)
    short, done = list(case.short), list[Victim]()
    read = {id(queue): 0 for queue in case.queues}
    held = {
        row.ordinal
        for queue in case.queues
        for row in queue.rows
        if case.held.covers(queue.key, row.start_us, row.end_us)
    }
    while True:
        fronts = []
        gone = {victim.row.ordinal for victim in done}
        for queue in case.queues:
            rows = [row for row in queue.rows[: read[id(queue)]] if row.ordinal not in gone | held]
            while not rows and read[id(queue)] < len(queue.rows):
                more = queue.rows[read[id(queue)] : read[id(queue)] + window]
                read[id(queue)] += len(more)
                rows = [row for row in more if row.ordinal not in held]
            fronts.append(
                Queue(queue.key, queue.folder, queue.event, rows, read[id(queue)] < len(queue.rows))
            )
        found = evictions(fronts, case.rules.__getitem__, short, case.held, NOW_US, case.trusted, most=most)
        done += found.victims
        short = found.short
        if not found.victims and not found.dry:
            break

    assert [victim.row.ordinal for victim in done] == ordinals(whole)
    assert short == whole.short


GB = 10**9


def test_open_files_count_and_a_folder_that_is_away_does_not() -> None:
    usage = Usage({(MAIN, 1): 60 * GB, (MAIN, 2): 500 * GB}, {1: 40 * GB, 2: GB})
    limits = Limits(90 * GB, 0, 30)

    found = shortages({1: Space(1000 * GB, 900 * GB)}, usage, lambda total: limits, [])

    assert found == [Shortage(10 * GB, 1), Shortage(10 * GB)]


def test_a_size_binds_all_folders_together_and_a_share_each_of_them() -> None:
    usage = Usage({(MAIN, 1): 60 * GB, (MAIN, 2): 60 * GB}, {})
    spaces = {1: Space(100 * GB, 40 * GB), 2: Space(50 * GB, 40 * GB)}

    sizes = shortages(spaces, usage, lambda total: Limits(100 * GB, 0, 30), [])
    shares = shortages(spaces, usage, lambda total: Limits(total * 9 // 10, 0, 30), [])

    assert sizes == [Shortage(20 * GB)]
    assert shares == [Shortage(15 * GB, 2)]


@pytest.mark.parametrize(
    ("used", "free", "excess"),
    [(400, 50, 50), (400, 0, 100), (260, 0, 10), (240, 0, 0.064 * 1.048576), (100, 50, 0), (1, 0, 0.0671)],
)
def test_a_disk_that_others_fill_does_not_eat_the_archive(used: float, free: float, excess: float) -> None:
    """Footage may take 500 GB and is to leave 100 GB. Others fill the disk: it yields down to half of that,
    and then makes room only for what is recorded next."""
    limits = Limits(500 * GB, 100 * GB, 30)

    found = max(excess_bytes(Space(1000 * GB, int(free * GB)), int(used * GB), limits), 0)

    assert found / GB == pytest.approx(excess, abs=0.001)
