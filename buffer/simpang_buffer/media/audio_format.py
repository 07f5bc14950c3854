"""Which sound can be stored, and its sample entry (14496-12 section 12.2, 14496-14, QuickTime for G.711)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from simpang_buffer.media.bits import BitReader, Unreadable
from simpang_buffer.media.fmp4 import box, full_box
from simpang_buffer.model import AudioFormat

# RTP encoding name to sample entry and RFC 6381 name.
G711_ENCODINGS: Mapping[str, str] = {"PCMA": "alaw", "PCMU": "ulaw"}

# 14496-3 table 1.18.
AAC_RATES = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
)  # fmt: skip
_EXPLICIT_RATE = 15
_EXTENDED_TYPE = 31
# 14496-3 table 1.17: Main, LC, SSR, LTP, SBR, PS.
_STORED_TYPES = frozenset({1, 2, 3, 4, 5, 29})
_SPECTRAL_BAND_TYPES = frozenset({5, 29})


class AudioDropped(Exception):
    """This sound is not recorded; the text says why, for the camera's page."""


@dataclass(frozen=True, slots=True)
class AacConfig:
    """An AudioSpecificConfig (14496-3 section 1.6.2.1). rate: of the core; frame_samples at that rate."""

    raw: bytes
    object_type: int
    rate: int
    channels: int
    frame_samples: int = 1024


def audio_format(encoding: str, clock_rate: int, channels: int, fmtp: Mapping[str, str]) -> AudioFormat:
    """For a track of the SDP (fmtp names lower-case). Raises AudioDropped for what cannot be stored."""
    if encoding in G711_ENCODINGS:
        if channels not in (1, 2) or not 4_000 <= clock_rate <= 96_000:
            raise AudioDropped(f"G.711 with {channels} channels at {clock_rate} Hz")
        name = G711_ENCODINGS[encoding]
        # Both laws expand to 16 bits, which is what QuickTime's entry states.
        return AudioFormat(name, clock_rate, channels, _sample_entry(name.encode(), channels, clock_rate))
    if encoding == "MPEG4-GENERIC":
        config = parse_aac_config(fmtp)
        entry = _sample_entry(b"mp4a", config.channels, config.rate, _esds(config.raw))
        return AudioFormat(f"mp4a.40.{config.object_type}", config.rate, config.channels, entry)
    raise AudioDropped(f"sound is {encoding}, which is not stored")


def parse_aac_config(fmtp: Mapping[str, str]) -> AacConfig:
    """The `config` of an RFC 3640 fmtp line. Raises AudioDropped."""
    text = fmtp.get("config", "").strip()
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise AudioDropped("AAC with an unreadable configuration") from error
    if not 2 <= len(raw) <= 64:
        raise AudioDropped("AAC without a configuration")
    try:
        return _parse_config(raw)
    except Unreadable as error:
        raise AudioDropped("AAC with an unreadable configuration") from error


def _parse_config(raw: bytes) -> AacConfig:
    bits = BitReader(raw)
    object_type = _object_type(bits)
    rate = _rate(bits)
    channels = bits.u(4)
    if object_type not in _STORED_TYPES:
        raise AudioDropped(f"AAC of type {object_type}, which is not stored")
    stated_type = object_type
    if object_type in _SPECTRAL_BAND_TYPES:
        _rate(bits)  # of the extension: frames are counted at the core's rate
        object_type = _object_type(bits)
    short = bits.flag()
    if not 1 <= channels <= 7:
        raise AudioDropped("AAC without a channel layout")
    return AacConfig(raw, stated_type, rate, 8 if channels == 7 else channels, 960 if short else 1024)


def _object_type(bits: BitReader) -> int:
    kind = bits.u(5)
    return 32 + bits.u(6) if kind == _EXTENDED_TYPE else kind


def _rate(bits: BitReader) -> int:
    index = bits.u(4)
    rate = bits.u(24) if index == _EXPLICIT_RATE else (*AAC_RATES, 0, 0)[index]
    if not 4_000 <= rate <= 96_000:
        raise AudioDropped(f"AAC at {rate} Hz")
    return rate


def _sample_entry(kind: bytes, channels: int, rate: int, *boxes: bytes) -> bytes:
    # 16.16 fixed point holds no rate above 65,535; the track's timescale and the codec's own header say it.
    stated_rate = rate if rate < 1 << 16 else 0
    head = struct.pack(">6xH8xHHHHI", 1, channels, 16, 0, 0, stated_rate << 16)
    return box(kind, head, *boxes)


def _esds(config: bytes) -> bytes:
    """14496-1 section 7.2.6.5, 14496-14 section 5.6: MPEG-4 audio with this decoder configuration."""
    specific = _descriptor(5, config)
    decoder = _descriptor(4, struct.pack(">BBxHII", 0x40, 0x15, 0, 0, 0) + specific)
    sync = _descriptor(6, b"\2")
    return full_box(b"esds", 0, 0, _descriptor(3, struct.pack(">HB", 0, 0) + decoder + sync))


def _descriptor(tag: int, body: bytes) -> bytes:
    # A configuration has at most 64 bytes, so one byte of length always does.
    return bytes((tag, len(body))) + body
