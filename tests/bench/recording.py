"""CPU and memory of recording at 1, 8 and 16 streams, beside one `ffmpeg -c copy -f segment` per stream.

Both record the same cameras one after the other in the same run, for as long, to the same disk. simpang is
the whole gateway as installed: daemon, recorder process, page, index and sync; its recorder process stands
beside it. CPU is in per cent of one core. Memory is in MB: PSS, so that what processes share is counted once,
and RSS, which counts it in each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parent
SIMPANG = Path(sys.executable).parent / "simpang"


@dataclass(frozen=True)
class Figures:
    """cpu: seconds of CPU per second. memory_bytes: PSS. parts: both for each kind of process."""

    cpu: float
    memory_bytes: int
    rss_bytes: int
    parts: dict[str, tuple[float, int]]


def measure(processes: list[psutil.Process], seconds: float) -> Figures:
    before = {process.pid: _cpu(process) for process in processes}
    begun = time.monotonic()
    time.sleep(seconds)
    parts: dict[str, tuple[float, int]] = {}
    for process in processes:
        cpu = (_cpu(process) - before[process.pid]) / (time.monotonic() - begun)
        kind = _kind(process)
        so_far = parts.get(kind, (0.0, 0))
        parts[kind] = (so_far[0] + cpu, so_far[1] + process.memory_full_info().pss)
    rss_bytes = sum(process.memory_info().rss for process in processes)
    return Figures(
        sum(c for c, _ in parts.values()), sum(size for _, size in parts.values()), rss_bytes, parts
    )


def _cpu(process: psutil.Process) -> float:
    """Seconds on a CPU, to the nanosecond: `times` counts by ticks, which short bursts slip between."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _kind(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    return "recorder" if "recording.process" in words else "ffmpeg" if "ffmpeg" in words else "daemon"


@contextlib.contextmanager
def cameras(count: int) -> Iterator[tuple[int, float]]:
    """Port and megabits per second of each."""
    farm = subprocess.Popen(
        [sys.executable, str(HERE / "farm.py"), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    try:
        assert farm.stdout is not None
        port, rate = farm.stdout.readline().split()
        yield int(port), float(rate)
    finally:
        farm.kill()
        farm.wait()


@contextlib.contextmanager
def gateway(port: int, count: int, folder: Path) -> Iterator[list[psutil.Process]]:
    """Yields its processes once every stream is recorded."""
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
    log = (folder / "gateway.log").open("wb")
    with log:
        process = subprocess.Popen(
            [str(SIMPANG), "--config", str(file), "run", "--data", str(folder / "data")],
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while _recorded(folder / "data") < count:
            assert process.poll() is None, (folder / "gateway.log").read_text()
            assert time.monotonic() < deadline, (folder / "gateway.log").read_text()
            time.sleep(0.2)
        root = psutil.Process(process.pid)
        yield [root, *root.children(recursive=True)]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _recorded(data: Path) -> int:
    asked = subprocess.run(
        [str(SIMPANG), "--socket", str(data / "api.sock"), "--json", "status"],
        capture_output=True,
        check=False,
    )
    if asked.returncode:
        return 0
    return sum(camera["state"] == "recording" for camera in json.loads(asked.stdout)["cameras"])


@contextlib.contextmanager
def ffmpegs(port: int, count: int, folder: Path) -> Iterator[list[psutil.Process]]:
    running = []
    for number in range(count):
        out = folder / f"f{number}-%03d.mp4"
        running.append(
            subprocess.Popen(
                ["ffmpeg", "-v", "error", "-nostdin", "-rtsp_transport", "tcp",
                 "-i", f"rtsp://127.0.0.1:{port}/{number}", "-c", "copy", "-f", "segment",
                 "-segment_time", "60", "-reset_timestamps", "1", str(out)],
            )
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while any(not list(folder.glob(f"f{number}-*.mp4")) for number in range(count)):
            assert time.monotonic() < deadline, "ffmpeg does not record"
            time.sleep(0.2)
        yield [psutil.Process(one.pid) for one in running]
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait(10)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--streams", type=int, nargs="+", default=[1, 8, 16])
    asked.add_argument("--seconds", type=float, default=20)
    options = asked.parse_args()
    print(f"{os.cpu_count()} cores; {options.seconds:g} s each\n")
    print("        |    simpang, all      |   recorder   |        ffmpeg        |  all/ffmpeg | rec/ffmpeg")
    print("streams |   CPU    PSS    RSS  |  CPU    PSS  |   CPU    PSS    RSS  |  CPU   PSS  |  CPU   PSS")
    for count in options.streams:
        with cameras(count) as (port, rate):
            ours, theirs = tempfile.mkdtemp(prefix="bench-"), tempfile.mkdtemp(prefix="bench-")
            try:
                with gateway(port, count, Path(ours)) as processes:
                    time.sleep(3)
                    our = measure(processes, options.seconds)
                with ffmpegs(port, count, Path(theirs)) as processes:
                    time.sleep(3)
                    their = measure(processes, options.seconds)
            finally:
                shutil.rmtree(ours)
                shutil.rmtree(theirs)
        cpu, size_bytes = our.parts["recorder"]
        print(
            f"{count:7} | {our.cpu:6.1%} {our.memory_bytes / 1e6:6.0f} {our.rss_bytes / 1e6:6.0f} "
            f"| {cpu:6.1%} {size_bytes / 1e6:5.0f} "
            f"| {their.cpu:6.1%} {their.memory_bytes / 1e6:6.0f} {their.rss_bytes / 1e6:6.0f} "
            f"| {our.cpu / their.cpu:5.2f} {our.memory_bytes / their.memory_bytes:5.2f} "
            f"| {cpu / their.cpu:5.2f} {size_bytes / their.memory_bytes:5.2f}  ({rate:.2f} Mbit/s each)",
            flush=True,
        )


if __name__ == "__main__":
    main()
