"""What there is of a stream and why the rest is missing, from the index alone: no media file is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from simpang_buffer.index.index import Index
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.reading.gaps import CONTINUOUS_US, Gap, Stretch, gaps
from simpang_buffer.reading.tail import Tail, Tails

# run, seq, start_us, end_us, bytes: as Index.extents has them.
_Extent: TypeAlias = tuple[int, int, int, int, int]
# A day takes the loop a fifth of a millisecond, which is what a thread costs.
_MANY = 2000


@dataclass(frozen=True, slots=True)
class Span:
    """Uninterrupted footage of one run. bytes: of the files that it lies in, whole."""

    start_us: int
    end_us: int
    run: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """spans and gaps in order of time; spans overlap where the clock was set back, gaps never do."""

    spans: tuple[Span, ...]
    gaps: tuple[Gap, ...]


async def coverage(
    index: Index,
    tails: Tails,
    key: StreamKey,
    start_us: int,
    end_us: int,
    now_us: int,
    current_reason: GapReason,
) -> Coverage:
    """Coverage of the range up to now_us. current_reason: why the stream is not recording, if it is not."""
    end_us = min(end_us, now_us)
    if end_us <= start_us:
        return Coverage((), ())
    tail = tails(key)
    extents = await index.extents(key, start_us, end_us)
    committed = {extent[:2] for extent in extents} if tail else set()
    for file in (*tail.before, tail) if tail else ():
        extent = _extent_of(file)
        if extent and extent[:2] not in committed and extent[2] < end_us and extent[3] > start_us:
            extents.append(extent)
    # A month is 45,000 segments, which take longer to join than the loop may be held.
    spans = await asyncio.to_thread(_joined, extents) if len(extents) > _MANY else _joined(extents)
    stretches = [Stretch(span.start_us, span.end_us, span.run) for span in spans]
    missing = await gaps(index, tail, key, start_us, end_us, stretches, current_reason, now_us)
    shown = (
        Span(max(span.start_us, start_us), min(span.end_us, end_us), span.run, span.bytes) for span in spans
    )
    return Coverage(tuple(sorted(shown, key=lambda span: (span.start_us, span.run))), tuple(missing))


def _joined(extents: Iterable[_Extent]) -> list[Span]:
    """Segments of a run as one span where less than CONTINUOUS_US lies between them."""
    spans: list[Span] = []
    run, first_us, last_us, size_bytes = -1, 0, 0, 0
    for extent_run, _, start_us, end_us, extent_bytes in sorted(extents):
        if extent_run != run or start_us - last_us >= CONTINUOUS_US:
            if run >= 0:
                spans.append(Span(first_us, last_us, run, size_bytes))
            run, first_us, size_bytes = extent_run, start_us, 0
        last_us = end_us
        size_bytes += extent_bytes
    if run >= 0:
        spans.append(Span(first_us, last_us, run, size_bytes))
    return spans


def _extent_of(tail: Tail) -> _Extent | None:
    fragments = tuple(tail.fragments)
    if not fragments:
        return None
    size_bytes = fragments[-1].offset + fragments[-1].size_bytes
    return tail.header.run, tail.header.seq, fragments[0].start_us, fragments[-1].end_us, size_bytes
