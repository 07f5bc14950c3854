"""How tracks that we serve describe themselves in an SDP: their format parameters (`a=fmtp`)."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from simpang_buffer.model import VIDEO_TIMESCALE
from simpang_buffer.rtsp.sdp import Track

# Dynamic payload types (RFC 3551 section 3), as most cameras choose them.
_VIDEO_TYPE = 96
_AUDIO_TYPE = 97
_PCMU_TYPE, _PCMA_TYPE = 0, 8


def h264_track(sps: bytes, pps: bytes, control: str) -> Track:
    """RFC 6184 section 8.1. sps and pps: NAL units."""
    fmtp = {
        "packetization-mode": "1",
        "profile-level-id": sps[1:4].hex(),
        "sprop-parameter-sets": ",".join(_base64((sps, pps))),
    }
    return Track("video", _VIDEO_TYPE, "H264", VIDEO_TIMESCALE, fmtp=fmtp, control=control)


def h265_track(vps: bytes, sps: bytes, pps: bytes, control: str) -> Track:
    """RFC 7798 section 7.1. NAL units."""
    names = ("sprop-vps", "sprop-sps", "sprop-pps")
    fmtp = dict(zip(names, _base64((vps, sps, pps)), strict=True))
    return Track("video", _VIDEO_TYPE, "H265", VIDEO_TIMESCALE, fmtp=fmtp, control=control)


def aac_track(config: bytes, rate: int, channels: int, control: str) -> Track:
    """RFC 3640 section 4.1, mode AAC-hbr. config: the AudioSpecificConfig."""
    fmtp = {
        "streamtype": "5",
        "profile-level-id": "1",
        "mode": "AAC-hbr",
        "sizelength": "13",
        "indexlength": "3",
        "indexdeltalength": "3",
        "config": config.hex(),
    }
    return Track("audio", _AUDIO_TYPE, "MPEG4-GENERIC", rate, channels, fmtp, control)


def g711_track(encoding: str, control: str) -> Track:
    """RFC 3551 section 4.5.14. encoding: "PCMA" or "PCMU"."""
    payload_type = _PCMA_TYPE if encoding == "PCMA" else _PCMU_TYPE
    return Track("audio", payload_type, encoding, 8000, 1, control=control)


def _base64(units: Iterable[bytes]) -> list[str]:
    return [base64.b64encode(unit).decode() for unit in units]
