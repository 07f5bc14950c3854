"""The sample entry that a stream's parameter sets make (ISO/IEC 14496-15)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from simpang_buffer.media.bits import Unreadable
from simpang_buffer.media.fmp4 import box, video_entry
from simpang_buffer.media.sps import (
    Sps,
    h264_codec,
    h265_codec,
    h265_general_profile,
    parse_h264_sps,
    parse_h265_sps,
)
from simpang_buffer.model import VideoFormat

Encoding = Literal["H264", "H265"]

H264_SPS, H264_PPS = 7, 8
H265_VPS, H265_SPS, H265_PPS = 32, 33, 34
# 14496-15 section 5.3.3.1.2: these profiles repeat chroma format and bit depths at the end of avcC.
_AVCC_EXTENDED_PROFILES = frozenset({100, 110, 122, 144, 244})


@dataclass(frozen=True, slots=True)
class ParameterSets:
    """In the order first sent. vps is empty for H.264."""

    vps: tuple[bytes, ...]
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]


def nal_type(encoding: Encoding, nal: bytes) -> int:
    """H.264 section 7.3.1, H.265 section 7.3.1.2. nal: at least one byte."""
    return nal[0] & 0x1F if encoding == "H264" else nal[0] >> 1 & 0x3F


def split_annex_b(data: bytes) -> list[bytes]:
    """NAL units of a byte stream with start codes (H.264 annex B); one without any is itself a NAL unit."""
    if b"\0\0\1" not in data:
        return [data] if data else []
    # A unit never ends in 00 (section 7.4.1), so what precedes a start code is its padding.
    pieces = data.split(b"\0\0\1")
    return [nal for nal in (piece.rstrip(b"\0") for piece in pieces) if nal]


def video_format(encoding: Encoding, sets: ParameterSets) -> VideoFormat:
    """The `avc1` or `hvc1` sample entry with all sets. An unreadable SPS gives size 0, never an error.

    Each SPS has at least 4 bytes; at most 31 of a kind.
    """
    sps = first_readable(encoding, sets.sps)
    if encoding == "H264":
        codec, kind, configuration = h264_codec(sets.sps[0]), b"avc1", _avcc(sets, sps)
    else:
        codec, kind, configuration = h265_codec(sets.sps[0]), b"hvc1", _hvcc(sets, sps)
    width, height = (sps.width, sps.height) if sps else (0, 0)
    entry = video_entry(kind, width, height, configuration, _pixel_aspect(sps))
    return VideoFormat(codec, width, height, entry)


def first_readable(encoding: Encoding, sets: tuple[bytes, ...]) -> Sps | None:
    """What the first SPS says that can be read."""
    parse = parse_h264_sps if encoding == "H264" else parse_h265_sps
    for nal in sets:
        try:
            return parse(nal)
        except Unreadable:
            continue
    return None


def _avcc(sets: ParameterSets, sps: Sps | None) -> bytes:
    """AVCDecoderConfigurationRecord, 14496-15 section 5.3.3.1."""
    first = sets.sps[0]
    body = bytes((1, *first[1:4], 0xFF, 0xE0 | len(sets.sps)))  # lengths of 4 bytes
    body += b"".join(struct.pack(">H", len(nal)) + nal for nal in sets.sps)
    body += bytes((len(sets.pps),)) + b"".join(struct.pack(">H", len(nal)) + nal for nal in sets.pps)
    if first[1] in _AVCC_EXTENDED_PROFILES and sps is not None:
        luma, chroma = sps.bit_depth_luma - 8, sps.bit_depth_chroma - 8
        body += bytes((0xFC | sps.chroma_format, 0xF8 | luma, 0xF8 | chroma, 0))
    return box(b"avcC", body)


def _hvcc(sets: ParameterSets, sps: Sps | None) -> bytes:
    """HEVCDecoderConfigurationRecord, 14496-15 section 8.3.3.1, with complete arrays as `hvc1` demands."""
    layers, nesting = (sps.temporal_layers, sps.temporal_nesting) if sps else (1, True)
    chroma_format = sps.chroma_format if sps else 1
    luma, chroma = (sps.bit_depth_luma - 8, sps.bit_depth_chroma - 8) if sps else (0, 0)
    body = b"\1" + h265_general_profile(sets.sps[0])
    body += struct.pack(
        ">HBBBBHBB",
        0xF000,  # min_spatial_segmentation unknown
        0xFC,  # parallelism unknown
        0xFC | chroma_format,
        0xF8 | luma,
        0xF8 | chroma,
        0,  # average frame rate unknown
        layers << 3 | nesting << 2 | 3,  # lengths of 4 bytes
        3,
    )
    for kind, nals in ((H265_VPS, sets.vps), (H265_SPS, sets.sps), (H265_PPS, sets.pps)):
        body += struct.pack(">BH", 0x80 | kind, len(nals))
        body += b"".join(struct.pack(">H", len(nal)) + nal for nal in nals)
    return box(b"hvcC", body)


def _pixel_aspect(sps: Sps | None) -> bytes:
    # Sub streams often have oblong pixels; without this box Chromium squeezes them.
    if sps is None or not all(sps.sample_aspect) or sps.sample_aspect[0] == sps.sample_aspect[1]:
        return b""
    return box(b"pasp", struct.pack(">2I", *sps.sample_aspect))
