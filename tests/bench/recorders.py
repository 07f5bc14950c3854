"""Cameras, and programs that record them: each a context manager that yields the processes to be measured."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

HERE = Path(__file__).parent
SIMPANG = Path(sys.executable).parent / "simpang"
SYSTEM_PYTHON = "/usr/bin/python3"
FPS = 25


@contextlib.contextmanager
def cameras(count: int) -> Iterator[tuple[int, float]]:
    """Port and megabits per second of each; a picture comes at once, as over loopback."""
    with _helper([sys.executable, str(HERE / "farm.py"), str(count)]) as said:
        port, rate = said.split()
        yield int(port), float(rate)


@contextlib.contextmanager
def relayed(port: int) -> Iterator[int]:
    """The same cameras at another port, packet by packet, as over a network."""
    with _helper([sys.executable, str(HERE / "relay.py"), str(port)]) as said:
        yield int(said)


@contextlib.contextmanager
def simpang(port: int, count: int, folder: Path) -> Iterator[list[psutil.Process]]:
    """The whole gateway as installed; yields its processes once every stream is recorded."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        listen = probe.getsockname()[1]
    text = (
        '[site]\nid = "bench"\ntime_zone = "UTC"\n[discovery]\nenabled = false\n'
        f'[web]\nlisten = []\nplain_listen = ["127.0.0.1:{listen}"]\n'
    )
    for number in range(count):
        text += f'[[camera]]\nid = "c{number}"\nurl = "rtsp://127.0.0.1:{port}/{number}"\nrecord = ["main"]\n'
    file = folder / "bench.toml"
    file.write_text(text)
    command = [str(SIMPANG), "--config", str(file), "run", "--data", str(folder / "data")]
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while _recorded(folder / "data") < count:
            assert process.poll() is None, (folder / "gateway.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (folder / "gateway.log").read_text()[-2000:]
            time.sleep(0.2)
        root = psutil.Process(process.pid)
        yield [root, *root.children(recursive=True)]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def frames_lost(folder: Path) -> int:
    """Of what the gateway recorded here before it was stopped, by its index: frames against time."""
    with contextlib.closing(sqlite3.connect(folder / "data" / "index.db")) as index:
        rows = index.execute(
            "select sum(frames), min(start_us), max(end_us) from segment group by stream_id, run"
        )
        return sum(max(round((end - start) * FPS / 1e6) - frames, 0) for frames, start, end in rows)


@contextlib.contextmanager
def ffmpegs(port: int, count: int, folder: Path) -> Iterator[list[psutil.Process]]:
    """One `ffmpeg -c copy -f segment` per stream, fragmented, so that a cut leaves what was written."""
    running = []
    for number in range(count):
        command = ["ffmpeg", "-v", "error", "-nostdin", "-rtsp_transport", "tcp"]
        command += [
            "-i",
            f"rtsp://127.0.0.1:{port}/{number}",
            "-c",
            "copy",
            "-f",
            "segment",
            "-segment_time",
            "60",
        ]
        command += ["-segment_format_options", "movflags=frag_keyframe+empty_moov+default_base_moof"]
        command += ["-reset_timestamps", "1", str(folder / f"f{number}-%03d.mp4")]
        running.append(subprocess.Popen(command))
    try:
        _wait_for([f"f{number}-*.mp4" for number in range(count)], folder)
        yield [psutil.Process(one.pid) for one in running]
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait(10)


@contextlib.contextmanager
def splitmux(port: int, count: int, folder: Path) -> Iterator[list[psutil.Process]]:
    """GStreamer's splitmuxsink, all streams in one process."""
    with _recorder([SYSTEM_PYTHON, str(HERE / "splitmux.py"), str(port), str(count), str(folder)]) as process:
        _wait_for([f"g{number}-*.mp4" for number in range(count)], folder)
        yield [process]


@contextlib.contextmanager
def pump(port: int, count: int, folder: Path) -> Iterator[list[psutil.Process]]:
    """Bytes from sockets to files, whenever some arrive."""
    with _recorder([*_python("pump.py", port, count, folder), "woken"]) as process:
        yield [process]


@contextlib.contextmanager
def beat_pump(port: int, count: int, folder: Path) -> Iterator[list[psutil.Process]]:
    """Bytes from sockets to files, on the recorder's beat."""
    with _recorder([*_python("pump.py", port, count, folder), "beat"]) as process:
        yield [process]


def _python(program: str, port: int, count: int, folder: Path) -> list[str]:
    return [sys.executable, str(HERE / program), str(port), str(count), str(folder)]


@contextlib.contextmanager
def _recorder(command: Sequence[str]) -> Iterator[psutil.Process]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _helper(command: Sequence[str]) -> Iterator[str]:
    """Yields the line that it prints when it is ready."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def _recorded(data: Path) -> int:
    command = [str(SIMPANG), "--socket", str(data / "api.sock"), "--json", "status"]
    asked = subprocess.run(command, capture_output=True, check=False)
    if asked.returncode:
        return 0
    return sum(camera["state"] == "recording" for camera in json.loads(asked.stdout)["cameras"])


def _wait_for(patterns: Sequence[str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not all(any(folder.glob(pattern)) for pattern in patterns):
        assert time.monotonic() < deadline, f"nothing is written to {folder}"
        time.sleep(0.2)
