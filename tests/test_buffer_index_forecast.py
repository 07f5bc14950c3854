"""How long footage lasts, and when a promise breaks: by hand, and against eviction itself."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simpang_buffer.index.eviction import Queue, Row, Rule, evictions
from simpang_buffer.index.forecast import DAY_US, Load, breaks_at, forecast, with_rates
from simpang_buffer.index.promises import Promise, least_us, risks
from simpang_buffer.index.protection import Protection
from simpang_buffer.index.space import Quota, Shortage
from simpang_buffer.model import StreamKey

MAIN, SUB, OTHER = StreamKey("gate", "main"), StreamKey("gate", "sub"), StreamKey("yard", "main")
NOW_US = 1_800_000_000_000_000
GB = 10**9


def rule(max_days: float, min_days: float = 0, weight: float = 1, event_days: float = 0) -> Rule:
    return Rule(int(max_days * DAY_US), int(min_days * DAY_US), int(event_days * DAY_US), weight)


def days(loads: list[Load], capacity: int, *quotas: Quota) -> list[tuple[float, str]]:
    return [(round(one.days, 2), one.limited_by) for one in forecast(loads, capacity, quotas)]


def test_with_room_to_spare_age_is_the_limit() -> None:
    assert days([Load(MAIN, 10 * GB, rule(30)), Load(SUB, GB, rule(90))], 400 * GB) == [
        (30, "age"), (90, "age"),
    ]  # fmt: skip


def test_where_space_is_short_each_loses_the_same_share() -> None:
    assert days([Load(MAIN, 10 * GB, rule(30)), Load(SUB, GB, rule(90))], 195 * GB) == [
        (15, "space"), (45, "space"),
    ]  # fmt: skip


def test_weight_and_minimum_age_shift_the_loss_to_others() -> None:
    weighed = [Load(MAIN, GB, rule(30, weight=2)), Load(OTHER, GB, rule(30))]
    guarded = [Load(MAIN, GB, rule(30, 20)), Load(OTHER, GB, rule(30))]
    hopeless = [Load(MAIN, GB, rule(30, 20)), Load(OTHER, GB, rule(30, 5))]

    assert days(weighed, 30 * GB) == [(20, "space"), (10, "space")]
    assert days(guarded, 26 * GB) == [(20, "minimum"), (6, "space")]
    assert days(hopeless, 8 * GB) == [(4, "minimum"), (4, "minimum")]
    assert days(hopeless, 12 * GB) == [(7, "minimum"), (5, "minimum")]


def test_a_quota_limits_its_own_and_leaves_the_room_to_others() -> None:
    loads = [Load(MAIN, 10 * GB, rule(30)), Load(OTHER, 10 * GB, rule(30))]
    quota = Quota("camera[1].keep.quota", frozenset({MAIN}), 50 * GB)

    assert days(loads, 300 * GB, quota) == [(5, "camera[1].keep.quota"), (25, "space")]


def test_footage_of_events_takes_its_longer_share() -> None:
    (found,) = forecast([Load(MAIN, 10 * GB, rule(30, event_days=60), event_share=0.5)], 450 * GB, [])

    assert (found.days, found.event_days, found.limited_by) == (30, 60, "age")
    (short,) = forecast([Load(MAIN, 10 * GB, rule(30, event_days=60), event_share=0.5)], 225 * GB, [])
    assert (round(short.days, 3), round(short.event_days, 3)) == (15, 30)


def test_a_proposed_change_is_laid_beside_what_is() -> None:
    now = [Load(MAIN, 10 * GB, rule(30))]

    changed = with_rates(now, {MAIN: 20 * GB, OTHER: 10 * GB}, lambda key: rule(30))

    assert days(now, 200 * GB) == [(20, "space")]
    assert days(changed, 200 * GB) == [(6.67, "space"), (6.67, "space")]


POLICE = Promise("police", frozenset({"gate"}), frozenset({"main"}), 30)


@pytest.mark.parametrize(
    ("kept_days", "stored_gb", "breaks_in"),
    [
        (24, 240, 3.4),  # 34 GB are left, and 10 GB come a day
        (27.4, 274, 0),
        (10, 100, 17.4),
    ],
)
def test_a_promise_breaks_when_the_room_is_filled(kept_days: float, stored_gb: int, breaks_in: float) -> None:
    oldest_us = NOW_US - int(kept_days * DAY_US)
    load = Load(MAIN, 10 * GB, rule(60, 30), 0.0, oldest_us, stored_gb * GB)
    outlooks = forecast([load], 274 * GB, [])

    (risk,) = risks([POLICE], [load], outlooks, 274 * GB, NOW_US)

    assert (risk.promise.party, risk.key, round(risk.days, 3)) == ("police", MAIN, 27.4)
    assert (risk.at_us - NOW_US) / DAY_US == pytest.approx(breaks_in, abs=0.001)


def test_a_promise_that_is_kept_is_no_risk_and_is_about_its_streams_only() -> None:
    load = Load(MAIN, 10 * GB, rule(60, 30), 0.0, NOW_US, 0)

    assert risks([POLICE], [load], forecast([load], 301 * GB, []), 301 * GB, NOW_US) == []
    assert (least_us([POLICE], MAIN), least_us([POLICE], SUB), least_us([POLICE], OTHER)) == (
        30 * DAY_US,
        0,
        0,
    )
    assert breaks_at(30, load, forecast([load], 301 * GB, [])[0], [load], 301 * GB, NOW_US) is None


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(2, 40), st.integers(0, 40), st.sampled_from([0.5, 1, 2.0])),
        min_size=1, max_size=3,
    ),
    st.integers(5, 500),
)  # fmt: skip
def test_the_forecast_is_what_eviction_leaves(
    streams: list[tuple[int, int, int, float]], capacity: int
) -> None:
    """A day's footage is a segment; eviction of a full archive leaves what was foretold, but for rounding."""
    keys = [MAIN, SUB, OTHER]
    loads, queues = [], []
    for key, (size, most, least, weight) in zip(keys, streams, strict=False):
        loads.append(Load(key, size, rule(most, min(least, most), weight)))
        # Four a day.
        rows = [
            Row(-hour, NOW_US - (hour + 1) * DAY_US // 4, NOW_US - hour * DAY_US // 4, size)
            for hour in range(4 * most, -1, -1)
        ]
        queues.append(Queue(key, 1, False, rows))
    rules = {load.key: load.rule for load in loads}
    excess = sum(len(queue.rows) * queue.rows[0].size_bytes for queue in queues) - 4 * capacity

    found = evictions(queues, rules.__getitem__, [Shortage(excess)], Protection(), NOW_US, clock_trusted=True)

    gone = {key: sum(victim.key == key for victim in found.victims) for key in keys}
    for queue, outlook in zip(queues, forecast(loads, capacity, []), strict=True):
        left_days = (len(queue.rows) - gone[queue.key]) / 4
        assert left_days == pytest.approx(outlook.days, abs=1.0)
