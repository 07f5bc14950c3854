"""A disk that others fill: nothing is recorded meanwhile, it says why, and goes on when there is room."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kills import farm
from product import Product, camera, free_address, micros, now_us, product, toml, until

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

CAMERAS = ("one", "two")
# Longer than any of the back-offs that a failing disk is given.
FULL_S = 45.0
IMAGE_BYTES = 400 << 20


@contextlib.contextmanager
def small_ext4(folder: Path) -> Iterator[Path]:
    image, point = folder / "image", folder / "data"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    point.mkdir()
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)


def fill(fd: int) -> None:
    """All that is left, to the last block."""
    for size in (1 << 20, 4096):
        with contextlib.suppress(OSError):
            while os.write(fd, bytes(size)):
                continue


@pytest.mark.timeout(300)
def test_recording_goes_on_within_2_s_of_space_and_the_gap_is_called_disk_full(tmp_path: Path) -> None:
    with farm(len(CAMERAS)) as port, small_ext4(tmp_path) as disk, product(tmp_path) as gateway:
        text = "".join(camera(one, f"rtsp://127.0.0.1:{port}/{n}") for n, one in enumerate(CAMERAS))
        gateway.configure(toml(text, listen=free_address(), flush_s=1))
        gateway.start()
        gateway.wait_recording(*CAMERAS)
        for one in CAMERAS:
            gateway.wait_footage(one, 25)

        filler = os.open(disk / "others", os.O_CREAT | os.O_WRONLY)
        full_us = now_us()
        runs = set()
        while now_us() - full_us < FULL_S * 1e6:
            # What is evicted for us they take as well.
            fill(filler)
            time.sleep(0.1)
            runs |= {path.name for path in disk.glob("media/one/main/*")}
        reasons = {one: gateway.cameras()[one]["reason"] for one in CAMERAS}
        told = gateway.health()
        os.close(filler)
        (disk / "others").unlink()
        room_us = now_us()

        until(lambda: _goes_on(gateway, room_us), 30, lambda: f"{gateway.cameras()}\n{gateway.log[-3000:]}")
        for one in CAMERAS:
            gateway.wait_footage(one, 5)
        found = {one: gateway.coverage(one, full_us - 60_000_000, now_us()) for one in CAMERAS}
        log = gateway.log

    back_s = []
    for one in CAMERAS:
        first = next(span for span in found[one]["spans"] if micros(span["start"]) > room_us - 1_000_000)
        back_s.append((micros(first["start"]) - room_us) / 1e6)
    gaps = [found[one]["gaps"] for one in CAMERAS]
    print(f"\nback after {back_s} s; runs while full: {sorted(runs)}; gaps: {gaps}")
    assert reasons == dict.fromkeys(CAMERAS, "disk-full")
    assert {"disk-low", "camera-not-recording"} <= told.keys()
    # A picture that begins a run comes every 2 s from these cameras.
    assert max(back_s) <= 2 + 2
    assert len(runs) <= 4
    for one in CAMERAS:
        last = [gap for gap in found[one]["gaps"] if micros(gap["end"]) > room_us]
        assert [gap["reason"] for gap in last] == ["disk-full"], found[one]
        assert micros(last[0]["end"]) - micros(last[0]["start"]) > (FULL_S - 10) * 1e6
    assert "a fault of ours" not in log
    # In its sandbox a recorder still tells a journal when it has one.
    assert "made durable by itself" not in log


def _goes_on(gateway: Product, since_us: int) -> bool:
    return all(
        stream["last_fragment"] is not None and micros(stream["last_fragment"]) > since_us
        for one in gateway.cameras().values()
        for stream in one["streams"]
    )
