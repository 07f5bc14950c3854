"""Which sound can be stored, and its sample entry (14496-12 section 12.2, 14496-14, QuickTime for G.711)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from simpang_buffer.media.bits import BitReader, Unreadable
from simpang_buffer.media.descriptors import AAC, esds
from simpang_buffer.media.fmp4 import box
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


# What people call the encodings that cameras send, by their RTP names or how those begin.
_NAMES = {
    "PCMA": "G.711 A-law", "PCMU": "G.711 mu-law", "MPEG4-GENERIC": "AAC", "MP4A-LATM": "AAC (LATM)",
    "AAL2-G726": "G.726", "G726": "G.726", "G723": "G.723.1", "G722": "G.722", "G729": "G.729",
    "MPA": "MPEG audio", "OPUS": "Opus",
}  # fmt: skip


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
        return aac_format(parse_aac_config(fmtp))
    raise AudioDropped(f"{audio_name(encoding)} is not recorded")


def audio_name(encoding: str) -> str:
    """For people: "G.726" for "G726-32"."""
    found = (name for begin, name in _NAMES.items() if encoding.startswith(begin))
    return next(found, encoding)


def aac_format(config: AacConfig) -> AudioFormat:
    entry = _sample_entry(b"mp4a", config.channels, config.rate, esds(AAC, config.raw))
    return AudioFormat(f"mp4a.40.{config.object_type}", config.rate, config.channels, entry)


def parse_aac_config(fmtp: Mapping[str, str]) -> AacConfig:
    """The `config` of an RFC 3640 fmtp line. Raises AudioDropped."""
    text = fmtp.get("config", "").strip()
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise AudioDropped("AAC with an unreadable configuration") from error
    return aac_config(raw)


def aac_config(raw: bytes) -> AacConfig:
    """An AudioSpecificConfig. Raises AudioDropped."""
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
        raise AudioDropped(f"AAC of type {object_type} is not recorded")
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
