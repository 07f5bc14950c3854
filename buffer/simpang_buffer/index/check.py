"""`buffer check`: proves that index and media files say the same. What it finds, and what repair.py does:

    index     the database is damaged, or its totals are wrong
    missing   a row's file is not there                       repair: the row goes, noted as disk-error
    short     a row's file is shorter than its row            repair: adopted anew, up to its last right seal
    long      a row's file holds more than was recorded
    unknown   a file is in no row, not garbage, not open      repair: adopted, or removed if it holds nothing
    garbage   a file is both indexed and on the garbage list  repair: it stays
    boxes     depth boxes: heads, seals or table are not as they were written, or not what the row says
    sealed    depth seals: a seal does not fit the bytes: they were altered or the disk lost them
    differs   depth seals: the file is whole but its row says otherwise
    unread    the file cannot be read

Can run beside a daemon: what changes meanwhile is looked at twice before it is called a fault. Footage in a
folder that is not there now is not looked at.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from simpang_buffer.index.foreign import belongs
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles, segment_of_scan
from simpang_buffer.index.repair import Fault, Finding, repair_all
from simpang_buffer.media.seal import BadBox
from simpang_buffer.media.structure import read_structure
from simpang_buffer.model import ROW_SEAL_BYTES, Segment, StreamKey, segment_path

__all__ = ["Depth", "Finding", "check"]

_ALWAYS = (-(1 << 62), 1 << 62)

Place: TypeAlias = tuple[int, int]  # sequence number, folder


class Depth(enum.IntEnum):
    """How much is read: names and sizes; a few kilobytes of each file; everything."""

    ROWS = 1
    BOXES = 2
    SEALS = 3


async def check(
    media: Path,
    index: Index,
    *,
    depth: Depth = Depth.ROWS,
    deep: bool = False,
    repair: bool = False,
    open_files: Collection[Path] = (),
    recording: bool = False,
    files: MediaFiles | None = None,
    folders: Sequence[MediaFiles] | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[Finding]:
    """Every fault, by stream and in order. deep: depth seals.

    open_files: being written, relative to their folder. recording: a daemon is recording whose open files are
    not known here; files newer than a stream's newest row are then taken for its own. repair: only where
    nobody records, or open_files is complete. folders: those that are there (default: media). progress:
    called with files looked at, and how many the index knows. Raises StorageError where the index cannot be
    read.
    """
    folders = folders or [files or MediaFiles(media)]
    depth = Depth.SEALS if deep else depth
    faults = [Fault(Finding("index", None, words)) for words in await index.faults()]
    totals = await index.stream_totals()
    checker = _Checker(
        index,
        {one.folder: one for one in folders},
        depth=depth,
        open_files=set(open_files),
        recording=recording,
        progress=lambda done: progress(done, sum(held.segments for held in totals.values())),
    )
    on_disk = [key for one in folders for key in await asyncio.to_thread(one.streams)]
    for key in sorted({*on_disk, *await index.streams()}):
        faults += await checker.stream(key)
    if not repair:
        return [fault.finding for fault in faults]
    return await repair_all(index, {one.folder: one for one in folders}, faults)


class _Checker:
    def __init__(
        self,
        index: Index,
        folders: dict[int, MediaFiles],
        *,
        depth: Depth,
        open_files: set[Path],
        recording: bool,
        progress: Callable[[int], object],
    ) -> None:
        self._folders = folders
        self._index = index
        self._depth = depth
        self._open_files = open_files
        self._recording = recording
        self._progress = progress
        self._done = 0

    async def stream(self, key: StreamKey) -> list[Fault]:
        # Rows before files: a segment that closes in between is a file without a row, one that is evicted in
        # between a row without a file, and both are looked at again.
        rows = await self._index.segments(key, *_ALWAYS)
        runs = {run: list(group) for run, group in groupby(rows, key=lambda row: row.run)}
        listed = [await asyncio.to_thread(one.runs, key) for one in self._folders.values()]
        faults: list[Fault] = []
        for run in sorted({*runs, *(run for found in listed for run in found)}):
            faults += await self._run(key, run, {(row.seq, row.folder): row for row in runs.get(run, ())})
        return faults

    async def _run(self, key: StreamKey, run: int, rows: dict[Place, Segment]) -> list[Fault]:
        sizes: dict[Place, int] = {}
        for number, files in self._folders.items():
            found_here = await asyncio.to_thread(files.sizes, key, run)
            sizes |= {(seq, number): size for seq, size in found_here.items()}
        known = await self._index.run(key, run)
        moved_us = known.moved_us if known else 0
        garbage = {number: set(await self._index.garbage(number)) for number in self._folders}
        faults: list[Fault] = []
        for place in sorted({*rows, *sizes}):
            seq, folder = place
            path, row = segment_path(key, run, seq), rows.get(place)
            if folder not in self._folders:
                continue
            self._done += 1
            self._progress(self._done)
            if row is None:
                if path not in garbage[folder] and not await self._is_explained(key, run, place):
                    finding = Finding("unknown", path, "no row of the index names this file", folder)
                    faults.append(Fault(finding, place=(key, run, seq)))
                continue
            found = _compare(path, row, sizes.get(place))
            if found is None and self._depth > Depth.ROWS:
                read = self._read_seals if self._depth is Depth.SEALS else self._read_boxes
                found = await asyncio.to_thread(read, path, row, moved_us)
            if found is None and path in garbage[folder]:
                found = Finding("garbage", path, "indexed, and on the list of files to delete")
            if found is not None and await self._is_row_now(row):
                faults.append(Fault(replace(found, folder=folder), row))
        return faults

    def _read_boxes(self, path: Path, row: Segment, moved_us: int) -> Finding | None:
        try:
            with (self._folders[row.folder].root / path).open("rb", buffering=0) as file:
                found = read_structure(file)
        except FileNotFoundError:
            return Finding("missing", path, "the file is not there")
        except (BadBox, OSError) as error:
            return Finding("unread", path, f"cannot be read: {error}")
        if found.fault is not None:
            return Finding("boxes", path, found.fault)
        if not belongs(found.header.run, row.key, row.run, row.seq):
            return Finding("boxes", path, "it is not what its name says")
        if (found.fragments, found.frames, found.seal[:ROW_SEAL_BYTES], found.header.header_sha256) != (
            row.fragments,
            row.frames,
            row.seal,
            row.header_sha256,
        ):
            return Finding("boxes", path, "the file's own account differs from its row")
        return None

    def _read_seals(self, path: Path, row: Segment, moved_us: int) -> Finding | None:
        try:
            scanned = self._folders[row.folder].read_back(path)
        except FileNotFoundError:
            return Finding("missing", path, "the file is not there")
        except (BadBox, OSError) as error:
            return Finding("unread", path, f"cannot be read: {error}")
        if len(scanned.fragments) < row.fragments:
            words = f"fragment {len(scanned.fragments)} of {row.fragments} is not what was sealed"
            return Finding("sealed", path, words)
        if not belongs(scanned.header.run, row.key, row.run, row.seq):
            return Finding("differs", path, "it is not what its name says")
        if not scanned.closed and scanned.good_end != row.size_bytes:
            return Finding("boxes", path, "the table says otherwise than the boxes before it")
        found = segment_of_scan(scanned, row.size_bytes)
        # A run that was dated anew, or another site's that was renamed, goes by its row.
        if row != replace(
            found,
            key=row.key,
            folder=row.folder,
            start_us=found.start_us + moved_us,
            end_us=found.end_us + moved_us,
        ):
            return Finding("differs", path, "the file's own account differs from its row")
        return None

    async def _is_row_now(self, row: Segment) -> bool:
        found = await self._index.segments(row.key, row.start_us, row.start_us + 1)
        return row in found

    async def _is_explained(self, key: StreamKey, run: int, place: Place) -> bool:
        """The file is being written, or has been indexed or deleted in the meantime."""
        seq, folder = place
        path = segment_path(key, run, seq)
        newest = await self._index.newest_run(key)
        if path in self._open_files:
            return True
        if self._recording and (newest is None or (run, seq) > (newest.run, newest.last_seq)):
            return True
        if path in await self._index.garbage(folder):
            return True
        if await asyncio.to_thread(self._folders[folder].size, path) is None:
            return True
        return any((row.seq, row.folder) == place for row in await self._index.segments_of_run(key, run))


def _compare(path: Path, row: Segment, size_bytes: int | None) -> Finding | None:
    if size_bytes is None:
        return Finding("missing", path, "the file is not there")
    if size_bytes < row.size_bytes:
        return Finding("short", path, f"{size_bytes} bytes of {row.size_bytes}")
    if size_bytes > row.size_bytes:
        return Finding("long", path, f"{size_bytes} bytes, {row.size_bytes} were recorded")
    return None
