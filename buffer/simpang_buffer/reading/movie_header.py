"""A file's `ftyp` and `moov` as a viewer gets them: with an edit list, another sound, fewer tracks. Pure.

The header is one that `fmp4.init_segment` wrote. Raises BadBox where it is not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from simpang_buffer.media.fmp4 import AUDIO_TRACK, VIDEO_TRACK
from simpang_buffer.media.seal import BadBox

_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex"})
# Where the track's id stands behind the box header: tkhd of version 0 has two times before it.
_TRACK_ID_AT = {b"tkhd": 12, b"trex": 4}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples that lie together in the file. offset: of the first one's bytes, from the file's start."""

    offset: int
    sizes: Sequence[int]


@dataclass(frozen=True, slots=True)
class FirstSamples:
    """Pictures that the `moov` itself lists, in decode order; all others are in fragments."""

    durations: Sequence[int]
    pts_offsets: Sequence[int]
    keys: Sequence[bool]
    chunks: Sequence[Chunk]


def timescales(init: bytes) -> dict[int, int]:
    """Ticks a second, by track."""
    found = {}
    for track in _tracks(_parsed(init)):
        header = _find(track, b"mdia", b"mdhd")
        found[_id_of(track)] = int.from_bytes(header.payload[12:16], "big")
    return found


def sound_channels(init: bytes) -> int:
    """Of the audio track, as its sample entry says; 0 without one."""
    for track in _tracks(_parsed(init)):
        if _id_of(track) == AUDIO_TRACK:
            entry = _find(track, b"mdia", b"minf", b"stbl", b"stsd").payload[8:]
            # 14496-12 section 12.2.3: box header, 8 bytes of every sample entry, 8 reserved.
            return int.from_bytes(entry[24:26], "big")
    return 0


def tracks_only(init: bytes, kept: frozenset[int]) -> bytes:
    """Without the other tracks."""
    file = _parsed(init)
    movie = _find(file, b"moov")
    movie.children = [one for one in movie.children if one.kind != b"trak" or _id_of(one) in kept]
    defaults = _find(movie, b"mvex")
    defaults.children = [one for one in defaults.children if _own_id(one) in kept | {None}]
    return file.content()


def with_sample_entry(init: bytes, track_id: int, entry: bytes) -> bytes:
    """Another sample entry for a track, of the same timescale."""
    file = _parsed(init)
    for track in _tracks(file):
        if _id_of(track) == track_id:
            description = _find(track, b"mdia", b"minf", b"stbl", b"stsd")
            # Version and flags, and that there is one.
            description.payload = description.payload[:8] + entry
    return file.content()


def with_edit(init: bytes, media_time: int, duration: int, first: FirstSamples) -> bytes:
    """The video is shown from media_time on, for `duration` (both 90 kHz); `first` are its first samples.

    Players built on ffmpeg drop what an edit list leaves out only where the `moov` lists the samples, not
    where fragments do. So the pictures from the key frame to the first one shown are listed there.
    """
    file = _parsed(init)
    video = next(track for track in _tracks(file) if _id_of(track) == VIDEO_TRACK)
    tables = _find(video, b"mdia", b"minf", b"stbl")
    listed = _tables(first)
    description = _find(tables, b"stsd")
    tables.children = [description, *(_Node(kind, payload) for kind, payload in listed.items())]
    # 14496-12 section 8.6.6, version 1: segment_duration in the movie's timescale, which is 90 kHz as well.
    edit = struct.pack(">IIQqHH", 1 << 24, 1, duration, media_time, 1, 0)
    video.children.insert(1, _Node(b"edts", b"", [_Node(b"elst", edit)]))
    return file.content()


@dataclass(slots=True)
class _Node:
    """A box. payload: what stands before its children, which is all of it where it has none."""

    kind: bytes
    payload: bytes
    children: list[_Node] = field(default_factory=list)

    def content(self) -> bytes:
        return self.payload + b"".join(child.whole() for child in self.children)

    def whole(self) -> bytes:
        content = self.content()
        return struct.pack(">I4s", 8 + len(content), self.kind) + content


def _parsed(init: bytes) -> _Node:
    return _Node(b"", b"", list(_boxes(init)))


def _boxes(data: bytes) -> Iterator[_Node]:
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at) if at + 8 <= len(data) else (0, b"")
        if size < 8 or at + size > len(data):
            raise BadBox(f"box {kind!r} of {size} bytes leaves its parent")
        content = data[at + 8 : at + size]
        if kind in _CONTAINERS:
            yield _Node(kind, b"", list(_boxes(content)))
        else:
            yield _Node(kind, content)
        at += size


def _find(node: _Node, *path: bytes) -> _Node:
    for kind in path:
        found = next((child for child in node.children if child.kind == kind), None)
        if found is None:
            raise BadBox(f"no {kind.decode()} box")
        node = found
    return node


def _tracks(file: _Node) -> list[_Node]:
    return [child for child in _find(file, b"moov").children if child.kind == b"trak"]


def _id_of(track: _Node) -> int:
    found = _own_id(_find(track, b"tkhd"))
    assert found is not None
    return found


def _own_id(node: _Node) -> int | None:
    at = _TRACK_ID_AT.get(node.kind)
    return None if at is None else int.from_bytes(node.payload[at : at + 4], "big")


def _tables(first: FirstSamples) -> dict[bytes, bytes]:
    """Payloads of the sample tables (14496-12 sections 8.6 and 8.7), by box."""
    sizes = [size for chunk in first.chunks for size in chunk.sizes]
    keys = [number for number, key in enumerate(first.keys, 1) if key]
    places = [
        struct.pack(">III", number, len(chunk.sizes), 1) for number, chunk in enumerate(first.chunks, 1)
    ]
    # Version 1: offsets may be negative.
    offsets = _runs([offset & 0xFFFF_FFFF for offset in first.pts_offsets])
    return {
        b"stts": struct.pack(">I", 0) + _runs(first.durations),
        b"ctts": struct.pack(">I", 1 << 24) + offsets,
        b"stss": struct.pack(f">II{len(keys)}I", 0, len(keys), *keys),
        b"stsc": struct.pack(">II", 0, len(places)) + b"".join(places),
        b"stsz": struct.pack(f">III{len(sizes)}I", 0, 0, len(sizes), *sizes),
        b"stco": struct.pack(
            f">II{len(first.chunks)}I", 0, len(places), *(one.offset for one in first.chunks)
        ),
    }


def _runs(values: Sequence[int]) -> bytes:
    """Count, then (how many, value) for each run of equal values: what stts and ctts hold."""
    found: list[list[int]] = []
    for value in values:
        if found and found[-1][1] == value:
            found[-1][0] += 1
        else:
            found.append([1, value])
    return struct.pack(">I", len(found)) + b"".join(struct.pack(">II", *run) for run in found)
