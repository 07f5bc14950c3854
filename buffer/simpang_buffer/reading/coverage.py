"""What there is of a stream and why the rest is missing, from the index alone: no media file is opened."""

from __future__ import annotations

from dataclasses import dataclass

from simpang_buffer.index.index import Index
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.reading.gaps import CONTINUOUS_US, Gap, Stretch, gaps
from simpang_buffer.reading.tail import Tail, Tails


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
    spans = [Span(*row) for row in await index.spans(key, start_us, end_us, CONTINUOUS_US)]
    known = {span.run: span for span in spans}
    for file in (*tail.before, tail) if tail else ():
        open_span = _span_of(file)
        before = known.get(file.header.run)
        if open_span is None or open_span.start_us >= end_us or open_span.end_us <= start_us:
            continue
        if before is not None and open_span.end_us <= before.end_us:
            continue  # its row was committed meanwhile
        if before is not None and abs(open_span.start_us - before.end_us) < CONTINUOUS_US:
            spans.remove(before)
            open_span = Span(before.start_us, open_span.end_us, before.run, before.bytes + open_span.bytes)
        spans.append(open_span)
        known[file.header.run] = open_span
    stretches = [Stretch(span.start_us, span.end_us, span.run) for span in spans]
    missing = await gaps(index, tail, key, start_us, end_us, stretches, current_reason, now_us)
    shown = (
        Span(max(span.start_us, start_us), min(span.end_us, end_us), span.run, span.bytes) for span in spans
    )
    return Coverage(tuple(sorted(shown, key=lambda span: (span.start_us, span.run))), tuple(missing))


def _span_of(tail: Tail) -> Span | None:
    fragments = tuple(tail.fragments)
    if not fragments:
        return None
    size_bytes = fragments[-1].offset + fragments[-1].size_bytes
    return Span(fragments[0].start_us, fragments[-1].end_us, tail.header.run, size_bytes)
