"""AAC frames with their own headers (ISO/IEC 14496-3 annex 1.A.3.2), which some cameras put into RTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from simpang_buffer.media.audio_format import AAC_RATES, AacConfig, AudioDropped, aac_config
from simpang_buffer.media.bits import Unreadable

_HEADER_BYTES, _CRC_BYTES = 7, 2
_MAX_FRAMES = 64


def is_adts(data: bytes | memoryview) -> bool:
    """Whether a frame begins with the ADTS sync word, layer 0."""
    return len(data) >= 2 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0


class AdtsFrame(NamedTuple):
    """rate: samples per second, as its header states it; 0 for a reserved index. config: the
    AudioSpecificConfig that says the same.
    """

    rate: int
    config: bytes
    data: bytes

    def read_config(self) -> AacConfig | None:
        """None for what no AudioSpecificConfig of ours says."""
        try:
            return aac_config(self.config)
        except AudioDropped:
            return None


def split_adts(data: bytes) -> Iterator[AdtsFrame]:
    """The frames without their headers, at most 64. Raises Unreadable at the first that is not whole."""
    at = 0
    for _ in range(_MAX_FRAMES):
        if at == len(data):
            return
        if not is_adts(data[at : at + 2]) or at + _HEADER_BYTES > len(data):
            raise Unreadable("no ADTS header")
        head_bytes = _HEADER_BYTES + (0 if data[at + 1] & 1 else _CRC_BYTES)
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        if size <= head_bytes or at + size > len(data):
            raise Unreadable("ADTS frame is cut short")
        rate_index = data[at + 2] >> 2 & 0x0F
        # Object type in 5 bits, one more than the header's profile; rate in 4; channels in 4; 3 flags off.
        channels = (data[at + 2] & 1) << 2 | data[at + 3] >> 6
        config = ((data[at + 2] >> 6) + 1) << 11 | rate_index << 7 | channels << 3
        rate = (*AAC_RATES, 0, 0, 0)[rate_index]
        yield AdtsFrame(rate, config.to_bytes(2, "big"), data[at + head_bytes : at + size])
        at += size
