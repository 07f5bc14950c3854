"""One track's packets: what is ours is followed, what is not is dropped and counted."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_samples import rtp_packet
from simpang_buffer.media.rtp import BadPacket, RtpHeader, RtpSource, parse_rtp


def taken(source: RtpSource, *packets: bytes) -> list[int]:
    """Sequence numbers of what the source lets through."""
    return [header.seq for packet in packets for header in source.take(memoryview(packet))]


def packet(seq: int, ssrc: int = 1, payload_type: int = 96) -> bytes:
    return rtp_packet(b"payload", seq=seq, time=seq * 3000, ssrc=ssrc, payload_type=payload_type)


def test_csrc_extension_and_padding_are_no_payload() -> None:
    head = struct.pack(">BBHII", 0x80 | 0x20 | 0x10 | 2, 0x80 | 96, 7, 8, 9)
    body = bytes(8) + struct.pack(">HH", 0xABAC, 1) + b"exts" + b"payload" + b"\0\0\3"

    found = parse_rtp(memoryview(head + body))

    extension = struct.pack(">HH", 0xABAC, 1) + b"exts"
    assert found == RtpHeader(96, True, 7, 8, 9, memoryview(b"payload"), extension=extension)


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        bytes(11),
        struct.pack(">BBHII", 0x40, 96, 1, 2, 3),
        struct.pack(">BBHII", 0x8F, 96, 1, 2, 3),
        struct.pack(">BBHIIHH", 0x90, 96, 1, 2, 3, 0, 500),
        struct.pack(">BBHIIB", 0xA0, 96, 1, 2, 3, 200),
    ],
    ids=["empty", "short", "version", "csrc", "extension", "padding"],
)
def test_what_is_no_packet_is_refused_and_counted(junk: bytes) -> None:
    source = RtpSource(96)

    with pytest.raises(BadPacket):
        parse_rtp(memoryview(junk))
    assert taken(source, junk) == []
    assert source.dropped == 1


def test_sequence_numbers_wrap_and_losses_are_counted() -> None:
    source = RtpSource(96)

    headers = [h for seq in (65_534, 65_535, 0, 3, 4) for h in source.take(memoryview(packet(seq)))]

    assert [header.lost for header in headers] == [0, 0, 0, 2, 0]
    assert source.lost == 2


def test_late_and_double_packets_are_dropped() -> None:
    source = RtpSource(96)

    assert taken(source, packet(10), packet(11), packet(11), packet(9), packet(12)) == [10, 11, 12]
    assert (source.dropped, source.lost) == (2, 0)


def test_a_counter_that_starts_over_is_followed_as_one_loss() -> None:
    source = RtpSource(96)

    assert taken(source, packet(40_000), packet(40_001), packet(5), packet(6)) == [40_000, 40_001, 5, 6]
    assert source.lost == 1


def test_packets_of_another_payload_type_are_dropped() -> None:
    source = RtpSource(96)

    assert taken(source, packet(1), packet(900, payload_type=50), packet(2)) == [1, 2]
    assert source.dropped == 1


def test_a_dead_sessions_packets_are_dropped_while_ours_go_on() -> None:
    # Reolink RLC-410, live555 before 2017.06.04 (7.9)
    source = RtpSource(96)
    mixed = [p for n in range(50) for p in (packet(n, 1), packet(700 + n, 2), packet(701 + n, 2))]

    assert taken(source, *mixed) == list(range(50))
    assert source.lost == 0


def test_the_announced_source_wins_over_one_that_came_first() -> None:
    source = RtpSource(96, ssrc=2)

    assert taken(source, packet(700, 1), packet(10, 2), packet(701, 1), packet(11, 2)) == [700, 10, 11]


def test_a_new_source_is_followed_without_losing_its_first_packets() -> None:
    # Uniview changes it at each key frame (7.10)
    source = RtpSource(96)
    packets = [packet(n, 1) for n in range(20)] + [packet(5000 + n, 2) for n in range(20)]

    assert taken(source, *packets) == [*range(20), *range(5000, 5020)]
    assert (source.lost, source.dropped) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 65_535), st.binary(max_size=40)), max_size=200))
def test_no_order_of_packets_breaks_it_or_fills_memory(arrivals: list[tuple[int, int, bytes]]) -> None:
    source = RtpSource(96)
    total = 0
    for ssrc, seq, junk in arrivals:
        total += 2
        for data in (rtp_packet(junk, seq=seq, time=0, ssrc=ssrc), junk):
            for header in source.take(memoryview(data)):
                assert header.payload_type == 96
                total -= 1
    assert source.dropped <= total < source.dropped + 8


@given(st.binary(max_size=80))
def test_any_bytes_are_parsed_or_refused(junk: bytes) -> None:
    try:
        header = parse_rtp(memoryview(junk))
    except BadPacket:
        return
    assert len(header.payload) <= len(junk) - 12
