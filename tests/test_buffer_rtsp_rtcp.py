from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpang_buffer.rtsp.rtcp import (
    ReportBlock,
    SenderReport,
    build_receiver_report,
    build_sender_report,
    middle_bits,
    parse_sender_reports,
)

U32 = st.integers(0, 0xFFFFFFFF)


# 1970 to 2100, over the end of NTP's first era in 2036
@given(U32, st.integers(0, 4_102_444_800_000_000), U32)
def test_sender_report_is_read_back_to_the_microsecond(ssrc: int, ntp_us: int, rtp_time: int) -> None:
    data = build_sender_report(ssrc, ntp_us, rtp_time, packets=1 << 40, octets=1 << 40)

    assert parse_sender_reports(data) == [SenderReport(ssrc, ntp_us, rtp_time)]
    assert len(data) % 4 == 0


def test_known_ntp_time_is_read() -> None:
    # 2026-11-24T00:00:00.5Z is 1795478400.5 s after 1970
    data = struct.pack(">BBHIIIIII", 0x80, 200, 6, 9, 1_795_478_400 + 2_208_988_800, 1 << 31, 77, 0, 0)

    assert parse_sender_reports(data) == [SenderReport(9, 1_795_478_400_500_000, 77)]


def test_sender_without_a_clock_is_left_out() -> None:
    assert parse_sender_reports(struct.pack(">BBHIIIIII", 0x80, 200, 6, 9, 0, 0, 77, 0, 0)) == []


def test_report_behind_other_packets_is_found() -> None:
    before = build_receiver_report(1, [])

    found = parse_sender_reports(memoryview(before + build_sender_report(5, 10**15, 6, 1, 1)))

    assert [report.ssrc for report in found] == [5]


def test_receiver_report_is_that_of_rfc_3550_section_6_4_2() -> None:
    data = build_receiver_report(0x01020304, [ReportBlock(7, 300, -5, 0x1_0000_0002, 11, 12)], cname="ab")

    assert data[:32] == struct.pack(
        ">BBHIIIIIII", 0x81, 201, 7, 0x01020304, 7, 44 << 24 | 0xFFFFFB, 2, 0, 11, 12
    )
    assert data[32:] == struct.pack(">BBHIBB2s2x", 0x81, 202, 3, 0x01020304, 1, 2, b"ab") + bytes(2)


@pytest.mark.parametrize("length", range(9))
def test_name_is_closed_and_filled_up(length: int) -> None:
    data = build_receiver_report(1, [], cname="x" * length)

    words = struct.unpack_from(">H", data, 10)[0]
    assert len(data) == 8 + 4 * (words + 1)
    assert data[-1] == 0


def test_middle_bits_are_those_of_the_written_report() -> None:
    data = build_sender_report(1, 1_795_478_400_500_000, 0, 0, 0)

    assert struct.pack(">I", middle_bits(1_795_478_400_500_000)) == data[10:14]


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"\x80\xc8\0\6", b"\x81\xc8\0\0"]))).map(
        b"".join
    )
)
def test_hostile_bytes_raise_nothing(data: bytes) -> None:
    assert len(parse_sender_reports(data)) <= 64
