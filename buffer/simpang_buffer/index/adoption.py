"""Takes in the files that no row knows: after a start, and when a recorder has died with files open.

An unknown file is read to its last fragment whose seal is right. What stands behind is cut off, the table
appended, the file made durable, and only then its row added. A file that can hold no footage is removed; one
that holds something else than its name says, or of which not even the first fragment is as it was sealed, is
set aside under another name and never deleted. A crash between any two of these steps leaves a file that the
next adoption treats the same way.

The media tree is not walked: of each stream only runs from the one that was newest at the last adoption are
looked at, and in them only files behind the last one known.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.foreign import belongs
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles, segment_of_scan
from simpang_buffer.media.boxes import Scan
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import Segment, StreamKey, segment_path

# Reading torn files is hashing, which threads do side by side; more of them only queue for the disk.
_AT_ONCE = max(2, min(os.cpu_count() or 1, 8))


# Above every run number.
_NO_RUN = 1 << 62


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that could not be adopted now, and why; it is tried again at the next start."""

    path: Path
    words: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an adoption did; paths are relative to the media folder.

    removed: files that held nothing. aside: files that were not what their names said, or not as they were
    sealed, renamed.
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
    media: Path,
    index: Index,
    keys: Iterable[StreamKey] | None = None,
    *,
    files: MediaFiles | None = None,
    since: int | None = None,
    below: int | None = None,
) -> Report:
    """Adopts the unknown files of the streams (None: all). Idempotent.

    since, below: only runs from the one and before the other; of those nobody may be recording. Streams are
    read side by side. Also finishes what is on the garbage list. Raises StorageError where the index fails.
    """
    files = files or MediaFiles(media)
    await empty_garbage(index, files)
    if keys is None:
        keys = await asyncio.to_thread(files.streams)
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(key: StreamKey) -> Report:
        async with turn:
            return await _adopt_stream(index, files, key, since, below)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(key), name=f"adopt:{key}") for key in keys]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return sum((task.result() for task in tasks), Report())


async def reserve_run_numbers(
    index: Index, files: MediaFiles, keys: Iterable[StreamKey] | None = None
) -> None:
    """From now on `next_run` is above every run that has a folder, known or not: the streams (None: all) can
    be recorded before what lies there is adopted."""
    for key in await asyncio.to_thread(files.streams) if keys is None else keys:
        runs = await asyncio.to_thread(files.runs, key)
        if runs and runs[-1] >= await index.next_run(key):
            # Before a file of it is removed, with which all trace of the number would go.
            await index.keep_run_number(key, runs[-1])


async def adopt_file(index: Index, files: MediaFiles, key: StreamKey, run: int, seq: int) -> Report:
    """Adopts one file that no row knows and nobody writes."""
    path = segment_path(key, run, seq)
    try:
        return await _adopt_file(index, files, path, (key, run, seq))
    except OSError as error:
        return Report(problems=(Problem(path, f"{error.strerror}; look at the disk's health"),))


async def _adopt_stream(
    index: Index, files: MediaFiles, key: StreamKey, since: int | None, below: int | None
) -> Report:
    settled = await index.settled_run(key)
    first = settled if since is None else max(settled, since)
    on_disk = await asyncio.to_thread(files.runs, key)
    runs = [run for run in on_disk if run >= first and (below is None or run < below)]
    if not runs:
        return Report()
    await reserve_run_numbers(index, files, [key])
    report = Report()
    noted = f"doubtful:{files.folder}:{key}"
    before = doubtful = int(await index.meta(noted) or _NO_RUN)
    for run in runs:
        for seq in await _unknown(index, files, key, run, doubtful=run >= before):
            done = await adopt_file(index, files, key, run, seq)
            if done.problems and run < doubtful:
                # Before a file behind it is adopted, with which this one would look like a known one.
                doubtful = run
                await index.set_meta(noted, str(run))
            report += done
    if not report.problems and doubtful >= first and doubtful != _NO_RUN:
        await index.set_meta(noted, str(_NO_RUN))
    # What lies before `since` is somebody else's to settle.
    if not report.problems and runs[-1] > settled and (since is None or since <= settled):
        await index.settle(key, runs[-1])
    return report


async def _unknown(index: Index, files: MediaFiles, key: StreamKey, run: int, *, doubtful: bool) -> list[int]:
    """doubtful: a file before the last row was refused by the disk when it was to be adopted."""
    row = await index.run(key, run)
    if doubtful or len(index.places) > 1:
        # Files of one run lie in several folders, and the last row may be of another than this one.
        there = await asyncio.to_thread(files.segments, key, run)
        rows = {one.seq for one in await index.segments_of_run(key, run)} if there else set()
        found = [seq for seq in there if seq not in rows]
    elif row is None or row.last_seq < 0:
        found = await asyncio.to_thread(files.segments, key, run)
    else:
        found = await asyncio.to_thread(files.segments_after, key, run, row.last_seq)
    # What is to be deleted and could not be yet is known, though its run may be forgotten.
    garbage = set(await index.garbage(files.folder)) if found else set()
    return [seq for seq in found if segment_path(key, run, seq) not in garbage]


async def _adopt_file(
    index: Index, files: MediaFiles, path: Path, named: tuple[StreamKey, int, int]
) -> Report:
    try:
        scanned = await asyncio.to_thread(files.read_back, path)
    except BadBox:
        return await asyncio.to_thread(_dispose, files, path, 0)
    if not scanned.fragments:
        return await asyncio.to_thread(_dispose, files, path, scanned.header.end)
    if not belongs(scanned.header.run, *named):
        return Report(aside=(await asyncio.to_thread(_set_aside, files, path),))
    size_bytes = await asyncio.to_thread(_make_durable, files, path, scanned)
    segment = replace(segment_of_scan(scanned, size_bytes), key=named[0], folder=files.folder)
    await index.take_in(named[0], scanned.header.run, [segment])
    return Report(adopted=(segment,))


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


def _dispose(files: MediaFiles, path: Path, header_end: int) -> Report:
    """Of a file without a good fragment."""
    if not files.holds_nothing(path, header_end):
        return Report(aside=(_set_aside(files, path),))
    files.unlink(path)
    files.sync_folders([path])
    files.remove_folder(path.parent)
    return Report(removed=(path,))


def _set_aside(files: MediaFiles, path: Path) -> Path:
    aside = files.set_aside(path)
    files.sync_folders([path])
    return aside
