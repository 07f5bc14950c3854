"""What every test is held to: no blocking call in the loop, no task, thread or descriptor left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call made by our own packages inside a running loop fails the test."""
    with blockbuster_ctx(["simpang", "simpang_onvif", "simpang_buffer"]) as blockbuster:
        # Reading and writing a few kilobytes of a local file is quicker than a thread's hand-over; what may
        # block for long (fsync, connect, sleep, subprocess waits) stays forbidden.
        for name in (
            "io.BufferedReader.read",
            "io.BufferedWriter.write",
            "io.TextIOWrapper.read",
            "io.TextIOWrapper.write",
            "os.stat",
            "os.write",
            "os.read",
        ):
            if name in blockbuster.functions:
                blockbuster.functions[name].deactivate()
        yield blockbuster


@pytest_asyncio.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """A task or thread that outlives its test fails it. Async, since a sync fixture sees no loop."""
    threads = set(threading.enumerate())
    tasks = asyncio.all_tasks()
    yield
    for _ in range(50):
        left = [task for task in asyncio.all_tasks() if task not in tasks and not task.done()]
        left = [task for task in left if task is not asyncio.current_task()]
        alive = [t for t in threading.enumerate() if t not in threads and not _of_the_loop(t)]
        if not left and not alive:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"left behind: tasks {left}, threads {alive}")


def _of_the_loop(thread: threading.Thread) -> bool:
    # The loop's own executor and aiohttp's resolver threads end with the loop.
    return thread.name.startswith("asyncio_") or thread.daemon
