"""The files that a range of time lies in: rows of the index and open tails alike, each with its fragments."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from simpang_buffer.index.index import Index
from simpang_buffer.media.boxes import Header, read_header, read_table, scan
from simpang_buffer.media.seal import BadBox, run_box
from simpang_buffer.model import Fragment, FragmentFlags, Segment, StreamKey
from simpang_buffer.reading.errors import RangeTooLong
from simpang_buffer.reading.tail import Tail, Tails

# A day of an all-intra camera, whose fragments are half a second: about 60 MB of objects.
MAX_FRAGMENTS = 200_000
# Files whose tables are read between two looks at whether the reader is still wanted: some 10 ms.
_BATCH = 64
# A row's file can be gone when eviction came between query and open: then the row is gone too.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Format:
    """How a file begins. init: ftyp and moov. audio_entry: "mp4a", "alaw", "ulaw" or None."""

    header_sha256: bytes
    init: bytes = field(repr=False)
    codec: str
    width: int
    height: int
    audio_entry: str | None
    audio_timescale: int | None


@dataclass(frozen=True, slots=True)
class Source:
    """One file. path: absolute. growing: it is being written, so its last chunk is not complete."""

    path: Path
    run: int
    seq: int
    first_chunk: int
    format: Format
    fragments: tuple[Fragment, ...] = field(repr=False)
    growing: bool

    def numbered(self) -> Iterator[tuple[int, Fragment]]:
        """Each fragment with the number in the run of its chunk."""
        number = self.first_chunk - 1
        for fragment in self.fragments:
            # A file starts with a chunk, whatever its first seal says.
            if FragmentFlags.CHUNK in fragment.flags or number < self.first_chunk:
                number += 1
            yield number, fragment


async def sources(index: Index, tails: Tails, key: StreamKey, start_us: int, end_us: int) -> list[Source]:
    """Files with footage in the range, in the order they were recorded (by run and sequence).

    A file that cannot be read is left out, so that a bad sector costs its minute and not the clip. Raises
    RangeTooLong.
    """
    for _ in range(_TRIES):
        # Tails first: a segment that closes meanwhile is then found twice, never missed.
        open_files = _open_files(tails(key))
        segments = await index.segments(key, start_us, end_us)
        if sum(segment.fragments for segment in segments) > MAX_FRAGMENTS:
            raise RangeTooLong(
                f"{key}: more than {MAX_FRAGMENTS} fragments in the range; ask for less at once"
            )
        closed, vanished = await _read_closed(index.media, segments)
        if not vanished:
            break
    known = {(segment.run, segment.seq) for segment in segments}
    for tail in open_files:
        source = _source_of_tail(tail, growing=tail is open_files[-1])
        if (source.run, source.seq) not in known and _overlaps(source, start_us, end_us):
            closed.append(source)
    return sorted(closed, key=lambda source: (source.run, source.seq))


def _open_files(tail: Tail | None) -> list[Tail]:
    return [*tail.before, tail] if tail else []


def _source_of_tail(tail: Tail, *, growing: bool) -> Source:
    # Copied at once: the recorder's reports go on being appended.
    fragments = tuple(tail.fragments)
    header = read_header(io.BytesIO(tail.init + run_box(tail.header)))
    return Source(
        path=tail.path,
        run=tail.header.run,
        seq=tail.header.seq,
        first_chunk=tail.header.first_chunk,
        format=_format(header),
        fragments=fragments,
        growing=growing,
    )


def _overlaps(source: Source, start_us: int, end_us: int) -> bool:
    fragments = source.fragments
    return bool(fragments) and fragments[0].start_us < end_us and fragments[-1].end_us > start_us


async def _read_closed(media: Path, segments: Sequence[Segment]) -> tuple[list[Source], bool]:
    """The files' sources, and whether one of them was not there."""
    found: list[Source] = []
    vanished = False
    formats: dict[bytes, Format] = {}
    for at in range(0, len(segments), _BATCH):
        batch = segments[at : at + _BATCH]
        read = await asyncio.to_thread(_read_batch, media, batch, formats)
        found += [source for source in read if source is not None]
        vanished = vanished or None in read
    return found, vanished


def _read_batch(
    media: Path, segments: Sequence[Segment], formats: dict[bytes, Format]
) -> list[Source | None]:
    """None stands for a file that is not there; one that cannot be read is left out."""
    read: list[Source | None] = []
    for segment in segments:
        try:
            read.append(_read_segment(media / segment.path, segment, formats))
        except FileNotFoundError:
            read.append(None)
        except (BadBox, OSError):
            continue
    return read


def _read_segment(path: Path, segment: Segment, formats: dict[bytes, Format]) -> Source:
    with path.open("rb", buffering=4096) as file:
        known = formats.get(segment.header_sha256)
        if known is None:
            known = _format(read_header(file))
            if known.header_sha256 != segment.header_sha256:
                raise BadBox(f"{path} does not begin as its row says")
            formats[segment.header_sha256] = known
        return Source(
            path=path,
            run=segment.run,
            seq=segment.seq,
            first_chunk=segment.first_chunk,
            format=known,
            fragments=_fragments(file),
            growing=False,
        )


def _fragments(file: BinaryIO) -> tuple[Fragment, ...]:
    try:
        return tuple(read_table(file)[0])
    except BadBox:
        # Adopted on a full disk, or damaged since: every fragment with a right seal is still good.
        return scan(file).fragments


def _format(header: Header) -> Format:
    return Format(
        header_sha256=hashlib.sha256(header.init).digest(),
        init=header.init,
        codec=header.codec,
        width=header.width,
        height=header.height,
        audio_entry=header.audio_entry,
        audio_timescale=header.audio_timescale,
    )
