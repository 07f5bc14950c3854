"""The disk thread on real files: order, group commit, full and failing disks."""

from __future__ import annotations

import contextlib
import errno
import resource
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import media_samples
from faulty_disk import Chosen, FaultyCalls
from recorded_runs import KEY, perform, pictures, probe, until, video_format, writer
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.media.boxes import scan
from simpang_buffer.model import GapReason, Segment, StreamKey
from simpang_buffer.recording.file_calls import FileCalls
from simpang_buffer.recording.file_systems import Method
from simpang_buffer.recording.segment_file import DiskFailed, SegmentFile
from simpang_buffer.recording.segment_writer import AppendFragment, FinishFile, OpenFile, Step
from simpang_buffer.recording.sync import Disk, FileClosed, FileFailed, FileOpened, FragmentWritten, Report

UNITS = media_samples.video("h264", frames=60, fps=15, key_every=15)


def steps_of_a_run(media: Path, *, segment_s: float = 60.0, run: int = 7, key: StreamKey = KEY) -> list[Step]:
    cutter = writer(media, segment_s=segment_s, run=run, key=key)
    steps = [s for unit in pictures(UNITS) for s in cutter.add_picture(unit, video_format("h264", UNITS))]
    return steps + cutter.finish()


def rows_of(reports: Sequence[Report]) -> list[Segment]:
    return [report.segment for report in reports if isinstance(report, FileClosed) and report.segment]


def failures_of(reports: Sequence[Report]) -> list[DiskFailed]:
    return [report.error for report in reports if isinstance(report, FileFailed)]


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own with so much room."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_what_is_reported_closed_is_on_disk_and_whole(tmp_path: Path) -> None:
    reports: list[Report] = []

    with Disk(reports.extend, flush_s=60.0) as disk:
        disk.submit(steps_of_a_run(tmp_path, segment_s=2.0))

    # The second file does not wait for the first to be durable.
    assert [type(report) for report in reports] == [
        FileOpened, FragmentWritten, FragmentWritten,
        FileOpened, FragmentWritten, FragmentWritten,
        FileClosed, FileClosed,
    ]  # fmt: skip
    assert (
        sum(int(probe(tmp_path / row.path)["streams"][0]["nb_read_frames"]) for row in rows_of(reports)) == 60
    )


def test_leaving_closes_files_that_are_still_open(tmp_path: Path) -> None:
    reports: list[Report] = []
    steps = [step for step in steps_of_a_run(tmp_path) if not isinstance(step, FinishFile)]

    with Disk(reports.extend, flush_s=60.0) as disk:
        disk.submit(steps)

    (row,) = rows_of(reports)
    with (tmp_path / row.path).open("rb") as file:
        assert scan(file).closed


def test_files_are_synced_every_flush(tmp_path: Path) -> None:
    calls = FaultyCalls()
    steps = [step for step in steps_of_a_run(tmp_path) if not isinstance(step, FinishFile)]

    with Disk(lambda _: None, flush_s=0.02, calls=calls, file_systems=Chosen(Method.EACH)) as disk:
        disk.submit(steps[:2])
        until(lambda: calls.done.count("sync") == 1)
        disk.submit(steps[2:3])
        until(lambda: calls.done.count("sync") == 2)

    assert calls.done.count("sync") == 3


def test_a_full_disk_ends_the_run_and_keeps_what_was_written(tmp_path: Path) -> None:
    reports: list[Report] = []
    steps = steps_of_a_run(tmp_path / "small")
    appended = [step for step in steps if isinstance(step, AppendFragment)]
    room = sum(step.size_bytes for step in appended[:2]) + 12_000

    with small_disk(tmp_path / "small", room) as media, Disk(reports.extend, flush_s=0.05) as disk:
        disk.submit(steps)
        until(lambda: bool(failures_of(reports)))
        (row,) = rows_of(reports)
        found = probe(media / row.path)

    (error,) = failures_of(reports)
    assert (error.reason, error.broken) == (GapReason.DISK_FULL, False)
    assert 15 <= row.frames < 60
    assert int(found["streams"][0]["nb_read_frames"]) == row.frames


def test_no_room_even_for_a_header_leaves_what_adoption_deletes(tmp_path: Path) -> None:
    reports: list[Report] = []

    with small_disk(tmp_path / "small", 8192) as media:
        filler = media / "filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(8192))
        with Disk(reports.extend, flush_s=0.05) as disk:
            disk.submit(steps_of_a_run(media))
        (left,) = [path for path in media.rglob("*") if path.is_file() and path != filler]
        holds_nothing = MediaFiles(media).holds_nothing(left.relative_to(media), 0)

    (error,) = failures_of(reports)
    # A recorder may delete nothing, so the file is one that broke.
    assert (error.reason, error.broken, holds_nothing) == (GapReason.DISK_FULL, True, True)
    assert rows_of(reports) == []


@pytest.mark.parametrize(
    ("method", "call"),
    [(Method.EACH, "sync"), (Method.JOURNAL, "write_back"), (Method.JOURNAL, "commit_journal")],
)
def test_a_failed_sync_is_not_retried_and_leaves_the_file_to_adoption(
    tmp_path: Path, method: Method, call: str
) -> None:
    reports: list[Report] = []
    calls = FaultyCalls(lambda _, name: errno.EIO if name == call else 0)

    steps = steps_of_a_run(tmp_path)
    with Disk(reports.extend, flush_s=0.01, calls=calls, file_systems=Chosen(method)) as disk:
        disk.submit(steps[:2])
        until(lambda: bool(failures_of(reports)))
        disk.submit(steps[2:])

    (error,) = failures_of(reports)
    assert (error.reason, error.broken, calls.done.count(call)) == (GapReason.DISK_ERROR, True, 1)
    assert rows_of(reports) == []
    assert "Input/output error" in error.detail


@pytest.mark.parametrize("flush_s", [0.0, 60.0])
def test_no_row_of_a_run_comes_behind_a_file_that_broke(tmp_path: Path, flush_s: float) -> None:
    """Adoption looks behind the last file that has a row: one that broke before it would never be found.

    With a long flush_s both files of the run are written when the first sync of the group fails.
    """
    failures = iter([errno.EIO])
    calls = FaultyCalls(lambda _, name: next(failures, 0) if name == "sync" else 0)
    steps = steps_of_a_run(tmp_path, segment_s=2.0)
    reports: list[Report] = []
    with Disk(
        reports.extend, flush_s=flush_s, calls=calls, file_systems=Chosen(Method.EACH, ahead=False)
    ) as disk:
        disk.submit(steps)

    opened = [step.file for step in steps if isinstance(step, OpenFile)]
    assert len(opened) == 2
    assert rows_of(reports) == []
    assert opened[1].path.exists() == (flush_s > 0)
    # Each file that was asked for is accounted for, else its stream would never be idle.
    assert {r.file for r in reports if isinstance(r, FileClosed | FileFailed)} == set(opened)


def test_a_new_run_is_written_after_one_that_broke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Report] = []
    (tmp_path / "gate" / "main").mkdir(parents=True)
    in_the_way = tmp_path / "gate" / "main" / "000007"
    in_the_way.write_bytes(b"")

    with Disk(reports.extend, flush_s=0.05) as disk:
        disk.submit(steps_of_a_run(tmp_path))
        until(lambda: bool(failures_of(reports)))
        in_the_way.unlink()
        disk.submit(steps_of_a_run(tmp_path, run=8))

    (row,) = rows_of(reports)
    assert row.run == 8


def test_what_comes_together_is_reported_together(tmp_path: Path) -> None:
    told: list[Sequence[Report]] = []
    steps = steps_of_a_run(tmp_path)
    with Disk(told.append, flush_s=60.0, gather_s=5.0) as disk:
        for step in steps:
            disk.submit([step])

    # And leaving does not wait for more.
    assert [len(reports) for reports in told] == [len(steps)]


def test_a_slow_disk_refuses_fragments_but_never_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    write = SegmentFile.append

    def slow(file: SegmentFile, *rest: object) -> None:
        may_go_on.wait(10)
        write(file, *rest)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(SegmentFile, "append", slow)
    steps = steps_of_a_run(tmp_path)
    reports: list[Report] = []
    first = next(step for step in steps if isinstance(step, AppendFragment))
    with Disk(reports.extend, flush_s=1.0, max_queued_bytes=first.size_bytes) as disk:
        disk.submit(steps[:2])
        with pytest.raises(DiskFailed, match="too slow"):
            disk.submit(steps[2:3])
        disk.submit([FinishFile(first.file)])
        may_go_on.set()

    (row,) = rows_of(reports)
    assert row.fragments == 1


def test_a_stream_that_outruns_the_disk_ends_no_others_run(tmp_path: Path) -> None:
    """Bounded for all of them together, and yet a share is there for each."""
    may_go_on = threading.Event()

    def waits(_: int, name: str) -> int:
        if name == "write":
            may_go_on.wait(10)
        return 0

    flood, good = (steps_of_a_run(tmp_path, key=StreamKey(name, "main")) for name in ("flood", "good"))
    size_bytes = max(step.size_bytes for step in (*flood, *good) if isinstance(step, AppendFragment))
    reports: list[Report] = []
    calls = FaultyCalls(waits)
    with Disk(reports.extend, flush_s=1.0, calls=calls, max_queued_bytes=3 * size_bytes) as disk:
        with pytest.raises(DiskFailed, match="too slow"):
            for step in [*flood[:-1], *flood[1:-1]]:
                disk.submit([step])
        disk.submit(good[:2])
        with pytest.raises(DiskFailed, match="too slow"):
            disk.submit(flood[1:2])
        assert disk.queued_bytes <= 2 * 3 * size_bytes
        may_go_on.set()

    assert [row.key.camera for row in rows_of(reports)] == ["flood", "good"]


def test_an_existing_file_is_never_written_into_or_removed(tmp_path: Path) -> None:
    steps = steps_of_a_run(tmp_path)
    (opening,) = [step for step in steps if isinstance(step, OpenFile)]
    opening.file.path.parent.mkdir(parents=True)
    opening.file.path.write_bytes(b"somebody's")
    reports: list[Report] = []

    with Disk(reports.extend, flush_s=0.05) as disk:
        disk.submit(steps)

    assert [error.reason for error in failures_of(reports)] == [GapReason.DISK_ERROR]
    assert opening.file.path.read_bytes() == b"somebody's"


def test_a_torn_write_is_cut_back_to_the_last_seal(tmp_path: Path) -> None:
    steps = steps_of_a_run(tmp_path)
    opening, first, second = steps[:3]
    assert isinstance(opening, OpenFile) and isinstance(first, AppendFragment)
    assert isinstance(second, AppendFragment)
    file = opening.file
    perform([opening, first])
    good_end = file.good_end

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (good_end + second.size_bytes // 2, limit[1]))
        with pytest.raises(DiskFailed) as caught:
            file.append(second.buffers, second.fragment, second.seal)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        file.abandon()

    # Too large a file is no lack of room: eviction would not help it.
    assert caught.value.reason is GapReason.DISK_ERROR
    assert file.path.stat().st_size == good_end
    with file.path.open("rb") as written:
        assert len(scan(written).fragments) == 1


class SlowCalls(FileCalls):
    """Each write waits until it may go on."""

    def __init__(self) -> None:
        self.may_go_on = threading.Semaphore(0)

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        self.may_go_on.acquire()
        return super().write(fd, buffers)


def test_a_disk_that_takes_long_for_a_write_is_recorded_to_as_long_as_the_queue_holds(tmp_path: Path) -> None:
    """And then the reason names it. Nothing that was taken is lost."""
    calls = SlowCalls()
    reports: list[Report] = []
    steps = steps_of_a_run(tmp_path)
    appended = [step for step in steps if isinstance(step, AppendFragment)]
    room = sum(step.size_bytes for step in appended[:3])

    with Disk(reports.extend, flush_s=60.0, max_queued_bytes=room, calls=calls) as disk:
        for step in steps[:4]:
            disk.submit([step])
        with pytest.raises(DiskFailed, match=r"too slow: .* wait to be written.*use a faster one") as caught:
            disk.submit(steps[4:])
        disk.submit([FinishFile(appended[0].file)])
        calls.may_go_on.release(100)

    (row,) = rows_of(reports)
    assert caught.value.reason is GapReason.DISK_ERROR
    assert row.fragments == 3


def large_run(media: Path) -> list[Step]:
    """One file of 36 MB."""
    cutter = writer(media)
    shown = video_format("h264", UNITS)
    large = [replace(unit, data=unit.data + bytes(600_000)) for unit in pictures(UNITS)]
    return [step for unit in large for step in cutter.add_picture(unit, shown)] + cutter.finish()


def test_what_many_files_bring_is_begun_before_the_flush(tmp_path: Path) -> None:
    """Whole pages only: a page that is written half is written again."""
    begun: list[tuple[int, int]] = []
    start = FileCalls.start_write_back

    class Watched(FileCalls):
        def start_write_back(self, fd: int, offset: int, size_bytes: int = 0) -> None:
            begun.append((offset, size_bytes))
            start(self, fd, offset, size_bytes)

    reports: list[Report] = []

    with Disk(
        reports.extend,
        flush_s=60.0,
        max_queued_bytes=1 << 30,
        calls=Watched(),
        file_systems=Chosen(Method.JOURNAL),
    ) as disk:
        disk.submit(large_run(tmp_path))

    before_the_flush = [one for one in begun if one[1] > 0]
    assert len(before_the_flush) >= 1
    assert all(offset % 4096 == 0 and size % 4096 == 0 for offset, size in before_the_flush)
    assert len(rows_of(reports)) == 1


def test_what_cannot_be_begun_is_a_failed_sync_and_not_tried_again(tmp_path: Path) -> None:
    """The error is told once, and the sync that follows would succeed."""
    failures = iter([errno.EIO])
    calls = FaultyCalls(lambda _, name: next(failures, 0) if name == "start_write_back" else 0)
    reports: list[Report] = []

    with Disk(
        reports.extend,
        flush_s=60.0,
        max_queued_bytes=1 << 30,
        calls=calls,
        file_systems=Chosen(Method.JOURNAL),
    ) as disk:
        disk.submit(large_run(tmp_path))

    (error,) = failures_of(reports)
    assert (error.reason, error.broken) == (GapReason.DISK_ERROR, True)
    assert rows_of(reports) == []
    assert calls.done.count("start_write_back") == 1
