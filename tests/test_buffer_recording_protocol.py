"""Messages between daemon and recorder: there and back, and bounded."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpang_buffer.model import (
    AnchorSource,
    Fragment,
    FragmentFlags,
    GapReason,
    RunHeader,
    Segment,
    StreamKey,
)
from simpang_buffer.recording import protocol
from simpang_buffer.recording.protocol import Message, ProtocolError, encode, receive
from simpang_buffer.recording.spec import StreamSpec, spec_fields, stream_spec
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.session import Source

KEY = StreamKey("gate", "sub")


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def there_and_back(message: Message) -> Message:
    received = await receive(reader_of(encode(message)))
    assert received is not None
    return received


async def test_a_message_arrives_as_it_was_sent() -> None:
    message = Message("frame", KEY, {"frame": [1, -2, 3]}, b"\0\1\2")

    received = await there_and_back(message)

    assert received == message


async def test_the_nouns_arrive_as_they_were_sent() -> None:
    header = RunHeader("site", "gate", "sub", 3, 2, "hvc1", 10**15, AnchorSource.RTCP, -5, GapReason.AUTH, 9)
    fragment = Fragment(100, 200, 300, 400, 10**15, FragmentFlags.KEY | FragmentFlags.CHUNK, 15)
    segment = Segment(KEY, 3, 2, 1, 2, 3, 4, 5, 6, 7, "avc1", 8, 9, b"h" * 32, b"s" * 16)
    source = Source("rtsp://10.0.0.1/a", "10.0.0.1", 554, Credentials("u", "p:@é"), True, "udp", True)
    spec = StreamSpec(KEY, source, 77)
    fields = {
        "run": protocol.run_fields(header),
        "fragment": protocol.fragment_fields(fragment),
        "segment": protocol.segment_fields(segment),
        "spec": spec_fields(spec),
    }

    received = (await there_and_back(Message("all", KEY, fields))).fields

    assert protocol.run_header(KEY, received["run"]) == header
    assert protocol.fragment(received["fragment"]) == fragment
    assert protocol.segment(KEY, received["segment"]) == segment
    assert stream_spec(KEY, received["spec"]) == spec


async def test_a_password_is_in_no_text() -> None:
    spec = StreamSpec(KEY, Source("rtsp://10.0.0.1/a", "10.0.0.1", 554, Credentials("u", "hunter2")))

    message = Message("record", KEY, spec_fields(spec), b"hunter2")

    assert "hunter2" not in f"{spec!r} {spec} {message!r} {message}"


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">IH", 1 << 30, 2) + b"{}",
        struct.pack(">IH", 4, 100) + b"{}",
        struct.pack(">IH", 4, 2) + b"[]",
        struct.pack(">IH", 4, 2) + b"{}",
        struct.pack(">IH", 14, 12) + b'{"kind": 1} ',
        struct.pack(">IH", 29, 27) + b'{"kind": "a", "stream": [1]}'[:27],
    ],
)
async def test_what_no_release_sends_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        await receive(reader_of(data))


@given(st.binary(max_size=200))
async def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        message = await receive(reader_of(data))
    except ProtocolError:
        return
    assert message is None or isinstance(message.kind, str)


async def test_an_end_in_the_middle_is_an_end() -> None:
    whole = encode(Message("pulse", fields={"cpu_s": 1.0}))

    assert [await receive(reader_of(whole[:n])) for n in (0, 3, len(whole) - 1)] == [None, None, None]


def test_a_message_too_large_to_be_received_is_not_sent() -> None:
    with pytest.raises(ValueError, match="too large"):
        encode(Message("frame", KEY, {}, bytes(protocol.MAX_MESSAGE_BYTES)))


@pytest.mark.parametrize("values", [None, [], [1] * 6, ["x"] * 7, [-1] * 7, [True] * 7])
def test_a_fragment_that_makes_no_sense_is_refused(values: object) -> None:
    with pytest.raises(ProtocolError):
        protocol.fragment(values)
