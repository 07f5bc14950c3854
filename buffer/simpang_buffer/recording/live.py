"""What a viewer gets while a stream is recorded: the header, then frames as they come. The daemon's side.

A feed never makes anybody wait: one that is not read fast enough loses frames up to the next key frame, and
is told how many. A new feed begins with the frames since the last key frame, so there is a picture at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

# About two seconds of pictures and sound: a viewer further behind is better off at the next key frame.
MAX_QUEUED_FRAMES = 64
MAX_QUEUED_BYTES = 4 << 20
# What is kept of the current group of pictures for the next viewer.
MAX_GROUP_BYTES = 2 << 20
# A minute of pictures and sound; of frames of one byte 2 MB would be two million.
MAX_GROUP_FRAMES = 6_000


@dataclass(frozen=True, slots=True)
class LiveInit:
    """What comes first, and again whenever the header or the run changes: decode times then start over.

    mime: as MediaSource wants it. init: ftyp and moov. audio_timescale: None without sound. anchor_us: UTC of
    decode time 0, where it is known by now.
    """

    run: int
    mime: str
    init: bytes = field(repr=False)
    video_timescale: int
    audio_timescale: int | None
    anchor_us: int | None


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """One picture or one frame of sound. dts, pts_offset, duration: ticks of its track.

    duration is that of the frame before: waiting for the next one to know would cost its time.
    """

    video: bool
    dts: int
    pts_offset: int
    key: bool
    duration: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LiveDropped:
    """So many frames are missing here; the next picture is a key frame."""

    frames: int


LiveItem = LiveInit | LiveFrame | LiveDropped


class LiveFeed:
    """One viewer's queue. `get` it; `offer` is the pool's."""

    def __init__(self, init: LiveInit | None, group: Iterable[LiveFrame]) -> None:
        self._items: deque[LiveItem] = deque()
        if init is not None:
            self._items.append(init)
        self._items.extend(group)
        # Does not count against the viewer: it comes all at once, however long the camera's groups are.
        self._head_start = len(self._items)
        self._bytes = sum(_size(item) for item in self._items)
        # Without a group there is nothing to show before a key frame, and nothing lost either.
        self._waiting_for_key = self._head_start <= 1
        self._lost = 0
        self._ready = asyncio.Event()
        if self._items:
            self._ready.set()

    async def get(self) -> LiveItem:
        """The next item, when there is one. For one caller at a time."""
        while not self._items:
            self._ready.clear()
            await self._ready.wait()
        item = self._items.popleft()
        self._bytes -= _size(item)
        self._head_start = max(self._head_start - 1, 0)
        return item

    def offer(self, item: LiveInit | LiveFrame) -> None:
        """Queues it, or drops it and what follows up to the next key frame. Never waits."""
        if isinstance(item, LiveInit):
            if self._full():
                self._clear(keep_header=False)
            self._waiting_for_key = True
        elif item.video and item.key and (self._waiting_for_key or self._full()):
            if self._full():
                self._clear(keep_header=True)
            if self._lost:
                self._put(LiveDropped(self._lost))
                self._lost = 0
            self._waiting_for_key = False
        elif self._waiting_for_key or self._full():
            if not self._waiting_for_key or self._lost:
                self._lost += 1
            self._waiting_for_key = True
            return
        self._put(item)

    def dropped(self, frames: int) -> None:
        """The recorder lost that many on the way here."""
        self._lost += frames
        self._waiting_for_key = True

    def _put(self, item: LiveItem) -> None:
        self._items.append(item)
        self._bytes += _size(item)
        self._ready.set()

    def _full(self) -> bool:
        return len(self._items) - self._head_start >= MAX_QUEUED_FRAMES or self._bytes >= MAX_QUEUED_BYTES

    def _clear(self, *, keep_header: bool) -> None:
        """Older frames are of no use to one who is behind; the newest header among them may be."""
        kept = [item for item in self._items if isinstance(item, LiveInit)][-1:] if keep_header else []
        self._lost += sum(isinstance(item, LiveFrame) for item in self._items)
        self._items.clear()
        self._bytes = self._head_start = 0
        for item in kept:
            self._put(item)


class LiveGroup:
    """The frames since the last key frame, for whoever comes next. Too long a group is not kept at all."""

    def __init__(self) -> None:
        self.frames: list[LiveFrame] = []
        self._bytes = 0
        self._broken = True

    def add(self, frame: LiveFrame) -> None:
        if frame.video and frame.key:
            self.clear()
            self._broken = False
        if self._broken:
            return
        self.frames.append(frame)
        self._bytes += len(frame.data)
        if self._bytes > MAX_GROUP_BYTES or len(self.frames) > MAX_GROUP_FRAMES:
            self.clear()

    def clear(self) -> None:
        self.frames = []
        self._bytes = 0
        self._broken = True


def _size(item: LiveItem) -> int:
    return len(item.data) if isinstance(item, LiveFrame) else 0
