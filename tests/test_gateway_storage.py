"""What the configuration asks of retention, and what is said when it cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from simpang.config.faults import ConfigFaults
from simpang.config.load import parse
from simpang.config.model import Config
from simpang.health import CRITICAL, WARNING, HealthItem
from simpang.keeping import promised_bytes, quotas, rule
from simpang.storage import StorageCondition, capacity_bytes
from simpang.storage_health import storage_items
from simpang_buffer.index.forecast import DAY_US
from simpang_buffer.index.promises import Promise, Risk
from simpang_buffer.index.retention import RetentionStatus, Young
from simpang_buffer.index.space import Quota, Shortage, Space, Usage
from simpang_buffer.model import StreamKey

MAIN, SUB, OTHER = StreamKey("utara", "main"), StreamKey("utara", "sub"), StreamKey("selatan", "main")
GB = 10**9
NOW_US = 1_795_683_600_000_000  # Thursday, 2026-11-26 09:00 UTC
SITE = '[site]\nid = "digulis"\ntime_zone = "Asia/Pontianak"\n'
CAMERA = '[[camera]]\nid = "utara"\naddress = "10.0.4.21"\n'


def config(text: str) -> Config:
    return parse(SITE + text, Path("site.toml"))


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigFaults) as caught:
        config(text)
    return sorted(f"{fault.line}: {fault.key}: {fault.what}" for fault in caught.value.faults)


def days(found: Config, key: StreamKey) -> tuple[float, float, float]:
    asked = rule(found, key)
    return asked.max_us / DAY_US, asked.min_us / DAY_US, asked.weight


def test_what_is_said_nearest_counts() -> None:
    found = config(
        "[buffer]\nmax_days = 30\nmin_days = 2\n[buffer.main]\nmin_days = 7\n[buffer.sub]\nmax_days = 90\n"
        + CAMERA
        + "keep = { max_days = 60, weight = 2, main = { max_days = 45 } }\n"
    )

    assert days(found, MAIN) == (45, 7, 2)
    assert days(found, SUB) == (60, 2, 2)
    assert days(found, OTHER) == (30, 7, 1)
    assert days(found, StreamKey("removed", "sub")) == (90, 2, 1)


def test_a_promise_is_a_minimum_age_and_events_have_a_longer_life() -> None:
    found = config(
        '[buffer]\nevent_days = 60\n[[promise]]\nparty = "police"\ncameras = ["utara"]\ndays = 14\n'
    )

    assert days(found, MAIN)[1] == 14
    assert (days(found, SUB)[1], days(found, OTHER)[1]) == (0, 0)
    assert rule(found, MAIN).life_us(event=True) == 60 * DAY_US


def test_ages_that_contradict_each_other_are_faults_where_they_stand() -> None:
    assert faults("[buffer]\nmax_days = 5\nmin_days = 7\n") == [
        "6: buffer.min_days: min_days 7 is more than max_days 5 of main streams",
        "6: buffer.min_days: min_days 7 is more than max_days 5 of sub streams",
    ]
    assert faults("[buffer]\nmin_days = 7\n" + CAMERA + "keep = { sub = { max_days = 5 } }\n") == [
        "9: camera[1].keep.sub.max_days: min_days 7 is more than max_days 5 of sub streams"
    ]
    assert faults(CAMERA + 'keep = { max_days = 20 }\n[[promise]]\nparty = "police"\ndays = 25\n') == [
        "10: promise[1].days: promises 25 days, but utara/main goes after 20"
    ]


def test_quotas_are_of_a_kind_a_camera_or_a_stream() -> None:
    found = config(
        '[buffer.sub]\nquota = "10%"\n'
        + CAMERA
        + 'keep = { quota = "300 GB", main = { quota = "200 GB" } }\n'
    )
    keys = frozenset({MAIN, SUB, OTHER})

    assert quotas(found, keys, 1000 * GB) == [
        Quota("buffer.sub.quota", frozenset({SUB}), 100 * GB),
        Quota("camera utara keep.quota", frozenset({MAIN, SUB}), 300 * GB),
        Quota("camera utara keep.main.quota", frozenset({MAIN}), 200 * GB),
    ]
    # A stream's quota lies within its camera's, so it is not counted beside it.
    assert promised_bytes(found, 1000 * GB) == [("camera utara keep.quota", 300 * GB)]


def test_capacity_is_what_others_leave_and_no_more_than_allowed() -> None:
    found = config('[buffer]\nmax_bytes = "500 GB"\nmin_free = "10 GB"\n')
    usage = Usage({(MAIN, 1): 100 * GB}, {1: GB})

    assert capacity_bytes(found, {1: Space(1000 * GB, 800 * GB)}, usage) == 500 * GB
    assert capacity_bytes(found, {1: Space(1000 * GB, 200 * GB)}, usage) == 291 * GB
    assert capacity_bytes(found, {}, usage) == 0


def items(condition: StorageCondition) -> list[HealthItem]:
    found = list(storage_items(condition, "Asia/Pontianak", NOW_US))
    for one in found:
        for said in (one.cause, one.remedy):
            assert said.en and said.id and said.en != said.id
            assert "{" not in said.en + said.id
    return found


POLICE = Promise("police", frozenset(), frozenset({"main"}), 30)


def test_nothing_is_said_while_all_is_kept() -> None:
    assert items(StorageCondition(RetentionStatus())) == []


def test_a_promise_is_said_to_break_72_hours_before_with_day_and_figures() -> None:
    at_us = NOW_US + 5 * 3_600_000_000

    early = items(
        StorageCondition(RetentionStatus(), (Risk(POLICE, MAIN, 27.4, NOW_US + 73 * 3_600_000_000, ""),))
    )
    (soon,) = items(StorageCondition(RetentionStatus(), (Risk(POLICE, MAIN, 27.4, at_us, "minimum"),)))
    (late,) = items(StorageCondition(RetentionStatus(), (Risk(POLICE, MAIN, 27.4, NOW_US, "minimum"),)))

    assert early == []
    assert (soon.code, soon.severity, late.severity) == ("promise-at-risk", WARNING, CRITICAL)
    # 14:00 UTC is 21:00 in Pontianak.
    assert soon.cause.en == (
        "police is promised 30 days of utara/main; at the present rate it will be 27.4 days from Thursday "
        "21:00 on."
    )
    assert "Kamis 21:00" in soon.cause.id
    assert soon.evidence["from"] == "2026-11-26T14:00:00.000000Z"


def test_a_minimum_age_that_could_not_be_kept_is_said() -> None:
    (found,) = items(StorageCondition(RetentionStatus(young={MAIN: Young(NOW_US, int(5.25 * DAY_US))})))

    assert (found.code, found.severity, found.subject) == (
        "minimum-age-broken",
        CRITICAL,
        "stream/utara/main",
    )
    assert "5.2 days" in found.cause.en


def test_quotas_beyond_the_space_are_said_with_figures() -> None:
    condition = StorageCondition(RetentionStatus(), (), (("a", 600 * GB), ("b", 500 * GB)), 1000 * GB)

    (found,) = items(condition)

    assert found.code == "quotas-too-large"
    assert "1100.0 GB" in found.cause.en and "1000.0 GB" in found.cause.en


def test_what_cannot_be_made_free_is_said() -> None:
    quota = Quota("buffer.sub.quota", frozenset({SUB}), GB)
    short = (Shortage(3 * GB, 1), Shortage(2 * GB, None, quota), Shortage(1000, 2))

    found = items(StorageCondition(RetentionStatus(short)))

    assert [(one.code, one.severity) for one in found] == [
        ("nothing-to-evict", CRITICAL), ("quota-exceeded", WARNING),
    ]  # fmt: skip


def test_a_camera_that_floods_is_named() -> None:
    (found,) = items(StorageCondition(RetentionStatus(), refused_events={"utara": 17}))

    assert (found.code, found.subject, found.evidence) == ("event-flood", "camera/utara", {"refused": 17})
