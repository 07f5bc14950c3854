"""Fifty SIGKILLs at random moments under eight streams: what each cost, and that nothing is ever broken."""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path

import pytest

from kills import Loss, Victim, farm, kill
from product import camera, free_address, product, toml

KILLS = 50
FLUSH_S = 2
CAMERAS = tuple(f"c{number}" for number in range(8))


@pytest.mark.timeout(3600)
def test_fifty_kills_under_eight_streams_cost_seconds_and_break_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    losses: list[list[Loss]] = []
    faults = 0
    with farm(len(CAMERAS)) as port, product(tmp_path) as gateway:
        text = "".join(camera(one, f"rtsp://127.0.0.1:{port}/{number}") for number, one in enumerate(CAMERAS))
        gateway.configure(toml(text, flush_s=FLUSH_S, listen=free_address()))
        gateway.start()
        gateway.wait_recording()

        for number in range(1, KILLS + 1):
            for one in CAMERAS:
                gateway.wait_footage(one, 1)
            time.sleep(chance.uniform(0, 4))
            victim: Victim = chance.choice(("daemon", "recorder"))
            losses.append(kill(gateway, victim, CAMERAS))
            checked = gateway.check("--deep")
            faults += checked.returncode != 0
            with capsys.disabled():
                print(f"\n{number:2} {_line(victim, losses[-1])}", end="", flush=True)
                if checked.returncode:
                    print(f"\n{checked.stdout}{checked.stderr}")
        status, _ = gateway.stop()
        after = gateway.check("--deep")

    with capsys.disabled():
        print(f"\nseed {seed}; {KILLS} kills under {len(CAMERAS)} streams, flush_s = {FLUSH_S}")
        print(f"     all ({KILLS} kills): {_figures(losses)}")
        for who in ("daemon", "recorder"):
            some = [each for each in losses if each[0].victim == who]
            print(f"{who:>8} ({len(some)} kills): {_figures(some)}")
        print(f"check errors: {faults + (after.returncode != 0)}")
    assert (faults, status, after.returncode) == (0, 0, 0), after.stdout
    every = [loss for each in losses for loss in each]
    assert max(loss.lost_s for loss in every) <= FLUSH_S + 1
    assert max(loss.back_s for loss in every) <= 5
    assert {loss.reason for loss in every} == {"restart"}


def _line(victim: str, losses: list[Loss]) -> str:
    lost, back = max(loss.lost_s for loss in losses), max(loss.back_s for loss in losses)
    return f"{victim:8} lost at most {lost:.2f} s, footage again after {back:.2f} s"


def _figures(losses: list[list[Loss]]) -> str:
    """The worst stream of each kill counts."""
    if not losses:
        return "none"
    lost = [max(loss.lost_s for loss in each) for each in losses]
    back = [max(loss.back_s for loss in each) for each in losses]
    return (
        f"seconds lost: max {max(lost):.2f}, median {statistics.median(lost):.2f}; "
        f"seconds until footage again: max {max(back):.2f}, median {statistics.median(back):.2f}"
    )
