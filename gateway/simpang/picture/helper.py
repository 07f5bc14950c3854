"""The gateway's side of a picture process: started when something is asked of it, ended when nobody has for a
while, replaced when it failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

# Stills are refreshed every 2 s: while anybody looks the process stays, and goes soon after.
IDLE_S = 10.0
# Start of the process included: importing the decoder takes most of a second on a slow core.
ANSWER_S = 8.0
END_S = 0.3

T = TypeVar("T")


class HelperFailed(Exception):
    """It gave no answer, and was ended."""


class Helper:
    """One process of a module, and one question at a time. Use as an async context manager."""

    def __init__(self, module: str) -> None:
        self._module = module
        self.process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._used_s = 0.0
        self._janitor: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._janitor = asyncio.create_task(self._tidy(), name=f"helper:{self._module}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._janitor is not None
        self._janitor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._janitor
        await self._stop()

    async def ask(self, question: bytes, answer: Callable[[asyncio.StreamReader], Awaitable[T]]) -> T:
        """Sends the question and reads its answer. Raises HelperFailed."""
        async with self._lock:
            self._used_s = time.monotonic()
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await self._exchange(question, answer)
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                await self._stop()
                raise HelperFailed from error
            except asyncio.CancelledError:
                # Half an answer stands in the pipe.
                await self._stop()
                raise

    async def _exchange(self, question: bytes, answer: Callable[[asyncio.StreamReader], Awaitable[T]]) -> T:
        if self.process is None or self.process.returncode is not None:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"MALLOC_ARENA_MAX": "1"},
            )  # fmt: skip
        process = self.process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(question)
        await process.stdin.drain()
        return await answer(process.stdout)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(IDLE_S / 2)
            idle_s = time.monotonic() - self._used_s
            if self.process is not None and not self._lock.locked() and idle_s > IDLE_S:
                async with self._lock:
                    await self._stop()

    async def _stop(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # by which it ends, unless it is stuck
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await process.wait()
                return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
