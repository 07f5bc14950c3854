"""Packets to pictures: every NAL unit as sent, one unit per picture, whatever the camera does (QUIRKS 8)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import media_samples
from media_samples import Unit, VideoCodec, fragmented, rtp_packet, video_packets
from simpang_buffer.media.access_units import MAX_PICTURE_BYTES, Picture
from simpang_buffer.media.h26x import H264Depacketizer, H265Depacketizer, VideoDepacketizer

CODECS: tuple[VideoCodec, ...] = ("h264", "h265")
Payloads = Sequence[tuple[bytes, int, bool]]


def depacketizer(codec: VideoCodec, described: Iterable[bytes] = ()) -> VideoDepacketizer:
    return (H264Depacketizer if codec == "h264" else H265Depacketizer)(96, described)


def pictures_of(codec: VideoCodec, packets: Iterable[bytes]) -> list[Picture]:
    """All pictures; the receive buffer is overwritten after each packet, as the recorder does."""
    target = depacketizer(codec)
    found = []
    for packet in packets:
        buffer = bytearray(packet)
        found += target.push(memoryview(buffer))
        buffer[:] = b"\xa5" * len(buffer)
    assert target.unsupported == 0
    return found + target.flush()


def sent(payloads: Payloads) -> list[bytes]:
    """(payload, time, marker) as packets in order."""
    return [
        rtp_packet(payload, seq=number, time=stamp, marker=marker)
        for number, (payload, stamp, marker) in enumerate(payloads)
    ]


def by_nal(
    codec: VideoCodec, units: Sequence[Unit], marker: Callable[[int, int, int], bool], mtu: int = 1400
) -> list[bytes]:
    """Packets with the marker chosen by (NAL type, place in the picture, NAL units in it)."""
    payloads = []
    for unit in units:
        for place, nal in enumerate(unit.nals):
            pieces = fragmented(codec, nal, mtu)
            marked = marker(media_samples.nal_kind(codec, nal), place, len(unit.nals))
            for number, piece in enumerate(pieces):
                payloads.append((piece, unit.pts, marked and number == len(pieces) - 1))
    return sent(payloads)


def assert_as_sent(found: Sequence[Picture], units: Sequence[Unit]) -> None:
    assert [picture.data for picture in found] == [unit.data for unit in units]
    assert [tuple(picture.nals) for picture in found] == [unit.nals for unit in units]
    assert [picture.key for picture in found] == [unit.key for unit in units]
    assert not any(picture.damaged for picture in found)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("mtu", [60, 1400, 65_000])
def test_pictures_are_byte_for_byte_what_the_encoder_made(
    codec: VideoCodec, b_frames: int, slices: int, mtu: int
) -> None:
    units = media_samples.video(codec, b_frames=b_frames, slices=slices, noise=3000)

    found = pictures_of(codec, video_packets(codec, units, mtu=mtu))

    assert_as_sent(found, units)
    assert [(p.rtp_time + 0x1000) & 0xFFFF_FFFF for p in found] == [unit.pts for unit in units]
    assert found[0].format is not None
    assert found[1].format is None


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "marker",
    [
        lambda kind, place, count: False,
        lambda kind, place, count: True,
        lambda kind, place, count: kind in (6, 7, 8, 32, 33, 34, 39) or place == count - 1,
    ],
    ids=["never (FLIR M400)", "on each slice", "on parameter sets and SEI (LV-IP22IR40DVBL)"],
)
def test_markers_in_odd_places_split_no_picture(
    codec: VideoCodec, marker: Callable[[int, int, int], bool]
) -> None:
    units = media_samples.video(codec, slices=3, noise=3000)

    assert_as_sent(pictures_of(codec, by_nal(codec, units, marker)), units)


@pytest.mark.parametrize("codec", CODECS)
def test_a_trusted_marker_hands_the_picture_over_at_once(codec: VideoCodec) -> None:
    units = media_samples.video(codec, slices=3)
    target = depacketizer(codec)
    delays: list[int] = []
    for unit in units:
        packets = video_packets(codec, [unit], first_seq=len(delays) * 10)
        delays.append(1 - sum(len(target.push(memoryview(packet))) for packet in packets))

    assert delays[5:] == [0] * (len(units) - 5)


@pytest.mark.parametrize("codec", CODECS)
def test_parameter_sets_with_the_last_pictures_stamp_belong_to_the_next(codec: VideoCodec) -> None:
    # RLC-822A (8.6)
    units = media_samples.video(codec, slices=2)
    kinds = (6, 7, 8) if codec == "h264" else (32, 33, 34, 39)
    payloads = []
    previous = 0
    for unit in units:
        for nal in unit.nals:
            early = media_samples.nal_kind(codec, nal) in kinds
            payloads.append((nal, previous if early else unit.pts, nal is unit.nals[-1]))
        previous = unit.pts

    found = pictures_of(codec, sent(payloads))

    assert_as_sent(found, units)
    assert [picture.rtp_time for picture in found] == [unit.pts for unit in units]


@pytest.mark.parametrize("codec", CODECS)
def test_pictures_with_equal_stamps_stay_two(codec: VideoCodec) -> None:
    units = media_samples.video(codec, slices=3)
    payloads = [(nal, 5, nal is unit.nals[-1]) for unit in units for nal in unit.nals]

    assert_as_sent(pictures_of(codec, sent(payloads)), units)


@pytest.mark.parametrize("codec", CODECS)
def test_start_codes_inside_a_payload_are_taken_apart(codec: VideoCodec) -> None:
    # V380 (8.4): a key frame and its parameter sets in one NAL unit, fragmented or not
    units = media_samples.video(codec, slices=2)
    payloads = []
    for unit in units:
        pieces = fragmented(codec, b"\0\0\0\1".join(unit.nals), 500)
        payloads += [(piece, unit.pts, False) for piece in pieces]

    assert_as_sent(pictures_of(codec, sent(payloads)), units)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("slices", [1, 2])
def test_start_codes_are_looked_for_in_long_streams_too(codec: VideoCodec, slices: int) -> None:
    # With one slice only key frames hold start codes, with two every picture does.
    units = media_samples.video(codec, frames=260, width=64, height=48, key_every=130, slices=slices)
    payloads = []
    for unit in units:
        pieces = fragmented(codec, b"\0\0\0\1".join(unit.nals), 500)
        payloads += [(piece, unit.pts, piece is pieces[-1]) for piece in pieces]

    assert_as_sent(pictures_of(codec, sent(payloads)), units)


@pytest.mark.parametrize("codec", CODECS)
def test_a_payload_that_begins_with_a_start_code_is_read(codec: VideoCodec) -> None:
    units = media_samples.video(codec)
    payloads = [(b"\0\0\0\1" + b"\0\0\1".join(unit.nals), unit.pts, True) for unit in units]

    assert_as_sent(pictures_of(codec, sent(payloads)), units)


@pytest.mark.parametrize("codec", CODECS)
def test_aggregated_units_are_read(codec: VideoCodec) -> None:
    units = media_samples.video(codec, slices=2)
    head = b"\x78" if codec == "h264" else b"\x60\x01"
    payloads = [
        (head + b"".join(len(nal).to_bytes(2, "big") + nal for nal in unit.nals), unit.pts, True)
        for unit in units
    ]

    assert_as_sent(pictures_of(codec, sent(payloads)), units)


@pytest.mark.parametrize("codec", CODECS)
def test_odd_fragments_are_accepted(codec: VideoCodec) -> None:
    # Types that differ on the way (Tiandy), start and end in one (CostarHD), empty ones, no end at all (8.7)
    units = media_samples.video(codec, noise=3000)
    at = 1 if codec == "h264" else 2
    payloads = []
    for unit in units:
        for nal in unit.nals:
            pieces = [bytearray(piece) for piece in fragmented(codec, nal, 700)]
            if len(pieces) == 1:
                head = nal[:1] if codec == "h264" else nal[:2]
                kind = media_samples.nal_kind(codec, nal)
                first = head[0] & 0xE0 | 28 if codec == "h264" else head[0] & 0x81 | 49 << 1
                pieces = [bytearray(bytes((first,)) + head[1:] + bytes((0xC0 | kind,)) + nal[at:])]
            else:
                pieces[-1][at] &= ~0x40 & 0xFF
                pieces[1][at] ^= 0x03
                pieces.insert(1, pieces[1][: at + 1])
            payloads += [(bytes(piece), unit.pts, False) for piece in pieces]

    assert_as_sent(pictures_of(codec, sent(payloads)), units)


@pytest.mark.parametrize("codec", CODECS)
def test_a_lost_packet_marks_damage_up_to_the_next_key_frame(codec: VideoCodec) -> None:
    units = media_samples.video(codec, frames=45, noise=3000)
    packets = video_packets(codec, units)
    stamps = [int.from_bytes(packet[4:8], "big") for packet in packets]
    hit = stamps.index((units[20].pts + 0xFFFF_F000) & 0xFFFF_FFFF) + 1

    found = pictures_of(codec, packets[:hit] + packets[hit + 1 :])

    damaged = [picture.damaged for picture in found]
    assert damaged.index(True) in (19, 20)
    assert all(damaged[21 : 21 + 8])
    assert not any(damaged[30 - (len(units) - len(found)) :])
    whole = {unit.data for unit in units}
    assert all(picture.data in whole for picture in found if not picture.damaged)


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_stored_of_a_damaged_picture_is_whole_nal_units(codec: VideoCodec) -> None:
    units = media_samples.video(codec, slices=3, noise=3000)
    packets = video_packets(codec, units, mtu=300)
    known = {nal for unit in units for nal in unit.nals}
    # From the first slice on: a lost SEI does no harm to the picture.
    for hit in range(8, 60, 5):
        found = pictures_of(codec, packets[:hit] + packets[hit + 1 :])

        assert all(nal in known for picture in found for nal in picture.nals)
        assert any(picture.damaged for picture in found)


@pytest.mark.parametrize("codec", CODECS)
def test_a_change_of_parameter_sets_is_told_with_the_key_frame_it_begins_with(codec: VideoCodec) -> None:
    first = media_samples.video(codec)
    second = [Unit(u.nals, u.pts + 200_000, u.key) for u in media_samples.video(codec, width=640, height=480)]
    with_markers = by_nal(codec, [*first, *second], lambda kind, place, count: place == count - 1)
    without = by_nal(codec, [*first, *second], lambda kind, place, count: False)
    for packets in (with_markers, without):
        found = pictures_of(codec, packets)

        formats = [picture.format for picture in found if picture.key]
        assert [f and f.width for f in formats] == [320, 320, 640, 640]
        assert formats[0] is formats[1]


@pytest.mark.parametrize("codec", CODECS)
def test_sets_from_the_sdp_serve_a_stream_without_any(codec: VideoCodec) -> None:
    units = media_samples.video(codec)
    sets = media_samples.parameter_sets(codec, units)
    bare = media_samples.without_parameter_sets(codec, units)
    target = depacketizer(codec, [b"\0\0\0\1" + nal for nal in sets])

    found = [p for packet in video_packets(codec, bare) for p in target.push(memoryview(packet))]

    assert found[0].format is not None
    assert found[0].format.width == 320
    assert_as_sent(found + target.flush(), bare)


def test_a_stream_without_idr_pictures_still_has_places_to_begin() -> None:
    units = media_samples.video("h264", frames=45)
    recast = [
        Unit(
            tuple(bytes((n[0] & 0xE0 | 1,)) + n[1:] if n[0] & 31 == 5 else n for n in unit.nals),
            unit.pts,
            unit.key,
        )
        for unit in units
    ]

    found = pictures_of("h264", video_packets("h264", recast))

    assert [n for n, picture in enumerate(found) if picture.key] == [15, 30]


@pytest.mark.parametrize("codec", CODECS)
def test_a_picture_without_end_is_given_up(codec: VideoCodec) -> None:
    units = media_samples.video(codec)
    nal = units[0].nals[-1]
    start = fragmented(codec, nal + bytes(200), 100)[0]
    more = bytearray(fragmented(codec, nal + b"\xff" * 70_000, 65_000)[1])
    more[1 if codec == "h264" else 2] &= 0x3F
    target = depacketizer(codec)
    target.push(memoryview(rtp_packet(start, seq=0, time=0)))
    for seq in range(1, 3 * MAX_PICTURE_BYTES // len(more)):
        target.push(memoryview(rtp_packet(bytes(more), seq=seq, time=0)))

    assert target.oversized == 1
    assert sum(len(picture.data) for picture in target.flush()) == 0


@given(
    st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 3), st.booleans(), st.booleans())),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_hostile_payloads_end_in_pictures_or_counts(
    payloads: list[tuple[bytes, int, bool, bool]], h265: bool
) -> None:
    codec: VideoCodec = "h265" if h265 else "h264"
    target = depacketizer(codec)
    found: list[Picture] = []
    seq = 0
    for payload, stamp, marker, gap in payloads:
        seq += 1 + gap
        found += target.push(memoryview(rtp_packet(payload, seq=seq, time=stamp, marker=marker)))
    found += target.flush()
    for picture in found:
        assert b"".join(len(nal).to_bytes(4, "big") + nal for nal in picture.nals) == picture.data
        assert picture.data


@given(st.data(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_real_stream_with_hostile_packets_between_survives(data: st.DataObject, h265: bool) -> None:
    codec: VideoCodec = "h265" if h265 else "h264"
    units = media_samples.video(codec, frames=15, width=64, height=48, slices=1)
    packets = video_packets(codec, units)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(packets) - 1))
        altered = bytearray(packets[at])
        altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
        packets[at] = bytes(altered)
    target = depacketizer(codec)
    found = [p for packet in packets for p in target.push(memoryview(packet))] + target.flush()
    assert len(found) <= 2 * len(units) + 5


@given(st.data(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_packets_taken_together_are_as_taken_one_by_one(data: st.DataObject, h265: bool) -> None:
    codec: VideoCodec = "h265" if h265 else "h264"
    units = media_samples.video(codec, frames=8, width=64, height=48, noise=600)
    packets = video_packets(codec, units, mtu=200)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(packets) - 1))
        altered = bytearray(packets[at])
        altered[data.draw(st.integers(0, min(15, len(altered) - 1)))] ^= data.draw(st.integers(1, 255))
        packets[at] = bytes(altered[: data.draw(st.sampled_from((14, 15, 1400)))])
    single, together = depacketizer(codec), depacketizer(codec)
    step = data.draw(st.integers(1, 40))

    one_by_one = [p for packet in packets for p in single.push(memoryview(packet))] + single.flush()
    at_once = []
    for begin in range(0, len(packets), step):
        row = [memoryview(bytearray(packet)) for packet in packets[begin : begin + step]]
        at_once += together.push_all(row)
        for view in row:
            view[:] = bytes(len(view))
    at_once += together.flush()

    assert at_once == one_by_one
    assert together.source.lost == single.source.lost
    assert together.source.dropped == single.source.dropped
    assert together.unsupported == single.unsupported


def test_a_packet_costs_microseconds() -> None:
    units = media_samples.video("h264", width=640, height=480, noise=200_000, frames=10)
    packets = [memoryview(packet) for packet in video_packets("h264", units)]
    costs = []
    for _ in range(5):
        target = depacketizer("h264")
        began = time.process_time()
        for packet in packets:
            target.push(packet)
        costs.append((time.process_time() - began) / len(packets))

    # About 2.3 us on the machine it was written on; the limit only catches a change of order.
    assert min(costs) < 20e-6
