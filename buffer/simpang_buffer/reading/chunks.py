"""What travels to a centre: whole chunks, each one object that is the same whoever asked for which range.

    ftyp moov { moof mdat }* mfra

Decode times are the run's. Nothing is taken from the request, the clock or the state of the file, so a chunk
cut from the open tail is, byte for byte, the one cut later from the closed file.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from simpang_buffer.index.index import Index
from simpang_buffer.media.boxes import parse_moof
from simpang_buffer.media.fmp4 import VIDEO_TRACK
from simpang_buffer.media.seal import SEAL_BYTES, BadBox, first_digest, parse_seal_box, seal_digest
from simpang_buffer.model import VIDEO_TIMESCALE, Fragment, FragmentFlags, StreamKey
from simpang_buffer.reading.clips import Clip
from simpang_buffer.reading.errors import Altered, TooLarge, Vanished
from simpang_buffer.reading.seek_boxes import AccessPoint, mfra, mfra_bytes
from simpang_buffer.reading.sources import Source, sources
from simpang_buffer.reading.tail import Tails

# Four minutes of 4 Mbit/s: cameras that send key frames hours apart (8.9) must not fill the memory.
MAX_CHUNK_BYTES = 128 << 20
# A trun of ours (14496-12 section 8.8.8): size, type, flags, count, data offset; then of the first sample its
# duration, size, flags and, where the flags say so, composition offset.
_TRUN_OFFSET = 0x800
_FIRST_SAMPLE = struct.Struct(">4x4sI4x4x12xi")


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
    pieces = [piece for part in clip.parts for piece in part.pieces]
    if not pieces:
        return []
    wanted = {(piece.run, piece.chunk) for piece in pieces}
    start_us = min(piece.fragment.start_us for piece in pieces)
    end_us = max(piece.fragment.end_us for piece in pieces)
    files = await sources(index, tails, clip.key, start_us, end_us)
    last_seqs = await _last_seqs(index, tails, clip.key, {run for run, _ in wanted})
    found: list[Chunk] = []
    for file in files:
        cut = [
            one for one in _cut(clip.key, file, last_seqs.get(file.run)) if (one.run, one.number) in wanted
        ]
        found += await asyncio.to_thread(_with_seals, cut)
    return found


def chunk_bytes(chunk: Chunk) -> bytes:
    """The object. Blocks: call it in a thread. The recorded bytes are checked against their seals first.

    Raises Vanished when the file was deleted meanwhile, Altered when it does not hold what was sealed,
    TooLarge beyond MAX_CHUNK_BYTES.
    """
    if chunk.size_bytes > MAX_CHUNK_BYTES:
        raise TooLarge(
            f"{chunk.key}: {chunk.size_bytes >> 20} MB between two key frames are too much to send at once; "
            "set the camera's key frame interval to some seconds"
        )
    first, last = chunk.fragments[0], chunk.fragments[-1]
    try:
        with chunk.path.open("rb") as file:
            # The first seal of a file builds on all that stands before it; any other on the seal before it.
            before_at = 0 if chunk.starts_file else first.offset - SEAL_BYTES
            file.seek(before_at)
            recorded = memoryview(file.read(last.offset + last.size_bytes + SEAL_BYTES - before_at))
    except FileNotFoundError as error:
        raise Vanished(f"{chunk.path} was deleted while it was read; ask for the range again") from error
    try:
        bodies = _checked(chunk, recorded, before_at)
        points = _access_points(chunk, bodies)
    except (BadBox, struct.error) as error:
        raise Altered(
            f"{chunk.path} does not hold what was sealed ({error}); `simpang buffer check --deep` tells more"
        ) from error
    return b"".join((chunk.init, *bodies, mfra(VIDEO_TRACK, points)))


def _cut(key: StreamKey, file: Source, last_seq: int | None) -> Iterator[Chunk]:
    """The complete chunks of a file, seals not yet read. last_seq: of the run's last file, if it ended."""
    groups = [
        (number, tuple(fragment for _, fragment in group))
        for number, group in groupby(file.numbered(), key=itemgetter(0))
    ]
    if file.growing:
        groups = groups[:-1]
    for at, (number, fragments) in enumerate(groups):
        keys = sum(FragmentFlags.KEY in fragment.flags for fragment in fragments)
        data_bytes = sum(fragment.size_bytes for fragment in fragments)
        yield Chunk(
            key=key,
            run=file.run,
            number=number,
            start_us=fragments[0].start_us,
            duration_us=sum(fragment.duration for fragment in fragments) * 1_000_000 // VIDEO_TIMESCALE,
            size_bytes=len(file.format.init) + data_bytes + mfra_bytes(keys),
            codec=file.format.codec,
            width=file.format.width,
            height=file.format.height,
            audio_entry=file.format.audio_entry,
            seal=b"",
            ends_run=file.seq == last_seq and at == len(groups) - 1,
            starts_file=at == 0,
            init=file.format.init,
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


def _checked(chunk: Chunk, recorded: memoryview, before_at: int) -> list[memoryview]:
    """Each fragment's moof and mdat, if every seal fits."""
    first = chunk.fragments[0]
    head = recorded[: first.offset - before_at]
    digest = first_digest(head) if chunk.starts_file else parse_seal_box(head).digest
    bodies = []
    for fragment in chunk.fragments:
        start = fragment.offset - before_at
        body = recorded[start : start + fragment.size_bytes]
        digest = seal_digest(digest, [body])
        seal = recorded[start + fragment.size_bytes :][:SEAL_BYTES]
        if parse_seal_box(seal).digest != digest:
            raise BadBox(f"the seal at {fragment.offset + fragment.size_bytes} does not fit")
        bodies.append(body)
    return bodies


def _access_points(chunk: Chunk, bodies: Sequence[memoryview]) -> list[AccessPoint]:
    points = []
    offset = len(chunk.init)
    for fragment, body in zip(chunk.fragments, bodies, strict=True):
        if FragmentFlags.KEY in fragment.flags:
            points.append(AccessPoint(fragment.decode_time + _first_offset(body), offset))
        offset += len(body)
    return points


def _first_offset(body: memoryview) -> int:
    """Composition offset of a fragment's first picture; its `trun` stands right behind its `tfdt`."""
    moof = bytes(body[: int.from_bytes(body[:4], "big")])
    video = next((track for track in parse_moof(moof) if track.track_id == VIDEO_TRACK), None)
    if video is None:
        raise BadBox("fragment without video")
    kind, flags, offset = _FIRST_SAMPLE.unpack_from(moof, video.time_offset + video.time_bytes)
    return offset if kind == b"trun" and flags & _TRUN_OFFSET else 0
