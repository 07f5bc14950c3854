"""Still pictures from a picture process: the last few are kept, and only so many may wait.

PictureFailed: this picture cannot be had (it does not decode, or its file is gone).
StudioBusy: too many wait already; come back.
"""

from __future__ import annotations

import asyncio
import struct
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from simpang.picture.helper import Helper, HelperFailed

MOST_WAITING = 16
# A glance is 50 kB; at most so many bytes of larger ones.
MOST_CACHED_BYTES = 8 << 20
# A picture of 4K at good quality takes 3 MB.
MOST_JPEG_BYTES = 8 << 20
# As `simpang.picture.still` has it.
_QUESTION = struct.Struct(">IHHq")
_FIRST = -(1 << 62)


class PictureFailed(Exception):
    """str() says why, for a person."""


class StudioBusy(Exception):
    """MOST_WAITING are in the queue."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a still is wanted. most_width: pixels, 0 as it is; quality: 2 (best) to 31. pts: the picture shown
    at that time of the movie's video track; None: the first."""

    most_width: int = 640
    quality: int = 5
    pts: int | None = None


GLANCE = Look()


class Studio:
    """One picture process. One picture at a time: it is a courtesy, not the main job."""

    def __init__(self) -> None:
        self._helper = Helper("simpang.picture.still")
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._cache: OrderedDict[Hashable, bytes] = OrderedDict()

    async def __aenter__(self) -> Self:
        await self._helper.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._helper.__aexit__(kind, error, trace)

    @property
    def process(self) -> asyncio.subprocess.Process | None:
        return self._helper.process

    async def still(self, name: Hashable, movie: Callable[[], bytes], look: Look = GLANCE) -> bytes:
        """The JPEG of a movie's picture; name tells movies apart, movie() is called in a thread if needed."""
        wanted = (name, look)
        if wanted in self._cache:
            self._cache.move_to_end(wanted)
            return self._cache[wanted]
        if self._waiting >= MOST_WAITING:
            raise StudioBusy
        self._waiting += 1
        try:
            async with self._lock:
                picture = self._cache.get(wanted)
                if picture is None:
                    picture = await self._develop(movie, look)
                    self._cache[wanted] = picture
                    while sum(map(len, self._cache.values())) > MOST_CACHED_BYTES and len(self._cache) > 1:
                        self._cache.popitem(last=False)
                return picture
        finally:
            self._waiting -= 1

    async def _develop(self, movie: Callable[[], bytes], look: Look) -> bytes:
        try:
            content = await asyncio.to_thread(movie)
        except OSError as error:
            raise PictureFailed("its file is gone") from error
        pts = _FIRST if look.pts is None else look.pts
        question = _QUESTION.pack(len(content), look.most_width, look.quality, pts)
        try:
            picture = await self._helper.ask(question + content, _picture)
        except HelperFailed as error:
            raise PictureFailed("the picture process gave up on it") from error
        if not picture:
            raise PictureFailed("it is damaged or of a kind that is not known")
        return picture


async def _picture(answer: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">I", await answer.readexactly(4))
    if length > MOST_JPEG_BYTES:
        raise OSError("the picture process sends too much")
    return await answer.readexactly(length)
