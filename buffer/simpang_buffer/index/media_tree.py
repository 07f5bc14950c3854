"""What lies in the media folders, run by run: all files by number, and what a run's first and last say.

Blocks: call it in a thread. Six bytes are kept of a file, so that a month of 44 streams is 12 MB.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from simpang_buffer.index.closed_file import ClosedFiles
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import RunHeader, StreamKey, segment_path

# How many files of a run are tried for one that says what run it is.
_TRIES = 4


@dataclass
class RunOnDisk:
    """One run's files, by sequence number. header, width, height: of the first that could be read.

    start_us and end_us: of its first and its last file, by the clock of then. shift_us: how much later it was
    really recorded, where runs before it say so (the clock was set back between them).
    """

    run: int
    seqs: array[int] = field(default_factory=lambda: array("I"))
    folders: array[int] = field(default_factory=lambda: array("H"))
    header: RunHeader | None = None
    width: int = 0
    height: int = 0
    start_us: int = 0
    end_us: int = 0
    shift_us: int = 0


Tree = dict[StreamKey, dict[int, RunOnDisk]]


def read_tree(folders: Mapping[int, MediaFiles]) -> Tree:
    """Every run of every stream."""
    tree: Tree = {}
    for number, files in folders.items():
        for key in files.streams():
            runs = tree.setdefault(key, {})
            for run in files.runs(key):
                seqs = [seq for seq in files.segments(key, run) if seq < 1 << 32]
                if seqs:
                    _add(runs.setdefault(run, RunOnDisk(run)), number, seqs)
    closed = ClosedFiles()
    for key, runs in tree.items():
        for one in runs.values():
            _look(one, key, folders, closed)
    return tree


def shift_runs(runs: list[RunOnDisk]) -> None:
    """Sets shift_us of a stream's runs, which are in order: none was recorded before the one before it ended,
    whatever the clock said."""
    recorded_us = 0
    for one in runs:
        one.shift_us = max(recorded_us - one.start_us, 0)
        recorded_us = max(recorded_us, one.end_us + one.shift_us)


def file_path(files: MediaFiles, key: StreamKey, run: int, seq: int) -> Path:
    return files.root / segment_path(key, run, seq)


def open_quietly(path: str | Path) -> int:
    """A descriptor for two small reads: without this the kernel would read ahead 128 kB at each."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    return descriptor


def _add(run: RunOnDisk, folder: int, seqs: list[int]) -> None:
    """Keeps the files in order, wherever they lie."""
    places = sorted([*zip(run.seqs, run.folders, strict=True), *((seq, folder) for seq in seqs)])
    run.seqs = array("I", [seq for seq, _ in places])
    run.folders = array("H", [number for _, number in places])


def _look(run: RunOnDisk, key: StreamKey, folders: Mapping[int, MediaFiles], closed: ClosedFiles) -> None:
    count = len(run.seqs)
    for at in range(min(count, _TRIES)):
        path = file_path(folders[run.folders[at]], key, run.run, run.seqs[at])
        with contextlib.suppress(OSError, BadBox):
            descriptor = open_quietly(path)
            try:
                run.header, run.width, run.height = closed.head(descriptor)
                run.start_us = run.header.anchor_us
                with contextlib.suppress(BadBox):
                    run.start_us = closed.row(descriptor, key, 0)[0].start_us
                break
            finally:
                os.close(descriptor)
    path = file_path(folders[run.folders[count - 1]], key, run.run, run.seqs[count - 1])
    run.end_us = run.start_us
    with contextlib.suppress(OSError):
        descriptor = open_quietly(path)
        try:
            run.end_us = closed.row(descriptor, key, 0)[0].end_us
        except BadBox:
            # It was never closed: when it was last written tells when.
            run.end_us = max(run.start_us, os.fstat(descriptor).st_mtime_ns // 1000)
        finally:
            os.close(descriptor)
