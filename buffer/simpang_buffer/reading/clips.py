"""The only reader: a stream and a time range in, what was recorded out.

Page, export and uplink read through it, so they cannot disagree about what there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from simpang_buffer.index.index import Index
from simpang_buffer.model import Fragment, FragmentFlags, GapReason, StreamKey
from simpang_buffer.reading.gaps import CONTINUOUS_US, Gap, Stretch, gaps
from simpang_buffer.reading.sources import DETAIL_US, Format, Source, detailed, sources
from simpang_buffer.reading.tail import Tails

__all__ = ["Clip", "Gap", "Part", "Piece", "Slice", "clips"]

_KEY = int(FragmentFlags.KEY)
# Up to here sorting out takes less than handing it to a thread: 12 minutes, half a millisecond.
_FEW_FILES = 12


@dataclass(frozen=True, slots=True)
class Piece:
    """One fragment and where it lies. path: absolute. chunk: number in the run."""

    path: Path
    run: int
    seq: int
    fragment: Fragment
    chunk: int


@dataclass(frozen=True, slots=True)
class Slice:
    """The fragments [first, stop) of a file; stop None: to its end. Of a file not read yet it is all."""

    source: Source
    first: int = 0
    stop: int | None = None

    @property
    def start_us(self) -> int:
        fragments = self.source.fragments
        return fragments[self.first].start_us if fragments else self.source.start_us

    @property
    def end_us(self) -> int:
        fragments = self.source.fragments
        return (
            fragments[-1 if self.stop is None else self.stop - 1].end_us if fragments else self.source.end_us
        )

    def fragments(self) -> tuple[Fragment, ...]:
        """Those of them that are read."""
        return (self.source.fragments or ())[self.first : self.stop]


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of one run with one set of codec parameters: what one player plays without a break.

    It starts with a key frame, if the run has one before it.
    """

    format: Format
    slices: tuple[Slice, ...]

    @property
    def run(self) -> int:
        return self.slices[0].source.run

    @property
    def start_us(self) -> int:
        return self.slices[0].start_us

    @property
    def end_us(self) -> int:
        return self.slices[-1].end_us

    def pieces(self) -> Iterator[Piece]:
        """Every fragment in order. Blocks where a file was not read yet; raises what reading it raises."""
        for cut in self.slices:
            source = detailed(cut.source)
            path = source.path
            numbered = list(source.numbered())[cut.first : cut.stop]
            for number, fragment in numbered:
                yield Piece(path, source.run, source.seq, fragment, number)


@dataclass(frozen=True, slots=True)
class Clip:
    """What was recorded in [start_us, end_us), the range as it was asked for.

    The first part starts with the key frame at or before start_us, each part holds whole fragments. Parts are
    in the order they were recorded; where the clock was set back in between, their times overlap.
    """

    key: StreamKey
    start_us: int
    end_us: int
    parts: tuple[Part, ...]
    gaps: tuple[Gap, ...]


async def clips(
    index: Index,
    tails: Tails,
    key: StreamKey,
    start_us: int,
    end_us: int,
    *,
    current_reason: GapReason = GapReason.DISABLED,
    now_us: int | None = None,
    detail: bool | None = None,
) -> Clip:
    """What there is of the range, which may be of any length; no parts when there is nothing.

    current_reason: why the stream is not recording now, if it is not, for a gap with nothing after it. A
    range that reaches into the future is the caller's to cut. detail: whether every file is read (by default
    those of a range of up to DETAIL_US). Raises StorageError.
    """
    tail = tails(key)
    everything = end_us - start_us <= DETAIL_US if detail is None else detail
    found = await sources(index, tails, key, start_us, end_us, detail=everything)
    if everything and len(found) <= _FEW_FILES:
        parts = _all_parts(found, start_us, end_us)
    else:
        # A month is 43,200 files, which take longer to sort out than the loop may be held.
        parts = await asyncio.to_thread(_all_parts, found, start_us, end_us)
    stretches = [Stretch(part.start_us, part.end_us, part.run) for part in parts]
    explained = await gaps(index, tail, key, start_us, end_us, stretches, current_reason, now_us)
    return Clip(key, start_us, end_us, parts, tuple(explained))


def _all_parts(found: Sequence[Source], start_us: int, end_us: int) -> tuple[Part, ...]:
    runs = groupby(found, key=lambda source: source.run)
    return tuple(part for _, files in runs for part in _parts(_slices(files, start_us, end_us)))


def _slices(files: Iterable[Source], start_us: int, end_us: int) -> list[Slice]:
    """Of one run: from the last key frame at or before start_us, or its first, to the last before end_us."""
    found: list[Slice] = []
    begin = (0, 0)
    for file in files:
        if file.fragments is None:
            found.append(Slice(file))
            continue
        count = len(file.fragments)
        while count and file.fragments[count - 1].start_us >= end_us:
            count -= 1
        if not count:
            continue
        if file.start_us <= start_us:
            for at, fragment in enumerate(file.fragments):
                if fragment.start_us > start_us:
                    break
                # As a plain number, since `in` on flags is ten times slower.
                if int(fragment.flags) & _KEY:
                    begin = (len(found), at)
        found.append(Slice(file, 0, None if count == len(file.fragments) else count))
    if not found or found[-1].end_us <= start_us:
        return []
    number, first = begin
    return [replace(found[number], first=first), *found[number + 1 :]]


def _parts(cut: Sequence[Slice]) -> Iterator[Part]:
    """The parts of one run."""
    together: list[Slice] = []
    for one in cut:
        if together and not _follows(together[-1], one):
            yield _part(together)
            together = []
        together.append(one)
    if together:
        yield _part(together)


def _follows(before: Slice, after: Slice) -> bool:
    """A player crosses from one file into the next without a break."""
    return (
        after.source.seq == before.source.seq + 1
        and after.source.header_sha256 == before.source.header_sha256
        and abs(after.start_us - before.end_us) < CONTINUOUS_US
    )


def _part(together: Sequence[Slice]) -> Part:
    format_ = together[0].source.format
    assert format_ is not None, "sources() gives each file its format"
    return Part(format_, tuple(together))
