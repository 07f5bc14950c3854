"""The gateway's side of the picture process: started when a still is asked for, ended when nobody has for a
while.

PictureFailed: this picture cannot be had (it does not decode, or its file is gone).
StudioBusy: too many wait already; come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Self

# Stills are refreshed every 2 s: while anybody looks the process stays, and goes soon after.
IDLE_S = 10.0
# Start of the process included: importing the decoder takes most of a second on a slow core.
PICTURE_S = 8.0
END_S = 0.3
MOST_WAITING = 16
MOST_CACHED = 32
MOST_JPEG_BYTES = 4 << 20


class PictureFailed(Exception):
    """str() says why, for a person."""


class StudioBusy(Exception):
    """MOST_WAITING are in the queue."""


class Studio:
    """One picture process and the last few pictures. One picture at a time: it is a courtesy, not the main
    job.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._cache: OrderedDict[Hashable, bytes] = OrderedDict()
        self._used_s = 0.0
        self._janitor: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._janitor = asyncio.create_task(self._tidy(), name="picture-studio")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._janitor is not None
        self._janitor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._janitor
        await self._stop()

    async def still(self, name: Hashable, movie: Callable[[], bytes]) -> bytes:
        """The JPEG of a movie's first picture; name tells pictures apart, movie() is called in a thread if
        needed.
        """
        if name in self._cache:
            self._cache.move_to_end(name)
            return self._cache[name]
        if self._waiting >= MOST_WAITING:
            raise StudioBusy
        self._waiting += 1
        try:
            async with self._lock:
                if name not in self._cache:
                    self._cache[name] = await self._develop(movie)
                    while len(self._cache) > MOST_CACHED:
                        self._cache.popitem(last=False)
                return self._cache[name]
        finally:
            self._waiting -= 1

    async def _develop(self, movie: Callable[[], bytes]) -> bytes:
        try:
            content = await asyncio.to_thread(movie)
        except OSError as error:
            raise PictureFailed("its file is gone") from error
        self._used_s = time.monotonic()
        try:
            async with asyncio.timeout(PICTURE_S):
                picture = await self._exchange(content)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            await self._stop()
            raise PictureFailed("the picture process gave up on it") from error
        except asyncio.CancelledError:
            # Half a picture stands in the pipe.
            await self._stop()
            raise
        if not picture:
            raise PictureFailed("it is damaged or of a kind that is not known")
        return picture

    async def _exchange(self, content: bytes) -> bytes:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "simpang.picture.still",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"MALLOC_ARENA_MAX": "1"},
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(struct.pack(">I", len(content)) + content)
        await process.stdin.drain()
        (length,) = struct.unpack(">I", await process.stdout.readexactly(4))
        if length > MOST_JPEG_BYTES:
            raise OSError("the picture process sends too much")
        return await process.stdout.readexactly(length)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(IDLE_S / 2)
            if (
                self._process is not None
                and not self._lock.locked()
                and time.monotonic() - self._used_s > IDLE_S
            ):
                async with self._lock:
                    await self._stop()

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # by which it ends, unless it is stuck in a picture
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await process.wait()
                return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
