"""RTP payloads of AAC (RFC 3640) and G.711 (RFC 3551) to audio frames.

What is not one of these, or does not say how it is to be decoded, is dropped alone: video goes on without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from simpang_buffer.media.adts import is_adts, split_adts
from simpang_buffer.media.audio_format import (
    G711_ENCODINGS,
    AacConfig,
    AudioDropped,
    aac_format,
    audio_format,
    audio_name,
    parse_aac_config,
)
from simpang_buffer.media.bits import BitReader, Unreadable
from simpang_buffer.media.rtp import RtpSource
from simpang_buffer.model import AudioFormat

# RFC 3640 section 3.3.6, AAC-hbr: what cameras mean when they say nothing.
_SIZE_BITS, _INDEX_BITS = 13, 3
# 13 bits of size; the largest AAC frame of two channels has 1536 bytes.
_MAX_FRAME_BYTES = 8192
_MAX_FRAMES = 64


class AudioFrame(NamedTuple):
    """rtp_time: 32 bits of the RTP clock. samples: of one channel, at the format's timescale."""

    rtp_time: int
    data: bytes
    samples: int


class G711Depacketizer:
    """One frame a packet, as long as the camera makes it (RFC 3551 section 4.5.14)."""

    why = ""

    def __init__(self, payload_type: int, format_: AudioFormat, ssrc: int | None = None) -> None:
        self.source = RtpSource(payload_type, ssrc)
        self.format: AudioFormat | None = format_
        self._channels = format_.channels

    def push(self, packet: memoryview) -> list[AudioFrame]:
        """Never raises."""
        return [
            AudioFrame(header.time, bytes(header.payload), len(header.payload) // self._channels)
            for header in self.source.take(packet)
            if len(header.payload) >= self._channels
        ]


class AacDepacketizer:
    """RFC 3640: several frames a packet, or one frame over several packets. ADTS headers are taken off.

    format: None until it is known. The SDP says it, unless the frames bring headers of their own that say
    otherwise (QUIRKS 9.1). why: there is none yet.
    """

    def __init__(
        self, payload_type: int, clock_rate: int, fmtp: Mapping[str, str], ssrc: int | None = None
    ) -> None:
        """fmtp: from the SDP, names lower-case. Raises AudioDropped for headers of an unknown shape."""
        self.source = RtpSource(payload_type, ssrc)
        self.format: AudioFormat | None = None
        self.why = ""
        self._clock_rate = clock_rate
        self._config: AacConfig | None = None
        # RTP ticks that one frame lasts: some cameras state another clock than their sound's.
        self._frame_ticks = 0
        # A header has been believed: one that says otherwise later is not.
        self._by_header = False
        try:
            self._use(parse_aac_config(fmtp))
        except AudioDropped as dropped:
            self.why = str(dropped)
        self._size_bits = _whole(fmtp, "sizelength", _SIZE_BITS)
        self._index_bits = _whole(fmtp, "indexlength", _INDEX_BITS)
        self._delta_bits = _whole(fmtp, "indexdeltalength", _INDEX_BITS)
        if not 1 <= self._size_bits <= 16 or self._index_bits > 8 or self._delta_bits > 8:
            raise AudioDropped("AAC with headers of an unknown shape")
        self._partial = bytearray()
        self._partial_bytes = 0
        self._partial_time = 0
        self.unsupported = 0
        self.mismatched = 0

    def push(self, packet: memoryview) -> list[AudioFrame]:
        """Never raises."""
        frames: list[AudioFrame] = []
        for header in self.source.take(packet):
            if header.lost:
                self._partial.clear()
            try:
                self._unpack(header.payload, header.time, frames)
            except Unreadable:
                self.unsupported += 1
        return frames

    def _unpack(self, payload: memoryview, time: int, frames: list[AudioFrame]) -> None:
        if is_adts(payload):
            self._emit_adts(bytes(payload), time, frames)
            return
        sizes, data = self._headers(payload)
        if len(sizes) == 1 and (sizes[0] > len(data) or self._partial):
            self._collect(sizes[0], data, time, frames)
            return
        self._partial.clear()
        at = 0
        for number, size in enumerate(sizes):
            if at + size > len(data):
                raise Unreadable("frame is longer than its packet")
            self._emit(bytes(data[at : at + size]), time + number * self._frame_ticks, frames)
            at += size

    def _headers(self, payload: memoryview) -> tuple[list[int], memoryview]:
        """Sizes from the AU headers (RFC 3640 section 3.2.1), and what follows them."""
        if len(payload) < 2:
            raise Unreadable("no AU headers")
        header_bits = payload[0] << 8 | payload[1]
        end = 2 + (header_bits + 7) // 8
        if end > len(payload):
            raise Unreadable("AU headers are cut short")
        bits = BitReader(bytes(payload[2:end]))
        sizes: list[int] = []
        while header_bits >= self._size_bits + self._index_bits and len(sizes) < _MAX_FRAMES:
            index_bits = self._delta_bits if sizes else self._index_bits
            if header_bits < self._size_bits + index_bits:
                break
            sizes.append(bits.u(self._size_bits))
            bits.u(index_bits)
            header_bits -= self._size_bits + index_bits
        if not sizes:
            raise Unreadable("no AU headers")
        return sizes, payload[end:]

    def _collect(self, size: int, data: memoryview, time: int, frames: list[AudioFrame]) -> None:
        """A frame over several packets: each states the whole frame's size (section 3.2.3.2)."""
        if self._partial and (time != self._partial_time or size != self._partial_bytes):
            self._partial.clear()
        if size > _MAX_FRAME_BYTES:
            raise Unreadable(f"AAC frame of {size} bytes")
        self._partial_time, self._partial_bytes = time, size
        self._partial += data[: size - len(self._partial)]
        if len(self._partial) == size:
            whole = bytes(self._partial)
            self._partial.clear()
            self._emit(whole, time, frames)

    def _emit(self, data: bytes, time: int, frames: list[AudioFrame]) -> None:
        if is_adts(data):
            self._emit_adts(data, time, frames)
        elif data and self._config is not None:
            frames.append(AudioFrame(time & 0xFFFF_FFFF, data, self._config.frame_samples))

    def _emit_adts(self, data: bytes, time: int, frames: list[AudioFrame]) -> None:
        for number, frame in enumerate(split_adts(data)):
            if self._config is None or (frame.rate != self._config.rate and not self._by_header):
                # One whose SDP states 32 kHz and that sends 16 would play an octave off (QUIRKS 9.1).
                config = frame.read_config()
                if config is not None:
                    self._by_header = True
                    self._use(config)
            if self._config is None or frame.rate != self._config.rate:
                self.mismatched += 1
                continue
            stamp = (time + number * self._frame_ticks) & 0xFFFF_FFFF
            frames.append(AudioFrame(stamp, frame.data, self._config.frame_samples))

    def _use(self, config: AacConfig) -> None:
        self._config, self.format, self.why = config, aac_format(config), ""
        self._frame_ticks = config.frame_samples * self._clock_rate // config.rate


def audio_depacketizer(
    encoding: str,
    payload_type: int,
    clock_rate: int,
    channels: int,
    fmtp: Mapping[str, str],
    ssrc: int | None = None,
) -> AacDepacketizer | G711Depacketizer:
    """For a track of the SDP. Raises AudioDropped, which says why, for what cannot be stored."""
    if encoding in G711_ENCODINGS:
        return G711Depacketizer(payload_type, audio_format(encoding, clock_rate, channels, fmtp), ssrc)
    if encoding == "MPEG4-GENERIC":
        return AacDepacketizer(payload_type, clock_rate, fmtp, ssrc)
    raise AudioDropped(f"{audio_name(encoding)} is not recorded")


def _whole(fmtp: Mapping[str, str], name: str, otherwise: int) -> int:
    text = fmtp.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else otherwise
