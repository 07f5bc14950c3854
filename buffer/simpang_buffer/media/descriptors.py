"""The `esds` box (14496-1 section 7.2.6.5, 14496-14 section 5.6): which MPEG-4 codec a sample entry is of."""

from __future__ import annotations

import struct

from simpang_buffer.media.fmp4 import full_box

# Object types of 14496-1 table 5, stream types of table 6.
AAC, JPEG = 0x40, 0x6C
_VISUAL, _AUDIO = 4, 5
_STREAM_TYPES = {AAC: _AUDIO, JPEG: _VISUAL}


def esds(object_type: int, specific: bytes = b"") -> bytes:
    """object_type: AAC or JPEG. specific: the decoder's configuration, at most 64 bytes; JPEG has none."""
    info = _descriptor(5, specific) if specific else b""
    head = struct.pack(">BBxHII", object_type, _STREAM_TYPES[object_type] << 2 | 1, 0, 0, 0)
    sync = _descriptor(6, b"\2")
    return full_box(
        b"esds", 0, 0, _descriptor(3, struct.pack(">HB", 0, 0) + _descriptor(4, head + info) + sync)
    )


def _descriptor(tag: int, body: bytes) -> bytes:
    # A configuration has at most 64 bytes, so one byte of length always does.
    return bytes((tag, len(body))) + body
