"""Every call of a create, flush, rotate and close fails in turn: nothing is called stored that is not."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import media_samples
from faulty_disk import Chosen, CutCalls, Fails, never
from recorded_runs import pictures, video_format, writer
from simpang_buffer.index.adoption import adopt
from simpang_buffer.index.check import check
from simpang_buffer.index.index import open_index
from simpang_buffer.media.boxes import scan
from simpang_buffer.model import GapReason, Segment
from simpang_buffer.recording.file_systems import Method
from simpang_buffer.recording.segment_writer import OpenFile, Step
from simpang_buffer.recording.sync import Disk, FileClosed, FileFailed, FileOpened, FragmentWritten, Report

UNITS = media_samples.video("h264", frames=60, fps=15, key_every=15, width=64, height=48)
FORMAT = video_format("h264", UNITS)
# More than any sequence below makes, so that a test that never ends fails.
MOST_CALLS = 200


@dataclass
class Outcome:
    """What the disk thread said; lies: rows of files of which a power cut would have left less."""

    calls: CutCalls
    reports: list[Report] = field(default_factory=list)
    lies: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[Segment]:
        return [one.segment for one in self.reports if isinstance(one, FileClosed) and one.segment]

    @property
    def failures(self) -> list[FileFailed]:
        return [one for one in self.reports if isinstance(one, FileFailed)]


def steps_of_a_run(media: Path, run: int) -> list[Step]:
    """Two files of two fragments each."""
    cutter = writer(media, segment_s=2.0, run=run)
    return [step for unit in pictures(UNITS) for step in cutter.add_picture(unit, FORMAT)] + cutter.finish()


def record(media: Path, method: Method, flush_s: float, fails: Fails) -> tuple[Outcome, list[Step]]:
    """One run, and one more behind it."""
    outcome = Outcome(CutCalls(fails))
    steps = [*steps_of_a_run(media, 7), *steps_of_a_run(media, 8)]

    def report(reports: Sequence[Report]) -> None:
        outcome.reports += reports
        for one in reports:
            if isinstance(one, FileClosed) and one.segment is not None:
                found = outcome.calls.durable_bytes(media, one.file.path)
                if found < one.segment.size_bytes:
                    outcome.lies.append(f"{one.segment.path}: {found} of {one.segment.size_bytes} bytes")

    with Disk(report, flush_s=flush_s, calls=outcome.calls, file_systems=Chosen(method)) as disk:
        disk.submit(steps)
    return outcome, steps


async def take_in(data: Path, rows: Sequence[Segment], reports: Sequence[Report]) -> list[str]:
    """What the check finds once the rows are committed and the rest is adopted, as the daemon does."""
    async with open_index(data / "index.db") as index:
        for one in reports:
            if isinstance(one, FileOpened):
                await index.add_run(one.file.head.header, 64, 48)
        await index.add_segments(rows)
        report = await adopt(data / "media", index)
        assert not report.problems and not report.aside
        return [
            f"{one.code} {one.path}: {one.words}" for one in await check(data / "media", index, deep=True)
        ]


def assert_true(data: Path, outcome: Outcome, steps: Sequence[Step], *, adopted: bool) -> None:
    media = data / "media"
    assert outcome.lies == []
    # Each file that was asked for is accounted for, else its stream would never be idle.
    asked = [step.file for step in steps if isinstance(step, OpenFile)]
    assert {one.file for one in outcome.reports if isinstance(one, FileClosed | FileFailed)} == set(asked)
    for row in outcome.rows:
        with (media / row.path).open("rb") as file:
            found = scan(file)
        assert found.closed
        assert len(found.fragments) == row.fragments
        assert found.seal.startswith(row.seal) and len(row.seal) >= 16
        assert (media / row.path).stat().st_size == row.size_bytes
    for run in (7, 8):
        # Behind a file that broke there is no row, or adoption would not find it.
        broken = [
            one.file.head.header.seq
            for one in outcome.failures
            if one.error.broken and one.file.head.header.run == run
        ]
        assert all(row.seq < min(broken) for row in outcome.rows if row.run == run and broken)
    if adopted:
        assert asyncio.run(take_in(data, outcome.rows, outcome.reports)) == []


@pytest.mark.parametrize("flush_s", [0.0, 60.0])
@pytest.mark.parametrize("method", list(Method))
def test_nothing_is_called_stored_before_a_power_cut_would_leave_it(
    tmp_path: Path, method: Method, flush_s: float
) -> None:
    (tmp_path / "media").mkdir()

    outcome, steps = record(tmp_path / "media", method, flush_s, never)

    assert_true(tmp_path, outcome, steps, adopted=True)
    assert [(row.run, row.seq, row.frames) for row in outcome.rows] == [
        (run, seq, 30) for run in (7, 8) for seq in (0, 1)
    ]
    assert sum(isinstance(one, FragmentWritten) for one in outcome.reports) == 8


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("flush_s", [0.0, 60.0], ids=["each step", "at the end"])
@pytest.mark.parametrize("method", list(Method))
def test_whichever_call_fails_nothing_is_called_stored_that_is_not(
    tmp_path: Path, method: Method, flush_s: float, error: int, for_good: bool
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    failed_at = 0
    for at in range(MOST_CALLS):
        data = tmp_path / str(at)
        (data / "media").mkdir(parents=True)

        def fails(number: int, name: str, at: int = at) -> int:
            return error if number == at or (for_good and number > at) else 0

        outcome, steps = record(data / "media", method, flush_s, fails)

        # A disk that is dead for good cannot be adopted from; every tenth of the others is enough.
        assert_true(data, outcome, steps, adopted=not for_good and at % 5 == 0)
        if len(outcome.calls.done) <= at:
            failed_at = at
            break
        if outcome.failures:
            wanted = GapReason.DISK_FULL if error == errno.ENOSPC else GapReason.DISK_ERROR
            assert {one.error.reason for one in outcome.failures} == {wanted}
    assert 20 < failed_at < MOST_CALLS, "no call was left to fail"
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_is_written_behind_a_torn_end_that_could_not_be_cut_off(tmp_path: Path) -> None:
    """A table there would not be where the file's row says."""
    torn = iter([0, 0, errno.ENOSPC])
    uncut = iter([errno.EIO])

    def fails(_: int, name: str) -> int:
        if name == "write":
            return next(torn, 0)
        return next(uncut, 0) if name == "cut" else 0

    (tmp_path / "media").mkdir()
    outcome, steps = record(tmp_path / "media", Method.JOURNAL, 60.0, fails)

    assert_true(tmp_path, outcome, steps, adopted=True)
    assert [(one.error.reason, one.error.broken) for one in outcome.failures] == [(GapReason.DISK_FULL, True)]
    assert [(row.run, row.seq) for row in outcome.rows] == [(8, 0), (8, 1)]
