"""Live frames towards a daemon that does not read: dropped, counted, and never in the way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from simpang_buffer.media.fmp4 import init_segment
from simpang_buffer.model import AccessUnit, StreamKey, VideoFormat
from simpang_buffer.recording.arrivals import Arrivals
from simpang_buffer.recording.broadcast import Broadcast, live_init
from simpang_buffer.recording.outbox import MAX_BYTES, MAX_FRAGMENT_BYTES, MAX_LIVE_BYTES, Outbox
from simpang_buffer.recording.protocol import MAX_MESSAGE_BYTES, Message, receive

KEY = StreamKey("gate", "main")
VIDEO = VideoFormat("avc1.42c01e", 320, 240, b"entry")


@contextlib.asynccontextmanager
async def socket_pair() -> AsyncIterator[tuple[Outbox, asyncio.StreamReader]]:
    """An outbox, and where the daemon would read."""
    ours, theirs = socket.socketpair()
    reader, unused = await asyncio.open_connection(sock=ours, limit=4096)
    _, writer = await asyncio.open_connection(sock=theirs)
    try:
        yield Outbox(writer), reader
    finally:
        writer.transport.abort()
        unused.close()
        await asyncio.sleep(0)


def picture(number: int, size_bytes: int) -> AccessUnit:
    return AccessUnit(True, number * 3600, 0, number % 10 == 0, bytes(size_bytes), 0)


async def test_frames_are_dropped_to_the_next_key_frame_and_counted() -> None:
    async with socket_pair() as (outbox, reader):
        broadcast = Broadcast(KEY, outbox)
        broadcast.begin(live_init(1, VIDEO, None))
        broadcast.watch()
        total = 200
        for number in range(total):
            broadcast.add(picture(number, 100_000))
        waiting = outbox.waiting_bytes
        received: list[Message] = []
        async with asyncio.timeout(10):
            while outbox.waiting_bytes or len(received) < 3:
                message = await receive(reader)
                assert message is not None
                received.append(message)
        for number in range(total, total + 20):
            broadcast.add(picture(number, 100))
        async with asyncio.timeout(10):
            while received[-1].fields.get("frame", [0, 0])[1] != (total + 19) * 3600:
                message = await receive(reader)
                assert message is not None
                received.append(message)

    assert waiting < MAX_LIVE_BYTES + 200_000
    kinds = [message.kind for message in received]
    at = kinds.index("dropped")
    assert received[at + 1].fields["frame"][3] == 1
    assert received[at].fields["frames"] + kinds.count("frame") == total + 20


async def test_what_must_be_heard_has_room_when_frames_have_none() -> None:
    assert MAX_LIVE_BYTES < MAX_FRAGMENT_BYTES < MAX_BYTES < MAX_MESSAGE_BYTES
    async with socket_pair() as (outbox, _):
        while outbox.show_if_room(Message("frame", KEY, {}, bytes(100_000))):
            continue

        assert outbox.tell_if_room(Message("fragment", KEY))
        outbox.tell(Message("closed", KEY))
        assert not outbox.show_if_room(Message("frame", KEY))


async def test_a_daemon_that_never_reads_is_left() -> None:
    async with socket_pair() as (outbox, reader):
        for _ in range(2000):
            outbox.tell(Message("closed", KEY, {}, bytes(10_000)))

        async with asyncio.timeout(10):
            while await receive(reader) is not None:
                continue


async def test_a_viewer_who_comes_later_hears_the_anchor() -> None:
    async with socket_pair() as (outbox, reader):
        broadcast = Broadcast(KEY, outbox)
        broadcast.begin(live_init(1, VIDEO, None))
        broadcast.add(picture(0, 10))
        broadcast.add(picture(1, 10))

        broadcast.anchored(77)
        broadcast.watch()
        messages = [await receive(reader) for _ in range(3)]

    init, *frames = messages
    assert init is not None
    assert (init.kind, init.fields["anchor_us"], bytes(init.payload)) == ("init", 77, init_segment(VIDEO))
    assert [frame.fields["frame"][:2] for frame in frames if frame] == [[1, 0], [1, 3600]]


def test_a_slewed_clock_is_followed_and_a_step_is_seen() -> None:
    arrivals = Arrivals(1_000_000_000, 0.0)

    slewed = [arrivals.at(1_000_000_000 + second * 1_000_500, float(second)) for second in range(3600)]
    stepped_before = arrivals.stepped
    now_us = 1_000_000_000 + 3599 * 1_000_500
    after = arrivals.at(now_us + 30_000 - 3600 * 1_000_000, 3599.03)

    assert slewed[-1] == now_us
    assert not stepped_before
    assert arrivals.stepped
    assert after == now_us + 30_000
