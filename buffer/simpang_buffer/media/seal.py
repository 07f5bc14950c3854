"""The buffer's own boxes: whose file it is (run), what was written (seal), and where it all is (table).

Each is a `uuid` box (14496-12 section 4.2), which every player skips.

    run     after `moov`: JSON {v, site, camera, stream, run, seq, codec, anchor_us, anchor_source,
            camera_offset_us, previous_end, first_chunk[, boot_id, anchor_boot_us]}
    seal    after each `mdat`: wall_us u64, flags u32, SHA-256(previous seal's hash, moof, mdat);
            the first one's previous is SHA-256 of everything before it: ftyp, moov and the run box
    table   at the end of a closed file: version u32, count u32, entries, last seal's hash, CRC-32 of all
            that; then the size of the whole box and a magic word, so that it is found from the end
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from simpang_buffer.model import (
    VIDEO_TIMESCALE,
    AnchorSource,
    Fragment,
    FragmentFlags,
    GapReason,
    RunHeader,
)

# typing has no name for this before Python 3.12.
Buffer: TypeAlias = bytes | bytearray | memoryview

RUN_UUID = bytes.fromhex("649b6cae82204ff299a3d3c494e365ed")
SEAL_UUID = bytes.fromhex("fbeccada56264614a7ffebb49246317c")
TABLE_UUID = bytes.fromhex("4b766ef03066477f82b1c2e4005a01bd")

UUID_HEADER_BYTES = 24
SEAL_BYTES = UUID_HEADER_BYTES + 8 + 4 + 32
HASH_BYTES = 32
# Ids are at most 32 characters each (CONTRACT: `[a-z0-9-]{1,32}`), so this is ample.
MAX_RUN_BYTES = 4096
TABLE_END_BYTES = 8
TABLE_MAGIC = b"spTB"
# A segment of a minute holds about 60; a key frame each 0.1 s for an hour would be 36,000.
MAX_TABLE_FRAGMENTS = 100_000

_ID = re.compile(r"[a-z0-9-]{1,32}")
_RUN_VERSION = 1
_TABLE_VERSION = 1
_SEAL = struct.Struct(">I4s16sQI32s")
_ENTRY = struct.Struct(">QIQIQII")
_TABLE_HEAD = struct.Struct(">II")
_TABLE_EXTRA_BYTES = UUID_HEADER_BYTES + _TABLE_HEAD.size + HASH_BYTES + 4 + TABLE_END_BYTES
MAX_TABLE_BYTES = _TABLE_EXTRA_BYTES + MAX_TABLE_FRAGMENTS * _ENTRY.size


# What a database can hold with room to add to it; 146,000 years.
TIME_LIMIT_US = 1 << 62


class BadBox(ValueError):
    """A box that is not what we write: foreign, torn or altered."""


@dataclass(frozen=True, slots=True)
class Seal:
    """One seal as read. digest: what the next seal's hash begins with."""

    wall_us: int
    flags: FragmentFlags
    digest: bytes


def run_box(header: RunHeader) -> bytes:
    """The `uuid` box after `moov`. Deterministic: keys in a fixed order, no blanks."""
    fields = {"v": _RUN_VERSION, "site": header.site, "camera": header.camera, "stream": header.stream}
    fields |= run_fields(header)
    return _uuid_box(RUN_UUID, json.dumps(fields, separators=(",", ":")).encode())


def run_fields(header: RunHeader) -> dict[str, Any]:
    """A run header as JSON, but for its camera and stream."""
    fields = {
        "site": header.site,
        "run": header.run,
        "seq": header.seq,
        "codec": header.codec,
        "anchor_us": header.anchor_us,
        "anchor_source": header.anchor_source.value,
        "camera_offset_us": header.camera_offset_us,
        "previous_end": header.previous_end.value if header.previous_end else None,
        "first_chunk": header.first_chunk,
    }
    if header.boot_id is not None:
        fields |= {"boot_id": header.boot_id, "anchor_boot_us": header.anchor_boot_us}
    return fields


def run_header(fields: Mapping[str, Any]) -> RunHeader:
    """From `run_fields`, with camera and stream. Raises BadBox for what is no run header."""
    try:
        offset = fields["camera_offset_us"]
        previous_end = fields["previous_end"]
        boot_id = fields.get("boot_id")
        return RunHeader(
            site=_id(fields["site"]),
            camera=_id(fields["camera"]),
            stream=_id(fields["stream"]),
            run=_count(fields["run"]),
            seq=_count(fields["seq"]),
            codec=_text(fields["codec"]),
            anchor_us=_whole(fields["anchor_us"]),
            anchor_source=AnchorSource(fields["anchor_source"]),
            camera_offset_us=None if offset is None else _whole(offset),
            previous_end=None if previous_end is None else GapReason(previous_end),
            first_chunk=_count(fields["first_chunk"]),
            boot_id=None if boot_id is None else _text(boot_id)[:64],
            anchor_boot_us=None if boot_id is None else _whole(fields["anchor_boot_us"]),
        )
    except BadBox:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadBox(f"not a run header: {type(error).__name__}") from error


def parse_run_box(payload: bytes) -> RunHeader:
    """From what follows the UUID. Raises BadBox when it is not a run header of a version we know."""
    try:
        fields = json.loads(payload)
        version = fields["v"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadBox(f"not a run header: {type(error).__name__}") from error
    if version != _RUN_VERSION:
        raise BadBox(f"run header of version {version!r}")
    return run_header(fields)


def first_digest(head: Buffer) -> bytes:
    """What the first seal's hash begins with: SHA-256 of the file up to the first `moof`."""
    return hashlib.sha256(head).digest()


def seal_digest(previous: bytes, fragment_buffers: Iterable[Buffer]) -> bytes:
    """SHA-256 over the previous digest and a fragment's `moof` and `mdat`."""
    digest = hashlib.sha256(previous)
    for buffer in fragment_buffers:
        digest.update(buffer)
    return digest.digest()


def seal_box(
    previous: bytes, fragment_buffers: Iterable[Buffer], wall_us: int, flags: FragmentFlags
) -> tuple[bytes, bytes]:
    """The seal of one fragment, and the digest that the next one takes as `previous`."""
    digest = seal_digest(previous, fragment_buffers)
    return _SEAL.pack(SEAL_BYTES, b"uuid", SEAL_UUID, wall_us, flags, digest), digest


def parse_seal_box(whole: Buffer) -> Seal:
    """From the whole box of SEAL_BYTES. Raises BadBox when it is none."""
    try:
        size, kind, extended, wall_us, flags, digest = _SEAL.unpack(whole)
    except struct.error as error:
        raise BadBox("not a seal: wrong size") from error
    if size != SEAL_BYTES or kind != b"uuid" or extended != SEAL_UUID:
        raise BadBox("not a seal")
    return Seal(wall_us, FragmentFlags(flags), digest)


def table_box(fragments: Sequence[Fragment], final_seal: bytes) -> bytes:
    """The box that closes a file. Its last 8 bytes are its own size and TABLE_MAGIC."""
    entries = b"".join(
        _ENTRY.pack(
            fragment.offset,
            fragment.size_bytes,
            fragment.decode_time,
            fragment.duration,
            fragment.start_us,
            fragment.flags,
            fragment.frames,
        )
        for fragment in fragments
    )
    body = _TABLE_HEAD.pack(_TABLE_VERSION, len(fragments)) + entries + final_seal
    size = _TABLE_EXTRA_BYTES + len(entries)
    end = struct.pack(">II4s", zlib.crc32(body), size, TABLE_MAGIC)
    return _uuid_box(TABLE_UUID, body + end)


def table_bytes(fragments: int) -> int:
    """Size of the table box of a file of so many fragments."""
    return _TABLE_EXTRA_BYTES + fragments * _ENTRY.size


def table_size(end: bytes) -> int:
    """Size of the table box that a file's last TABLE_END_BYTES announce. Raises BadBox when they do not."""
    if len(end) != TABLE_END_BYTES or end[4:] != TABLE_MAGIC:
        raise BadBox("the file does not end with a fragment table")
    size = int.from_bytes(end[:4], "big")
    if not _TABLE_EXTRA_BYTES <= size <= MAX_TABLE_BYTES:
        raise BadBox(f"fragment table of {size} bytes")
    return size


def parse_table(payload: bytes) -> tuple[list[Fragment], bytes]:
    """Fragments and the last seal's hash, from what follows the UUID.

    Raises BadBox unless every byte is as `table_box` wrote it and the fragments follow one another, each with
    its seal, without a hole.
    """
    entries, seal = _table_entries(payload)
    fragments = []
    expected: int | None = None
    for offset, size_bytes, decode_time, duration, start_us, flags, frames in entries:
        if expected is not None and offset != expected:
            raise BadBox(f"fragment table has a hole at {expected}")
        expected = offset + size_bytes + SEAL_BYTES
        fragments.append(
            Fragment(offset, size_bytes, decode_time, duration, start_us, FragmentFlags(flags), frames)
        )
    return fragments, seal


@dataclass(frozen=True, slots=True)
class TableSummary:
    """What an index row needs of a table. first_offset and end: where its fragments with their seals lie."""

    fragments: int
    frames: int
    chunks: int
    start_us: int
    end_us: int
    first_offset: int
    end: int
    seal: bytes


def summarise_table(payload: bytes) -> TableSummary:
    """As `parse_table`, without an object per fragment, which is what reading thousands of files would cost.

    Raises BadBox for a table without a fragment as well.
    """
    entries, seal = _table_entries(payload)
    frames = chunks = end_us = 0
    first_us = first_offset = expected = None
    for offset, size_bytes, _, duration, start_us, flags, shown in entries:
        if expected is None:
            first_us, first_offset = start_us, offset
        elif offset != expected:
            raise BadBox(f"fragment table has a hole at {expected}")
        expected = offset + size_bytes + SEAL_BYTES
        frames += shown
        chunks += flags >> 1 & 1
        end_us = start_us + duration * 1_000_000 // VIDEO_TIMESCALE
    if first_us is None or first_offset is None or expected is None:
        raise BadBox("fragment table without a fragment")
    if max(first_us, end_us) >= TIME_LIMIT_US:
        raise BadBox("fragment table's time is out of range")
    count = (len(payload) - (_TABLE_EXTRA_BYTES - UUID_HEADER_BYTES)) // _ENTRY.size
    return TableSummary(count, frames, chunks, first_us, end_us, first_offset, expected, seal)


def _table_entries(payload: bytes) -> tuple[Iterator[tuple[int, ...]], bytes]:
    """Entries as `_ENTRY` packs them, and the last seal's hash."""
    fixed = _TABLE_EXTRA_BYTES - UUID_HEADER_BYTES
    if len(payload) < fixed or (len(payload) - fixed) % _ENTRY.size:
        raise BadBox(f"fragment table of {len(payload)} bytes")
    body = payload[: -(4 + TABLE_END_BYTES)]
    crc, size = struct.unpack(">II", payload[len(body) : len(body) + 8])
    version, count = _TABLE_HEAD.unpack_from(body)
    if crc != zlib.crc32(body) or size != UUID_HEADER_BYTES + len(payload):
        raise BadBox("fragment table is damaged")
    if version != _TABLE_VERSION or count != (len(payload) - fixed) // _ENTRY.size:
        raise BadBox(f"fragment table of version {version} with {count} entries")
    return _ENTRY.iter_unpack(body[_TABLE_HEAD.size : -HASH_BYTES]), body[-HASH_BYTES:]


def _uuid_box(extended: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s16s", UUID_HEADER_BYTES + len(payload), b"uuid", extended) + payload


def _id(value: object) -> str:
    # Ids become parts of paths, so what is not one is refused here.
    text = _text(value)
    if not _ID.fullmatch(text):
        raise BadBox(f"run header has {text!r:.40} for an id")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadBox(f"run header has {value!r:.40} for a text")
    return value


def _count(value: object) -> int:
    if (number := _whole(value)) < 0:
        raise BadBox(f"run header has {number} for a count")
    return number


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value < 1 << 63:
        raise BadBox(f"run header has {value!r:.40} for a number")
    return value
