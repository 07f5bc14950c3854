"""Killed, or refused by the disk, at every call that changes a file: nothing broken, no promise unkept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kill_points import Found, Point, points, strike
from kill_scenarios import SCENARIOS

# What a disk says when it is full, and when it is broken.
ERRORS = ("ENOSPC", "EIO")
# SIGKILL, as strace passes it on.
KILLED = (-9, 137)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_call_nothing_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scenario: str
) -> None:
    found = [strike(point, tmp_path) for point in points(scenario, tmp_path)]

    _tell(capsys, f"{scenario}, killed", found)
    # Threads take turns, so a call of one run need not come in the next; nearly all do.
    assert sum(one.status in KILLED for one in found) > 0.8 * len(found)
    assert not [one for one in found if one.faults or one.lost]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_the_disk_refuses_nothing_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scenario: str
) -> None:
    every = list(points(scenario, tmp_path))
    found = [
        strike(Point(scenario, one.call, one.number, error), tmp_path) for error in ERRORS for one in every
    ]

    _tell(capsys, f"{scenario}, refused", found)
    assert not [one for one in found if one.faults or one.lost]


def _tell(capsys: pytest.CaptureFixture[str], what: str, found: list[Found]) -> None:
    calls = Counter(one.point.call for one in found)
    bad = [one for one in found if one.faults or one.lost]
    with capsys.disabled():
        print(f"\n{what}: {len(found)} points ({dict(calls)}), {len(bad)} with faults")
        for one in bad[:10]:
            print(one)
