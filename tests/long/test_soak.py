"""Sixteen streams for hours, with a buffer that is full after minutes: nothing may grow."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from kills import farm
from product import Product, camera, free_address, micros, now_us, product, toml

SECONDS = float(os.environ.get("SIMPANG_SOAK_SECONDS", "7200"))
EVERY_S = 20.0
CAMERAS = tuple(f"c{number}" for number in range(16))
# Seven minutes of sixteen streams: two hours are then as many turns of the buffer as a year of 20 days each.
SPACE = "3 GB"
# What counts as flat: of the first and last quarter, once everything has been used.
GROWTH = 1.05


@dataclass(frozen=True)
class Look:
    """One look at all processes. lag_s: how old the newest fragment of the slowest stream is."""

    memory_bytes: int
    descriptors: int
    threads: int
    lag_s: float
    index_bytes: int


@pytest.mark.timeout(4 * 3600)
def test_nothing_grows_in_hours_of_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    looks: list[Look] = []
    with farm(len(CAMERAS)) as port, product(tmp_path) as gateway:
        text = "".join(camera(one, f"rtsp://127.0.0.1:{port}/{n}") for n, one in enumerate(CAMERAS))
        gateway.configure(toml(text, listen=free_address()).replace("1 GB", SPACE))
        gateway.start()
        gateway.wait_recording(*CAMERAS)
        pids = {one.pid for one in gateway.family()}
        began = time.monotonic()
        began_us = now_us()

        while time.monotonic() - began < SECONDS:
            time.sleep(EVERY_S)
            looks.append(_look(gateway))
        same = {one.pid for one in gateway.family()} == pids
        ended_us = now_us()
        spans = [gateway.coverage(one, began_us, ended_us)["spans"] for one in CAMERAS]
        checked = gateway.check("--deep")
        log = gateway.log

    quarter = max(len(looks) // 4, 1)
    first, last = looks[quarter : 2 * quarter], looks[-quarter:]
    with capsys.disabled():
        print(
            f"\n{SECONDS / 60:.0f} minutes of {len(CAMERAS)} streams, a buffer of {SPACE}; "
            "medians of the second and the last quarter:"
        )
        for name in ("memory_bytes", "descriptors", "threads", "lag_s", "index_bytes"):
            print(f"{name:>14}: {_median(first, name):14.2f} {_median(last, name):14.2f}")
        print(f"  lines of log: {len(log.splitlines())}; lag at most {max(one.lag_s for one in looks):.2f} s")
    assert same, "a process was replaced"
    assert checked.returncode == 0, checked.stdout
    assert {len(one) for one in spans} == {1}, "a stream has a gap"
    assert _median(last, "memory_bytes") <= GROWTH * _median(first, "memory_bytes")
    assert _median(last, "index_bytes") <= GROWTH * _median(first, "index_bytes")
    assert _median(last, "threads") <= _median(first, "threads")
    assert _median(last, "descriptors") <= _median(first, "descriptors") + 2
    # A machine that others work on may take its time once; what must not happen is that it stays behind.
    assert _median(last, "lag_s") <= _median(first, "lag_s") + 0.5


def _look(gateway: Product) -> Look:
    memory = descriptors = threads = 0
    for one in gateway.family():
        # A picture process may end while it is looked at.
        with contextlib.suppress(psutil.NoSuchProcess):
            memory += one.memory_full_info().pss
            descriptors += one.num_fds()
            threads += one.num_threads()
    now = now_us()
    newest = [
        micros(stream["last_fragment"]) for one in gateway.cameras().values() for stream in one["streams"]
    ]
    index_bytes = sum(path.stat().st_size for path in gateway.data.glob("index.db*"))
    return Look(memory, descriptors, threads, (now - min(newest)) / 1e6, index_bytes)


def _median(looks: list[Look], name: str) -> float:
    return statistics.median(getattr(one, name) for one in looks)
