"""Reads what a media file's boxes say of themselves, without the media: heads, moofs, seals and the table.

Finds what tears, overwrites or displaces; a changed byte of media shows only in the seals (`boxes.scan`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from simpang_buffer.media.boxes import Header, parse_moof, read_header, read_moof, read_table
from simpang_buffer.media.fmp4 import VIDEO_TRACK
from simpang_buffer.media.seal import SEAL_BYTES, BadBox, parse_seal_box
from simpang_buffer.model import Fragment


@dataclass(frozen=True, slots=True)
class Structure:
    """fragments and frames: of the boxes that follow each other without a hole. seal: the hash of the last
    one's. fault: what is not as we write it, in words, None for nothing."""

    header: Header
    fragments: int
    frames: int
    seal: bytes
    fault: str | None


def read_structure(file: BinaryIO) -> Structure:
    """Of a file that is not being written. Reads about a hundred bytes a fragment. Raises BadBox without a
    whole header."""
    header = read_header(file)
    file_bytes = file.seek(0, 2)
    found: list[Fragment] = []
    at, seal = header.end, header.start_digest
    fault: str | None = None
    try:
        listed, last_seal = read_table(file)
        end = listed[-1].offset + listed[-1].size_bytes + SEAL_BYTES if listed else at
    except BadBox as error:
        # Where there was no room for it, a file ends with its last seal.
        listed, last_seal, end, fault = [], b"", file_bytes, str(error)
    try:
        while at < end:
            fragment, seal = _read_fragment(file, at)
            found.append(fragment)
            at += fragment.size_bytes + SEAL_BYTES
    except BadBox as error:
        fault = str(error)
    else:
        if not last_seal and at == file_bytes:
            fault = None
        elif last_seal and (found != listed or seal != last_seal):
            fault = "the table says otherwise than the boxes before it"
    return Structure(header, len(found), sum(one.frames for one in found), seal, fault)


def _read_fragment(file: BinaryIO, at: int) -> tuple[Fragment, bytes]:
    """A fragment as its boxes tell it, and the hash in its seal."""
    moof = read_moof(file, at)
    head = file.read(8)
    mdat_bytes = int.from_bytes(head[:4], "big")
    if head[4:] != b"mdat" or mdat_bytes < 8:
        raise BadBox(f"no mdat behind the moof at {at}")
    size_bytes = len(moof) + mdat_bytes
    video = [track for track in parse_moof(moof) if track.track_id == VIDEO_TRACK]
    if len(video) != 1:
        raise BadBox(f"the moof at {at} tells of no video")
    file.seek(at + size_bytes)
    seal = parse_seal_box(file.read(SEAL_BYTES))
    frames, duration = len(video[0].durations), video[0].duration
    fragment = Fragment(at, size_bytes, video[0].decode_time, duration, seal.wall_us, seal.flags, frames)
    return fragment, seal.digest
