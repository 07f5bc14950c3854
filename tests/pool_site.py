"""A pool of real recorder processes with a real index, for tests of what cameras and recorders do to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import Segment, StreamKey
from simpang_buffer.recording.pool import RecorderPool
from simpang_buffer.recording.view import StreamStatus

ALL_TIME = (0, 1 << 60)


def key_of(name: str, stream: str = "main") -> StreamKey:
    return StreamKey(name, stream)


@dataclass
class PoolSite:
    """A pool that runs, and what it records into."""

    pool: RecorderPool
    index: Index
    media: Path

    def status(self, name: str) -> StreamStatus:
        return self.pool.status(key_of(name))

    def written(self, name: str) -> int:
        """Frames in files that no row knows yet."""
        tail = self.pool.tail(key_of(name))
        files = [*tail.before, tail] if tail else []
        return sum(fragment.frames for file in files for fragment in file.fragments)

    def run(self, name: str) -> int:
        """Of the open file; 0 where there is none."""
        tail = self.pool.tail(key_of(name))
        return tail.header.run if tail is not None and tail.fragments else 0

    async def rows(self, name: str) -> list[Segment]:
        return await self.index.segments(key_of(name), *ALL_TIME)

    def pids(self) -> list[int]:
        return [pid for pid, _, _ in self.pool.processes()]


@contextlib.asynccontextmanager
async def pool_site(folder: Path, **options: Any) -> AsyncIterator[PoolSite]:
    """Leaving stops the pool as the daemon does. options: of the pool."""
    media = folder / "media"
    await asyncio.to_thread(media.mkdir, parents=True, exist_ok=True)
    async with open_index(folder / "index.db", media) as index:
        pool = RecorderPool(media, "site", index, **{"segment_s": 60.0, "flush_s": 0.5, **options})
        running = asyncio.create_task(pool.run(), name="pool")
        try:
            yield PoolSite(pool, index, media)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def eventually(condition: Callable[[], object], *, seconds: float = 15.0) -> None:
    """Polls with a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
