"""Viewers: a picture at once, never a wait for the recorder, and a word about what is missing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from simpang_buffer.model import FIRST_FOLDER, StreamKey
from simpang_buffer.recording.live import (
    MAX_GROUP_BYTES,
    MAX_QUEUED_BYTES,
    MAX_QUEUED_FRAMES,
    LiveDropped,
    LiveFeed,
    LiveFrame,
    LiveGroup,
    LiveInit,
    LiveItem,
)
from simpang_buffer.recording.view import StreamView

INIT = LiveInit(1, 'video/mp4; codecs="avc1.42c01e"', b"ftypmoov", 90_000, None, None)


def frame(number: int, *, key_every: int = 10, size_bytes: int = 100) -> LiveFrame:
    return LiveFrame(True, number * 3600, 0, number % key_every == 0, 3600, bytes(size_bytes))


async def all_of(feed: LiveFeed) -> list[LiveItem]:
    items: list[LiveItem] = []
    try:
        while True:
            async with asyncio.timeout(0.01):
                items.append(await feed.get())
    except TimeoutError:
        return items


async def test_a_second_viewer_begins_with_the_current_group() -> None:
    view = StreamView(StreamKey("gate", "main"), {FIRST_FOLDER: Path("media")})
    first = view.add_feed()
    view.live_init(INIT)
    frames = [frame(n) for n in range(25)]
    for each in frames:
        view.live_frame(each)

    second = view.add_feed()

    assert await all_of(first) == [INIT, *frames]
    assert await all_of(second) == [INIT, *frames[20:]]


async def test_a_viewer_begins_with_a_key_frame() -> None:
    feed = LiveFeed(INIT, [])

    for n in range(5, 12):
        feed.offer(frame(n))

    assert await all_of(feed) == [INIT, frame(10), frame(11)]


async def test_a_slow_viewer_loses_frames_up_to_a_key_frame_and_hears_how_many() -> None:
    feed = LiveFeed(INIT, [])
    total = MAX_QUEUED_FRAMES + 46

    for n in range(total):
        feed.offer(frame(n, key_every=10))
    items = await all_of(feed)

    (dropped,) = [item for item in items if isinstance(item, LiveDropped)]
    after = [item for item in items[items.index(dropped) :] if isinstance(item, LiveFrame)]
    assert after[0].key and after[-1] == frame(total - 1)
    assert dropped.frames + sum(isinstance(item, LiveFrame) for item in items) == total
    assert items[0] == INIT


async def test_a_stalled_viewer_holds_little_memory() -> None:
    feed = LiveFeed(INIT, [])

    for n in range(500):
        feed.offer(frame(n, key_every=5, size_bytes=200_000))
        if n % 50 == 0:
            feed.offer(INIT)

    held = sum(len(item.data) for item in await all_of(feed) if isinstance(item, LiveFrame))
    assert held < MAX_QUEUED_BYTES + 200_000


async def test_new_headers_do_not_pile_up_for_a_stalled_viewer() -> None:
    feed = LiveFeed(INIT, [])

    for n in range(1000):
        feed.offer(INIT)
        feed.offer(frame(10 * n))

    assert len(await all_of(feed)) <= MAX_QUEUED_FRAMES + 4


async def test_a_loss_on_the_way_is_told_to_every_viewer() -> None:
    view = StreamView(StreamKey("gate", "main"), {FIRST_FOLDER: Path("media")})
    feeds = [view.add_feed(), view.add_feed()]
    view.live_init(INIT)
    view.live_frame(frame(0))

    view.live_dropped(7)
    view.live_frame(frame(8))
    view.live_frame(frame(10))

    expected = [INIT, frame(0), LiveDropped(8), frame(10)]
    assert [await all_of(feed) for feed in feeds] == [expected, expected]


def test_a_group_too_long_to_keep_is_not_kept_in_part() -> None:
    group = LiveGroup()

    for n in range(100):
        group.add(frame(n, key_every=1000, size_bytes=MAX_GROUP_BYTES // 50))

    assert group.frames == []


def test_frames_without_bytes_are_not_kept_without_end() -> None:
    group = LiveGroup()
    group.add(frame(0))
    for number in range(1, 10_000):
        group.add(LiveFrame(False, number, 0, True, 1, b""))

    assert group.frames == []


async def test_getting_waits_for_the_next_item() -> None:
    feed = LiveFeed(None, [])
    getting = asyncio.create_task(feed.get())
    await asyncio.sleep(0)

    feed.offer(INIT)

    assert await getting == INIT


@pytest.mark.parametrize("first", [3, 9])
async def test_frames_before_the_first_key_frame_are_no_loss(first: int) -> None:
    feed = LiveFeed(INIT, [])

    for n in range(first, 11):
        feed.offer(frame(n))

    assert not [item for item in await all_of(feed) if isinstance(item, LiveDropped)]
