"""How the painting process hands encoded pictures to the camera process: through a pipe, one record each.

A record is a head of 32 bytes (big-endian) and the data: NAL units with start codes for video, one frame for
audio. Parameter sets come with each key frame. A sound track begins with a CONFIG record: the
AudioSpecificConfig of AAC, empty for G.711.
"""

from __future__ import annotations

import asyncio
import enum
import struct
from dataclasses import dataclass

_HEAD = struct.Struct(">IBBxxqqq")
# A key frame of the demo is 40 to 120 kB; what is larger is not from our painter.
_MAX_DATA_BYTES = 4_000_000


class Kind(enum.IntEnum):
    """What a record holds."""

    PICTURE = 0
    KEY_PICTURE = 1
    SOUND = 2
    CONFIG = 3


@dataclass(frozen=True, slots=True)
class Painted:
    """track: 0 main, 1 sub, 2 sound. pts: ticks of the track's clock. wall_us: UTC when seen or heard."""

    kind: Kind
    track: int
    pts: int
    duration: int
    wall_us: int
    data: bytes


def pack(painted: Painted) -> bytes:
    """One record as it goes into the pipe."""
    head = _HEAD.pack(
        len(painted.data), painted.kind, painted.track, painted.pts, painted.duration, painted.wall_us
    )
    return head + painted.data


async def read_painted(reader: asyncio.StreamReader) -> Painted | None:
    """The next record, or None when the painter has ended.

    Raises ValueError for what no painter of ours writes. Has no time limit: the painter is our own child, and
    its end closes the pipe.
    """
    try:
        head = await reader.readexactly(_HEAD.size)
        size, kind, track, pts, duration, wall_us = _HEAD.unpack(head)
        if size > _MAX_DATA_BYTES or track > 2:
            raise ValueError(f"not a record of the painter: {size} bytes for track {track}")
        return Painted(Kind(kind), track, pts, duration, wall_us, await reader.readexactly(size))
    except asyncio.IncompleteReadError:
        return None
