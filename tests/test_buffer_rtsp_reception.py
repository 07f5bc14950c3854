from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from scripted_camera import rtp
from simpang_buffer.rtsp.reception import Reception
from simpang_buffer.rtsp.rtcp import SenderReport, middle_bits


def reception(hint: int | None = None) -> Reception:
    return Reception(0, 96, hint, Counter())


def sources_kept(track: Reception, sources: list[int]) -> list[int]:
    return [ssrc for n, ssrc in enumerate(sources) if track.admit(rtp(n, ssrc=ssrc))]


def test_source_that_changes_is_followed_without_a_loss() -> None:
    # Uniview: a new one at each group of pictures
    assert sources_kept(reception(1), [1] * 5 + [2] * 5 + [3] * 5) == [1] * 5 + [2] * 5 + [3] * 5


def test_dead_sessions_packets_are_dropped_where_the_hint_tells() -> None:
    # live555 before 2017.06.04: session 9 leaks into ours
    assert sources_kept(reception(1), [9, 1, 9, 1, 9, 1]) == [9, 1, 1, 1]
    assert sources_kept(reception(1), [1, 9, 1, 9, 1]) == [1, 9, 1, 1]


def test_newer_source_is_kept_where_nothing_tells() -> None:
    assert sources_kept(reception(), [9, 1, 9, 1, 9, 1]) == [9, 1, 1, 1]


def test_source_that_ended_is_taken_back_once_it_is_alone() -> None:
    kept = sources_kept(reception(), [1, 2, 2] + [1] * 300)

    assert kept.count(1) > 150


def test_packets_that_are_not_the_tracks_are_dropped_and_counted() -> None:
    counts: Counter[str] = Counter()
    track = Reception(0, 96, None, counts)

    for data in (rtp(1, payload_type=50), b"\x00" + rtp(1)[1:], b"\x80", b""):
        assert not track.admit(data)

    assert counts == {"foreign_payloads": 2, "short_packets": 2}


def test_report_counts_losses_and_cycles() -> None:
    track = reception()
    for sequence in (*range(65_530, 65_536), *range(4)):
        track.admit(rtp(sequence))
        track.settle()
    first = track.block(0)
    for sequence in (4, 5, 8):
        track.admit(rtp(sequence))
        track.settle()
    second = track.block(0)

    assert first is not None
    assert second is not None
    assert (first.lost, first.fraction_lost, first.highest) == (0, 0, 65_539)
    assert (second.lost, second.fraction_lost, second.highest) == (2, 2 * 256 // 5, 65_544)


def test_losses_on_tcp_are_counted_and_a_counter_that_starts_over_is_none() -> None:
    """7.12: Eufy loses packets and starts its counter over though on TCP."""
    counts: Counter[str] = Counter()
    track = Reception(0, 96, None, counts)
    for sequence in (1, 2, 5, 6):
        track.admit(rtp(sequence))
        track.settle()
    track.block(0)
    for sequence in (40_000, 40_001, 3, 4):
        track.admit(rtp(sequence))
        track.settle()

    block = track.block(1)

    assert counts == {"lost_packets": 2, "sequence_restarts": 2}
    assert block is not None
    assert (block.lost, block.fraction_lost) == (0, 0)


def test_report_names_the_last_sender_report() -> None:
    track = reception(7)
    track.admit(rtp(1))

    assert track.heard(SenderReport(7, 10**15, 0), now_s=5.0)
    assert not track.heard(SenderReport(8, 10**15, 0), now_s=6.0)

    block = track.block(6.5)
    assert block is not None
    assert (block.last_report, block.since_report) == (middle_bits(10**15), 98_304)


def test_nothing_is_reported_before_the_first_packet() -> None:
    assert reception().block(0) is None


@given(
    st.lists(st.tuples(st.integers(0, 65_535), st.integers(1, 3)), max_size=200), st.sampled_from([None, 1])
)
def test_any_packets_leave_a_writable_report(packets: list[tuple[int, int]], hint: int | None) -> None:
    track = reception(hint)
    for sequence, ssrc in packets:
        track.admit(rtp(sequence, ssrc=ssrc))
        track.settle()

    block = track.block(0)

    assert (block is None) == (not packets)
    assert block is None or 0 <= block.fraction_lost <= 255
