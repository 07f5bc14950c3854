"""Holds, marks, deletions and forecasts by the command line of the installed product, of a real stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from product import Product, camera, product, rfc3339, toml, until
from served_camera import served_camera
from stage import stage

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

KEEPING = """
keep = { max_days = 20, main = { quota = "900 MB" } }
[[promise]]
party = "police"
days = 14
"""


def said(gateway: Product, *words: str, code: int = 0) -> Any:
    """What a verb of `buffer` prints as JSON; None where it failed as it should."""
    done = gateway.cli("--json", "buffer", *words)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def test_footage_is_held_marked_foretold_and_deleted_by_name(tmp_path: Path) -> None:
    with product(tmp_path) as gateway, stage() as there:
        url = there.enter(served_camera()).url()
        gateway.configure(toml(camera("c0", url, more=KEEPING)))
        gateway.start()
        start_us, end_us = gateway.wait_footage("c0", 14)
        span = ("--camera", "c0", "--start", rfc3339(start_us), "--end", rfc3339(end_us))
        why = ("--reason", "accident", "--who", "Unit Laka")

        made = said(gateway, "hold", *span, *why, "--case", "LP-117", "--until", rfc3339(end_us + 10**12))
        marked = said(
            gateway, "mark", "--camera", "c0", "--kind", "tamper", "--words", "paint", "--who", "Budi"
        )
        refused = said(gateway, "delete", *span, "--stream", "main", *why, code=4)
        too_much = said(gateway, "hold", "--camera", "c0", "--start", "now", "--end", "2035-01-01T00:00:00Z",
                        *why, code=4)  # fmt: skip
        (listed,) = said(gateway, "holds")["items"]
        (released,) = said(gateway, "release", "--case", "LP-117", "--who", "Kanit")["items"]
        done = said(gateway, "delete", *span, "--stream", "main", *why)
        (gone,) = said(gateway, "deletions", "--camera", "c0")["items"]
        forecast = said(gateway, "forecast", "--camera", "c0", "--bps", "80 Mbit/s")
        assert "c0" in gateway.cli("buffer", "holds", "--ended").stdout
        assert "c0" in gateway.cli("buffer", "deletions").stdout
        # All of its footage is gone: its rate is known again when the next file is closed.
        until(lambda: "c0" in gateway.cli("buffer", "forecast").stdout, 30, lambda: "no rate is known")
        gaps = gateway.coverage("c0", start_us, end_us)["gaps"]
        nothing = said(gateway, "release", "999", code=5)
        health = gateway.health()

        assert gateway.stop()[0] == 0
        assert gateway.check("--deep").returncode == 0

    assert listed == made
    assert "held" in refused and "hold_max_percent" in too_much and "hold" in nothing
    assert (released["id"], released["released_by"]) == (made["id"], "Kanit")
    assert done["segments"] >= 1 and done["held_segments"] == 0
    assert (gone["rule"], gone["who"], gone["why"], gone["segments"]) == (
        "person", "Unit Laka", "accident", done["segments"],
    )  # fmt: skip
    assert "deleted" in {gap["reason"] for gap in gaps}
    assert marked["words"] == "paint"
    (stream,) = forecast["items"]
    # Of 1 GB 900 MB are main's, which is a minute and a half of 80 Mbit/s, but 14 days are promised.
    assert stream["after"]["limited_by"] == "minimum"
    assert stream["after"]["days"] < 0.01
    assert [one["party"] for one in forecast["after"]["promises_at_risk"]] == ["police"]
    assert "minimum-age-broken" not in health
