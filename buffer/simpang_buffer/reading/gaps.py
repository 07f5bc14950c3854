"""Why there is no footage: every stretch without any has a reason from the closed list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from simpang_buffer.index.absence import unavailable
from simpang_buffer.index.index import Index
from simpang_buffer.index.rows import Gone
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.reading.tail import Tail

# In one run, files follow each other but for rounding and a picture's length.
CONTINUOUS_US = 1_000_000
# Footage so young that more may be on its way: a fragment takes a second, a stall is called after ten.
_SETTLING_US = 15_000_000


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing was recorded, or is no more, from start_us to end_us."""

    start_us: int
    end_us: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class Stretch:
    """Footage of one run without a hole."""

    start_us: int
    end_us: int
    run: int


@dataclass(frozen=True, slots=True)
class RunStart:
    """When a run began, and why the one before it had ended (None: there was none)."""

    start_us: int
    end_us: int
    previous_end: GapReason | None


async def gaps(
    index: Index,
    tail: Tail | None,
    key: StreamKey,
    start_us: int,
    end_us: int,
    stretches: Iterable[Stretch],
    current_reason: GapReason,
    now_us: int | None = None,
) -> list[Gap]:
    """The gaps that the stretches leave in the range, in order.

    current_reason: why the stream is not recording, for a gap with no footage after it; while it is recording
    (there is a tail, or its footage reaches almost up to now_us) what follows is no gap.
    """
    runs = [
        RunStart(run.start_us, run.end_us, run.previous_end)
        for run in await index.runs(key, start_us, end_us)
        if run.start_us is not None and run.end_us is not None
    ]
    if tail is not None:
        runs += [start for file in (*tail.before, tail) if (start := _start_of(file)) is not None]
    gone = [*await index.gone(key, start_us, end_us), *await unavailable(index, key, start_us, end_us)]
    gone.sort(key=lambda stretch: stretch.start_us)
    reached_us = max((run.end_us for run in runs), default=start_us)
    recording = tail is not None or (now_us is not None and bool(runs) and now_us - reached_us < _SETTLING_US)
    return list(explain(start_us, end_us, list(stretches), runs, gone, None if recording else current_reason))


def explain(
    start_us: int,
    end_us: int,
    stretches: Sequence[Stretch],
    runs: Sequence[RunStart],
    gone: Sequence[Gone],
    current_reason: GapReason | None,
) -> Iterator[Gap]:
    """Pure. What is gone has its own reason; else the next run tells why the one before it ended.

    After the last run it is current_reason (None: the stream is recording, so that is no gap).
    """
    for hole_start_us, hole_end_us in _holes(start_us, end_us, stretches):
        at_us = hole_start_us
        for stretch in gone:
            lost_from_us, lost_to_us = max(stretch.start_us, at_us), min(stretch.end_us, hole_end_us)
            if lost_from_us >= lost_to_us:
                continue
            yield from _never_recorded(at_us, lost_from_us, runs, current_reason)
            yield Gap(lost_from_us, lost_to_us, stretch.reason)
            at_us = lost_to_us
        yield from _never_recorded(at_us, hole_end_us, runs, current_reason)


def _holes(start_us: int, end_us: int, stretches: Sequence[Stretch]) -> Iterator[tuple[int, int]]:
    reached_us, run = start_us, None
    for stretch in sorted(stretches, key=lambda stretch: stretch.start_us):
        slack_us = CONTINUOUS_US if stretch.run == run else 0
        if stretch.start_us >= reached_us + max(slack_us, 1):
            yield reached_us, min(stretch.start_us, end_us)
        if stretch.end_us > reached_us:
            reached_us, run = stretch.end_us, stretch.run
    if reached_us < end_us:
        yield reached_us, end_us


def _never_recorded(
    start_us: int, end_us: int, runs: Sequence[RunStart], current_reason: GapReason | None
) -> Iterator[Gap]:
    if start_us >= end_us:
        return
    # Recorded, by the runs, and yet neither there nor noted as gone: a file that cannot be read.
    inside = [run for run in runs if run.start_us <= start_us and run.end_us >= end_us]
    after = min((run for run in runs if run.start_us >= end_us), key=lambda run: run.start_us, default=None)
    if inside:
        yield Gap(start_us, end_us, GapReason.DISK_ERROR)
    elif after is not None:
        reason = after.previous_end or GapReason.DISABLED
        # A session goes on over a step: between its two runs no picture is missing, but a picture's length.
        if reason is not GapReason.CLOCK_STEP or end_us - start_us >= CONTINUOUS_US:
            yield Gap(start_us, end_us, reason)
    elif current_reason is not None:
        yield Gap(start_us, end_us, current_reason)


def _start_of(tail: Tail) -> RunStart | None:
    fragments = tuple(tail.fragments)
    if not fragments:
        return None
    return RunStart(fragments[0].start_us, fragments[-1].end_us, tail.header.previous_end)
