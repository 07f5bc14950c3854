"""Where key frames are, for players that seek: `sidx` before the fragments, or `mfra` behind them. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from simpang_buffer.media.fmp4 import box, full_box

# 14496-12 section 8.16.3: reference_count has 16 bits, referenced_size 31, subsegment_duration 32.
MAX_REFERENCES = 0xFFFF
MAX_SIZE = 0x7FFF_FFFF
MAX_DURATION = 0xFFFF_FFFF
# "Starts with a stream access point of type 1": a key frame, and nothing before it in presentation.
_SAP = 0x9000_0000
# tfra entry, version 1 with one-byte numbers: time, moof_offset, traf, trun and sample number.
_ENTRY = struct.Struct(">QQBBB")
_TFRA_HEAD_BYTES = 8 + 4 + 4 + 4 + 4
_MFRO_BYTES = 8 + 4 + 4


@dataclass(frozen=True, slots=True)
class Reference:
    """A run of fragments. duration: ticks of the track. key: starts with a key frame."""

    size_bytes: int
    duration: int
    key: bool


def rescaled(references: Sequence[Reference], timescale: int, to_timescale: int) -> list[Reference]:
    """The same stretches in another track's ticks, without the rounding adding up."""
    ends = [ticks * to_timescale // timescale for ticks in accumulate(one.duration for one in references)]
    return [
        replace(one, duration=end - start)
        for one, start, end in zip(references, [0, *ends], ends, strict=False)
    ]


@dataclass(frozen=True, slots=True)
class AccessPoint:
    """A fragment that starts with a key frame. time: its presentation, in ticks. moof_offset: in the file."""

    time: int
    moof_offset: int


def sidx(
    track_id: int, timescale: int, references: Sequence[Reference], *, first_offset: int = 0, start: int = 0
) -> bytes:
    """Segment index (14496-12 section 8.16.3) of what follows it first_offset bytes on, from time `start`."""
    if len(references) > MAX_REFERENCES:
        raise ValueError(f"{len(references)} references do not fit one sidx")
    fields = [field for one in references for field in (one.size_bytes, one.duration, _SAP * one.key)]
    entries = struct.pack(f">{len(fields)}I", *fields)
    head = struct.pack(">IIQQHH", track_id, timescale, start, first_offset, 0, len(references))
    return full_box(b"sidx", 1, 0, head, entries)


def mfra(track_id: int, points: Sequence[AccessPoint]) -> bytes:
    """Movie fragment random access box with its size at its end (14496-12 sections 8.8.9 to 8.8.11)."""
    entries = b"".join(_ENTRY.pack(point.time, point.moof_offset, 1, 1, 1) for point in points)
    # length_size_of_..._num are 0: one byte each.
    tfra = full_box(b"tfra", 1, 0, struct.pack(">III", track_id, 0, len(points)), entries)
    return box(b"mfra", tfra, full_box(b"mfro", 0, 0, struct.pack(">I", mfra_bytes(len(points)))))


def mfra_bytes(points: int) -> int:
    """Size of an mfra of so many access points."""
    return 8 + _TFRA_HEAD_BYTES + points * _ENTRY.size + _MFRO_BYTES
