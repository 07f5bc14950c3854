"""Power cuts: a gateway records onto a disk that notes every block, looked at as cuts leave it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from block_log import Entry
from product import until
from simpang_buffer.index.adoption import adopt
from simpang_buffer.index.check import check
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import StreamKey

_ROOT = Path(__file__).parent.parent
_FUSE_PYTHON = _ROOT / ".peers" / "fuse" / "bin" / "python"
_DEVICE = Path(__file__).with_name("block_device.py")


@dataclass(frozen=True)
class Found:
    """What a start after a cut finds. faults: of the index itself, before anything is taken in; missing: rows
    whose bytes are not all there; after: faults once the unknown files are taken in. end_us: of each stream.
    """

    faults: Sequence[str]
    missing: Sequence[str]
    after: Sequence[str]
    end_us: dict[StreamKey, int]


@contextlib.contextmanager
def block_device(folder: Path, image: Path, log: Path, *, cuts: bool = False) -> Iterator[Path]:
    """The FUSE mount with the disk in it."""
    mount = folder / ("cuts" if cuts else "recorded")
    mount.mkdir()
    command = [
        str(_FUSE_PYTHON),
        str(_DEVICE),
        str(mount),
        str(image),
        str(log),
        *(["--cuts"] if cuts else []),
    ]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(_DEVICE.parent)})
    try:
        until(mount.is_mount, 10, lambda: f"{mount} is not mounted; exit {process.poll()}")
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


@contextlib.contextmanager
def mounted(disk: Path, folder: Path, *options: str) -> Iterator[Path]:
    """The file system on the disk. What the kernel must replay of its journal it does here."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", ",".join(("loop", *options)), str(disk), str(folder)], check=True)
    try:
        yield folder
    finally:
        _unmount(folder)


def wall_us(at_ns: int) -> int:
    """UTC of a moment on CLOCK_MONOTONIC."""
    return (time.time_ns() - time.monotonic_ns() + at_ns) // 1000


def choose_cuts(log: Sequence[Entry], count: int, after_ns: int, chance: random.Random) -> list[int]:
    """Record numbers, rising. A third are next to a flush: that is where promises begin."""
    late = [number for number, entry in enumerate(log) if entry.at_ns > after_ns]
    flushes = [number for number in late if log[number].is_flush]
    near = [
        min(max(chance.choice(flushes) + chance.randint(-2, 3), late[0]), late[-1]) for _ in range(count // 3)
    ]
    return sorted([*near, *chance.choices(late, k=count - len(near))])


def look(data: Path) -> Found:
    """As a start would, without a camera."""
    return asyncio.run(_look(data))


async def _look(data: Path) -> Found:
    media = data / "media"
    async with open_index(data / "index.db") as index:
        faults = await index.faults()
        findings = await check(media, index, deep=True, recording=True)
        missing = [f"{one.code} {one.path}: {one.words}" for one in findings if one.code != "index"]
        report = await adopt(media, index)
        missing += [f"{problem.path}: {problem.words}" for problem in report.problems]
        after = [f"{one.code} {one.path}: {one.words}" for one in await check(media, index, deep=True)]
        return Found(faults, missing, after, await _ends(index))


async def _ends(index: Index) -> dict[StreamKey, int]:
    ends = {}
    for key in await index.streams():
        newest = await index.newest(key)
        if newest is not None:
            ends[key] = newest.end_us
    return ends


def _unmount(folder: Path) -> None:
    for _ in range(50):
        if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
