"""RTP packets of one track (RFC 3550 section 5): headers, lost packets, and packets that are not ours."""

from __future__ import annotations

import struct
from collections import deque
from typing import NamedTuple

_FIXED = struct.Struct(">BBHII")
_FIXED_BYTES = 12
# After this many packets of a new source in which the old one was silent, the new one is followed.
_FOLLOW_AFTER = 8
# Packets of a new source wait this long at most, in bytes, until it is clear whose they are.
_WAITING_BYTES = 1 << 17
# Sequence numbers so far back are late duplicates; farther ones are a counter that starts over.
_LATE = 256
# No link loses so many packets in a row and goes on; at 100 Mbit/s it would be half a second.
_STARTS_OVER = 4096


class RtpHeader(NamedTuple):
    """One packet. time: 32 bits of the track's clock. lost: packets missing before it (0 = none known).

    payload: a view into the packet, valid as long as the packet's buffer is. extension: the header extension,
    its profile and length with it (RFC 3550 section 5.3.1); empty where there is none.
    """

    payload_type: int
    marker: bool
    seq: int
    time: int
    ssrc: int
    payload: memoryview
    lost: int = 0
    extension: bytes = b""


class BadPacket(ValueError):
    """Not an RTP packet: too short for what its header announces, or of another version."""


def parse_rtp(packet: memoryview) -> RtpHeader:
    """Header and payload without CSRCs, extension and padding. Raises BadPacket."""
    try:
        first, second, seq, time, ssrc = _FIXED.unpack_from(packet)
    except struct.error as error:
        raise BadPacket("shorter than an RTP header") from error
    if first == 0x80:
        return RtpHeader(second & 0x7F, second > 0x7F, seq, time, ssrc, packet[_FIXED_BYTES:])
    if first >> 6 != 2:
        raise BadPacket(f"RTP version {first >> 6}")
    start = _FIXED_BYTES + 4 * (first & 0x0F)
    end = len(packet)
    extension = b""
    if first & 0x10:
        if start + 4 > end:
            raise BadPacket("extension is cut short")
        begin = start
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
        extension = bytes(packet[begin:start])
    if first & 0x20 and end > start:
        end -= packet[end - 1]
    if start > end:
        raise BadPacket("header is longer than its packet")
    return RtpHeader(second & 0x7F, second > 0x7F, seq, time, ssrc, packet[start:end], 0, extension)


class RtpSource:
    """Follows one track's packets: one payload type, one SSRC at a time, sequence numbers in order.

    A foreign SSRC is dropped while ours goes on (live555 before 2017.06.04 leaks a dead session's packets
    into a new connection) and followed once ours is silent (Uniview changes it at each key frame). Duplicates
    and late packets are dropped; a reordering transport must have sorted them before. Counts what it drops.
    """

    def __init__(self, payload_type: int, ssrc: int | None = None) -> None:
        """ssrc: what SETUP announced. A hint: it wins over another, but its absence is no fault."""
        self._payload_type = payload_type
        self._announced = ssrc
        self._ssrc: int | None = None
        self._next_seq: int | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_ssrc = 0
        self._waiting_bytes = 0
        self.lost = 0
        self.dropped = 0

    def take(self, packet: memoryview) -> tuple[RtpHeader, ...]:
        """What to work on now: mostly this packet, none if it is not ours, several after a change of SSRC.

        Never raises.
        """
        try:
            header = parse_rtp(packet)
        except BadPacket:
            self.dropped += 1
            return ()
        if header.payload_type != self._payload_type:
            self.dropped += 1
            return ()
        if header.ssrc != self._ssrc:
            return self._foreign(header, packet)
        if self._waiting:
            # Ours speaks again, so the other one is not its successor.
            self._forget_waiting()
        if header.seq == self._next_seq:
            self._next_seq = (header.seq + 1) & 0xFFFF
            return (header,)
        return self._sequenced(header)

    @property
    def next(self) -> tuple[int, int]:
        """Sequence number and SSRC of the packet that needs no second look; (-1, -1) where each needs one.

        Who takes such packets past `take` says so with `went_on`.
        """
        if self._ssrc is None or self._next_seq is None or self._waiting:
            return -1, -1
        return self._next_seq, self._ssrc

    def went_on(self, next_seq: int) -> None:
        """Packets were taken, each `next` when it was; next_seq: the number behind the last of them."""
        self._next_seq = next_seq

    def _sequenced(self, header: RtpHeader) -> tuple[RtpHeader, ...]:
        expected = header.seq if self._next_seq is None else self._next_seq
        missing = (header.seq - expected) & 0xFFFF
        if missing > 0xFFFF - _LATE:
            self.dropped += 1
            return ()
        # A counter that starts over (Eufy) also loses something; how much, nobody knows.
        missing = missing if missing < _STARTS_OVER else 1
        self.lost += missing
        self._next_seq = (header.seq + 1) & 0xFFFF
        return (header._replace(lost=missing),)

    def _foreign(self, header: RtpHeader, packet: memoryview) -> tuple[RtpHeader, ...]:
        if self._ssrc is None or header.ssrc == self._announced:
            return self._follow(header.ssrc, (header,))
        if header.ssrc != self._waiting_ssrc:
            self._forget_waiting()
            self._waiting_ssrc = header.ssrc
        # The packet's buffer will be reused, so what waits is copied.
        self._waiting.append(bytes(packet))
        self._waiting_bytes += len(packet)
        if len(self._waiting) < _FOLLOW_AFTER and self._waiting_bytes < _WAITING_BYTES:
            return ()
        waiting = tuple(parse_rtp(memoryview(kept)) for kept in self._waiting)
        self._waiting.clear()
        return self._follow(header.ssrc, waiting)

    def _follow(self, ssrc: int, headers: tuple[RtpHeader, ...]) -> tuple[RtpHeader, ...]:
        self._ssrc, self._next_seq = ssrc, None
        self._forget_waiting()
        return tuple(kept for header in headers for kept in self._sequenced(header))

    def _forget_waiting(self) -> None:
        self.dropped += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
