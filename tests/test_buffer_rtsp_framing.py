from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted_camera import frame, rtp
from simpang_buffer.rtsp.errors import Malformed
from simpang_buffer.rtsp.framing import BUFFER_BYTES, MAX_JUNK_BYTES, InterleavedReader, Message, Packet
from simpang_buffer.rtsp.message import MAX_HEAD_BYTES

OK = b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Length: 5\r\n\r\nhello"
ASKED = b"GET_PARAMETER rtsp://c/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"


def reader(buffer: bytearray | None = None) -> InterleavedReader:
    made = InterleavedReader(buffer)
    made.channels = frozenset({0, 1})
    return made


def taken(split: InterleavedReader, data: bytes) -> list[tuple[int, bytes] | Message]:
    return [(f.channel, bytes(f.data)) if isinstance(f, Packet) else f for f in split.feed(data)]


FRAMES = st.lists(
    st.one_of(
        st.builds(lambda n, size: frame(0, rtp(n, bytes(size))), st.integers(0, 9), st.integers(0, 3000)),
        st.sampled_from([OK, ASKED, frame(1, b"\x80\xc8" + bytes(26)), frame(0, b""), b"\r\n"]),
    ),
    max_size=12,
)


@given(FRAMES, st.data())
def test_frames_and_messages_come_out_however_the_bytes_are_cut(
    pieces: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    whole = taken(reader(), stream)

    split = reader()
    found: list[tuple[int, bytes] | Message] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += taken(split, stream[begin:end])

    assert found == whole
    assert len(found) == sum(piece != b"\r\n" for piece in pieces)
    assert split.counts["junk_bytes"] == 0


def test_two_readers_share_a_buffer() -> None:
    buffer = bytearray(BUFFER_BYTES)
    one, other = reader(buffer), reader(buffer)
    first, second = frame(0, rtp(1, b"a" * 500)), frame(0, rtp(2, b"b" * 700))

    assert taken(one, first[:300]) == []
    assert taken(other, second[:600]) == []
    assert taken(one, first[300:]) == [(0, first[4:])]
    assert taken(other, second[600:]) == [(0, second[4:])]


def test_views_are_into_the_buffer_and_read_only() -> None:
    buffer = bytearray(BUFFER_BYTES)
    (packet,) = reader(buffer).feed(frame(0, rtp(1)))
    assert isinstance(packet, Packet)

    assert packet.data.readonly
    assert packet.data.obj is buffer


def test_more_than_the_buffer_holds_is_taken() -> None:
    stream = frame(0, rtp(1, bytes(60_000))) * 20

    assert [len(data) for _, data in taken(reader(), stream)] == [60_012] * 20


def test_frame_cut_short_by_its_sender_costs_only_itself() -> None:
    whole = [frame(0, rtp(n, bytes([n]) * 1000)) for n in range(6)]
    stream = whole[0] + whole[1] + whole[2][:400] + whole[3] + whole[4] + whole[5]
    split = reader()

    found = taken(split, stream)

    assert found == [(0, whole[n][4:]) for n in (0, 1, 3, 4, 5)]
    assert split.counts["torn_frames"] == 1


@pytest.mark.parametrize(
    "junk", [b"\r\n", b"\x00\x01\x02", b"$$$$$$", b"RTSP is fun", b"GARBAGE\xff", bytes(5000)]
)
def test_stray_bytes_between_frames_cost_no_frame(junk: bytes) -> None:
    whole = [frame(0, rtp(n, bytes([65 + n]) * 1000)) for n in range(4)]
    split = reader()

    found = taken(split, whole[0] + junk + whole[1] + whole[2] + whole[3])

    assert found == [(0, data[4:]) for data in whole]
    assert split.counts["junk_bytes"] + split.counts["stray_line_breaks"] > 0


def test_message_among_junk_is_found() -> None:
    split = reader()

    assert taken(split, frame(0, rtp(1)) + b"\x00\x00\x01\xff\xfe" + OK)[1:] == [Message(OK[:-5], b"hello")]


def test_peer_that_speaks_something_else_is_given_up() -> None:
    split = reader()

    with pytest.raises(Malformed):
        for _ in range(MAX_JUNK_BYTES // 1000 + 2):
            split.feed(b"\xff" * 1000)


def test_endless_line_breaks_are_given_up() -> None:
    split = reader()

    with pytest.raises(Malformed):
        for _ in range(MAX_JUNK_BYTES // 1000 + 2):
            split.feed(b"\r\n" * 500)


def test_endless_head_is_given_up() -> None:
    split = reader()
    with pytest.raises(Malformed):
        for _ in range(MAX_HEAD_BYTES // 100 + 2):
            split.feed(b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 20)


@pytest.mark.parametrize("piece", [frame(0, b""), frame(0, b"tiny"), ASKED])
def test_flood_of_small_things_is_given_up(piece: bytes) -> None:
    with pytest.raises(Malformed, match="flood"):
        reader().feed(piece * (65_000 // len(piece)))


def test_body_announced_too_large_is_refused_before_it_comes() -> None:
    with pytest.raises(Malformed):
        reader().feed(b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n")


NASTY = st.sampled_from(
    [b"$", b"$\0\0\x0c", b"$\0\xff\xff\x80", b"$\1\0\x08\x80", b"RTSP/1.0 200 OK\r\n", b"\r\n\r\n", b"A",
     b"AB ", b"Content-Length: 9\r\n", b"GET_PARAMETER rtsp", b"\xff", b"\x80" * 8, frame(0, rtp(1)),
     frame(1, rtp(2))]
)  # fmt: skip


@given(st.lists(st.one_of(NASTY, st.binary(max_size=40)), max_size=40))
def test_hostile_bytes_raise_nothing_but_malformed_and_keep_memory_bounded(pieces: list[bytes]) -> None:
    split = reader()
    for piece in pieces:
        try:
            for found in split.feed(piece):
                assert not isinstance(found, Packet) or len(found.data) <= 65_535
        except Malformed:
            return
        assert len(split.space()) >= 65_536


@pytest.mark.parametrize(
    "piece",
    [b"$", b"A", b"$\0\0\0", b"$\0\0\x08", b"GET_PARAMETER ", b"$\0\xff\xff\x80", b"\0", b"$\0\0\x08\x80$"],
)
def test_hostile_megabyte_is_dealt_with_quickly(piece: bytes) -> None:
    split = reader()
    split.feed(frame(0, rtp(1)) + b"\xff")
    data = piece * (1_000_000 // len(piece))

    started = time.process_time()
    try:
        split.feed(data)
    except Malformed:
        assert split.counts["junk_bytes"] > 0

    assert time.process_time() - started < 3
