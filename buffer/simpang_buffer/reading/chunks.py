"""What travels to a centre: whole chunks, each one object that is the same whoever asked for which range.

    ftyp moov { moof mdat }* mfra

Decode times are the run's. Nothing is taken from the request, the clock or the state of the file, so a chunk
cut from the open tail is, byte for byte, the one cut later from the closed file.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from simpang_buffer.index.index import Index
from simpang_buffer.media.boxes import MAX_MOOF_BYTES
from simpang_buffer.media.fmp4 import VIDEO_TRACK
from simpang_buffer.media.seal import SEAL_BYTES, BadBox, first_digest, parse_seal_box
from simpang_buffer.model import VIDEO_TIMESCALE, Fragment, FragmentFlags, StreamKey
from simpang_buffer.reading.clips import Clip
from simpang_buffer.reading.errors import Altered
from simpang_buffer.reading.heads import unreadable, vanished
from simpang_buffer.reading.moof import moof_size, samples_of
from simpang_buffer.reading.seek_boxes import AccessPoint, mfra, mfra_bytes
from simpang_buffer.reading.sources import Source, detailed, sources
from simpang_buffer.reading.tail import Tails


@dataclass(frozen=True, slots=True)
class Chunk:
    """One complete chunk.

    number: in its run, from 0. size_bytes: of the object. seal: the hash in its last fragment's seal.
    ends_run: no chunk of the run follows; known only once a later run has begun. starts_file: no fragment
    stands before it in its file.
    """

    key: StreamKey
    run: int
    number: int
    start_us: int
    duration_us: int
    size_bytes: int
    codec: str
    width: int
    height: int
    audio_entry: str | None
    seal: bytes
    ends_run: bool
    starts_file: bool
    init: bytes = field(repr=False)
    path: Path = field(repr=False)
    fragments: tuple[Fragment, ...] = field(repr=False)


async def chunks(index: Index, tails: Tails, clip: Clip) -> list[Chunk]:
    """The complete chunks that hold the clip's footage, in the order they were recorded.

    Their boundaries are the run's, so the first may start before the clip and the last end after it. The
    chunk that is still being written is left out. Raises what reading the index raises.
    """
    if not clip.parts:
        return []
    wanted = await asyncio.to_thread(_wanted, clip)
    start_us = min(part.start_us for part in clip.parts)
    end_us = max(part.end_us for part in clip.parts)
    files = await sources(index, tails, clip.key, start_us, end_us)
    last_seqs = await _last_seqs(index, tails, clip.key, {run for run, _ in wanted})
    found: list[Chunk] = []
    for file in files:
        cut = [
            one for one in _cut(clip.key, file, last_seqs.get(file.run)) if (one.run, one.number) in wanted
        ]
        found += await asyncio.to_thread(_with_seals, cut)
    return found


@dataclass(frozen=True, slots=True)
class ChunkBody:
    """A chunk as an object to be sent, however large: its size and hash, and its bytes as often as wanted."""

    size_bytes: int
    sha256: bytes
    _chunk: Chunk
    _end: bytes = field(repr=False)

    def blocks(self) -> Iterator[bytes]:
        """The object's bytes in order. Blocks. Raises Vanished and Altered."""
        yield self._chunk.init
        with _opened(self._chunk) as file:
            for fragment in self._chunk.fragments:
                yield from _blocks(file, fragment.offset, fragment.size_bytes)
        yield self._end


def chunk_body(chunk: Chunk) -> ChunkBody:
    """The object, after one pass over the recorded bytes in which they are checked against their seals.

    Blocks: call it in a thread. Raises Vanished when the file was deleted meanwhile, Altered when it does not
    hold what was sealed.
    """
    whole = hashlib.sha256(chunk.init)
    points: list[AccessPoint] = []
    offset = len(chunk.init)
    try:
        with _opened(chunk) as file:
            digest = _digest_before(chunk, file)
            for fragment in chunk.fragments:
                sealed = hashlib.sha256(digest)
                head = b""
                for block in _blocks(file, fragment.offset, fragment.size_bytes):
                    head = head or block
                    sealed.update(block)
                    whole.update(block)
                digest = sealed.digest()
                if parse_seal_box(file.read(SEAL_BYTES)).digest != digest:
                    raise BadBox(f"the seal at {fragment.offset + fragment.size_bytes} does not fit")
                if FragmentFlags.KEY in fragment.flags:
                    points.append(AccessPoint(fragment.decode_time + _first_offset(head), offset))
                offset += fragment.size_bytes
    except BadBox as error:
        raise Altered(
            f"{chunk.path} does not hold what was sealed ({error}); `simpang buffer check --deep` tells more"
        ) from error
    end = mfra(VIDEO_TRACK, points)
    whole.update(end)
    return ChunkBody(chunk.size_bytes, whole.digest(), chunk, end)


def _wanted(clip: Clip) -> set[tuple[int, int]]:
    """Run and number of each chunk with a fragment of the clip."""
    return {
        (one.source.run, number)
        for part in clip.parts
        for one in part.slices
        for number, _ in list(detailed(one.source).numbered())[one.first : one.stop]
    }


def _cut(key: StreamKey, file: Source, last_seq: int | None) -> Iterator[Chunk]:
    """The complete chunks of a file, seals not yet read. last_seq: of the run's last file, if it ended."""
    groups = [
        (number, tuple(fragment for _, fragment in group))
        for number, group in groupby(file.numbered(), key=itemgetter(0))
    ]
    if file.growing:
        groups = groups[:-1]
    format_ = file.format
    if format_ is None:
        return
    for at, (number, fragments) in enumerate(groups):
        keys = sum(FragmentFlags.KEY in fragment.flags for fragment in fragments)
        data_bytes = sum(fragment.size_bytes for fragment in fragments)
        yield Chunk(
            key=key,
            run=file.run,
            number=number,
            start_us=fragments[0].start_us,
            duration_us=sum(fragment.duration for fragment in fragments) * 1_000_000 // VIDEO_TIMESCALE,
            size_bytes=len(format_.init) + data_bytes + mfra_bytes(keys),
            codec=format_.codec,
            width=format_.width,
            height=format_.height,
            audio_entry=format_.audio_entry,
            seal=b"",
            ends_run=file.seq == last_seq and at == len(groups) - 1,
            starts_file=at == 0,
            init=format_.init,
            path=file.path,
            fragments=fragments,
        )


async def _last_seqs(index: Index, tails: Tails, key: StreamKey, runs: set[int]) -> dict[int, int]:
    """For those of the runs that have ended: the sequence number of their last file."""
    tail = tails(key)
    open_runs = {file.header.run for file in (*tail.before, tail)} if tail else set()
    newest = await index.newest_run(key)
    newest_run = max(open_runs | ({newest.run} if newest else set()), default=-1)
    last: dict[int, int] = {}
    for number in runs - open_runs:
        run = await index.run(key, number)
        # Between two files of a run that goes on there is a second without an open one: that tells nothing.
        if run is not None and run.run < newest_run:
            last[number] = run.last_seq
    return last


def _with_seals(cut: Sequence[Chunk]) -> list[Chunk]:
    """Reads the chunks' seals, all from one file; none when it was deleted meanwhile or cannot be read."""
    if not cut:
        return []
    found = []
    with contextlib.suppress(OSError, BadBox), cut[0].path.open("rb", buffering=0) as file:
        for chunk in cut:
            last = chunk.fragments[-1]
            file.seek(last.offset + last.size_bytes)
            found.append(replace(chunk, seal=parse_seal_box(file.read(SEAL_BYTES)).digest))
    return found


@contextlib.contextmanager
def _opened(chunk: Chunk) -> Iterator[BinaryIO]:
    try:
        with chunk.path.open("rb", buffering=0) as file:
            yield file
    except FileNotFoundError as error:
        raise vanished(chunk.path) from error
    except OSError as error:
        raise unreadable(chunk.path, error) from error


def _blocks(file: BinaryIO, offset: int, size_bytes: int) -> Iterator[bytes]:
    """A fragment; the first block holds its whole moof."""
    file.seek(offset)
    left = size_bytes
    while left:
        block = file.read(min(left, MAX_MOOF_BYTES))
        if not block:
            raise Altered(f"{file.name} is shorter than its table says; `simpang buffer check` tells more")
        left -= len(block)
        yield block


def _digest_before(chunk: Chunk, file: BinaryIO) -> bytes:
    """What the first fragment's seal builds on: all that stands before it, or the seal before it."""
    first = chunk.fragments[0]
    if chunk.starts_file:
        file.seek(0)
        return first_digest(file.read(first.offset))
    file.seek(first.offset - SEAL_BYTES)
    return parse_seal_box(file.read(SEAL_BYTES)).digest


def _first_offset(head: bytes) -> int:
    """Composition offset of a fragment's first picture."""
    video = samples_of(head[: moof_size(head)], VIDEO_TRACK)
    if video is None or not video.pts_offsets:
        raise BadBox("fragment without video")
    return video.pts_offsets[0]
