"""SIGKILL, or an error, at one system call after the other: each write, sync, rename, unlink of a scenario.

strace counts the calls of a whole run first, and then makes the n-th of each kind the last one, for every n.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kill_scenarios import ALWAYS, prepared, site_folders
from simpang_buffer.index.adoption import adopt
from simpang_buffer.index.check import check
from simpang_buffer.index.holds import holds
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.moving import Mover
from simpang_buffer.model import FIRST_FOLDER

_SCENARIOS = Path(__file__).with_name("kill_scenarios.py")
# All that changes a file, a folder, or what of them is durable.
CALLS = (
    "write", "writev", "pwrite64", "pwritev", "ftruncate", "truncate", "fallocate", "fsync", "fdatasync",
    "sync_file_range", "syncfs", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat",
    "rmdir", "link", "linkat", "utimensat", "copy_file_range", "sendfile",
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """The n-th call of its kind in one thread. error: what it fails with; None kills the process there."""

    scenario: str
    call: str
    number: int
    error: str | None = None


@dataclass(frozen=True)
class Found:
    """What a start after it finds. faults: invariants broken. lost: promises that were not kept."""

    point: Point
    faults: tuple[str, ...]
    lost: tuple[str, ...]
    status: int


def points(scenario: str, folder: Path) -> Iterator[Point]:
    """Every one of a scenario, by the calls that a whole run makes."""
    data = _fresh(scenario, folder)
    trace = folder / "trace"
    done = _run(scenario, data, "-o", str(trace), "-e", f"trace={','.join(CALLS)}")
    assert done.returncode == 0, done.stderr
    made: Counter[tuple[str, str]] = Counter()
    for line in trace.read_text().splitlines():
        match = re.match(r"(\d+)\s+(\w+)\(", line)
        if match:
            made[match[2], match[1]] += 1
    for call in CALLS:
        most = max((count for (name, _), count in made.items() if name == call), default=0)
        for number in range(1, most + 1):
            yield Point(scenario, call, number)


def strike(point: Point, folder: Path) -> Found:
    """Runs the scenario up to the point, then starts anew and looks."""
    data = _fresh(point.scenario, folder)
    how = f"error={point.error}" if point.error else "signal=SIGKILL"
    # The output's own writes are not a disk's.
    inject = f"inject={point.call}:{how}:when={point.number}"
    done = _run(point.scenario, data, "-o", "/dev/null", "-e", f"trace={point.call}", "-e", inject)
    promises = [line for line in done.stdout.splitlines() if line]
    faults, lost = asyncio.run(_look(data, promises))
    return Found(point, tuple(faults), tuple(lost), done.returncode)


def _run(scenario: str, data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["strace", "-f", "-qq", *options]
    command += [sys.executable, str(_SCENARIOS), scenario, str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _fresh(scenario: str, folder: Path) -> Path:
    """A copy of what the scenario starts from."""
    first, data = folder / f"{scenario}-first", folder / "data"
    if not first.exists():
        asyncio.run(prepared(scenario, first))
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(first, data)
    return data


async def _look(data: Path, promises: list[str]) -> tuple[list[str], list[str]]:
    if (data / "second").exists():
        async with site_folders(data) as (index, folders):
            mover = Mover(index, folders, now_us=lambda: 0)
            await mover.prepare()
            await folders.look()
            return await _found(index, folders.files(), promises)
    async with open_index(data / "index.db") as index:
        return await _found(index, [index.files(FIRST_FOLDER)], promises)


async def _found(index: Index, files: list[MediaFiles], promises: list[str]) -> tuple[list[str], list[str]]:
    """Faults, and promises that were not kept."""
    faults = list(await index.faults())
    # An unknown file is what a death leaves; it is adopted next.
    faults += [words for words in await _checked(index, files) if not words.startswith("unknown ")]
    for one in files:
        report = await adopt(one.root, index, files=one)
        faults += [f"{problem.path}: {problem.words}" for problem in report.problems]
    faults += await _checked(index, files)
    ends = {
        str(key): max((row.end_us for row in await index.segments(key, *ALWAYS)), default=0)
        for key in await index.streams()
    }
    held = {one.id for one in await holds(index.db)}
    lost = []
    for promise in promises:
        what, which, value = promise.split()
        if what == "kept" and ends.get(which, 0) < int(value):
            lost.append(f"{promise}, and it ends at {ends.get(which, 0)}")
        if what == "held" and int(value) not in held:
            lost.append(promise)
    return faults, lost


async def _checked(index: Index, files: list[MediaFiles]) -> list[str]:
    found = await check(index.media, index, deep=True, folders=files)
    return [f"{one.code} {one.path}: {one.words}" for one in found]
