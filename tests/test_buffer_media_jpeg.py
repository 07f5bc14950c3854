"""MJPEG over RTP (RFC 2435): what comes out is a JPEG that ffmpeg decodes to the picture that went in."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import av.logging
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_samples import rtp_packet
from simpang_buffer.media.access_units import MAX_PICTURE_BYTES, Picture
from simpang_buffer.media.jpeg import JpegDepacketizer
from simpang_buffer.media.jpeg_header import tables_of_quality

SOI, EOI = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True)
class Jpeg:
    """What RFC 2435 sends of an encoded picture. pixels: as decoded."""

    width: int
    height: int
    tables: bytes
    scan: bytes
    pixels: bytes


@functools.cache
def encoded(width: int = 64, height: int = 48, brightness: int = 0, *, restarts: bool = False) -> Jpeg:
    """A picture with the standard's Huffman tables, by ffmpeg. restarts: markers between rows of blocks."""
    av.logging.set_level(av.logging.PANIC)
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"huffman": "default"}
    # Its threads each write a part of the picture, up to a restart marker.
    encoder.thread_type, encoder.thread_count = "SLICE", 3 if restarts else 1
    frame = av.VideoFrame(width, height, encoder.pix_fmt)
    for index, plane in enumerate(frame.planes):
        plane.update(bytes((brightness + x * (index + 1) + x // 61) & 0xFF for x in range(plane.buffer_size)))
    frame.pts = 0
    (packet, *_) = [*encoder.encode(frame), *encoder.encode(None)]
    whole = bytes(packet)
    tables, scan = _taken_apart(whole)
    return Jpeg(width, height, tables, scan, pixels(whole))


def _taken_apart(whole: bytes) -> tuple[bytes, bytes]:
    """The tables of its DQT segments, luma first, and the scan without EOI."""
    at, tables = 2, b""
    while True:
        marker, size = whole[at + 1], int.from_bytes(whole[at + 2 : at + 4], "big")
        content = whole[at + 4 : at + 2 + size]
        if marker == 0xDB:
            tables += b"".join(content[start + 1 : start + 65] for start in range(0, len(content), 65))
        at += 2 + size
        if marker == 0xDA:
            # ffmpeg writes one table for all components; RFC 2435 wants one for chroma too.
            return (tables * 2)[:128], whole[at:].removesuffix(EOI)


def pixels(jpeg: bytes) -> bytes:
    """Decoded by ffmpeg; raises for what it complains of."""
    with av.open(io.BytesIO(jpeg), format="mjpeg", options={"err_detect": "explode"}) as container:
        (frame,) = list(container.decode(video=0))
    rows = []
    for plane in frame.planes:
        data = bytes(plane)
        rows += [data[plane.line_size * row :][: plane.width] for row in range(plane.height)]
    return b"".join(rows)


def payloads(
    jpeg: Jpeg, quality: int = 255, *, size: int = 400, interval: int = 0, zero: bool = False
) -> list[bytes]:
    """RFC 2435 section 3.1. interval: of restart markers, where not 0. zero: the size is left out."""
    made = []
    for at in range(0, len(jpeg.scan), size):
        kind = 65 if interval else 1
        wide, high = (0, 0) if zero else (jpeg.width // 8, jpeg.height // 8)
        head = struct.pack(">BBHBBBB", 0, at >> 16, at & 0xFFFF, kind, quality, wide, high)
        if interval:
            head += struct.pack(">HH", interval, 0xFFFF)
        if at == 0 and quality >= 128:
            head += struct.pack(">BBH", 0, 0, len(jpeg.tables)) + jpeg.tables
        made.append(head + jpeg.scan[at : at + size])
    return made


def packets(
    pictures: Sequence[Sequence[bytes]], *, first_seq: int = 9, markers: str = "last", extension: bytes = b""
) -> list[bytes]:
    """markers: on the last packet of each picture, on "all", or on "none"."""
    made: list[bytes] = []
    for number, picture in enumerate(pictures):
        for index, payload in enumerate(picture):
            last = index == len(picture) - 1
            packet = rtp_packet(
                payload,
                seq=first_seq + len(made),
                time=number * 3600,
                marker=markers == "all" or (markers == "last" and last),
                payload_type=26,
            )
            if extension:
                packet = bytes((packet[0] | 0x10,)) + packet[1:12] + extension + packet[12:]
            made.append(packet)
    return made


def taken(sent: Sequence[bytes], target: JpegDepacketizer | None = None) -> list[Picture]:
    target = target or JpegDepacketizer(26)
    found = [picture for packet in sent for picture in target.push(memoryview(packet))]
    return found + target.flush()


def test_a_picture_with_its_own_tables_is_decoded_as_it_was_encoded() -> None:
    jpeg = encoded()
    target = JpegDepacketizer(26)

    (found,) = taken(packets([payloads(jpeg)]), target)

    assert found.data.startswith(SOI) and found.data.endswith(EOI)
    assert jpeg.scan in found.data
    assert pixels(found.data) == jpeg.pixels
    assert found.key and not found.damaged and found.format is target.video_format
    assert (found.format.codec, found.format.width, found.format.height) == ("mp4v.6C", 64, 48)


def test_type_0_has_half_the_chroma_and_type_1_a_quarter() -> None:
    """Section 4.1. Other types are another's to define."""
    (first, *_) = payloads(encoded())
    kinds = [first[:4] + bytes((kind,)) + first[5:] for kind in (0, 1, 2, 63)]

    found = taken(packets([[payload] for payload in kinds]))

    frames = [picture.data[picture.data.index(b"\xff\xc0") + 10 :][:9] for picture in found]
    assert frames == [b"\1\x21\0\2\x11\1\3\x11\1", b"\1\x22\0\2\x11\1\3\x11\1"]


def test_tables_are_remembered_under_their_number_and_for_no_other_picture() -> None:
    """Q of 128 to 254 names tables that may be sent once; those of 255 are another's with every picture."""
    jpeg = encoded()
    silent = [
        payload[:8] + struct.pack(">BBH", 0, 0, 0) + payload[12 + 128 :]
        for payload in payloads(jpeg, 200)[:1]
    ]
    again = [*silent, *payloads(jpeg, 200)[1:]]
    dynamic = [payload[:5] + b"\xff" + payload[6:] for payload in again]
    target = JpegDepacketizer(26)

    found = taken(packets([payloads(jpeg, 200), again, payloads(jpeg), dynamic]), target)

    assert [pixels(picture.data) for picture in found] == [jpeg.pixels] * 3
    assert target.unsupported == 1


@pytest.mark.parametrize(
    ("quality", "first", "last"), [(50, 16, 99), (99, 1, 2), (1, 255, 255), (25, 32, 198)]
)
def test_tables_of_a_quality_are_scaled_as_the_rfc_says(quality: int, first: int, last: int) -> None:
    """Section 4.2: 50 is table K.1 itself."""
    tables = tables_of_quality(quality)

    content = tables.segments[4:]
    assert (len(content), content[0], content[65], tables.amount) == (130, 0, 1, 2)
    assert (content[1], content[129]) == (first, last)


def test_a_picture_by_quality_is_a_jpeg() -> None:
    jpeg = encoded()

    (found,) = taken(packets([payloads(jpeg, 60)]))

    assert len(pixels(found.data)) == len(jpeg.pixels)
    assert tables_of_quality(60).segments in found.data


def test_restart_markers_keep_their_interval() -> None:
    """Types 64 and 65."""
    jpeg = encoded(restarts=True)
    interval = jpeg.width // 16
    assert b"\xff\xd0" in jpeg.scan

    (found,) = taken(packets([payloads(jpeg, interval=interval)]))

    assert b"\xff\xdd\0\4" + interval.to_bytes(2, "big") in found.data
    assert pixels(found.data) == jpeg.pixels


def test_joining_in_mid_picture_begins_with_the_next() -> None:
    """8.14."""
    first, second = payloads(encoded()), payloads(encoded(brightness=90))
    target = JpegDepacketizer(26)

    found = taken(packets([first, second])[2:], target)

    assert [pixels(picture.data) for picture in found] == [encoded(brightness=90).pixels]


@pytest.mark.parametrize("lost", [0, 1, -1])
def test_a_lost_fragment_costs_its_picture_and_no_other(lost: int) -> None:
    pictures = [payloads(encoded(brightness=number)) for number in (0, 40, 80)]
    sent = packets(pictures)
    del sent[len(pictures[0]) + lost % len(pictures[1])]

    found = taken(sent)

    assert [pixels(picture.data) for picture in found] == [encoded(brightness=n).pixels for n in (0, 80)]


def test_a_fragment_that_the_camera_itself_left_out_costs_its_picture() -> None:
    """Sequence numbers have no hole, offsets have."""
    pictures = [payloads(encoded(brightness=number)) for number in (0, 40, 80)]
    del pictures[1][1]

    found = taken(packets(pictures))

    assert [pixels(picture.data) for picture in found] == [encoded(brightness=n).pixels for n in (0, 80)]


def test_pictures_without_markers_end_where_the_next_begins() -> None:
    sent = packets([payloads(encoded(brightness=n)) for n in (0, 40, 80)], markers="none")

    found = taken(sent)

    assert [pixels(picture.data) for picture in found] == [encoded(brightness=n).pixels for n in (0, 40)]


def test_markers_on_every_packet_cost_one_picture() -> None:
    sent = packets([payloads(encoded(brightness=n)) for n in (0, 40, 80)], markers="all")

    found = taken(sent)

    whole = [picture for picture in found if len(picture.data) > len(encoded().scan)]
    assert [pixels(picture.data) for picture in whole] == [encoded(brightness=40).pixels]


def onvif_extension(width: int, height: int, *, replay: bool = False) -> bytes:
    """ONVIF Streaming specification: profile 0xFFD8, marker segments, filled up with 0xFF."""
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes((1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1))
    segments = b"\xff\xc0" + (2 + len(frame)).to_bytes(2, "big") + frame
    segments += b"\xff" * (-len(segments) % 4)
    words = len(segments) // 4
    if replay:
        inner = b"\xff\xd8" + words.to_bytes(2, "big") + segments
        return struct.pack(">HH", 0xABAC, 3 + words + 1) + bytes(12) + inner
    return b"\xff\xd8" + words.to_bytes(2, "big") + segments


@pytest.mark.parametrize("replay", [False, True])
def test_a_size_beyond_the_header_comes_from_onvifs_extension(replay: bool) -> None:
    jpeg = encoded(width=2560, height=1440)
    sent = packets(
        [payloads(jpeg, size=1400, zero=True)], extension=onvif_extension(2560, 1440, replay=replay)
    )

    (found,) = taken(sent)

    assert found.format is not None
    assert (found.format.width, found.format.height) == (2560, 1440)
    assert pixels(found.data) == jpeg.pixels


def test_a_size_beyond_the_header_comes_from_the_sdp_or_the_picture_is_refused() -> None:
    jpeg = encoded(width=2560, height=1440)
    sent = packets([payloads(jpeg, size=1400, zero=True)])
    unknown = JpegDepacketizer(26)

    (found,) = taken(sent, JpegDepacketizer(26, (2560, 1440)))

    assert pixels(found.data) == jpeg.pixels
    assert taken(sent, unknown) == []
    assert unknown.unsupported == 1


def test_a_new_size_is_a_new_format_and_the_same_size_the_same() -> None:
    sizes = [(64, 48), (64, 48), (128, 96)]

    found = taken(packets([payloads(encoded(width=w, height=h)) for w, h in sizes]))

    formats = [picture.format for picture in found]
    assert formats[0] is formats[1]
    assert formats[2] is not None and (formats[2].width, formats[2].height) == (128, 96)


def test_a_picture_without_end_is_given_up() -> None:
    """8.13."""
    head = payloads(encoded())[0]
    target = JpegDepacketizer(26)
    at = len(encoded().scan[:400])
    sent = [rtp_packet(head, seq=0, time=0, payload_type=26)]
    for seq in range(1, 200):
        body = struct.pack(">BBHBBBB", 0, at >> 16, at & 0xFFFF, 1, 255, 8, 6) + bytes(60_000)
        sent.append(rtp_packet(body, seq=seq, time=0, payload_type=26))
        at += 60_000

    assert at > MAX_PICTURE_BYTES
    assert taken(sent, target) == []
    assert target.oversized == 1


@given(st.lists(st.tuples(st.binary(max_size=60), st.booleans(), st.binary(max_size=20)), max_size=30))
@settings(max_examples=300, deadline=None)
def test_hostile_payloads_end_in_pictures_or_counts(parts: list[tuple[bytes, bool, bytes]]) -> None:
    target = JpegDepacketizer(26)
    for seq, (payload, marker, extra) in enumerate(parts):
        packet = rtp_packet(payload, seq=seq, time=seq // 3, marker=marker, payload_type=26)
        if extra:
            words = extra + bytes(-len(extra) % 4)
            extension = b"\xff\xd8" + (len(words) // 4).to_bytes(2, "big") + words
            packet = bytes((packet[0] | 0x10,)) + packet[1:12] + extension + packet[12:]
        for picture in target.push(memoryview(packet)):
            assert picture.data.startswith(SOI) and picture.data.endswith(EOI)
            assert picture.format is not None and 0 < picture.format.width < 1 << 16
