"""The only reader: a stream and a time range in, what was recorded out.

Page, export and uplink read through it, so they cannot disagree about what there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from simpang_buffer.index.index import Index
from simpang_buffer.model import Fragment, FragmentFlags, GapReason, StreamKey
from simpang_buffer.reading.gaps import CONTINUOUS_US, Gap, Stretch, gaps
from simpang_buffer.reading.sources import Format, Source, sources
from simpang_buffer.reading.tail import Tails

__all__ = ["Clip", "Gap", "Part", "Piece", "clips"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One fragment and where it lies. path: absolute. chunk: number in the run."""

    path: Path
    run: int
    seq: int
    fragment: Fragment
    chunk: int


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of one run with one set of codec parameters: what one player plays without a break.

    It starts with a key frame. init: ftyp and moov. audio_entry: "mp4a", "alaw", "ulaw", or None.
    """

    header_sha256: bytes
    codec: str
    width: int
    height: int
    audio_entry: str | None
    audio_timescale: int | None
    init: bytes = field(repr=False)
    pieces: tuple[Piece, ...] = field(repr=False)

    @property
    def start_us(self) -> int:
        return self.pieces[0].fragment.start_us

    @property
    def end_us(self) -> int:
        return self.pieces[-1].fragment.end_us


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
) -> Clip:
    """What there is of the range; no parts when there is nothing.

    current_reason: why the stream is not recording now, if it is not, for a gap with nothing after it. A
    range that reaches into the future is the caller's to cut. Raises RangeTooLong, StorageError.
    """
    tail = tails(key)
    found = await sources(index, tails, key, start_us, end_us)
    # A day is 86,400 fragments, which take longer to sort out than the loop may be held.
    parts = await asyncio.to_thread(_all_parts, found, start_us, end_us)
    stretches = [Stretch(part.start_us, part.end_us, part.pieces[0].run) for part in parts]
    explained = await gaps(index, tail, key, start_us, end_us, stretches, current_reason, now_us)
    return Clip(key, start_us, end_us, parts, tuple(explained))


def _all_parts(found: Sequence[Source], start_us: int, end_us: int) -> tuple[Part, ...]:
    runs = groupby(found, key=lambda source: source.run)
    return tuple(part for _, files in runs for part in _parts(files, start_us, end_us))


def _parts(files: Iterable[Source], start_us: int, end_us: int) -> Iterator[Part]:
    """The parts of one run."""
    format_: Format | None = None
    pieces: list[Piece] = []
    for file in files:
        taken = _take(file, start_us, end_us)
        if not taken:
            continue
        if format_ is not None and (
            file.format.header_sha256 != format_.header_sha256 or not _follows(pieces[-1], taken[0])
        ):
            yield _part(format_, pieces)
            pieces = []
        format_ = file.format
        pieces += taken
    if format_ is not None:
        yield _part(format_, pieces)


def _take(file: Source, start_us: int, end_us: int) -> list[Piece]:
    """From the last key frame at or before start_us, or the file's first, to the last before end_us."""
    pieces = [
        Piece(file.path, file.run, file.seq, fragment, number)
        for number, fragment in file.numbered()
        if fragment.start_us < end_us
    ]
    first = 0
    for at, piece in enumerate(pieces):
        if piece.fragment.start_us > start_us:
            break
        if FragmentFlags.KEY in piece.fragment.flags:
            first = at
    return pieces[first:] if pieces and pieces[-1].fragment.end_us > start_us else []


def _follows(before: Piece, after: Piece) -> bool:
    """A player crosses from one file into the next without a break."""
    hole_us = after.fragment.start_us - before.fragment.end_us
    return after.seq == before.seq + 1 and abs(hole_us) < CONTINUOUS_US


def _part(format_: Format, pieces: Sequence[Piece]) -> Part:
    return Part(
        header_sha256=format_.header_sha256,
        codec=format_.codec,
        width=format_.width,
        height=format_.height,
        audio_entry=format_.audio_entry,
        audio_timescale=format_.audio_timescale,
        init=format_.init,
        pieces=tuple(pieces),
    )
