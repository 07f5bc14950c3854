"""The disk thread: the only one of a recorder process that touches files, and one commit for all streams.

The loop hands it steps and never waits. They are done in order; every `flush_s` all files written since are
made durable together: write-back starts on each, then each is synced, so that on a journalling file system
one commit of the journal serves them all. What was done comes back as reports.

Bounded: MAX_QUEUED_BYTES of fragments wait for a slow disk (over ten seconds of sixteen streams); beyond that
the stream that brings more has its run ended, with its reason, and no stream ever waits for the disk.

A failed write cuts the file back to its last seal, and it is closed properly if that works; a failed sync
makes the file one whose bytes are unknown. Either way the stream hears `FileFailed`, and later steps for the
file and its run are dropped: adoption looks for files behind the run's last row, so none may come behind one
that broke.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simpang_buffer.model import Fragment, GapReason, Segment, StreamKey
from simpang_buffer.recording.segment_file import DiskFailed, SegmentFile
from simpang_buffer.recording.segment_writer import AppendFragment, FinishFile, OpenFile, Step

MAX_QUEUED_BYTES = 32 << 20
# A step that finds the thread asleep waits so long for others, so that streams share its wake-ups, and those
# of the loop and the daemon that hear of it. A reader of the file sees a fragment later by so much.
GATHER_S = 0.2


@dataclass(frozen=True, slots=True)
class FileOpened:
    """Report: the file exists and holds its head."""

    file: SegmentFile


@dataclass(frozen=True, slots=True)
class FragmentWritten:
    """Report: a reader of the file finds this fragment. A power cut may still take it."""

    file: SegmentFile
    fragment: Fragment


@dataclass(frozen=True, slots=True)
class FileClosed:
    """Report: the file is durable, so its row may be committed. None: it held nothing and is gone."""

    file: SegmentFile
    segment: Segment | None


@dataclass(frozen=True, slots=True)
class FileFailed:
    """Report: the run cannot go on. error.broken: the file has no table; adoption will judge it."""

    file: SegmentFile
    error: DiskFailed


Report = FileOpened | FragmentWritten | FileClosed | FileFailed


class Disk:
    """`with Disk(...)` runs the thread; leaving finishes what is queued, closes every file and joins it.

    report: called in the thread, with what was done since the last call, in order.
    """

    def __init__(
        self,
        report: Callable[[Sequence[Report]], None],
        *,
        flush_s: float,
        gather_s: float = GATHER_S,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._flush_s = flush_s
        self._gather_s = min(gather_s, flush_s)
        self._leaving = threading.Event()
        self._max_queued_bytes = max_queued_bytes
        self._monotonic = monotonic
        self._steps: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        # Counted up by the loop and down by the thread: an int of each, since neither may wait for the other.
        self._submitted_bytes = 0
        self._written_bytes = 0
        self._open: dict[SegmentFile, None] = {}
        self._dirty: dict[SegmentFile, None] = {}
        # The last run of each stream of which a file failed.
        self._failed: dict[StreamKey, int] = {}
        self._reports: list[Report] = []
        self._thread = threading.Thread(target=self._run, name="disk")

    def __enter__(self) -> Disk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._steps.put(None)
        self._thread.join()

    @property
    def alive(self) -> bool:
        """False once the thread has died of a fault of ours, or has been left."""
        return self._thread.is_alive()

    @property
    def queued_bytes(self) -> int:
        """How much of what was submitted is not written yet."""
        return self._submitted_bytes - self._written_bytes

    def submit(self, steps: Sequence[Step]) -> None:
        """Queues a stream's next steps. Raises DiskFailed when the disk is too slow to take a fragment.

        Steps without a fragment are always taken: ending a run must work just then. RuntimeError: the thread
        died of a fault of ours, and with it all that this process is for.
        """
        if not self.alive:
            raise RuntimeError("the disk thread has died")
        size_bytes = sum(step.size_bytes for step in steps if isinstance(step, AppendFragment))
        if size_bytes and self.queued_bytes + size_bytes > self._max_queued_bytes:
            raise DiskFailed(
                GapReason.DISK_ERROR,
                f"the disk is too slow: {self.queued_bytes >> 20} MB wait to be written; use a faster one",
            )
        self._submitted_bytes += size_bytes
        for step in steps:
            self._steps.put(step)

    def _run(self) -> None:
        next_flush = 0.0
        while True:
            asleep = self._steps.empty()
            try:
                timeout = max(next_flush - self._monotonic(), 0) if self._dirty else None
                step = self._steps.get(timeout=timeout)
            except queue.Empty:
                step = None
            else:
                if step is None:
                    break
                if not self._dirty:
                    next_flush = self._monotonic() + self._flush_s
                if asleep:
                    self._leaving.wait(self._gather_s)
                self._do(step)
            if self._dirty and self._monotonic() >= next_flush:
                self._flush()
                next_flush = self._monotonic() + self._flush_s
            if self._steps.empty():
                self._send_reports()
        for file in list(self._open):
            self._finish(file)
        self._send_reports()

    def _do(self, step: Step) -> None:
        match step:
            case OpenFile(file):
                self._try_open(file)
            case AppendFragment(file, buffers, fragment, seal):
                self._written_bytes += step.size_bytes
                if file in self._open:
                    self._append(file, buffers, fragment, seal)
            case FinishFile(file):
                if file in self._open:
                    self._finish(file)

    def _try_open(self, file: SegmentFile) -> None:
        header = file.head.header
        if self._failed.get(header.key) == header.run:
            self._reports.append(FileClosed(file, None))
            return
        try:
            file.open()
        except DiskFailed as error:
            self._open[file] = None
            self._fail(file, error)
            return
        self._open[file] = None
        self._dirty[file] = None
        self._reports.append(FileOpened(file))

    def _append(self, file: SegmentFile, buffers: Sequence[bytes], fragment: Fragment, seal: bytes) -> None:
        try:
            file.append(buffers, fragment, seal)
        except DiskFailed as error:
            self._fail(file, error)
            return
        self._dirty[file] = None
        self._reports.append(FragmentWritten(file, fragment))

    def _finish(self, file: SegmentFile) -> None:
        self._forget(file)
        try:
            self._reports.append(FileClosed(file, file.finish()))
        except DiskFailed as error:
            error.broken = True
            self._say_failed(file, error)

    def _fail(self, file: SegmentFile, error: DiskFailed) -> None:
        """After a failed write: close the file with what it holds if the disk takes a table yet."""
        self._forget(file)
        try:
            self._reports.append(FileClosed(file, file.finish()))
        except DiskFailed:
            error.broken = True
        self._say_failed(file, error)

    def _say_failed(self, file: SegmentFile, error: DiskFailed) -> None:
        self._failed[file.head.header.key] = file.head.header.run
        self._reports.append(FileFailed(file, error))

    def _flush(self) -> None:
        dirty, self._dirty = list(self._dirty), {}
        for file in dirty:
            file.start_write_back()
        for file in dirty:
            try:
                file.sync()
            except DiskFailed as error:
                self._forget(file)
                file.abandon()
                error.broken = True
                self._say_failed(file, error)
        self._send_reports()

    def _forget(self, file: SegmentFile) -> None:
        self._open.pop(file, None)
        self._dirty.pop(file, None)

    def _send_reports(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            self._report(reports)
