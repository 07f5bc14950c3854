"""Makes the index anew from the media files alone, newest first, while recording goes on.

Every file that no row knows is taken in: one that was closed properly by its head and its table, any other as
adoption does it. Rows appear as their files are read. What is there already is passed over, so a rebuild that
was cut off goes on where it was, and one more does no harm. No file is deleted that may hold footage.

Order: newest first, since that is what people ask for, over all streams side by side. Each row gets its place
in the order of eviction by its own time (insertion.py). While older files are not known yet, eviction would
take what is not oldest: it asks for the oldest to be taken in first (`take_oldest`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from simpang_buffer.index.adoption import Problem, Report, adopt_file, reserve_run_numbers
from simpang_buffer.index.changes import names
from simpang_buffer.index.closed_file import ClosedFiles
from simpang_buffer.index.foreign import belongs
from simpang_buffer.index.index import Index
from simpang_buffer.index.insertion import ORDINAL_FLOOR
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.media_tree import RunOnDisk, file_path, open_quietly
from simpang_buffer.index.owners import read_owned
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import GapReason, RunHeader, Segment, StreamKey, segment_path

logger = logging.getLogger(__name__)

# Rows of one transaction: 10 ms, which is how long a closed segment may wait for its own.
_BATCH = 64
# Of the oldest at a time: what is asked for is some hundred megabytes.
_OLD_BATCH = 16
# Reading whole files waits until all that is quick is done.
_SLOW_BYTES = 256 << 20
# How long to rest after each piece of work, in units of what it took: a third of one core at most is used.
REST = 2.0

_Place: TypeAlias = tuple[int, int]  # seq, folder


class Rebuild:
    """`run` once. done and total count files; total is None until all are listed.

    folders: those that are there, by id. site: ours. own: ids of the cameras that are recorded here. is_free:
    whether nobody may be writing the file (key, run, seq).
    """

    def __init__(
        self,
        index: Index,
        folders: Mapping[int, MediaFiles],
        site: str,
        *,
        own: Callable[[], Collection[str]] = frozenset,
        is_free: Callable[[StreamKey, int, int], bool] = lambda key, run, seq: True,
        rest: float = REST,
    ) -> None:
        self.done = 0
        self.total: int | None = None
        self.report = Report()
        self._index = index
        self._folders = folders
        self._site = site
        self._own = own
        self._is_free = is_free
        self._rest = rest
        self._closed = ClosedFiles()
        self._streams: list[_Stream] = []
        self._later: list[tuple[_Stream, RunOnDisk, _Place]] = []
        self._surveyed = asyncio.Event()
        # Both ends are worked on, by one at a time.
        self._turn = asyncio.Lock()

    async def run(self) -> Report:
        """To the end; what could not be read is among the report's problems. Raises StorageError, OSError."""
        await self.survey()
        while (stream := max(self._unread(), key=lambda one: one.newest_us, default=None)) is not None:
            began = time.monotonic()
            await self._step(stream, _BATCH, newest=True)
            await asyncio.sleep((time.monotonic() - began) * self._rest)
        for stream, run, place in self._later:
            await self._read_whole(stream, run, place)
            self.done += 1
        for files in self._folders.values():
            # Else what was listed and could not be found then counts as looked at.
            await asyncio.to_thread(files.check_there)
        if not self.report.problems:
            for stream in self._streams:
                # What somebody may be writing is his to settle.
                await self._index.settle(stream.key, min(stream.runs[-1].run, stream.first_passed_over))
        return self.report

    async def take_oldest(self, size_bytes: int, keys: Collection[StreamKey] | None = None) -> int:
        """Takes in the oldest files (of these streams) that are not known yet, until they hold so many bytes;
        returns how many they do. Waits until all files are listed."""
        await self._surveyed.wait()
        taken = 0
        while taken < size_bytes:
            unread = [one for one in self._unread() if keys is None or one.key in keys]
            if not unread:
                break
            oldest = min(unread, key=lambda one: one.oldest_us)
            taken += await self._step(oldest, _OLD_BATCH, newest=False)
        return taken

    def _unread(self) -> list[_Stream]:
        return [stream for stream in self._streams if stream.left]

    async def survey(self) -> None:
        """Lists all files and gives footage of another site its names; `run` begins with it."""
        if self._surveyed.is_set():
            return
        for files in self._folders.values():
            await reserve_run_numbers(self._index, files)
        owned = await read_owned(self._index, self._folders, self._site, self._own())
        for files in self._folders.values():
            await asyncio.to_thread(files.check_there)
        for path, key in owned.twice:
            words = f"footage of another site, of which {key} has such a run already; it stays where it is"
            self.report += Report(problems=(Problem(path, words),))
        self._streams = [_Stream(key, runs) for key, runs in sorted(owned.runs.items())]
        await self._drop_runs_without_files(owned.runs)
        recorded_us = [run.end_us + run.shift_us for one in self._streams for run in one.runs]
        floor = max(recorded_us, default=0) // 1000
        if floor > int(await self._index.meta(ORDINAL_FLOOR) or 0):
            await self._index.set_meta(ORDINAL_FLOOR, str(floor))
        self.total = sum(len(run.seqs) for one in self._streams for run in one.runs)
        self._surveyed.set()

    async def _step(self, stream: _Stream, count: int, *, newest: bool) -> int:
        """Takes in so many files of the stream; returns what they hold."""
        async with self._turn:
            run, places = stream.take(count, newest=newest)
            if run.run not in stream.known:
                stream.forget_other_runs()
                # Rows before garbage: what moves from one to the other in between is seen twice, not never.
                stream.known[run.run] = await self._known(stream.key, run.run)
                stream.garbage = set(await self._index.garbage())
                listed = set(run.seqs)
                await self._drop_gone(stream.key, run.run, stream.known[run.run] - listed)
            known = stream.known[run.run]
            unknown = [
                (seq, folder)
                for seq, folder in places
                if seq not in known and segment_path(stream.key, run.run, seq) not in stream.garbage
            ]
            wanted = [place for place in unknown if self._is_free(stream.key, run.run, place[0])]
            if len(wanted) < len(unknown):
                stream.first_passed_over = min(stream.first_passed_over, run.run)
            read = await asyncio.to_thread(self._read, stream.key, run, wanted)
            if read.rows:
                header = run.header or read.header
                assert header is not None  # a row was read, so its head was
                size = (run.width, run.height) if run.header else None
                await self._index.take_in(stream.key, header, read.rows, size=size, shift_us=run.shift_us)
                stream.passed(read.rows[-1].start_us + run.shift_us, newest=newest)
            self.report += Report(problems=tuple(read.problems))
            for place, size_bytes in read.slow:
                if size_bytes > _SLOW_BYTES:
                    self._later.append((stream, run, place))
                else:
                    await self._read_whole(stream, run, place)
            self.done += len(places) - sum(size_bytes > _SLOW_BYTES for _, size_bytes in read.slow)
            return sum(row.size_bytes for row in read.rows) + sum(size for _, size in read.slow)

    async def _read_whole(self, stream: _Stream, run: RunOnDisk, place: _Place) -> None:
        seq, folder = place
        self.report += await adopt_file(self._index, self._folders[folder], stream.key, run.run, seq)

    async def _drop_runs_without_files(self, owned: Mapping[StreamKey, Sequence[RunOnDisk]]) -> None:
        """An index from a backup names files that were evicted since."""
        rows = await self._index.db.read(
            "select camera, stream, run from run join stream c on c.id = stream_id where last_seq >= 0"
        )
        on_disk = {(key, run.run) for key, runs in owned.items() for run in runs}
        for camera, stream, run in rows:
            key = StreamKey(camera, stream)
            if (key, run) not in on_disk and self._is_free(key, run, 0):
                await self._drop_gone(key, run, await self._known(key, run))

    async def _drop_gone(self, key: StreamKey, run: int, seqs: Collection[int]) -> None:
        """Drops the rows of those files that are no longer there, in folders that are."""
        if not seqs:
            return
        rows = [
            row
            for row in await self._index.segments_of_run(key, run)
            if row.seq in seqs and row.folder in self._folders
        ]
        # Files that were made since all were listed are there.
        sizes = await asyncio.to_thread(lambda: [self._folders[row.folder].size(row.path) for row in rows])
        # Of a disk that was pulled meanwhile none is.
        for folder in {row.folder for row in rows}:
            await asyncio.to_thread(self._folders[folder].check_there)
        gone = [row for row, size_bytes in zip(rows, sizes, strict=True) if size_bytes is None]
        for at in range(0, len(gone), _BATCH):
            batch = gone[at : at + _BATCH]
            await self._index.condemn(batch, GapReason.EVICTED)
            # Nobody evicts what is held: that was lost.
            await self._index.condemn(batch, GapReason.DISK_ERROR)
        if gone:
            logger.warning("%s: run %d: %d files that the index knew are gone", key, run, len(gone))

    async def _known(self, key: StreamKey, run: int) -> set[int]:
        rows = await self._index.db.read(
            """select s.seq from stream c join run r on r.stream_id = c.id
               join segment s on s.stream_id = c.id and s.run = r.run
                             and s.start_us between r.start_us and r.end_us
               where c.camera = ? and c.stream = ? and r.run = ?""",
            (*names(key), run),
        )
        return {row[0] for row in rows}

    def _read(self, key: StreamKey, run: RunOnDisk, places: Sequence[_Place]) -> _Read:
        read = _Read([], [], [], None)
        for seq, folder in places:
            path = file_path(self._folders[folder], key, run.run, seq)
            try:
                descriptor = open_quietly(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                relative = segment_path(key, run.run, seq)
                read.problems.append(Problem(relative, f"{error.strerror}; look at the disk's health"))
                continue
            try:
                row, header = self._closed.row(descriptor, key, folder)
                if not belongs(header, key, run.run, seq):
                    raise BadBox("it is not what its name says")
                read.rows.append(row)
                read.header = header
            except BadBox:
                read.slow.append(((seq, folder), os.fstat(descriptor).st_size))
            except OSError as error:
                relative = segment_path(key, run.run, seq)
                read.problems.append(Problem(relative, f"{error.strerror}; look at the disk's health"))
            finally:
                os.close(descriptor)
        return read


@dataclass
class _Read:
    """rows: of files that were closed. slow: those to be read whole, with their sizes."""

    rows: list[Segment]
    slow: list[tuple[_Place, int]]
    problems: list[Problem]
    header: RunHeader | None


class _Stream:
    """Files still to be read, from both ends. newest_us, oldest_us: about when they were recorded."""

    def __init__(self, key: StreamKey, runs: list[RunOnDisk]) -> None:
        self.key = key
        self.runs = runs
        self.known: dict[int, set[int]] = {}
        self.garbage: set[object] = set()
        self.newest_us = runs[-1].end_us + runs[-1].shift_us
        self.oldest_us = runs[0].start_us + runs[0].shift_us
        # The first run of which files were passed over, since somebody may be writing them.
        self.first_passed_over = 1 << 62
        self._first, self._last = 0, len(runs) - 1
        self._from, self._to = 0, len(runs[-1].seqs)

    @property
    def left(self) -> bool:
        return (self._first, self._from) < (self._last, self._to)

    def forget_other_runs(self) -> None:
        """What is known of runs that are not being read: a month is two million numbers."""
        ends = {self.runs[self._first].run, self.runs[self._last].run}
        self.known = {run: seqs for run, seqs in self.known.items() if run in ends}

    def take(self, count: int, *, newest: bool) -> tuple[RunOnDisk, list[_Place]]:
        """The next files from one end, of one run: at least one, for something must be `left`."""
        if newest:
            run = self.runs[self._last]
            least = self._from if self._first == self._last else 0
            begin, end = max(self._to - count, least), self._to
            self._to = begin
            if begin == 0 and self._last > self._first:
                self._last -= 1
                before = self.runs[self._last]
                self._to = len(before.seqs)
                self.newest_us = min(self.newest_us, before.end_us + before.shift_us)
            numbers = range(end - 1, begin - 1, -1)
        else:
            run = self.runs[self._first]
            most = self._to if self._first == self._last else len(run.seqs)
            begin, end = self._from, min(self._from + count, most)
            self._from = end
            if end == len(run.seqs) and self._first < self._last:
                self._first += 1
                self._from = 0
                after = self.runs[self._first]
                self.oldest_us = max(self.oldest_us, after.start_us + after.shift_us)
            numbers = range(begin, end)
        return run, [(run.seqs[at], run.folders[at]) for at in numbers]

    def passed(self, recorded_us: int, *, newest: bool) -> None:
        if newest:
            self.newest_us = min(self.newest_us, recorded_us)
        else:
            self.oldest_us = max(self.oldest_us, recorded_us)
