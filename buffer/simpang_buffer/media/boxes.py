"""Reads our media files back, trusting no length in them: headers, tables, torn files up to the last seal.

Errors: BadBox, for whatever is not as we write it. What the operating system raises passes through.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from simpang_buffer.media.fmp4 import AUDIO_TRACK, VIDEO_TRACK
from simpang_buffer.media.seal import (
    MAX_RUN_BYTES,
    RUN_UUID,
    SEAL_BYTES,
    TABLE_END_BYTES,
    TABLE_UUID,
    TIME_LIMIT_US,
    UUID_HEADER_BYTES,
    BadBox,
    first_digest,
    parse_run_box,
    parse_seal_box,
    parse_table,
    table_size,
)
from simpang_buffer.model import Fragment, RunHeader

# Ours is 28 bytes.
MAX_FTYP_BYTES = 1024
# Parameter sets are the only part that a camera sizes: at most 64 kB each, a handful of them.
MAX_MOOV_BYTES = 1 << 20
# 16 bytes a sample; a fragment of a second holds tens of pictures and audio frames.
MAX_MOOF_BYTES = 1 << 20
# mdat is hashed in blocks, so its size never becomes memory.
_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before a file's first fragment.

    init: ftyp and moov. end: offset of the first moof. start_digest: `previous` of the first seal.
    audio_entry: four characters of the audio sample entry ("mp4a", "alaw", "ulaw").
    """

    init: bytes
    run: RunHeader
    width: int
    height: int
    video_timescale: int
    audio_entry: str | None
    audio_timescale: int | None
    end: int
    start_digest: bytes

    @property
    def codec(self) -> str:
        return self.run.codec

    @property
    def header_sha256(self) -> bytes:
        """What tells parts apart: SHA-256 of ftyp and moov."""
        return hashlib.sha256(self.init).digest()


@dataclass(frozen=True, slots=True)
class Scan:
    """A file read from its start. fragments: all up to the first that is torn, zeroed or altered.

    good_end: offset behind the last good seal. seal: its hash (start_digest when there is none). closed: a
    right fragment table, and nothing else, stands behind it.
    """

    header: Header
    fragments: tuple[Fragment, ...]
    good_end: int
    seal: bytes
    closed: bool


@dataclass(frozen=True, slots=True)
class TrackFragment:
    """One `traf`. time_offset, time_bytes: where in the moof its decode time stands, for rewriting it."""

    track_id: int
    decode_time: int
    time_offset: int
    time_bytes: int
    durations: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def duration(self) -> int:
        return sum(self.durations)


def read_header(file: BinaryIO) -> Header:
    """ftyp, moov and the run box, from offset 0."""
    file.seek(0)
    ftyp = _read_box(file, b"ftyp", MAX_FTYP_BYTES)
    moov = _read_box(file, b"moov", MAX_MOOV_BYTES)
    run = _read_box(file, b"uuid", MAX_RUN_BYTES)
    if run[8:UUID_HEADER_BYTES] != RUN_UUID:
        raise BadBox("no run box after moov")
    width, height, timescales, audio_entry = _parse_moov(moov)
    head = ftyp + moov + run
    return Header(
        init=ftyp + moov,
        run=parse_run_box(run[UUID_HEADER_BYTES:]),
        width=width,
        height=height,
        video_timescale=timescales[VIDEO_TRACK],
        audio_entry=audio_entry,
        audio_timescale=timescales.get(AUDIO_TRACK),
        end=len(head),
        start_digest=first_digest(head),
    )


def read_table(file: BinaryIO) -> tuple[list[Fragment], bytes]:
    """A closed file's fragments and the hash of its last seal, in two small reads.

    Raises BadBox when the file was never closed, or its table does not fit the file.
    """
    file_bytes = file.seek(0, 2)
    if file_bytes < TABLE_END_BYTES:
        raise BadBox("too short to hold a fragment table")
    file.seek(file_bytes - TABLE_END_BYTES)
    size = table_size(_read(file, TABLE_END_BYTES))
    if size > file_bytes:
        raise BadBox("fragment table is larger than its file")
    file.seek(file_bytes - size)
    whole = _read(file, size)
    if whole[:4] != size.to_bytes(4, "big") or whole[4:8] != b"uuid" or whole[8:24] != TABLE_UUID:
        raise BadBox("the file does not end with a fragment table")
    fragments, seal = parse_table(whole[UUID_HEADER_BYTES:])
    if fragments:
        last = fragments[-1]
        if last.offset + last.size_bytes + SEAL_BYTES != file_bytes - size:
            raise BadBox("fragment table does not fit its file")
    return fragments, seal


def scan(file: BinaryIO) -> Scan:
    """Every fragment whose seal is right, in order, up to the first that is not. Reads the whole file.

    Raises BadBox when not even the header is whole: such a file holds nothing.
    """
    header = read_header(file)
    file_bytes = file.seek(0, 2)
    fragments: list[Fragment] = []
    good_end, seal = header.end, header.start_digest
    while True:
        try:
            fragment, digest = _read_fragment(file, good_end, file_bytes, seal)
        except BadBox:
            break
        fragments.append(fragment)
        good_end += fragment.size_bytes + SEAL_BYTES
        seal = digest
    return Scan(header, tuple(fragments), good_end, seal, _is_closed(file, fragments, good_end, seal))


def read_moof(file: BinaryIO, offset: int) -> bytes:
    """The moof that stands at `offset` (a Fragment's offset)."""
    file.seek(offset)
    return _read_box(file, b"moof", MAX_MOOF_BYTES)


def parse_moof(moof: bytes) -> tuple[TrackFragment, ...]:
    """The track fragments of a whole moof box (14496-12 section 8.8.4)."""
    tracks = []
    for kind, start, end in _children(moof, 8, len(moof)):
        if kind == b"traf":
            tracks.append(_parse_traf(moof, start, end))
    return tuple(tracks)


def _read_fragment(file: BinaryIO, offset: int, file_bytes: int, previous: bytes) -> tuple[Fragment, bytes]:
    moof = read_moof(file, offset)
    digest = hashlib.sha256(previous)
    digest.update(moof)
    mdat_header = _read(file, 8)
    mdat_bytes, kind = struct.unpack(">I4s", mdat_header)
    if kind != b"mdat" or not 8 <= mdat_bytes <= file_bytes - offset - len(moof) - SEAL_BYTES:
        raise BadBox("no whole mdat behind the moof")
    digest.update(mdat_header)
    left = mdat_bytes - 8
    while left:
        block = _read(file, min(left, _BLOCK_BYTES))
        digest.update(block)
        left -= len(block)
    seal = parse_seal_box(_read(file, SEAL_BYTES))
    if seal.digest != digest.digest():
        raise BadBox("seal does not fit its fragment")
    video = [track for track in parse_moof(moof) if track.track_id == VIDEO_TRACK]
    if len(video) != 1:
        raise BadBox("fragment without video")
    duration = video[0].duration
    if video[0].decode_time >= TIME_LIMIT_US or seal.wall_us >= TIME_LIMIT_US or duration >= 1 << 32:
        raise BadBox("fragment's time is out of range")
    size_bytes = len(moof) + mdat_bytes
    return Fragment(
        offset=offset,
        size_bytes=size_bytes,
        decode_time=video[0].decode_time,
        duration=duration,
        start_us=seal.wall_us,
        flags=seal.flags,
        frames=len(video[0].durations),
    ), seal.digest


def _is_closed(file: BinaryIO, fragments: list[Fragment], good_end: int, seal: bytes) -> bool:
    try:
        listed, listed_seal = read_table(file)
    except BadBox:
        return False
    # A table without fragments says nothing about where it stands.
    return bool(listed) and listed == fragments and listed_seal == seal


def _parse_moov(moov: bytes) -> tuple[int, int, dict[int, int], str | None]:
    """Width and height of the video sample entry, timescale by track, kind of the audio sample entry."""
    timescales: dict[int, int] = {}
    size: tuple[int, int] | None = None
    audio_entry: str | None = None
    for kind, start, end in _children(moov, 8, len(moov)):
        if kind != b"trak":
            continue
        track_id = _u32(moov, _find(moov, start, end, b"tkhd")[0] + 12, end)
        media = _find(moov, start, end, b"mdia")
        timescales[track_id] = _u32(moov, _find(moov, *media, b"mdhd")[0] + 12, end)
        tables = _find(moov, *_find(moov, *media, b"minf"), b"stbl")
        description_start, description_end = _find(moov, *tables, b"stsd")
        entry_kind, entry_start, entry_end = next(
            _children(moov, description_start + 8, description_end), (b"", 0, 0)
        )
        if track_id == VIDEO_TRACK:
            if entry_end - entry_start < 28:
                raise BadBox("video sample entry is too short")
            size = struct.unpack_from(">HH", moov, entry_start + 24)
        elif track_id == AUDIO_TRACK:
            audio_entry = entry_kind.decode("ascii", "replace")
    if size is None:
        raise BadBox("moov without a video track")
    return *size, timescales, audio_entry


def _parse_traf(moof: bytes, start: int, end: int) -> TrackFragment:
    header, _ = _find(moof, start, end, b"tfhd")
    time, time_end = _find(moof, start, end, b"tfdt")
    run, run_end = _find(moof, start, end, b"trun")
    time_bytes = 8 if _u32(moof, time, time_end) >> 24 == 1 else 4
    if time + 4 + time_bytes > time_end:
        raise BadBox("tfdt is too short")
    flags = _u32(moof, run, run_end) & 0xFF_FFFF
    count = _u32(moof, run + 4, run_end)
    first = run + 8 + 4 * bool(flags & 0x001) + 4 * bool(flags & 0x004)
    columns = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    # Ours always state duration and size for each sample; the count is bounded by the bytes that are there.
    if columns[:2] != [0x100, 0x200] or first + count * 4 * len(columns) > run_end:
        raise BadBox("trun is not one of ours")
    fields = struct.unpack_from(f">{count * len(columns)}I", moof, first)
    return TrackFragment(
        track_id=_u32(moof, header + 4, end),
        decode_time=int.from_bytes(moof[time + 4 : time + 4 + time_bytes], "big"),
        time_offset=time + 4,
        time_bytes=time_bytes,
        durations=fields[:: len(columns)],
        sizes=fields[1 :: len(columns)],
    )


def _children(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of the payload of each box in data[start:end]. Each step is at least 8 bytes."""
    while start < end:
        size = _u32(data, start, end)
        if size < 8 or start + size > end:
            raise BadBox(f"box of {size} bytes at {start} leaves its parent")
        yield data[start + 4 : start + 8], start + 8, start + size
        start += size


def _find(data: bytes, start: int, end: int, kind: bytes) -> tuple[int, int]:
    for found, child_start, child_end in _children(data, start, end):
        if found == kind:
            return child_start, child_end
    raise BadBox(f"no {kind.decode()} box")


def _u32(data: bytes, at: int, end: int) -> int:
    if at + 4 > end:
        raise BadBox("box is too short")
    return int.from_bytes(data[at : at + 4], "big")


def _read_box(file: BinaryIO, kind: bytes, limit: int) -> bytes:
    head = _read(file, 8)
    size = int.from_bytes(head[:4], "big")
    if head[4:] != kind or not 8 <= size <= limit:
        raise BadBox(f"no {kind.decode()} box of at most {limit} bytes")
    return head + _read(file, size - 8)


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise BadBox("the file ends within a box")
    return data
