"""CPU and memory of recording, beside other recorders of the same cameras, one after the other in one run.

simpang is the whole gateway as installed: daemon, recorder process, page, index and sync; its recorder stands
beside it. The others: one `ffmpeg -c copy -f segment` per stream, GStreamer's splitmuxsink in one process,
and a pump that copies bytes from sockets to files and understands nothing, woken by what arrives or on the
recorder's beat. CPU is in per cent of one core, for each stream; memory in MB: PSS, so that what processes
share is counted once, and RSS, which counts it in each. Cameras deliver in bursts, a picture at once, or
(`paced`) packet by packet as a network does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil
from recorders import beat_pump, cameras, ffmpegs, frames_lost, pump, relayed, simpang, splitmux

Recorder = Callable[[int, int, Path], AbstractContextManager[list[psutil.Process]]]
# More processes than these two cores can carry beside the cameras.
MOST_FFMPEGS = 16


@dataclass(frozen=True)
class Figures:
    """cpu: seconds of CPU per second. memory_bytes: PSS."""

    cpu: float
    memory_bytes: int
    rss_bytes: int

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.cpu + other.cpu, self.memory_bytes + other.memory_bytes, self.rss_bytes + other.rss_bytes
        )


def measure(processes: list[psutil.Process], seconds: float) -> dict[str, Figures]:
    """By kind of process."""
    before = {process.pid: _cpu(process) for process in processes}
    begun = time.monotonic()
    time.sleep(seconds)
    found: dict[str, Figures] = {}
    for process in processes:
        cpu = (_cpu(process) - before[process.pid]) / (time.monotonic() - begun)
        figures = Figures(cpu, process.memory_full_info().pss, process.memory_info().rss)
        kind = "recorder" if "recording.process" in " ".join(process.cmdline()) else "other"
        found[kind] = found.get(kind, Figures(0, 0, 0)) + figures
    return found


def _cpu(process: psutil.Process) -> float:
    """Seconds on a CPU, to the nanosecond: `times` counts by ticks, which short bursts slip between."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def run(recorder: Recorder, port: int, count: int, seconds: float) -> tuple[dict[str, Figures], int]:
    """The figures, and what the gateway lost of the pictures."""
    with _folder() as folder:
        with recorder(port, count, folder) as processes:
            time.sleep(3)
            figures = measure(processes, seconds)
        return figures, frames_lost(folder) if recorder is simpang else 0


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--streams", type=int, nargs="+", default=[1, 8, 16, 44])
    asked.add_argument("--seconds", type=float, default=20)
    asked.add_argument("--only", choices=("burst", "paced"))
    options = asked.parse_args()
    print(
        f"{os.cpu_count()} cores; {options.seconds:g} s each; CPU per stream, memory of all in MB (PSS/RSS)\n"
    )
    print(
        "cameras       | simpang, all    | its recorder    | ffmpeg           | splitmuxsink    | pumps "
        "(woken beat) | recorder to: ffmpeg pumps | all to ffmpeg | lost"
    )
    for count in options.streams:
        with cameras(count) as (port, rate), relayed(port) as slow_port:
            for way, at in (("burst", port), ("paced", slow_port)):
                if options.only in (None, way):
                    _row(way, at, count, options.seconds)
    print(f"\n{rate:.2f} Mbit/s, 1280 x 720, 25 pictures a second, H.264, TCP")


def _row(way: str, port: int, count: int, seconds: float) -> None:
    ours, lost = run(simpang, port, count, seconds)
    recorder, every = ours["recorder"], ours["recorder"] + ours["other"]
    others = {}
    for name, peer in (("ffmpeg", ffmpegs), ("splitmux", splitmux), ("pump", pump), ("beat", beat_pump)):
        if peer is not ffmpegs or count <= MOST_FFMPEGS:
            others[name] = run(peer, port, count, seconds)[0]["other"]
    ffmpeg, woken, beat = others.get("ffmpeg"), others["pump"], others["beat"]
    pumps = f"{recorder.cpu / woken.cpu:4.2f} {recorder.cpu / beat.cpu:4.2f}"
    against, ratios = "   -", f"{pumps} | -"
    if ffmpeg:
        against = f"{recorder.cpu / ffmpeg.cpu:4.2f}"
        ratios = f"{pumps} | {every.cpu / ffmpeg.cpu:4.2f}, memory of the recorder "
        ratios += f"{recorder.memory_bytes / ffmpeg.memory_bytes:4.2f}"
    print(
        f"{count:3} {way:9} | {_cell(every, count)} | {_cell(recorder, count)} | "
        f"{_cell(ffmpeg, count) if ffmpeg else '-':>15} | {_cell(others['splitmux'], count)} | "
        f"{woken.cpu / count:5.2%} {beat.cpu / count:5.2%} | {against} {ratios} | {lost}",
        flush=True,
    )


def _cell(figures: Figures, count: int) -> str:
    return f"{figures.cpu / count:5.2%} {figures.memory_bytes / 1e6:4.0f}/{figures.rss_bytes / 1e6:4.0f}"


if __name__ == "__main__":
    main()
