"""One process of the demo: started, watched, started again when it dies, stopped when the demo ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)

# A process that lived this long died of something new: its waits start over.
_HEALTHY_S = 60.0
# A port in use or a faulty configuration shows within this time.
_BEGINNING_S = 10.0
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """command: its whole argument list. given: what it reads from standard input; it may be a secret.

    pause_s: before it is started again; more each time that it dies young. quiet: its standard output is not
    for people. stop_s: how long it may take to end; `simpang run` promises 5 s.
    """

    name: str
    command: Sequence[str]
    given: bytes = field(default=b"", repr=False)
    pause_s: float = 0.0
    quiet: bool = False
    stop_s: float = 6.0


class ChildFailed(Exception):
    """It gave up right after its first start: what is wrong will not go away by itself."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"{name} ended with status {status}")
        self.status = status


async def run_once(plan: ChildPlan, started: Callable[[int], None]) -> int:
    """Start the process, wait for its end and return its exit status; stop it if cancelled.

    Whatever ends this process, SIGKILL too, ends the child.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simpang.demo.tied", str(os.getpid()), *plan.command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL if plan.quiet else None,
        # Ctrl-C in the terminal reaches us alone, and we stop the children in order.
        start_new_session=True,
    )
    try:
        started(process.pid)
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(plan.given)
            await process.stdin.drain()
        process.stdin.close()
        return await process.wait()
    finally:
        if process.returncode is None:
            await _stop(process, plan.stop_s)


async def keep_running(
    plan: ChildPlan,
    started: Callable[[int], None] = lambda pid: None,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run the process again whenever it ends, until cancelled. Raises ChildFailed."""
    loop = asyncio.get_running_loop()
    pause_s = plan.pause_s
    first = True
    while True:
        begun_s = loop.time()
        status = await run_once(plan, started)
        lived_s = loop.time() - begun_s
        # A signal has a negative status: somebody killed it, which the demo is there to show.
        if first and status > 0 and lived_s < _BEGINNING_S:
            raise ChildFailed(plan.name, status)
        first = False
        pause_s = plan.pause_s if lived_s >= _HEALTHY_S else pause_s
        again = f"in {pause_s:.0f} s" if pause_s else "at once"
        _log.warning("%s ended (status %d); it starts again %s", plan.name, status, again)
        await sleep(pause_s)
        pause_s = min(max(2 * pause_s, 0.5), _LONGEST_PAUSE_S)


async def _stop(process: asyncio.subprocess.Process, within_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(TimeoutError):
        # Not asyncio.timeout(): in Python 3.11.2 (Debian 12) it takes its own end for a second cancellation
        # where a task has been cancelled before, as here.
        await asyncio.wait_for(process.wait(), within_s)
        return
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
