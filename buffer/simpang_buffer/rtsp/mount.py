"""What a server's path serves: its tracks, and a feed of access units for every reader.

One publisher, any number of readers. A reader that is too slow loses everything up to the next key frame; the
publisher never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from simpang_buffer.model import AccessUnit
from simpang_buffer.rtsp.sdp import Track

# About four seconds of a camera with sound, then a reader is behind for good.
_QUEUE_UNITS = 128
_QUEUE_BYTES = 4 * 1024 * 1024


class MountClosed(Exception):
    """The publisher has ended."""


class Feed:
    """One reader's bounded queue. It begins with a key frame, where there is a video track."""

    def __init__(self, has_video: bool) -> None:
        self._has_video = has_video
        self._waits_for_key = has_video
        self._units: deque[AccessUnit] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._closed = False
        self.dropped = 0

    async def get(self) -> AccessUnit:
        """The next unit. Raises MountClosed once the publisher has ended."""
        while not self._units:
            if self._closed:
                raise MountClosed
            self._wake.clear()
            await self._wake.wait()
        unit = self._units.popleft()
        self._bytes -= len(unit.data)
        return unit

    def skip_to_key(self) -> None:
        """Drop what waits, and all that comes before the next key frame."""
        self.dropped += len(self._units)
        self._units.clear()
        self._bytes = 0
        self._waits_for_key = self._has_video

    def put(self, unit: AccessUnit) -> None:
        if self._waits_for_key:
            if not (unit.video and unit.key):
                self.dropped += 1
                return
            self._waits_for_key = False
        if len(self._units) >= _QUEUE_UNITS or self._bytes + len(unit.data) > _QUEUE_BYTES:
            self.skip_to_key()
            if not (unit.video and unit.key):
                self.dropped += 1
                return
            self._waits_for_key = False
        self._units.append(unit)
        self._bytes += len(unit.data)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()


class Mount:
    """A stream on offer: at most one video and one audio track.

    A unit's decode time and offset are in its track's clock. Its arrival_us is the wall time of its
    presentation, which sender reports pass on. key_wanted is called when a reader begins, so that an encoder
    can give it a key frame at once.
    """

    def __init__(self, tracks: Sequence[Track], key_wanted: Callable[[], None] | None = None) -> None:
        self.tracks = tuple(tracks)
        self._key_wanted = key_wanted
        self._feeds: set[Feed] = set()
        self._closed = False
        # Names this description in SDP (`o=`); another one with other parameters has another.
        self.description_id = secrets.randbits(31)

    @property
    def readers(self) -> int:
        return len(self._feeds)

    def publish(self, unit: AccessUnit) -> None:
        """Hand a unit to every reader. Never blocks."""
        for feed in self._feeds:
            feed.put(unit)

    def close(self) -> None:
        """End every feed, those that begin later too."""
        self._closed = True
        for feed in self._feeds:
            feed.close()

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[Feed]:
        """A feed for as long as the `with` lasts."""
        feed = Feed(any(track.kind == "video" for track in self.tracks))
        if self._closed:
            feed.close()
        self._feeds.add(feed)
        if self._key_wanted is not None:
            self._key_wanted()
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
