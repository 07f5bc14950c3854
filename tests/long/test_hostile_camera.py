"""Every hostile camera of the table beside seven good ones, whose footage has no gap."""

from __future__ import annotations

from pathlib import Path

import pytest

from beside_good_ones import FRESH_S, MOST_BYTES, beside_good_ones, holes
from hostile_cameras import CASES

SECONDS = 5.5


@pytest.mark.timeout(900)
async def test_no_hostile_camera_costs_the_seven_a_picture(tmp_path: Path) -> None:
    seen, rows = await beside_good_ones(tmp_path, CASES, good=7, seconds=SECONDS)

    late_s, most_bytes = max(one.late_s for one in seen), max(one.most_bytes for one in seen)
    print(f"{len(seen)} cases; latest fragment {late_s:.2f} s, most memory {most_bytes / 1e6:.0f} MB")
    assert {name: holes(found) for name, found in rows.items() if holes(found)} == {}
    assert [one for one in seen if one.pid != seen[0].pid] == []
    assert [one for one in seen if one.late_s >= FRESH_S] == []
    assert [one for one in seen if one.most_bytes >= MOST_BYTES] == []
    assert [one for one in seen if one.connections == 0] == []
    pictures = sum(row.frames for found in rows.values() for row in found)
    seconds = sum((found[-1].end_us - found[0].start_us) / 1e6 for found in rows.values())
    print(f"{pictures} pictures in {seconds:.0f} s of seven cameras")
    assert seconds > 7 * len(CASES) * SECONDS
