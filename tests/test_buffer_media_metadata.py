"""ONVIF metadata: packets to whole documents, and when in the run they were made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_samples import rtp_packet
from simpang_buffer.media.metadata import (
    MAX_DOCUMENT_BYTES,
    MetadataDepacketizer,
    MetadataDocument,
    metadata_format,
)
from simpang_buffer.media.metadata_time import MetadataTime

SECOND = 90_000


def packet(payload: bytes, seq: int, time: int = 0, *, marker: bool = False) -> bytes:
    return rtp_packet(payload, seq=seq, time=time, marker=marker, payload_type=107)


def taken(packets: list[bytes], target: MetadataDepacketizer | None = None) -> list[MetadataDocument]:
    target = target or MetadataDepacketizer(107)
    return [document for one in packets for document in target.push(memoryview(one))]


def test_a_document_is_what_comes_up_to_the_marker_dated_by_its_first_packet() -> None:
    sent = [packet(b"<a>", 1, 900), packet(b"x", 2, 990), packet(b"</a>", 3, 990, marker=True)]

    found = taken([*sent, packet(b"<b/>", 4, 1800, marker=True)])

    assert found == [MetadataDocument(900, b"<a>x</a>"), MetadataDocument(1800, b"<b/>")]


def test_a_lost_packet_costs_its_document_and_no_other() -> None:
    target = MetadataDepacketizer(107)
    sent = [packet(b"<a/>", 1, marker=True), packet(b"<b>", 2), packet(b"</b>", 4, marker=True)]

    found = taken([*sent, packet(b"<c/>", 5, marker=True)], target)

    assert [document.data for document in found] == [b"<a/>", b"<c/>"]
    assert target.incomplete == 1


def test_a_document_without_end_is_dropped_and_the_next_one_kept() -> None:
    target = MetadataDepacketizer(107)
    flood = [packet(bytes(60_000), seq) for seq in range(200)]

    found = taken([*flood, packet(b"end", 200, marker=True), packet(b"<a/>", 201, marker=True)], target)

    assert [document.data for document in found] == [b"<a/>"]
    assert target.oversized == 1


def test_the_largest_document_is_kept_and_one_byte_more_is_not() -> None:
    kept = taken([packet(bytes(MAX_DOCUMENT_BYTES // 8), n, marker=n == 7) for n in range(8)])
    dropped = taken(
        [*(packet(bytes(MAX_DOCUMENT_BYTES // 8), n) for n in range(8)), packet(b"x", 8, marker=True)]
    )

    assert [len(document.data) for document in kept] == [MAX_DOCUMENT_BYTES]
    assert dropped == []


@pytest.mark.parametrize(
    ("encoding", "content_encoding"),
    [("VND.ONVIF.METADATA", b""), ("VND.ONVIF.METADATA.GZIP", b"application/gzip")],
)
def test_the_sample_entry_names_encoding_and_namespace(encoding: str, content_encoding: bytes) -> None:
    """14496-12 section 12.3.3.2."""
    found = metadata_format(encoding)

    assert found is not None
    assert found.sample_entry[4:8] == b"metx"
    texts = found.sample_entry[16:].split(b"\0")
    assert texts == [content_encoding, b"http://www.onvif.org/ver10/schema", b"", b""]


def test_binary_xml_is_not_kept() -> None:
    assert metadata_format("VND.ONVIF.METADATA.EXI.ONVIF") is None


class Beside:
    """Stands for the pictures' clock: arrivals count from 0, the camera's clock is `offset_us` ahead."""

    def __init__(self, offset_us: int = 0) -> None:
        self.offset_us = offset_us

    def moment_us(self, camera_us: int | None, arrival_us: int) -> int | None:
        return arrival_us if camera_us is None else camera_us - self.offset_us


def test_stamps_date_documents_however_late_they_arrive() -> None:
    time = MetadataTime(SECOND, Beside().moment_us)

    found = [
        time.place(stamp * SECOND, arrival_us)
        for stamp, arrival_us in ((7, 0), (8, 1_400_000), (9, 2_050_000))
    ]

    assert found == [0, SECOND, 2 * SECOND]


def test_a_report_dates_the_first_document_too() -> None:
    """By arrival it is 0.8 s late: the camera took so long to see what it saw."""
    time = MetadataTime(SECOND, Beside(50_000_000).moment_us)
    time.report(50_000_000 + 3_000_000, 7 * SECOND)

    assert time.place(7 * SECOND, 3_800_000) == 3 * SECOND


@pytest.mark.parametrize("off_us", [3_600_000_000, -3_600_000_000])
def test_a_report_hours_off_is_not_believed(off_us: int) -> None:
    time = MetadataTime(SECOND, Beside().moment_us)
    time.report(off_us, 7 * SECOND)

    assert time.place(7 * SECOND, 4_000_000) == 4 * SECOND


def test_stamps_that_start_over_are_led_on_by_arrival() -> None:
    time = MetadataTime(SECOND, Beside().moment_us)
    sent = [(90, 1_000_000), (91, 2_000_000), (5, 3_000_000), (6, 4_000_000)]

    assert [time.place(s * SECOND, us) for s, us in sent] == [SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND]


def test_stamps_wrap() -> None:
    time = MetadataTime(SECOND, Beside().moment_us)

    found = [time.place((0xFFFF_FFFF + n * SECOND) & 0xFFFF_FFFF, n * 1_000_000) for n in range(3)]

    assert found == [0, SECOND, 2 * SECOND]


def test_what_was_made_before_the_run_is_no_part_of_it() -> None:
    time = MetadataTime(SECOND, Beside().moment_us)

    assert time.place(0, -500_000) is None
    assert MetadataTime(SECOND, lambda camera_us, arrival_us: None).place(0, 0) is None


@given(st.lists(st.tuples(st.integers(0, 0xFFFF_FFFF), st.integers(0, 5_000_000)), max_size=40))
def test_no_stamps_make_time_run_back(documents: list[tuple[int, int]]) -> None:
    time = MetadataTime(SECOND, Beside().moment_us)
    arrival_us, last = 0, -1
    for stamp, waited_us in documents:
        arrival_us += waited_us
        placed = time.place(stamp, arrival_us)
        if placed is not None:
            assert placed > last
            last = placed


@given(st.lists(st.tuples(st.binary(max_size=60), st.booleans(), st.integers(0, 3)), max_size=40))
def test_hostile_packets_end_in_bounded_documents(parts: list[tuple[bytes, bool, int]]) -> None:
    target = MetadataDepacketizer(107)
    seq = sent = kept = 0
    for payload, marker, skipped in parts:
        seq += 1 + skipped
        sent += len(payload)
        kept += sum(len(one.data) for one in target.push(memoryview(packet(payload, seq, marker=marker))))
    assert kept <= sent
