"""`buffer check`: proves that index and media files say the same, and repairs what can be repaired.

    index     the database is damaged, or its totals are wrong
    missing   a row's file is not there                       repair: the row goes, noted as disk-error
    short     a row's file is shorter than its row            repair: adopted anew, up to its last right seal
    long      a row's file holds more than was recorded
    unknown   a file is in no row, not garbage, not open      repair: adopted, or removed if it holds nothing
    garbage   a file is both indexed and on the garbage list  repair: it stays
    sealed    deep: a seal does not fit the bytes: they were altered or the disk lost them
    differs   deep: the file is whole but its row says otherwise
    unread    the file cannot be read

Can run beside a daemon: what changes meanwhile is looked at twice before it is called a fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from simpang_buffer.index.adoption import adopt_file
from simpang_buffer.index.foreign import belongs
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles, segment_of_scan
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import GapReason, Segment, StreamKey, segment_path

_ALWAYS = (-(1 << 62), 1 << 62)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. code: see above. path: relative to media, None for the index. repaired: it is gone now."""

    code: str
    path: Path | None
    words: str
    repaired: bool = False


async def check(
    media: Path,
    index: Index,
    *,
    deep: bool = False,
    repair: bool = False,
    open_files: Collection[Path] = (),
    recording: bool = False,
    files: MediaFiles | None = None,
) -> list[Finding]:
    """Every fault, by stream and in order. deep: also reads all files and verifies every seal.

    open_files: being written, relative to media. recording: a daemon is recording whose open files are not
    known here; files newer than a stream's newest row are then taken for its own. repair: only where nobody
    records, or open_files is complete. Raises StorageError where the index cannot be read at all.
    """
    files = files or MediaFiles(media)
    checker = _Checker(index, files, deep=deep, open_files=set(open_files), recording=recording)
    faults = [_Fault(Finding("index", None, words)) for words in await index.faults()]
    on_disk = await asyncio.to_thread(files.streams)
    for key in sorted({*on_disk, *await index.streams()}):
        faults += await checker.stream(key)
    if not repair:
        return [fault.finding for fault in faults]
    done = [replace(f.finding, repaired=await _repair(index, files, f)) for f in faults]
    await empty_garbage(index, files)
    return done


@dataclass(frozen=True, slots=True)
class _Fault:
    """A finding and what its repair needs: the row, or where the file without one belongs."""

    finding: Finding
    row: Segment | None = None
    place: tuple[StreamKey, int, int] | None = None


class _Checker:
    def __init__(
        self, index: Index, files: MediaFiles, *, deep: bool, open_files: set[Path], recording: bool
    ) -> None:
        self._files = files
        self._index = index
        self._deep = deep
        self._open_files = open_files
        self._recording = recording

    async def stream(self, key: StreamKey) -> list[_Fault]:
        # Rows before files: a segment that closes in between is a file without a row, one that is evicted in
        # between a row without a file, and both are looked at again.
        rows = await self._index.segments(key, *_ALWAYS)
        runs = {run: list(group) for run, group in groupby(rows, key=lambda row: row.run)}
        on_disk = await asyncio.to_thread(self._files.runs, key)
        faults: list[_Fault] = []
        for run in sorted({*runs, *on_disk}):
            faults += await self._run(key, run, {row.seq: row for row in runs.get(run, ())})
        return faults

    async def _run(self, key: StreamKey, run: int, rows: dict[int, Segment]) -> list[_Fault]:
        sizes = await asyncio.to_thread(self._files.sizes, key, run)
        known = await self._index.run(key, run)
        moved_us = known.moved_us if known else 0
        garbage = set(await self._index.garbage())
        faults: list[_Fault] = []
        for seq in sorted({*rows, *sizes}):
            path, row = segment_path(key, run, seq), rows.get(seq)
            if row is None:
                if path not in garbage and not await self._is_explained(key, run, seq):
                    finding = Finding("unknown", path, "no row of the index names this file")
                    faults.append(_Fault(finding, place=(key, run, seq)))
                continue
            found = _compare(path, row, sizes.get(seq))
            if found is None and self._deep:
                found = await asyncio.to_thread(self._read, path, row, moved_us)
            if found is None and path in garbage:
                found = Finding("garbage", path, "indexed, and on the list of files to delete")
            if found is not None and await self._is_row_now(row):
                faults.append(_Fault(found, row))
        return faults

    def _read(self, path: Path, row: Segment, moved_us: int) -> Finding | None:
        try:
            scanned = self._files.read_back(path)
        except FileNotFoundError:
            return Finding("missing", path, "the file is not there")
        except (BadBox, OSError) as error:
            return Finding("unread", path, f"cannot be read: {error}")
        if len(scanned.fragments) < row.fragments:
            words = f"fragment {len(scanned.fragments)} of {row.fragments} is not what was sealed"
            return Finding("sealed", path, words)
        if not belongs(scanned.header.run, row.key, row.run, row.seq):
            return Finding("differs", path, "it is not what its name says")
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

    async def _is_explained(self, key: StreamKey, run: int, seq: int) -> bool:
        """The file is being written, or has been indexed or deleted in the meantime."""
        path = segment_path(key, run, seq)
        newest = await self._index.newest_run(key)
        if path in self._open_files:
            return True
        if self._recording and (newest is None or (run, seq) > (newest.run, newest.last_seq)):
            return True
        if path in await self._index.garbage() or await asyncio.to_thread(self._files.size, path) is None:
            return True
        return any(row.seq == seq for row in await self._index.segments_of_run(key, run))


async def _repair(index: Index, files: MediaFiles, fault: _Fault) -> bool:
    """Whether the fault is gone now."""
    row = fault.row
    match fault.finding.code:
        case "index":
            await index.recount()
            return not await index.faults()
        case "missing" if row is not None:
            return await index.condemn([row], GapReason.DISK_ERROR) == 1
        case "garbage" if row is not None:
            await index.drop_garbage([row.path])
            return True
        case "short" if row is not None:
            # The row first: until the file is adopted it is one that no row knows, as after a crash.
            await index.forget(row)
            return not (await adopt_file(index, files, row.key, row.run, row.seq)).problems
        case "unknown" if fault.place is not None:
            return not (await adopt_file(index, files, *fault.place)).problems
    return False


def _compare(path: Path, row: Segment, size_bytes: int | None) -> Finding | None:
    if size_bytes is None:
        return Finding("missing", path, "the file is not there")
    if size_bytes < row.size_bytes:
        return Finding("short", path, f"{size_bytes} bytes of {row.size_bytes}")
    if size_bytes > row.size_bytes:
        return Finding("long", path, f"{size_bytes} bytes, {row.size_bytes} were recorded")
    return None
