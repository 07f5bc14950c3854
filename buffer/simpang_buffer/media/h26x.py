"""RTP payloads of H.264 (RFC 6184) and H.265 (RFC 7798) to pictures.

Liberal: what can be understood is kept, the rest is counted. Nothing here raises on a camera's bytes.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence

from simpang_buffer.media.access_units import AccessUnits, Picture
from simpang_buffer.media.parameter_sets import Encoding, split_annex_b
from simpang_buffer.media.rtp import RtpSource
from simpang_buffer.model import VideoFormat

# RFC 6184 section 5.2, RFC 7798 section 4.4.
_H264_STAP_A, _H264_FU_A, _H264_LAST_SINGLE = 24, 28, 23
_H265_AP, _H265_FU, _H265_LAST_SINGLE = 48, 49, 47
_FU_START, _FU_END = 0x80, 0x40
# How a packet begins whose RTP header has no extras and whose payload is a fragment: version, marker and
# payload type; sequence number; source; the payload header's first byte; the FU header.
_MIDDLE_H264 = struct.Struct(">HH4xIBB")
_MIDDLE_H265 = struct.Struct(">HH4xIBxB")
_SDP_SETS = {
    "H264": ("sprop-parameter-sets",),
    "H265": ("sprop-vps", "sprop-sps", "sprop-pps"),
}


class VideoDepacketizer:
    """RTP packets of a video track in, pictures out. A packet's buffer may be reused after its `push`."""

    def __init__(
        self,
        encoding: Encoding,
        payload_type: int,
        described: Iterable[bytes] = (),
        ssrc: int | None = None,
    ) -> None:
        """described: parameter sets from the SDP (`described_sets`). ssrc: from SETUP's answer, if named."""
        self.source = RtpSource(payload_type, ssrc)
        self._units = AccessUnits(encoding, described)
        self._unpack: Callable[[AccessUnits, memoryview, int], bool]
        # What a fragment from the middle of a NAL unit, without a marker, begins with: nine packets of ten.
        self._middle_first = 0x8000 | payload_type
        if encoding == "H264":
            self._unpack = _unpack_h264
            self._middle, self._middle_mask, self._middle_kind = _MIDDLE_H264, 0x1F, _H264_FU_A
        else:
            self._unpack = _unpack_h265
            self._middle, self._middle_mask, self._middle_kind = _MIDDLE_H265, 0x7E, _H265_FU << 1
        # Payloads of structures that no camera is known to send, or that make no sense.
        self.unsupported = 0

    @property
    def video_format(self) -> VideoFormat | None:
        """The parameter sets known by now, if complete. What a picture needs is said by Picture.format."""
        return self._units.video_format

    @property
    def reorder(self) -> int | None:
        """How many pictures may come before one that is shown earlier; None where the stream is silent."""
        return self._units.reorder

    @property
    def oversized(self) -> int:
        """Pictures dropped for being larger than any camera's."""
        return self._units.oversized

    def push(self, packet: memoryview) -> list[Picture]:
        """One RTP packet; the pictures that it finishes: mostly none or one. Never raises."""
        self._take(packet)
        return self._units.take()

    def push_all(self, packets: Iterable[memoryview]) -> list[Picture]:
        """As `push` for each of them, at a third of its cost."""
        source, units = self.source, self._units
        first, mask, kind = self._middle_first, self._middle_mask, self._middle_kind
        unpack_from, begin = self._middle.unpack_from, self._middle.size
        next_seq, next_ssrc = source.next
        middle: list[memoryview] = []
        for packet in packets:
            if len(packet) > begin:
                head, seq, ssrc, indicator, flags = unpack_from(packet)
                usual = seq == next_seq and head == first and ssrc == next_ssrc
                if usual and indicator & mask == kind and flags < _FU_END:
                    middle.append(packet[begin:])
                    next_seq = (seq + 1) & 0xFFFF
                    continue
            if middle:
                self._extend(middle, next_seq)
                middle = []
            self._take(packet)
            next_seq, next_ssrc = source.next
        if middle:
            self._extend(middle, next_seq)
        return units.take()

    def _extend(self, middle: Sequence[memoryview], next_seq: int) -> None:
        """Fragments in a row from the middle of a NAL unit; next_seq: behind the last of them."""
        self.source.went_on(next_seq)
        if not self._units.extend(middle):
            self._units.lose()

    def _take(self, packet: memoryview) -> None:
        units = self._units
        for header in self.source.take(packet):
            if header.lost:
                units.lose()
            if header.payload and not self._unpack(units, header.payload, header.time):
                self.unsupported += 1
            if header.marker:
                units.mark()

    def flush(self) -> list[Picture]:
        """At the end of a session: the picture under way, as far as it came."""
        self._units.flush()
        return self._units.take()


class H264Depacketizer(VideoDepacketizer):
    """RFC 6184: single NAL units, STAP-A and FU-A, whatever packetization mode the SDP names."""

    def __init__(self, payload_type: int, described: Iterable[bytes] = (), ssrc: int | None = None) -> None:
        super().__init__("H264", payload_type, described, ssrc)


class H265Depacketizer(VideoDepacketizer):
    """RFC 7798: single NAL units, aggregation packets, fragmentation units; no decoding order numbers."""

    def __init__(self, payload_type: int, described: Iterable[bytes] = (), ssrc: int | None = None) -> None:
        super().__init__("H265", payload_type, described, ssrc)


def described_sets(encoding: Encoding, fmtp: Mapping[str, str]) -> list[bytes]:
    """The parameter sets of an SDP's fmtp line (RFC 6184 section 8.1, RFC 7798 section 7.1).

    Whatever is no base64 is left out: the stream will bring its own.
    """
    values = {name.lower(): value for name, value in fmtp.items()}
    sets = []
    for name in _SDP_SETS[encoding]:
        for text in values.get(name, "").split(","):
            try:
                sets.append(base64.b64decode(text.strip() + "=" * (-len(text.strip()) % 4)))
            except (binascii.Error, ValueError):
                continue
    return [nal for nal in sets if nal]


def _unpack_h264(units: AccessUnits, payload: memoryview, time: int) -> bool:
    """False when the payload, or a part of it, is not understood."""
    first = payload[0]
    kind = first & 0x1F
    if kind == _H264_FU_A:
        if len(payload) < 2:
            return False
        flags = payload[1]
        if flags & _FU_START:
            # The type of the first fragment counts; some cameras change it on the way (Tiandy).
            units.begin(bytes((first & 0xE0 | flags & 0x1F,)) + payload[2:], time)
        elif not units.extend((payload[2:],)):
            units.lose()
        if flags & _FU_END:
            units.end()
        return True
    if kind == _H264_STAP_A:
        return _unpack_aggregate(units, payload[1:], time)
    if first == 0 and len(payload) > 1 and payload[1] == 0:
        return _unpack_annex_b(units, payload, time)
    if not 0 < kind <= _H264_LAST_SINGLE:
        return False
    units.add(payload, time)
    return True


def _unpack_h265(units: AccessUnits, payload: memoryview, time: int) -> bool:
    """False when the payload, or a part of it, is not understood."""
    if len(payload) < 2:
        return False
    first = payload[0]
    kind = first >> 1 & 0x3F
    if kind == _H265_FU:
        if len(payload) < 3:
            return False
        flags = payload[2]
        if flags & _FU_START:
            header = bytes((first & 0x81 | (flags & 0x3F) << 1, payload[1]))
            units.begin(header + payload[3:], time)
        elif not units.extend((payload[3:],)):
            units.lose()
        if flags & _FU_END:
            units.end()
        return True
    if kind == _H265_AP:
        return _unpack_aggregate(units, payload[2:], time)
    if first == 0 and payload[1] == 0:
        return _unpack_annex_b(units, payload, time)
    if kind > _H265_LAST_SINGLE:
        return False
    units.add(payload, time)
    return True


def _unpack_aggregate(units: AccessUnits, rest: memoryview, time: int) -> bool:
    """NAL units, each behind its size in two bytes (RFC 6184 section 5.7.1, RFC 7798 section 4.4.2)."""
    at, end = 0, len(rest)
    while at + 2 <= end:
        size = rest[at] << 8 | rest[at + 1]
        at += 2
        if at + size > end:
            units.lose()
            return False
        if size:
            units.add(rest[at : at + size], time)
        at += size
    return True


def _unpack_annex_b(units: AccessUnits, payload: memoryview, time: int) -> bool:
    """A payload that begins with a start code (V380)."""
    for nal in split_annex_b(bytes(payload)):
        units.add(nal, time)
    return True
