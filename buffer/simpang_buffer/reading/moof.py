"""A fragment's `moof` as a viewer gets it: times from another zero, tracks and samples left out, and not one
byte longer or shorter, so that where everything lies is known before anything is read. Pure.

What is left out becomes a `free` box (14496-12 section 8.1.2), which every player skips.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from simpang_buffer.media.fmp4 import KEY_FLAGS
from simpang_buffer.media.seal import BadBox

# Decode time of the run that becomes zero, by track.
Zeros: TypeAlias = Mapping[int, int]

_BOX = struct.Struct(">I4s")
_HEAD_BYTES = 8
# mfhd: box header, version and flags, sequence number.
_FIRST_TRAF = 8 + 16
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
# A traf as ours begin: its header; tfhd with the track's id; tfdt with its version and the time.
_TIMED_TRAF = struct.Struct(">I4s12xI4x4sIQ")
_VERSION_1 = 1 << 24
# trun (14496-12 section 8.8.8): box header, version and flags, sample_count, data_offset, then the samples.
_TRUN = struct.Struct(">I4sIIi")
_OFFSETS_PRESENT = 0x800
# Duration, size and flags of each sample are always stated in files of ours.
_STATED = 0x700


@dataclass(frozen=True, slots=True)
class Samples:
    """One track's samples in a fragment, in decode order.

    decode_time: of the first. data_offset: of the first sample's bytes, from the moof's start.
    """

    decode_time: int
    data_offset: int
    durations: tuple[int, ...]
    sizes: tuple[int, ...]
    keys: tuple[bool, ...]
    pts_offsets: tuple[int, ...]

    def times(self) -> Iterator[tuple[int, int]]:
        """(decode time, presentation time) of each."""
        at = self.decode_time
        for duration, offset in zip(self.durations, self.pts_offsets, strict=True):
            yield at, at + offset
            at += duration


def rebase(moof: bytearray, size: int, zeros: Zeros, hidden: frozenset[int]) -> set[int]:
    """Makes decode times count from `zeros` and hides tracks; gives the tracks that there are. moof: at least
    its `size` bytes.

    Raises BadBox where it is not one of ours.
    """
    found = set()
    at = _FIRST_TRAF
    # Not by _trafs: this is done for every fragment that is sent.
    while at + _TIMED_TRAF.size <= size:
        traf_bytes, kind, track, time_kind, version, time = _TIMED_TRAF.unpack_from(moof, at)
        if traf_bytes < _HEAD_BYTES or at + traf_bytes > size:
            raise BadBox("a track leaves its moof")
        if kind == b"traf":
            found.add(track)
            if track in hidden:
                moof[at + 4 : at + 8] = b"free"
            elif time_kind != b"tfdt" or version != _VERSION_1:
                raise BadBox("moof is not one of ours")
            else:
                _U64.pack_into(moof, at + 36, max(time - zeros.get(track, 0), 0))
        at += traf_bytes
    return found


def samples_of(moof: bytes | bytearray, track: int) -> Samples | None:
    """Of one track; None where the fragment has none of it. Raises BadBox."""
    for at, end in _trafs(moof, len(moof)):
        if _u32(moof, at + 20, end) == track:
            return _samples(moof, at, end)
    return None


def trim(moof: bytearray, track: int, wanted: Callable[[Samples], range]) -> None:
    """Leaves out a track's samples but for those whose numbers `wanted` gives, which follow each other."""
    for at, end in _trafs(moof, len(moof)):
        if _u32(moof, at + 20, end) != track:
            continue
        whole = _samples(moof, at, end)
        kept = wanted(whole)
        if len(kept) == len(whole.sizes):
            return
        if not kept:
            moof[at + 4 : at + 8] = b"free"
            return
        _cut_trun(moof, at, whole, kept)


def hide_if_empty(moof: bytearray) -> None:
    """A moof of which no track is left is no moof."""
    if not any(True for _ in _trafs(moof, len(moof))):
        moof[4:8] = b"free"


def moof_size(head: bytes | bytearray) -> int:
    """From at least the first 8 bytes of a fragment. Raises BadBox."""
    if len(head) < _HEAD_BYTES:
        raise BadBox("the file ends within a fragment")
    size, kind = _BOX.unpack_from(head)
    if kind != b"moof" or size < _FIRST_TRAF:
        raise BadBox("no moof where the table says")
    return int(size)


def _trafs(moof: bytes | bytearray, size: int) -> Iterator[tuple[int, int]]:
    at = _FIRST_TRAF
    while at + _HEAD_BYTES <= size:
        traf_bytes, kind = _BOX.unpack_from(moof, at)
        if traf_bytes < _HEAD_BYTES or at + traf_bytes > size:
            raise BadBox("a track leaves its moof")
        if kind == b"traf":
            yield at, at + traf_bytes
        at += traf_bytes


def _trun_at(at: int) -> int:
    # traf header, tfhd, tfdt of version 1.
    return at + 8 + 16 + 20


def _samples(moof: bytes | bytearray, at: int, end: int) -> Samples:
    trun = _trun_at(at)
    if trun + _TRUN.size > end:
        raise BadBox("moof is not one of ours")
    size, kind, flags, count, data_offset = _TRUN.unpack_from(moof, trun)
    columns = 4 if flags & _OFFSETS_PRESENT else 3
    if kind != b"trun" or flags & _STATED != _STATED or trun + size > end or 20 + count * 4 * columns > size:
        raise BadBox("moof is not one of ours")
    fields = struct.unpack_from(f">{count * columns}I", moof, trun + 20)
    offsets = fields[3::columns] if columns == 4 else (0,) * count
    return Samples(
        decode_time=_U64.unpack_from(moof, at + 36)[0],
        data_offset=data_offset,
        durations=fields[0::columns],
        sizes=fields[1::columns],
        keys=tuple(flag == KEY_FLAGS for flag in fields[2::columns]),
        pts_offsets=tuple(offset - (offset >> 31 << 32) for offset in offsets),
    )


def _cut_trun(moof: bytearray, at: int, whole: Samples, kept: range) -> None:
    trun = _trun_at(at)
    size, _, flags, count, data_offset = _TRUN.unpack_from(moof, trun)
    each = 16 if flags & _OFFSETS_PRESENT else 12
    first, stop = kept[0], kept[-1] + 1
    entries = bytes(moof[trun + 20 + first * each : trun + 20 + stop * each])
    left_out = (count - len(kept)) * each
    skipped_bytes = sum(whole.sizes[:first])
    cut = _TRUN.pack(size - left_out, b"trun", flags, len(kept), data_offset + skipped_bytes) + entries
    # At least one entry is left out, which is 12 bytes: room for an empty box.
    moof[trun : trun + size] = cut + _BOX.pack(left_out, b"free") + bytes(left_out - _HEAD_BYTES)
    _U64.pack_into(moof, at + 36, whole.decode_time + sum(whole.durations[:first]))


def _u32(moof: bytes | bytearray, at: int, end: int) -> int:
    if at + 4 > end:
        raise BadBox("box is too short")
    return int(_U32.unpack_from(moof, at)[0])
