"""The disk thread: the only one of a recorder process that touches files, and one commit for all streams.

The loop hands it steps and never waits. They are done in order; every `flush_s` all that was written since is
made durable together (group_sync.py): files that grow, files that were closed, folders of new files. What was
done comes back as reports, `FileClosed` only after that commit; a stream's next file does not wait for it.

Bounded: MAX_QUEUED_BYTES of fragments wait for a slow disk (over ten seconds of sixteen streams); beyond that
a stream that has more than its share of it waiting has its run ended, with its reason, and no stream ever
waits for the disk. So one camera that sends faster than the disk writes ends its own run and no other's.

A failed write cuts the file back to its last seal, and it is closed properly if that works; a failed sync
makes the file one whose bytes are unknown. Either way the stream hears `FileFailed`, and later steps for the
file and its run are dropped: adoption looks for files behind the run's last row, so none may come behind one
that broke. Those that are there already are left to adoption too.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simpang_buffer.model import Fragment, GapReason, Segment, StreamKey
from simpang_buffer.recording.file_calls import FileCalls
from simpang_buffer.recording.file_systems import FileSystems
from simpang_buffer.recording.group_sync import GroupSync
from simpang_buffer.recording.segment_file import DiskFailed, SegmentFile, disk_failed
from simpang_buffer.recording.segment_writer import AppendFragment, FinishFile, OpenFile, Step

MAX_QUEUED_BYTES = 32 << 20
# A step that finds the thread asleep waits so long for others, so that streams share its wake-ups, and those
# of the loop and the daemon that hear of it. A reader of the file sees a fragment later by so much.
GATHER_S = 0.2
# A flush begins so long before flush_s is over: waiting for the others' steps and the flush itself take time.
# And ext4 commits its journal by itself every 5 s, which with a flush_s of 5 doubles what is written of it if
# we come just behind (measured).
_AHEAD_S = 0.25
_LEAST_PERIOD = 0.8
# The disk begins with so much before the flush, which would else wait for all of it while the queue fills: of
# 44 streams and a flush_s of 5 it is 90 MB.
_START_BYTES = 16 << 20


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
    """Report: the file is durable, so its row may be committed. None: it was never made."""

    file: SegmentFile
    segment: Segment | None


@dataclass(frozen=True, slots=True)
class FileFailed:
    """Report: the run cannot go on. error.broken: the file has no table; adoption will judge it."""

    file: SegmentFile
    error: DiskFailed


Report = FileOpened | FragmentWritten | FileClosed | FileFailed


@dataclass(frozen=True, slots=True)
class _Hurry:
    """What was written is made durable now."""


class Disk:
    """`with Disk(...)` runs the thread; leaving finishes what is queued, closes every file and joins it.

    report: called in the thread, with what was done since the last call, in order. file_systems: made by a
    process that can open no file of the system any more; closed with this.
    """

    def __init__(
        self,
        report: Callable[[Sequence[Report]], None],
        *,
        flush_s: float,
        gather_s: float = GATHER_S,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        file_systems: FileSystems | None = None,
        calls: FileCalls | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._period_s = max(flush_s - _AHEAD_S, flush_s * _LEAST_PERIOD)
        self._gather_s = min(gather_s, flush_s)
        self._leaving = threading.Event()
        self._max_queued_bytes = max_queued_bytes
        self._monotonic = monotonic
        self._calls = calls or FileCalls()
        self._file_systems = file_systems or FileSystems()
        self._group = GroupSync(self._file_systems, self._calls)
        self._steps: queue.SimpleQueue[Step | _Hurry | None] = queue.SimpleQueue()
        # Counted up by the loop and down by the thread: an int of each, since neither may wait for the other.
        self._submitted_bytes = 0
        self._written_bytes = 0
        # The same of each stream.
        self._submitted: dict[StreamKey, int] = {}
        self._written: dict[StreamKey, int] = {}
        self._flush_took_s = 0.0
        self._unstarted_bytes = 0
        self._next_flush = 0.0
        self._busy_since: float | None = None
        self._open: dict[SegmentFile, None] = {}
        # Closed up, and what had made that necessary; their rows are true after the next flush.
        self._closed_up: dict[SegmentFile, DiskFailed | None] = {}
        self._dirty: dict[SegmentFile, None] = {}
        # Of each stream's last file.
        self._sizes: dict[StreamKey, int] = {}
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
        self._file_systems.close()

    @property
    def alive(self) -> bool:
        """False once the thread has died of a fault of ours, or has been left."""
        return self._thread.is_alive()

    @property
    def stuck_s(self) -> float:
        """How long the thread has been at one piece of work; 0 while it waits for some."""
        began = self._busy_since
        return 0.0 if began is None else self._monotonic() - began

    @property
    def queued_bytes(self) -> int:
        """How much of what was submitted is not written yet."""
        return self._submitted_bytes - self._written_bytes

    def submit(self, steps: Sequence[Step]) -> None:
        """Queues a stream's next steps. Raises DiskFailed when the disk is too slow to take a fragment.

        Steps without a fragment are always taken: ending a run must work just then. RuntimeError: the thread
        died of a fault of ours, and with it all that this process is for.
        """
        size_bytes = self.check_room(steps)
        if size_bytes:
            key = steps[0].file.head.header.key
            self._submitted_bytes += size_bytes
            self._submitted[key] = self._submitted.get(key, 0) + size_bytes
        for step in steps:
            self._steps.put(step)

    def check_room(self, steps: Sequence[Step]) -> int:
        """The bytes of the fragments among the steps, which would be taken now. Raises as `submit` does."""
        if not self.alive:
            raise RuntimeError("the disk thread has died")
        size_bytes = sum(step.size_bytes for step in steps if isinstance(step, AppendFragment))
        if not size_bytes or self.queued_bytes + size_bytes <= self._max_queued_bytes:
            return size_bytes
        key = steps[0].file.head.header.key
        waiting = {other: self._submitted[other] - self._written.get(other, 0) for other in self._submitted}
        own_bytes = waiting.pop(key, 0) + size_bytes
        # All shares together are the bound once more: it holds twice at the worst.
        if own_bytes > self._max_queued_bytes // (1 + sum(map(bool, waiting.values()))):
            raise DiskFailed(
                GapReason.DISK_ERROR,
                f"the disk is too slow: {self.queued_bytes >> 20} MB wait to be written, and the last flush "
                f"took {self._flush_took_s:.1f} s; use a faster one",
            )
        return size_bytes

    def hurry(self) -> None:
        """What was submitted is flushed as soon as it is written: somebody waits for a file to be closed."""
        self._steps.put(_Hurry())

    def _run(self) -> None:
        while True:
            asleep = self._steps.empty()
            try:
                timeout = max(self._next_flush - self._monotonic(), 0) if self._dirty else None
                step = self._steps.get(timeout=timeout)
            except queue.Empty:
                pass
            else:
                if step is None:
                    break
                if not self._dirty:
                    self._next_flush = self._monotonic() + self._period_s
                if asleep:
                    until_flush_s = self._next_flush - self._monotonic()
                    self._leaving.wait(max(min(self._gather_s, until_flush_s), 0))
                self._busy_since = self._monotonic()
                self._do(step)
            if self._dirty and self._monotonic() >= self._next_flush:
                self._busy_since = self._monotonic()
                self._flush()
            self._busy_since = None
            if self._steps.empty():
                self._send_reports()
        for file in list(self._open):
            self._close_up(file)
        self._flush()

    def _do(self, step: Step | _Hurry) -> None:
        match step:
            case OpenFile(file):
                self._try_open(file)
            case AppendFragment(file, buffers, fragment, seal):
                self._written_bytes += step.size_bytes
                key = file.head.header.key
                self._written[key] = self._written.get(key, 0) + step.size_bytes
                if file in self._open:
                    self._append(file, buffers, fragment, seal)
            case FinishFile(file):
                if file in self._open:
                    self._close_up(file)
            case _Hurry():
                self._flush_soon()

    def _try_open(self, file: SegmentFile) -> None:
        header = file.head.header
        if self._failed.get(header.key) == header.run:
            self._reports.append(FileClosed(file, None))
            return
        self._open[file] = None
        try:
            file.open(self._calls, ahead=self._ahead(file))
        except DiskFailed as error:
            self._close_up(file, error)
            return
        self._dirty[file] = None
        self._reports.append(FileOpened(file))

    def _ahead(self, file: SegmentFile) -> int | None:
        with contextlib.suppress(OSError):
            if self._file_systems.choice(file.media).ahead:
                return self._sizes.get(file.head.header.key, 0)
        return None  # or the media folder is not there; opening the file will say so

    def _append(self, file: SegmentFile, buffers: Sequence[bytes], fragment: Fragment, seal: bytes) -> None:
        try:
            file.append(buffers, fragment, seal)
        except DiskFailed as error:
            self._close_up(file, error)
            return
        self._dirty[file] = None
        self._reports.append(FragmentWritten(file, fragment))
        self._unstarted_bytes += fragment.size_bytes
        if self._unstarted_bytes > _START_BYTES:
            self._unstarted_bytes = 0
            for failed, why in self._group.start(self._dirty).items():
                if failed in self._dirty:
                    self._break(failed, disk_failed(why, failed.head.path))

    def _close_up(self, file: SegmentFile, cause: DiskFailed | None = None) -> None:
        """At its end, or, after a failed write, with what it holds if the disk takes a table yet."""
        del self._open[file]
        if file.fd < 0:
            self._reports.append(FileClosed(file, None))
            if cause is not None:
                self._fail_run(file)
                self._reports.append(FileFailed(file, cause))
            return
        try:
            file.close_up()
        except DiskFailed as error:
            self._break(file, cause or error)
            return
        self._sizes[file.head.header.key] = file.good_end
        self._closed_up[file] = cause
        self._dirty[file] = None
        if cause is not None:
            self._fail_run(file)
            self._flush_soon()

    def _flush_soon(self) -> None:
        # Others may be at the same end (a full disk, a process that is told to forget ten cameras).
        self._next_flush = min(self._next_flush, self._monotonic() + self._gather_s)

    def _flush(self) -> None:
        began = self._monotonic()
        dirty, self._dirty = list(self._dirty), {}
        self._unstarted_bytes = 0
        failures = self._group.sync(dirty)
        for file in dirty:
            if file not in self._open and file not in self._closed_up:
                continue  # it stood behind one that broke
            if file in failures:
                self._break(file, disk_failed(failures[file], file.head.path))
            elif file in self._closed_up:
                file.close()
                self._reports.append(FileClosed(file, file.row()))
                cause = self._closed_up.pop(file)
                if cause is not None:
                    self._reports.append(FileFailed(file, cause))
        self._flush_took_s = self._monotonic() - began
        # On a slow disk writes have their time too.
        self._next_flush = max(began + self._period_s, self._monotonic() + self._period_s / 2)
        self._send_reports()

    def _break(self, file: SegmentFile, error: DiskFailed) -> None:
        """Adoption is to judge the file, and so all behind it in its run, which no row may come before."""
        run = self._fail_run(file)
        seq = file.head.header.seq
        behind = [other for other in (*self._open, *self._closed_up) if other.head.header.seq > seq]
        for broken in (file, *(other for other in behind if _run_of(other) == run)):
            for files in (self._open, self._closed_up, self._dirty):
                files.pop(broken, None)
            broken.abandon()
            failed = DiskFailed(error.reason, error.detail, broken=True)
            self._reports.append(FileFailed(broken, failed))

    def _fail_run(self, file: SegmentFile) -> tuple[StreamKey, int]:
        """Nothing more of it is written."""
        key, run = _run_of(file)
        self._failed[key] = run
        return key, run

    def _send_reports(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            self._report(reports)


def _run_of(file: SegmentFile) -> tuple[StreamKey, int]:
    header = file.head.header
    return header.key, header.run
