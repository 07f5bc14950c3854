from __future__ import annotations

import socket
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from scripted_camera import rtp
from simpang_buffer.rtsp.udp import PortPair, Reorder


def order(sequences: list[int], step_s: float = 0.0) -> tuple[list[int], Counter[str]]:
    """Which packets come out, by sequence number, when these come in."""
    counts: Counter[str] = Counter()
    reorder = Reorder(counts)
    out: list[memoryview | bytes] = []
    for n, sequence in enumerate(sequences):
        out += reorder.push(memoryview(rtp(sequence)), n * step_s)
        out += reorder.overdue(n * step_s)
    out += reorder.overdue(1e9)
    return [int.from_bytes(data[2:4], "big") for data in out], counts


def test_neighbours_that_changed_places_are_put_in_order() -> None:
    assert order([65_534, 0, 65_535, 2, 1, 3])[0] == [65_534, 65_535, 0, 1, 2, 3]


def test_lost_packet_holds_the_others_up_only_so_long() -> None:
    found, counts = order([1, 2, *range(4, 40)], step_s=0.03)

    assert found == [1, 2, *range(4, 40)]
    assert counts["lost_packets"] == 1


def test_lost_packet_holds_up_only_so_many() -> None:
    counts: Counter[str] = Counter()
    reorder = Reorder(counts)
    reorder.push(memoryview(rtp(1)), 0)

    out = [len(reorder.push(memoryview(rtp(n)), 0)) for n in range(3, 80)]

    assert max(out) == 65
    assert sum(out) == 77


def test_repeated_and_late_packets_are_dropped() -> None:
    found, counts = order([1, 2, 2, 3, 1, 5, 5, 4])

    assert found == [1, 2, 3, 4, 5]
    assert counts["late_packets"] == 3


def test_sequence_that_starts_over_is_followed() -> None:
    assert order([1, 2, 30_000, 30_001, 30_002])[0] == [1, 2, 30_001, 30_002]
    assert order([30_000, 30_001, 5, 6, 7])[0] == [30_000, 30_001, 6, 7]


@given(st.permutations(range(40)))
def test_any_order_loses_nothing_within_the_window(sequences: list[int]) -> None:
    found, _ = order([65_500, *[(65_501 + n) & 0xFFFF for n in sequences]])

    assert found == [(65_500 + n) & 0xFFFF for n in range(41)]


@given(st.lists(st.tuples(st.integers(0, 65_535), st.integers(1, 2)), max_size=300))
def test_any_packets_keep_memory_bounded(packets: list[tuple[int, int]]) -> None:
    reorder = Reorder(Counter())
    out = 0
    for n, (sequence, ssrc) in enumerate(packets):
        out += len(reorder.push(memoryview(rtp(sequence, ssrc=ssrc)), n * 0.001))
        assert len(reorder._waiting) <= 65
    out += len(reorder.overdue(1e9))

    assert out <= len(packets)


def test_only_the_pinned_host_is_heard() -> None:
    counts: Counter[str] = Counter()
    ports = PortPair("127.0.0.1", "127.0.0.2", counts)
    try:
        assert ports.port % 2 == 0
        space = memoryview(bytearray(65_536))
        for host in ("127.0.0.1", "127.0.0.3", "127.0.0.2"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((host, 0))
                sender.sendto(host.encode(), ("127.0.0.1", ports.port))

        count = ports.receive_rtp(space)

        assert bytes(space[:count]) == b"127.0.0.2"
        assert ports.receive_rtp(space) == 0
        assert counts["foreign_senders"] == 2
    finally:
        ports.close()
