"""Reads what a media file's boxes say of themselves, without the media: heads, moofs, seals and the table.

Finds what tears, overwrites or displaces; a changed byte of media shows only in the seals (`boxes.scan`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from simpang_buffer.media.boxes import Header, parse_moof, read_header, read_moof, read_table
from simpang_buffer.media.fmp4 import VIDEO_TRACK
from simpang_buffer.media.seal import SEAL_BYTES, BadBox, parse_seal_box


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
    """Of a closed file. Reads about a hundred bytes a fragment. Raises BadBox without a whole header."""
    header = read_header(file)
    fragments, frames, at, seal = 0, 0, header.end, header.start_digest
    try:
        listed, last_seal = read_table(file)
        table_at = listed[-1].offset + listed[-1].size_bytes + SEAL_BYTES if listed else header.end
        for entry in listed:
            if entry.offset != at:
                raise BadBox(f"the table has a fragment at {entry.offset}, where {at} is due")
            moof = read_moof(file, at)
            head = file.read(8)
            mdat_bytes = int.from_bytes(head[:4], "big")
            if head[4:] != b"mdat" or len(moof) + mdat_bytes != entry.size_bytes:
                raise BadBox(f"no mdat behind the moof at {at}, or not of the size that the table says")
            video = [track for track in parse_moof(moof) if track.track_id == VIDEO_TRACK]
            if len(video) != 1 or video[0].decode_time != entry.decode_time:
                raise BadBox(f"the moof at {at} is not the one that the table says")
            file.seek(at + entry.size_bytes)
            found = parse_seal_box(file.read(SEAL_BYTES))
            if (found.wall_us, found.flags) != (entry.start_us, entry.flags):
                raise BadBox(f"the seal behind {at} is not the one that the table says")
            seal = found.digest
            fragments += 1
            frames += len(video[0].durations)
            at += entry.size_bytes + SEAL_BYTES
        if at != table_at or seal != last_seal:
            raise BadBox("the table ends otherwise than the file")
    except BadBox as error:
        return Structure(header, fragments, frames, seal, str(error))
    return Structure(header, fragments, frames, seal, None)
