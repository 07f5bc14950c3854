"""Cameras and other peers of tests that are themselves plain functions: they live in a thread with a loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

T = TypeVar("T")

# ipycam takes ten seconds to import on a busy machine.
_ENTER_S = 60.0


class Stage:
    """Enters asynchronous context managers; they end in reverse order with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._stack = contextlib.ExitStack()

    def enter(self, peer: AbstractAsyncContextManager[T]) -> T:
        """What `async with peer` gives. One task enters and leaves it, as task groups want it."""
        entered: concurrent.futures.Future[T] = concurrent.futures.Future()
        leave = asyncio.Event()

        async def live() -> None:
            try:
                async with peer as value:
                    entered.set_result(value)
                    await leave.wait()
            except Exception as error:
                if entered.done():
                    raise
                entered.set_exception(error)

        lived = asyncio.run_coroutine_threadsafe(live(), self._loop)
        value = entered.result(_ENTER_S)

        def end() -> None:
            self._loop.call_soon_threadsafe(leave.set)
            lived.result(_ENTER_S)

        self._stack.callback(end)
        return value

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stage", daemon=True)
    thread.start()
    made = Stage(loop)
    try:
        yield made
    finally:
        try:
            made.close()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()
