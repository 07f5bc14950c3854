"""The files that a range of time lies in: rows of the index and open tails alike.

A file of a short range is read at once (its fragment table: two small reads). Of a long one only the two at
the ends are; the others are what their rows say until their turn comes, so that a month is 43,200 small
objects and no disk is asked 43,200 times before the first byte.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from simpang_buffer.index.folder_sight import MARKER_FILE
from simpang_buffer.index.index import Index
from simpang_buffer.media.boxes import Header, read_header, read_table, scan
from simpang_buffer.media.seal import SEAL_BYTES, BadBox, run_box, table_bytes
from simpang_buffer.model import FIRST_FOLDER, Fragment, FragmentFlags, Segment, StreamKey, segment_path
from simpang_buffer.reading.tail import Tail, Tails

# Up to here every file is read, so that one that cannot be is a gap, and players seek to each key frame.
DETAIL_US = 4 * 3600 * 1_000_000
# Rows are read in stretches of this length: some thousand rows at a time.
_PAGE_US = 24 * 3600 * 1_000_000
# Files whose tables are read between two looks at whether the reader is still wanted: some 10 ms.
_BATCH = 64
# A row's file can be gone when eviction came between query and open: then the row is gone too.
_TRIES = 3
# How many files back the key frame is looked for that a file without one builds on: an hour of full files.
_MOST_BACK = 8


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
    """One file.

    media: the folder that its path counts from, absolute. start_us, end_us: of what it holds. size_bytes: of
    the whole file, once it is closed. moved_us: what to add to the times in the file, which the index has
    added to its own already. growing: it is being written, so its last chunk is not complete. fragments: None
    until they are read (`detailed`).
    """

    key: StreamKey
    media: Path
    run: int
    seq: int
    first_chunk: int
    start_us: int
    end_us: int
    size_bytes: int
    fragment_count: int
    moved_us: int
    header_sha256: bytes
    growing: bool
    format: Format | None = field(default=None, repr=False)
    fragments: tuple[Fragment, ...] | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        return self.media / segment_path(self.key, self.run, self.seq)

    def numbered(self) -> Iterator[tuple[int, Fragment]]:
        """Each fragment with the number in the run of its chunk; they must be read."""
        number = self.first_chunk - 1
        for fragment in self.fragments or ():
            # A file starts with a chunk, whatever its first seal says.
            if FragmentFlags.CHUNK in fragment.flags or number < self.first_chunk:
                number += 1
            yield number, fragment


async def sources(
    index: Index, tails: Tails, key: StreamKey, start_us: int, end_us: int, *, detail: bool = True
) -> list[Source]:
    """Files with footage in the range, in the order they were recorded (by run and sequence), and before them
    the one with the key frame that the first builds on. Each has its format.

    detail: all are read, and one that cannot be is left out, so that a bad sector costs its minute and not
    the clip; else only those at the ends of the range. A file of a folder that is not there is left out too.
    """
    rows: list[Source] = []
    for _ in range(_TRIES):
        # Tails first: a segment that closes meanwhile is then found twice, never missed.
        open_files = _open_files(tails(key))
        rows = await _rows(index, key, start_us, end_us)
        wanted = [one for one in rows if detail or one.start_us < start_us or one.end_us > end_us]
        read, vanished = await _read_all(wanted, {})
        if not vanished:
            break
    found = {(one.run, one.seq): one for one in rows}
    for one in wanted:
        del found[one.run, one.seq]
    found |= {(one.run, one.seq): one for one in read}
    known = {(row.run, row.seq) for row in rows}
    for tail in open_files:
        source = _source_of_tail(key, tail, growing=tail is open_files[-1])
        if source is None or (source.run, source.seq) in known:
            continue
        if source.start_us < end_us and source.end_us > start_us:
            found[source.run, source.seq] = source
    listed = await _reach_back(index, list(found.values()), start_us)
    ordered = sorted(listed, key=lambda one: (one.run, one.seq))
    if all(one.format is not None for one in ordered):
        return ordered
    return await asyncio.to_thread(_with_formats, ordered)


def detailed(source: Source) -> Source:
    """With its fragments. Blocks. Raises BadBox where it holds none that can be read, and OSError."""
    if source.fragments is not None:
        return source
    with source.path.open("rb", buffering=4096) as file:
        return replace(source, fragments=_fragments(file, source.moved_us))


def _open_files(tail: Tail | None) -> list[Tail]:
    return [*tail.before, tail] if tail else []


def _source_of_tail(key: StreamKey, tail: Tail, *, growing: bool) -> Source | None:
    # Copied at once: the recorder's reports go on being appended.
    fragments = tuple(tail.fragments)
    if not fragments:
        return None
    end = fragments[-1].offset + fragments[-1].size_bytes + SEAL_BYTES
    return Source(
        key=key,
        media=tail.path.parents[3],
        run=tail.header.run,
        seq=tail.header.seq,
        first_chunk=tail.header.first_chunk,
        start_us=fragments[0].start_us,
        end_us=fragments[-1].end_us,
        # A file that is closed and waits for its row has its table already, or will have it.
        size_bytes=end if growing else end + table_bytes(len(fragments)),
        fragment_count=len(fragments),
        moved_us=0,
        header_sha256=tail.header_sha256,
        growing=growing,
        format=_format(read_header(io.BytesIO(tail.init + run_box(tail.header)))),
        fragments=fragments,
    )


async def _rows(index: Index, key: StreamKey, start_us: int, end_us: int) -> list[Source]:
    moved = {run.run: run.moved_us for run in await index.runs(key, start_us, end_us)}
    roots: dict[int, Path | None] = {}
    found: list[Source] = []
    at_us = start_us
    while at_us < end_us:
        page_end_us = min(at_us + _PAGE_US, end_us)
        for segment in await index.segments(key, at_us, page_end_us):
            # One that began in the page before was in it.
            if segment.start_us < at_us and at_us > start_us:
                continue
            if segment.folder not in roots:
                first = segment.folder == FIRST_FOLDER
                roots[segment.folder] = (
                    index.path_of(segment).parents[3]
                    if first
                    else await asyncio.to_thread(_root_there, index, segment)
                )
            root = roots[segment.folder]
            if root is not None:
                found.append(_source_of_row(segment, root, moved.get(segment.run, 0)))
        at_us = page_end_us
    return found


def _root_there(index: Index, segment: Segment) -> Path | None:
    """The media folder of a segment on a further disk; None while that is not there: a mount that is missing
    leaves its mount point, so the marker is what counts. Blocks."""
    root = index.path_of(segment).parents[3]
    return root if (root / MARKER_FILE).exists() else None


def _source_of_row(segment: Segment, root: Path, moved_us: int) -> Source:
    return Source(
        key=segment.key,
        media=root,
        run=segment.run,
        seq=segment.seq,
        first_chunk=segment.first_chunk,
        start_us=segment.start_us,
        end_us=segment.end_us,
        size_bytes=segment.size_bytes,
        fragment_count=segment.fragments,
        moved_us=moved_us,
        header_sha256=segment.header_sha256,
        growing=False,
    )


async def _read_all(listed: Sequence[Source], formats: dict[bytes, Format]) -> tuple[list[Source], bool]:
    """The sources with their fragments and formats, and whether one of the files was not there."""
    found: list[Source] = []
    vanished = False
    for at in range(0, len(listed), _BATCH):
        read = await asyncio.to_thread(_read_batch, listed[at : at + _BATCH], formats)
        found += [source for source in read if source is not None]
        vanished = vanished or None in read
    return found, vanished


def _read_batch(batch: Sequence[Source], formats: dict[bytes, Format]) -> list[Source | None]:
    """None stands for a file that is not there; one that cannot be read is left out."""
    read: list[Source | None] = []
    for source in batch:
        try:
            with source.path.open("rb", buffering=4096) as file:
                format_ = _format_of(source, file, formats)
                fragments = _fragments(file, source.moved_us)
            read.append(replace(source, format=format_, fragments=fragments))
        except FileNotFoundError:
            read.append(None)
        except (BadBox, OSError):
            continue
    return read


async def _reach_back(index: Index, found: list[Source], start_us: int) -> list[Source]:
    """Adds the files before one without a key frame at or before start_us: it goes on where they end (a
    camera that sends one key frame and never another, 8.9)."""
    more: list[Source] = []
    for source in found:
        at = source
        for _ in range(_MOST_BACK):
            if at.start_us > start_us or at.fragments is None or _has_key(at, start_us):
                break
            rows = await _rows(index, at.key, at.start_us - 1_000_000, at.start_us)
            before = [one for one in rows if (one.run, one.seq) == (at.run, at.seq - 1)]
            read, _ = await _read_all(before, {})
            if not read:
                break
            at = read[0]
            more.append(at)
    return found + [one for one in more if (one.run, one.seq) not in {(o.run, o.seq) for o in found}]


def _has_key(source: Source, start_us: int) -> bool:
    return any(
        FragmentFlags.KEY in fragment.flags and fragment.start_us <= start_us
        for fragment in source.fragments or ()
    )


def _with_formats(listed: Sequence[Source]) -> list[Source]:
    """Reads one header of each kind; a file whose kind cannot be learnt is left out. Blocks."""
    formats = {one.header_sha256: one.format for one in listed if one.format is not None}
    found = []
    for source in listed:
        if source.header_sha256 not in formats:
            try:
                with source.path.open("rb", buffering=4096) as file:
                    _format_of(source, file, formats)
            except (BadBox, OSError):
                continue
        found.append(replace(source, format=formats[source.header_sha256]))
    return found


def _format_of(source: Source, file: BinaryIO, formats: dict[bytes, Format]) -> Format:
    known = formats.get(source.header_sha256)
    if known is None:
        known = _format(read_header(file))
        if known.header_sha256 != source.header_sha256:
            raise BadBox(f"{source.path} does not begin as its row says")
        formats[source.header_sha256] = known
    return known


def _fragments(file: BinaryIO, moved_us: int) -> tuple[Fragment, ...]:
    try:
        fragments = tuple(read_table(file)[0])
    except BadBox:
        # Adopted on a full disk, or damaged since: every fragment with a right seal is still good.
        fragments = scan(file).fragments
    if moved_us:
        return tuple(replace(one, start_us=one.start_us + moved_us) for one in fragments)
    return fragments


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
