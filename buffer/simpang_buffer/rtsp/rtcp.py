"""RTCP (RFC 3550 section 6): sender reports read, receiver and sender reports written."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_SENDER_REPORT = 200
_RECEIVER_REPORT = 201
_DESCRIPTION = 202
_CNAME = 1
# A compound packet seldom holds more than four; one datagram cannot make us build thousands.
_MAX_PACKETS = 64
# Seconds from 1900 (NTP) to 1970 (UTC).
_NTP_TO_UNIX_S = 2_208_988_800
_HEAD = struct.Struct(">BBH")
_SENDER_INFO = struct.Struct(">IIII")


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What a sender says of its clocks: at ntp_us (µs UTC, by its own clock) its RTP clock read rtp_time."""

    ssrc: int
    ntp_us: int
    rtp_time: int


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says of one sender (RFC 3550 section 6.4.1).

    fraction_lost: of 256. lost: since the start. highest: sequence number extended by its cycles.
    last_report: middle 32 bits of the last sender report's NTP time, 0 if none; since_report: in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    lost: int
    highest: int
    last_report: int = 0
    since_report: int = 0


def parse_sender_reports(data: bytes | memoryview) -> list[SenderReport]:
    """The sender reports of a compound packet; never raises, what cannot be read is left out."""
    reports: list[SenderReport] = []
    at = 0
    for _ in range(_MAX_PACKETS):
        if at + 8 > len(data):
            break
        first, kind, words = _HEAD.unpack_from(data, at)
        if first & 0xC0 != 0x80:
            break
        if kind == _SENDER_REPORT and words >= 6 and at + 20 <= len(data):
            ssrc, seconds, fraction, rtp_time = _SENDER_INFO.unpack_from(data, at + 4)
            # Zero: a sender without a clock (section 6.4.1).
            if seconds or fraction:
                reports.append(SenderReport(ssrc, _from_ntp(seconds, fraction), rtp_time))
        at += 4 * (words + 1)
    return reports


def build_receiver_report(ssrc: int, blocks: Sequence[ReportBlock], cname: str = "simpang") -> bytes:
    """A compound packet: receiver report (at most 31 blocks), then the compulsory CNAME."""
    blocks = blocks[:31]
    head = _HEAD.pack(0x80 | len(blocks), _RECEIVER_REPORT, 1 + 6 * len(blocks))
    return head + struct.pack(">I", ssrc) + b"".join(map(_block, blocks)) + _cname(ssrc, cname)


def build_sender_report(
    ssrc: int, ntp_us: int, rtp_time: int, packets: int, octets: int, cname: str = "simpang"
) -> bytes:
    """A compound packet: sender report, then the compulsory CNAME. packets and octets: sent so far."""
    seconds, us = divmod(ntp_us, 1_000_000)
    head = _HEAD.pack(0x80, _SENDER_REPORT, 6)
    info = struct.pack(
        ">IIIIII",
        ssrc,
        (seconds + _NTP_TO_UNIX_S) & 0xFFFFFFFF,
        (us << 32) // 1_000_000,
        rtp_time & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )
    return head + info + _cname(ssrc, cname)


def middle_bits(ntp_us: int) -> int:
    """The middle 32 bits of an NTP time stamp, as report blocks name it."""
    seconds, us = divmod(ntp_us, 1_000_000)
    return (seconds + _NTP_TO_UNIX_S & 0xFFFF) << 16 | (us << 16) // 1_000_000


def _from_ntp(seconds: int, fraction: int) -> int:
    # The seconds wrap in February 2036; a value with the top bit clear lies beyond (RFC 4330 section 3).
    era = 0 if seconds & 0x80000000 else 1 << 32
    # Rounded, so that what build_sender_report wrote is read back to the microsecond.
    return (seconds + era - _NTP_TO_UNIX_S) * 1_000_000 + (fraction * 1_000_000 + (1 << 31) >> 32)


def _block(block: ReportBlock) -> bytes:
    lost = max(-0x800000, min(block.lost, 0x7FFFFF)) & 0xFFFFFF
    return struct.pack(
        ">IIIIII",
        block.ssrc,
        (block.fraction_lost & 0xFF) << 24 | lost,
        block.highest & 0xFFFFFFFF,
        0,  # jitter: we read on a tick, so arrival times say nothing of it
        block.last_report & 0xFFFFFFFF,
        block.since_report & 0xFFFFFFFF,
    )


def _cname(ssrc: int, cname: str) -> bytes:
    name = cname.encode()[:255]
    item = struct.pack(">IBB", ssrc, _CNAME, len(name)) + name
    # Items end with a zero byte and are filled up to 32 bits.
    item += bytes(4 - len(item) % 4)
    return _HEAD.pack(0x81, _DESCRIPTION, len(item) // 4) + item
