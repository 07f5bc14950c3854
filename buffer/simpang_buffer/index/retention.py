"""Keeps the footage within its space, oldest first, and never in the way of recording.

Nothing pinned is evicted. Nothing is evicted while space suffices and it is younger than max_days. Age counts
only under a trusted clock; the order of eviction is that in which segments were recorded, whatever the clock
said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simpang_buffer.index.errors import StorageFull
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.reserve import Reserve, has_room
from simpang_buffer.index.rows import Pin
from simpang_buffer.model import GapReason, Segment, StreamKey

logger = logging.getLogger(__name__)

DAY_US = 86_400_000_000
# At 44 streams of 8 Mbit/s this is 220 MB, well within the default min_free.
_EVERY_S = 5.0
# What is free at least after a request for space, although the limits are kept: a minute of some streams.
_REQUEST_BYTES = 64 << 20
# A transaction of so many takes some 50 ms, which is how long a closed segment waits for its row.
_PAGE = 50
_LATEST_US = 1 << 62


@dataclass(frozen=True, slots=True)
class Limits:
    """max_bytes: footage never takes more. min_free_bytes: left free on the file system. max_days: older
    footage goes even if space suffices."""

    max_bytes: int
    min_free_bytes: int
    max_days: float


@dataclass(frozen=True, slots=True)
class Space:
    """Of the file system that holds the media folder; free_bytes is what we may use of it."""

    total_bytes: int
    free_bytes: int


def disk_space(path: Path) -> Space:
    status = os.statvfs(path)
    return Space(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)


def excess_bytes(space: Space, used_bytes: int, limits: Limits) -> int:
    """How much must go for the limits to be kept; 0 or less when they are. Pure."""
    return max(used_bytes - limits.max_bytes, limits.min_free_bytes - space.free_bytes)


def evictions(
    excess: int,
    segments: Iterable[Segment],
    pins: Sequence[Pin],
    now_us: int,
    clock_trusted: bool,
    limits: Limits,
) -> list[Segment]:
    """Which of the segments, oldest first, to evict: until `excess` bytes are gone, and all that is too old.
    Pure."""
    too_old_us = now_us - int(limits.max_days * DAY_US)
    chosen = []
    for segment in segments:
        too_old = clock_trusted and segment.end_us < too_old_us
        if (excess > 0 or too_old) and not _is_pinned(segment, pins):
            chosen.append(segment)
            excess -= segment.size_bytes
    return chosen


class Retention:
    """limits: from the size of the file system, since one of them may be a share of it.

    `run` forever, or `run_once` by hand. Raises StorageError, OSError: whoever supervises starts it anew.
    """

    def __init__(
        self,
        index: Index,
        limits: Callable[[int], Limits],
        *,
        now_us: Callable[[], int],
        clock_trusted: Callable[[], bool],
        files: MediaFiles | None = None,
        space: Callable[[Path], Space] = disk_space,
        has_room: Callable[[Path], bool] = has_room,
        reserve: Reserve | None = None,
        every_s: float = _EVERY_S,
    ) -> None:
        self._index = index
        self._limits = limits
        self._now_us = now_us
        self._clock_trusted = clock_trusted
        self._files = files or MediaFiles(index.media)
        self._space = space
        self._has_room = has_room
        self._reserve = reserve or Reserve(index.media.parent / "reserve")
        self._every_s = every_s
        self._asked = asyncio.Event()
        # What could not be deleted at last, and has been said.
        self._stuck: set[Path] = set()

    def request_space(self) -> None:
        """Somebody found the disk full: look now, and evict something, whatever the limits say, if the media
        folder has no room. Where it was another disk that is full, or a fault that looks like it, eviction
        helps nobody, and repeated requests would eat the archive."""
        self._asked.set()

    async def run(self) -> None:
        while True:
            await self.run_once()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._asked.wait()

    async def run_once(self) -> int:
        """Evicts what has to go now; returns how many segments."""
        await self._empty_garbage()
        space = await asyncio.to_thread(self._space, self._index.media)
        limits = self._limits(space.total_bytes)
        totals = await self._index.stream_totals()
        excess = excess_bytes(space, sum(total.bytes for total in totals.values()), limits)
        if self._asked.is_set():
            self._asked.clear()
            if space.free_bytes < _REQUEST_BYTES or not await asyncio.to_thread(
                self._has_room, self._index.media
            ):
                excess = max(excess, _REQUEST_BYTES)
        evicted = await self._evict_for_space(excess, limits)
        if self._clock_trusted():
            for key in totals:
                evicted += await self._evict_for_age(key, limits)
        await asyncio.to_thread(self._reserve.keep)
        return evicted

    async def delete(self, key: StreamKey, start_us: int, end_us: int) -> int:
        """Removes the segments that lie in the range, but for pinned ones; returns how many."""
        segments = await self._index.segments(key, start_us, end_us)
        inside = [one for one in segments if one.start_us >= start_us and one.end_us <= end_us]
        return await self._condemn(inside, GapReason.DELETED)

    async def _evict_for_space(self, excess: int, limits: Limits) -> int:
        evicted, after = 0, 0
        pins = await self._index.pins()
        while excess > 0:
            page = await self._index.in_order(after, _PAGE)
            if not page:
                break
            after = page[-1][0]
            chosen = evictions(
                excess, [one for _, one in page], pins, self._now_us(), self._clock_trusted(), limits
            )
            evicted += await self._condemn(chosen, GapReason.EVICTED)
            excess -= sum(segment.size_bytes for segment in chosen)
        return evicted

    async def _evict_for_age(self, key: StreamKey, limits: Limits) -> int:
        """What is too old, wherever it stands in the order of recording."""
        evicted = 0
        pins = await self._index.pins()
        after_us = -_LATEST_US
        while True:
            too_old_us = self._now_us() - int(limits.max_days * DAY_US)
            page = await self._index.started_between(key, after_us, too_old_us, _PAGE)
            if not page:
                return evicted
            after_us = page[-1].start_us + 1
            chosen = evictions(0, page, pins, self._now_us(), True, limits)
            evicted += await self._condemn(chosen, GapReason.EVICTED)

    async def _condemn(self, segments: Sequence[Segment], reason: GapReason) -> int:
        if not segments:
            return 0
        try:
            condemned = await self._index.condemn(segments, reason)
        except StorageFull:
            await asyncio.to_thread(self._reserve.release)
            condemned = await self._index.condemn(segments, reason)
        await self._empty_garbage()
        return condemned

    async def _empty_garbage(self) -> None:
        try:
            stuck = await empty_garbage(self._index, self._files)
        except StorageFull:
            # The files are gone by now, so there is room to say so.
            stuck = await empty_garbage(self._index, self._files)
        for path in stuck.keys() - self._stuck:
            logger.warning(
                "%s cannot be deleted: %s; see whose it is, and to the disk's health",
                self._files.root / path,
                stuck[path].strerror,
            )
        self._stuck = set(stuck)


def _is_pinned(segment: Segment, pins: Sequence[Pin]) -> bool:
    return any(
        pin.key == segment.key and pin.start_us < segment.end_us and pin.end_us > segment.start_us
        for pin in pins
    )
