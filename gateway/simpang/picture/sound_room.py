"""AAC from a picture process, for clips whose sound no browser plays."""

from __future__ import annotations

import asyncio
import struct
from types import TracebackType
from typing import Self

from simpang.picture.helper import Helper, HelperFailed
from simpang_buffer.reading.browser_sound import SoundFailed

# As `simpang.picture.aac` has it.
_QUESTION = struct.Struct(">BII")
_LAWS = {"alaw": 0, "ulaw": 1}
# A second or two is asked for at a time.
_MOST_FRAMES = 512
# Behind what one thread waits for stand the questions of the others: a millisecond each.
_WAIT_S = 30.0


class SoundRoom:
    """One process for all readers; a question is a second of sound and takes a millisecond."""

    def __init__(self) -> None:
        self._helper = Helper("simpang.picture.aac")
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._helper.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._helper.__aexit__(kind, error, trace)

    def encode(self, law: str, rate: int, samples: bytes) -> list[bytes]:
        """As `browser_sound.Encode`. Blocks: for threads other than the loop's. Raises SoundFailed."""
        assert self._loop is not None, "use it inside `async with`"
        asked = asyncio.run_coroutine_threadsafe(self._ask(law, rate, samples), self._loop)
        try:
            return asked.result(_WAIT_S)
        except TimeoutError as error:
            asked.cancel()
            raise SoundFailed("the encoder is too busy") from error

    async def _ask(self, law: str, rate: int, samples: bytes) -> list[bytes]:
        question = _QUESTION.pack(_LAWS[law], rate, len(samples)) + samples
        try:
            return await self._helper.ask(question, _frames)
        except HelperFailed as error:
            raise SoundFailed("the encoder gave up on it") from error


async def _frames(answer: asyncio.StreamReader) -> list[bytes]:
    (count,) = struct.unpack(">H", await answer.readexactly(2))
    if count > _MOST_FRAMES:
        raise OSError("the encoder sends too much")
    frames = []
    for _ in range(count):
        (length,) = struct.unpack(">H", await answer.readexactly(2))
        frames.append(await answer.readexactly(length))
    return frames
