"""The worst of the hostile cameras beside good ones; tests/long has them all."""

from __future__ import annotations

from pathlib import Path

from beside_good_ones import FRESH_S, MOST_BYTES, beside_good_ones, holes
from hostile_cameras import CASES, WORST


async def test_the_worst_cameras_cost_the_good_ones_no_picture(tmp_path: Path) -> None:
    cases = [case for case in CASES if case.id in WORST]

    seen, rows = await beside_good_ones(tmp_path, cases, good=3, seconds=2.0)

    assert len(seen) == len(WORST)
    assert {name: holes(found) for name, found in rows.items() if holes(found)} == {}
    for one in seen:
        assert one.connections > 0, one
        assert one.pid == seen[0].pid, one
        assert one.late_s < FRESH_S, one
        assert one.most_bytes < MOST_BYTES, one


def test_the_table_is_as_long_as_promised() -> None:
    assert len(CASES) >= 60
    assert len({case.id for case in CASES}) == len(CASES)
