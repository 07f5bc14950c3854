"""What each NAL unit type means for where pictures begin and end (H.264 table 7-1, H.265 table 7-1)."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from simpang_buffer.media.parameter_sets import (
    H264_PPS,
    H264_SPS,
    H265_PPS,
    H265_SPS,
    H265_VPS,
    Encoding,
)


class NalKind(enum.Enum):
    """KEY_SLICE: of a picture at which decoding can start. SUFFIX: belongs to the picture before it.

    OTHER: belongs to the next picture when it stands behind a picture's slices.
    """

    SLICE = enum.auto()
    KEY_SLICE = enum.auto()
    PARAMETER_SET = enum.auto()
    SUFFIX = enum.auto()
    OTHER = enum.auto()


# Non-IDR and partition A, whose first bits say whether they begin a picture.
_H264 = {1: NalKind.SLICE, 2: NalKind.SLICE, 5: NalKind.KEY_SLICE}
_H264 |= {H264_SPS: NalKind.PARAMETER_SET, H264_PPS: NalKind.PARAMETER_SET}
# Partitions B and C; end of sequence, end of stream, filler; auxiliary, scalable and 3D slices.
_H264 |= dict.fromkeys((3, 4, 10, 11, 12, 19, 20, 21), NalKind.SUFFIX)

_H265 = dict.fromkeys(range(32), NalKind.SLICE)
# BLA, IDR and CRA.
_H265 |= dict.fromkeys(range(16, 22), NalKind.KEY_SLICE)
_H265 |= dict.fromkeys((H265_VPS, H265_SPS, H265_PPS), NalKind.PARAMETER_SET)
# End of sequence, end of bitstream, filler, suffix SEI; reserved and unspecified suffixes (section
# 7.4.2.4.4).
_H265 |= dict.fromkeys((36, 37, 38, 40, 45, 46, 47, *range(56, 64)), NalKind.SUFFIX)

# By the NAL unit's first byte, so that the hot path shifts nothing.
NAL_KINDS: Mapping[Encoding, tuple[NalKind, ...]] = {
    "H264": tuple(_H264.get(byte & 0x1F, NalKind.OTHER) for byte in range(256)),
    "H265": tuple(_H265.get(byte >> 1 & 0x3F, NalKind.OTHER) for byte in range(256)),
}
