"""Takes in the files that no row knows: after a start, and when a recorder has died with files open.

An unknown file is read to its last fragment whose seal is right. What stands behind is cut off, the table
appended, the file made durable, and only then its row added; a file without a good fragment is removed. A
crash between any two of these steps leaves a file that the next adoption treats the same way.

The media tree is not walked: of each stream only runs from the one that was newest at the last adoption are
looked at, and in them only files behind the last one known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles, segment_of_scan
from simpang_buffer.media.boxes import Scan
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import RunHeader, Segment, StreamKey, segment_path


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that could not be adopted now, and why; it is tried again at the next start."""

    path: Path
    words: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an adoption did; paths are relative to the media folder.

    removed: files without a good fragment. aside: files that were not what their names said, renamed.
    """

    adopted: tuple[Segment, ...] = ()
    removed: tuple[Path, ...] = ()
    aside: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __add__(self, other: Report) -> Report:
        return Report(
            self.adopted + other.adopted,
            self.removed + other.removed,
            self.aside + other.aside,
            self.problems + other.problems,
        )


async def adopt(
    media: Path, index: Index, keys: Iterable[StreamKey] | None = None, *, files: MediaFiles | None = None
) -> Report:
    """Adopts the unknown files of the streams (None: all), none of which may be recording. Idempotent.

    Also finishes what is on the garbage list. Raises StorageError where the index itself fails.
    """
    files = files or MediaFiles(media)
    await empty_garbage(index, files)
    if keys is None:
        keys = await asyncio.to_thread(files.streams)
    report = Report()
    for key in keys:
        report += await _adopt_stream(index, files, key)
    return report


async def adopt_file(index: Index, files: MediaFiles, key: StreamKey, run: int, seq: int) -> Report:
    """Adopts one file that no row knows and nobody writes."""
    path = segment_path(key, run, seq)
    try:
        return await _adopt_file(index, files, path, (key, run, seq))
    except OSError as error:
        return Report(problems=(Problem(path, f"{error.strerror}; look at the disk's health"),))


async def _adopt_stream(index: Index, files: MediaFiles, key: StreamKey) -> Report:
    settled = await index.settled_run(key)
    runs = [run for run in await asyncio.to_thread(files.runs, key) if run >= settled]
    if not runs:
        return Report()
    if runs[-1] >= await index.next_run(key):
        # Before a file of it is removed, with which all trace of the number would go.
        await index.keep_run_number(key, runs[-1])
    report = Report()
    for run in runs:
        for seq in await _unknown(index, files, key, run):
            report += await adopt_file(index, files, key, run, seq)
    if not report.problems and runs[-1] > settled:
        await index.settle(key, runs[-1])
    return report


async def _unknown(index: Index, files: MediaFiles, key: StreamKey, run: int) -> list[int]:
    row = await index.run(key, run)
    if row is None or row.last_seq < 0:
        found = await asyncio.to_thread(files.segments, key, run)
    else:
        found = await asyncio.to_thread(files.segments_after, key, run, row.last_seq)
    # What is to be deleted and could not be yet is known, though its run may be forgotten.
    garbage = set(await index.garbage()) if found else set()
    return [seq for seq in found if segment_path(key, run, seq) not in garbage]


async def _adopt_file(
    index: Index, files: MediaFiles, path: Path, named: tuple[StreamKey, int, int]
) -> Report:
    try:
        scanned = await asyncio.to_thread(files.read_back, path)
    except BadBox:
        return await asyncio.to_thread(_remove, files, path)
    if not scanned.fragments:
        return await asyncio.to_thread(_remove, files, path)
    if _names(scanned.header.run) != named:
        aside = await asyncio.to_thread(files.set_aside, path)
        return Report(aside=(aside,))
    size_bytes = await asyncio.to_thread(_make_durable, files, path, scanned)
    segment = segment_of_scan(scanned, size_bytes)
    await index.add_run(scanned.header.run, segment.width, segment.height)
    await index.add_segment(segment)
    return Report(adopted=(segment,))


def _names(header: RunHeader) -> tuple[StreamKey, int, int]:
    return header.key, header.run, header.seq


def _make_durable(files: MediaFiles, path: Path, scanned: Scan) -> int:
    """Returns the file's size."""
    if not scanned.closed:
        files.close_torn(path, scanned)
    files.sync_folders([path])
    size_bytes = files.size(path)
    if size_bytes is None:
        raise StorageError(
            f"{path} vanished while it was adopted; does another program clean the media folder?"
        )
    return size_bytes


def _remove(files: MediaFiles, path: Path) -> Report:
    files.unlink(path)
    files.sync_folders([path])
    files.remove_folder(path.parent)
    return Report(removed=(path,))
