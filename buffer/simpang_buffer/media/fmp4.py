"""Fragmented MP4 (ISO/IEC 14496-12) as bytes: one header, then fragments of `moof` and `mdat`.

Pure and deterministic: equal formats give equal headers, with no time of day in them, so that files with the
same codec parameters share one header and its hash.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from simpang_buffer.model import VIDEO_TIMESCALE, AudioFormat, MetadataFormat, VideoFormat

VIDEO_TRACK = 1
AUDIO_TRACK = 2
METADATA_TRACK = 3

# 14496-12 section 8.8.3.1: depends on no other sample / depends on others and is no sync sample.
KEY_FLAGS = 0x0200_0000
DEPENDENT_FLAGS = 0x0101_0000

_UNITY_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000)
# ISO 639-2 "und" in three times five bits.
_LANGUAGE_UND = 0x55C4
# tfhd: offsets count from the moof (default-base-is-moof), as MSE byte streams require.
_TFHD_FLAGS = 0x02_0000
# trun: data offset, then per sample duration, size, flags, composition offset.
_TRUN_DATA_OFFSET = 0x001
_TRUN_DURATION = 0x100
_TRUN_SIZE = 0x200
_TRUN_FLAGS = 0x400
_TRUN_OFFSET = 0x800


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture or audio frame. duration and pts_offset: ticks of the track; pts_offset may be negative."""

    data: bytes
    duration: int
    pts_offset: int = 0
    key: bool = True


@dataclass(frozen=True, slots=True)
class TrackRun:
    """Consecutive samples of one track; base_decode_time: ticks of the track from the start of the run."""

    track_id: int
    base_decode_time: int
    samples: Sequence[Sample]


def box(kind: bytes, *payload: bytes) -> bytes:
    """One box with a 32-bit size (14496-12 section 4.2)."""
    body = b"".join(payload)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *payload: bytes) -> bytes:
    """One box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *payload)


def video_entry(kind: bytes, width: int, height: int, *boxes: bytes) -> bytes:
    """A visual sample entry (14496-12 section 12.1.3): what its codec needs to know stands in the boxes."""
    return box(
        kind,
        struct.pack(">6xH16x", 1),  # data reference
        struct.pack(">2H2I4xH", width, height, 0x48_0000, 0x48_0000, 1),  # 72 dpi, one frame a sample
        struct.pack(">32xHh", 0x18, -1),  # no compressor's name, 24 bits deep
        *boxes,
    )


def init_segment(
    video: VideoFormat, audio: AudioFormat | None = None, metadata: MetadataFormat | None = None
) -> bytes:
    """`ftyp` and `moov` of a fragmented file: track 1 video at 90 kHz, 2 audio at its sample rate, 3 metadata
    at 90 kHz.
    """
    tracks = [_track(VIDEO_TRACK, VIDEO_TIMESCALE, _video_description(video), video)]
    defaults = [_track_defaults(VIDEO_TRACK)]
    if audio is not None:
        tracks.append(_track(AUDIO_TRACK, audio.timescale, _audio_description(audio), None))
        defaults.append(_track_defaults(AUDIO_TRACK))
    if metadata is not None:
        tracks.append(_track(METADATA_TRACK, VIDEO_TIMESCALE, _metadata_description(metadata), None))
        defaults.append(_track_defaults(METADATA_TRACK))
    movie_header = full_box(
        b"mvhd",
        0,
        0,
        struct.pack(">4I", 0, 0, VIDEO_TIMESCALE, 0),  # created, modified, timescale, duration unknown
        struct.pack(">IH10x", 0x10000, 0x100),  # rate, volume
        _UNITY_MATRIX,
        struct.pack(
            ">24xI", METADATA_TRACK + 1 if metadata else VIDEO_TRACK + len(tracks)
        ),  # next free track
    )
    # iso6: trun version 1 with signed offsets; iso5: default-base-is-moof.
    brands = box(b"ftyp", b"iso6", struct.pack(">I", 0), b"iso6iso5mp41")
    return brands + box(b"moov", movie_header, *tracks, box(b"mvex", *defaults))


def fragment(sequence: int, runs: Sequence[TrackRun]) -> list[bytes]:
    """`moof` and `mdat` as a list of buffers to be written in order: the `moof` first, sample data uncopied.

    sequence: from 1, rising within a file. Each track at most once. Raises ValueError when the samples exceed
    what a 32-bit box holds.
    """
    # A moof's size does not depend on its offsets, so it is built once to be measured and once to be kept.
    shape = [_TrackFragment(run) for run in runs]
    header = full_box(b"mfhd", 0, 0, struct.pack(">I", sequence))
    moof_bytes = 8 + len(header) + sum(track.size_bytes for track in shape)
    offset = moof_bytes + 8
    parts = []
    for track in shape:
        parts.append(track.build(offset))
        offset += track.data_bytes
    data_bytes = sum(track.data_bytes for track in shape)
    if data_bytes > 0x7FFF_0000:
        raise ValueError(f"fragment of {data_bytes} bytes does not fit a 32-bit box")
    buffers = [box(b"moof", header, *parts), struct.pack(">I4s", 8 + data_bytes, b"mdat")]
    for run in runs:
        buffers.extend(sample.data for sample in run.samples)
    return buffers


class _TrackFragment:
    """One `traf`: everything but the data offset is known before the `moof`'s size is."""

    def __init__(self, run: TrackRun) -> None:
        flags = _TRUN_DATA_OFFSET | _TRUN_DURATION | _TRUN_SIZE | _TRUN_FLAGS
        offsets = any(sample.pts_offset for sample in run.samples)
        if offsets:
            flags |= _TRUN_OFFSET
        fields: list[int] = []
        data_bytes = 0
        for sample in run.samples:
            size = len(sample.data)
            data_bytes += size
            fields += (sample.duration, size, KEY_FLAGS if sample.key else DEPENDENT_FLAGS)
            if offsets:
                fields.append(sample.pts_offset & 0xFFFF_FFFF)
        self.data_bytes = data_bytes
        self._count = len(run.samples)
        self._flags = flags
        self._fields = struct.pack(f">{len(fields)}I", *fields)
        self._head = full_box(b"tfhd", 0, _TFHD_FLAGS, struct.pack(">I", run.track_id)) + full_box(
            b"tfdt", 1, 0, struct.pack(">Q", run.base_decode_time)
        )

    @property
    def size_bytes(self) -> int:
        # traf header, tfhd and tfdt, then trun: header, version and flags, count, data offset, fields.
        return 8 + len(self._head) + 8 + 4 + 4 + 4 + len(self._fields)

    def build(self, data_offset: int) -> bytes:
        head = struct.pack(">Ii", self._count, data_offset)
        return box(b"traf", self._head, full_box(b"trun", 1, self._flags, head, self._fields))


def _track_defaults(track_id: int) -> bytes:
    return full_box(b"trex", 0, 0, struct.pack(">5I", track_id, 1, 0, 0, 0))


def _track(track_id: int, timescale: int, media: bytes, video: VideoFormat | None) -> bytes:
    width, height = (video.width, video.height) if video else (0, 0)
    track_header = full_box(
        b"tkhd",
        0,
        3,  # enabled, in movie
        struct.pack(">5I8x", 0, 0, track_id, 0, 0),  # created, modified, id, reserved, duration
        struct.pack(">3H2x", 0, 0, 0 if video else 0x100),  # layer, group, volume
        _UNITY_MATRIX,
        struct.pack(">2I", width << 16, height << 16),
    )
    media_header = full_box(b"mdhd", 0, 0, struct.pack(">4I2H", 0, 0, timescale, 0, _LANGUAGE_UND, 0))
    return box(b"trak", track_header, box(b"mdia", media_header, media))


def _video_description(video: VideoFormat) -> bytes:
    header = full_box(b"vmhd", 0, 1, bytes(8))
    return _handler(b"vide", b"Video") + _media_information(header, video.sample_entry)


def _audio_description(audio: AudioFormat) -> bytes:
    header = full_box(b"smhd", 0, 0, bytes(4))
    return _handler(b"soun", b"Audio") + _media_information(header, audio.sample_entry)


def _metadata_description(metadata: MetadataFormat) -> bytes:
    # 14496-12 section 12.3: timed metadata has the null header.
    return _handler(b"meta", b"Metadata") + _media_information(full_box(b"nmhd", 0, 0), metadata.sample_entry)


def _handler(kind: bytes, name: bytes) -> bytes:
    return full_box(b"hdlr", 0, 0, bytes(4), kind, bytes(12), name + b"\0")


def _media_information(header: bytes, sample_entry: bytes) -> bytes:
    here = full_box(b"url ", 0, 1)  # the data is in this file
    data_information = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), here))
    # No samples here: all are in fragments (14496-12 section 8.8.1).
    tables = box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), sample_entry),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    return box(b"minf", header, data_information, tables)
