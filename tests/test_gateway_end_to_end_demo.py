"""`simpang demo` whole: two cameras found and recorded, one killed and back, Ctrl-C and nothing is left."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from media_files import decode_errors, probe
from product import PAGE, SIMPANG, Product, micros, now_us, page, product, rfc3339, until

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

# From the command to both cameras recorded: what a person waits for.
PATIENCE_S = 30.0


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Product]:
    with product(tmp_path) as made:
        made.launch(
            [str(SIMPANG), "demo", "--data", str(made.data), "--listen", f"{PAGE[0]}:{PAGE[1]}"],
            start_new_session=True,
        )
        yield made


def test_demo_records_two_cameras_shows_a_killed_one_and_leaves_nothing_behind(
    demo: Product, tmp_path: Path
) -> None:
    begun = time.monotonic()
    demo.wait_ready(PATIENCE_S)
    until(lambda: len(demo.cameras()) == 2, PATIENCE_S, lambda: f"found: {demo.cameras()}\n{demo.log}")
    demo.wait_recording(seconds=PATIENCE_S)

    def all_streams() -> bool:
        streams = [stream for one in demo.cameras().values() for stream in one["streams"]]
        return len(streams) == 4 and all(stream["codec"] for stream in streams)

    until(all_streams, PATIENCE_S, lambda: f"{demo.cameras()}\n{demo.log}")
    took_s = time.monotonic() - begun
    cameras = demo.cameras()
    family = demo.family()

    assert took_s < PATIENCE_S
    codecs = [stream["codec"] or "" for one in cameras.values() for stream in one["streams"]]
    assert sorted(codec[:4] for codec in codecs) == ["avc1", "avc1", "hvc1", "hvc1"]
    link = urlsplit(demo.link())
    assert page("GET", f"{link.path}?{link.query}").status in (302, 303)

    victim, other = sorted(cameras)
    for one in (victim, other):
        demo.wait_footage(one, 4)
    process = next(
        one for one in family if one.cmdline()[3:4] == ["demo-camera"] and at(one, cameras[victim])
    )
    process.send_signal(signal.SIGKILL)
    killed_us = now_us()
    until(lambda: demo.cameras()[victim]["state"] != "recording", 15, lambda: "nobody says that it is gone")
    gone = demo.cameras()[victim]
    until(lambda: "camera-not-recording" in demo.health(), 20, lambda: f"health is silent: {demo.health()}")
    demo.wait_recording(victim, seconds=45)
    family += [one for one in demo.family() if one not in family]

    assert (gone["state"], gone["reason"]) in {("unreachable", "unreachable"), ("connecting", None)}, gone
    assert demo.cameras()[other]["state"] == "recording"
    gaps = demo.coverage(victim, killed_us - 5_000_000, now_us())["gaps"]
    # It went while it was recorded; nobody can tell a crash from a reboot.
    assert [gap["reason"] for gap in gaps if micros(gap["end"]) > killed_us][:1] in (
        ["camera-reboot"],
        ["unreachable"],
    ), gaps
    clip = tmp_path / "clip.mp4"
    query = {"start": rfc3339(killed_us - 3_000_000), "end": rfc3339(killed_us)}
    clip.write_bytes(demo.get(f"/api/v1/cameras/{other}/streams/main/clip.mp4", query).body)
    assert decode_errors(clip) == ""
    assert probe(clip).frames >= 30

    status, seconds = demo.stop(signal.SIGINT)

    assert (status, seconds < 8) == (0, True), f"exit {status} after {seconds:.1f} s"
    until(lambda: not [one for one in family if alive(one)], 3, lambda: f"left behind: {family}")
    assert demo.check("--deep").returncode == 0


def at(process: psutil.Process, camera: dict[str, str]) -> bool:
    """Whether it is the one that answers at this camera's address."""
    return camera["address"].partition(":")[0] in " ".join(process.cmdline())


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
