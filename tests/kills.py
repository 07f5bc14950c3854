"""SIGKILL of a gateway's processes, and what each camera's footage lost by it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from product import Product, micros, now_us, until

FARM = Path(__file__).with_name("bench") / "farm.py"
# The promise is 5 s from kill to footage; a test may look for longer, to say how long it was.
LOOK_S = 30.0

Victim = Literal["daemon", "recorder"]


@dataclass(frozen=True)
class Loss:
    """lost_s: of what had come in before the kill, what is not there after. back_s: from the kill to the
    first picture of the footage that goes on; it begins with a key frame.
    """

    victim: Victim
    camera: str
    lost_s: float
    back_s: float
    reason: str


@contextlib.contextmanager
def farm(count: int) -> Iterator[int]:
    """So many cameras at rtsp://127.0.0.1:PORT/0 and up, in a process of their own; yields the port."""
    process = subprocess.Popen(
        [sys.executable, str(FARM), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().split()[0])
    finally:
        process.kill()
        process.communicate()


def kill(gateway: Product, victim: Victim, cameras: Sequence[str]) -> list[Loss]:
    """Kills it now and, like a service manager, starts the daemon again; waits until every camera is recorded
    in a further run.
    """
    before = {one: _spans(gateway, one)[-1]["run"] for one in cameras}
    killed_us = now_us()
    if victim == "daemon":
        gateway.running.kill()
        gateway.running.wait()
        gateway.start(ready=False)
        gateway.wait_ready()
    else:
        for recorder in gateway.recorders():
            recorder.kill()
    losses = []
    for one in cameras:
        until(
            lambda one=one: _spans(gateway, one)[-1]["run"] > before[one],  # type: ignore[misc]  # bound now
            LOOK_S,
            lambda one=one: f"{one} does not go on after the {victim} was killed:\n{gateway.log[-3000:]}",  # type: ignore[misc]  # bound now
        )
        losses.append(_loss(gateway, victim, one, before[one], killed_us))
    return losses


def _loss(gateway: Product, victim: Victim, camera: str, run: int, killed_us: int) -> Loss:
    found = _coverage(gateway, camera)
    end_us = max(micros(span["end"]) for span in found["spans"] if span["run"] <= run)
    start_us = min(micros(span["start"]) for span in found["spans"] if span["run"] > run)
    reasons = [gap["reason"] for gap in found["gaps"] if end_us - 1 <= micros(gap["start"]) < start_us]
    lost_s = max(0, killed_us - end_us) / 1e6
    return Loss(victim, camera, lost_s, (start_us - killed_us) / 1e6, ",".join(reasons))


def _spans(gateway: Product, camera: str) -> list[dict[str, Any]]:
    spans: list[dict[str, Any]] = _coverage(gateway, camera)["spans"]
    return spans


def _coverage(gateway: Product, camera: str) -> dict[str, Any]:
    now = now_us()
    return gateway.coverage(camera, now - 120_000_000, now + 1_000_000)
