"""Access units into RTP packets: H.264 (RFC 6184), H.265 (RFC 7798), AAC (RFC 3640), G.711 (RFC 3551). Pure.

NAL units are copied as they are; what is larger than a packet goes in fragments, and neighbours that are
small (parameter sets, SEI) share one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from simpang_buffer.rtsp.sdp import Track

# With RTP, UDP and IP headers, and a tunnel's, below the 1500 bytes of Ethernet.
MAX_PAYLOAD_BYTES = 1400

_RTP_HEAD = struct.Struct(">BBHII")
_LENGTH = struct.Struct(">I")
_STAP_A = 24
_FU_A = 28
_AP = 48
_FU = 49
# RFC 3640 section 3.3.6, AAC-hbr: one header of 16 bits, 13 for the size and 3 for the index.
_AU_HEADERS_BITS = 16
_AAC_MOST_BYTES = 0x1FFF


class RtpSender:
    """One track of one session: numbers its packets. time_offset: added to every stamp, modulo 2^32."""

    def __init__(self, track: Track, ssrc: int, sequence: int, time_offset: int) -> None:
        self.track = track
        self.ssrc = ssrc
        self.sequence = sequence
        self._time_offset = time_offset
        self.packets = 0
        self.octets = 0

    def rtp_time(self, ticks: int) -> int:
        """The stamp of an instant of the stream."""
        return (ticks + self._time_offset) & 0xFFFFFFFF

    def send(self, data: bytes, ticks: int) -> list[bytes]:
        """The packets of one access unit or audio frame (NAL units behind 4-byte lengths) shown at `ticks`.

        Raises ValueError if a length leads out of the data, and for an encoding that is not served.
        """
        stamp = self.rtp_time(ticks)
        packets: list[bytes] = []
        payloads, marks_last = payloads_of(self.track, data)
        last = len(payloads) - 1
        for i, payload in enumerate(payloads):
            marker = 0x80 if marks_last and i == last else 0
            head = _RTP_HEAD.pack(0x80, marker | self.track.payload_type, self.sequence, stamp, self.ssrc)
            self.sequence = (self.sequence + 1) & 0xFFFF
            packets.append(head + payload)
            self.octets += len(payload)
        self.packets += len(packets)
        return packets


def payloads_of(track: Track, data: bytes) -> tuple[list[bytes], bool]:
    """The payloads that carry `data`, and whether the last one has the marker bit. Raises ValueError."""
    if track.encoding == "H264":
        return h264_payloads(nal_units(data)), True
    if track.encoding == "H265":
        return h265_payloads(nal_units(data)), True
    if track.encoding == "MPEG4-GENERIC":
        return aac_payloads(data), True
    if track.encoding in ("PCMA", "PCMU"):
        # The marker would say that a silence has ended (RFC 3551 section 4.1).
        return [data[at : at + MAX_PAYLOAD_BYTES] for at in range(0, len(data), MAX_PAYLOAD_BYTES)], False
    raise ValueError(f"{track.encoding} is not served")


def nal_units(data: bytes) -> list[memoryview]:
    """The NAL units behind their 4-byte lengths. Raises ValueError if a length leads out of the data."""
    view = memoryview(data)
    units: list[memoryview] = []
    at = 0
    while at < len(view):
        if at + 4 > len(view):
            raise ValueError("a NAL unit's length is cut off")
        end = at + 4 + _LENGTH.unpack_from(view, at)[0]
        if end > len(view):
            raise ValueError("a NAL unit is longer than its access unit")
        if end > at + 4:
            units.append(view[at + 4 : end])
        at = end
    return units


def h264_payloads(units: Sequence[memoryview]) -> list[bytes]:
    """RFC 6184, packetization-mode 1: single units, STAP-A for small neighbours, FU-A for large ones."""
    payloads: list[bytes] = []
    for group in _groups(units, head_bytes=1):
        if len(group) > 1:
            # The highest importance of those inside, and forbidden if one is (section 5.7).
            importance = max(unit[0] & 0x60 for unit in group)
            forbidden = max(unit[0] & 0x80 for unit in group)
            payloads.append(bytes([forbidden | importance | _STAP_A]) + _sized(group))
        elif len(group[0]) <= MAX_PAYLOAD_BYTES:
            payloads.append(bytes(group[0]))
        else:
            unit = group[0]
            indicator, kind = unit[0] & 0xE0 | _FU_A, unit[0] & 0x1F
            for flags, piece in _pieces(unit[1:], MAX_PAYLOAD_BYTES - 2):
                payloads.append(bytes((indicator, flags | kind)) + piece)
    return payloads


def h265_payloads(units: Sequence[memoryview]) -> list[bytes]:
    """RFC 7798 without DONL: single units, AP for small neighbours, FU for large ones."""
    units = [unit for unit in units if len(unit) >= 2]
    payloads: list[bytes] = []
    for group in _groups(units, head_bytes=2):
        if len(group) > 1:
            # The lowest layer and temporal identifiers of those inside (section 4.4.2).
            forbidden = max(unit[0] & 0x80 for unit in group)
            layer = min((unit[0] & 1) << 5 | unit[1] >> 3 for unit in group)
            temporal = min(unit[1] & 7 for unit in group)
            head = bytes((forbidden | _AP << 1 | layer >> 5, (layer & 0x1F) << 3 | temporal))
            payloads.append(head + _sized(group))
        elif len(group[0]) <= MAX_PAYLOAD_BYTES:
            payloads.append(bytes(group[0]))
        else:
            unit = group[0]
            first, kind = unit[0] & 0x81 | _FU << 1, unit[0] >> 1 & 0x3F
            for flags, piece in _pieces(unit[2:], MAX_PAYLOAD_BYTES - 3):
                payloads.append(bytes((first, unit[1], flags | kind)) + piece)
    return payloads


def aac_payloads(frame: bytes) -> list[bytes]:
    """RFC 3640, mode AAC-hbr, one frame a packet; a large one is cut, each piece naming the whole size."""
    if len(frame) > _AAC_MOST_BYTES:
        raise ValueError(f"an AAC frame of {len(frame)} bytes; {_AAC_MOST_BYTES} is the most")
    head = struct.pack(">HH", _AU_HEADERS_BITS, len(frame) << 3)
    step = MAX_PAYLOAD_BYTES - len(head)
    return [head + frame[at : at + step] for at in range(0, len(frame), step)]


def _groups(units: Sequence[memoryview], head_bytes: int) -> Iterator[list[memoryview]]:
    """Neighbours that fit one packet together, in order; what is too large stays alone."""
    group: list[memoryview] = []
    size = head_bytes
    for unit in units:
        if group and size + 2 + len(unit) > MAX_PAYLOAD_BYTES:
            yield group
            group, size = [], head_bytes
        group.append(unit)
        size += 2 + len(unit)
    if group:
        yield group


def _sized(group: Sequence[memoryview]) -> bytes:
    return b"".join(piece for unit in group for piece in (len(unit).to_bytes(2), unit))


def _pieces(body: memoryview, step: int) -> Iterator[tuple[int, memoryview]]:
    """Cuts of a unit's body with the start (0x80) and end (0x40) flags of a fragmentation unit's header."""
    for at in range(0, len(body), step):
        start = 0x80 if at == 0 else 0
        end = 0x40 if at + step >= len(body) else 0
        yield start | end, body[at : at + step]
