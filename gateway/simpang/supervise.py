"""Repeats a part's run_once for ever, so that one failing part never stops the others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
# After this long without a fault the waits start over, and the trouble is taken to be past.
HEALTHY_S = 60.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """A part that keeps failing: since when, how often, and what it last said (microseconds UTC)."""

    part: str
    since_us: int
    times: int
    last: str


class Supervisor:
    """Runs parts under names and knows which of them are in trouble."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._wall_us = wall_us
        self._sleep = sleep
        self._troubles: dict[str, Trouble] = {}
        self._started: dict[str, float] = {}

    def troubles(self) -> list[Trouble]:
        """Parts that failed and have not worked for a minute since."""
        now = self._monotonic()
        return [
            trouble
            for part, trouble in self._troubles.items()
            if now - self._started.get(part, now) < HEALTHY_S
        ]

    async def keep_running(self, part: str, run_once: Callable[[], Awaitable[None]]) -> None:
        """Calls run_once until cancelled. A return counts as work well done; the next call follows at once.

        After a fault it waits 1 s, doubled each time up to 60 s. The first fault is a WARNING with its
        traceback, repeats are DEBUG, a minute of health afterwards is an INFO.
        """
        wait_s = FIRST_WAIT_S
        while True:
            begun = self._started[part] = self._monotonic()
            try:
                await run_once()
            except Exception as error:  # noqa: BLE001 - the supervisor: whatever fails, the rest goes on
                if self._monotonic() - begun >= HEALTHY_S:
                    wait_s = FIRST_WAIT_S
                    self._troubles.pop(part, None)
                self._note(part, error, wait_s)
                await self._sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            else:
                wait_s = FIRST_WAIT_S
                if (past := self._troubles.pop(part, None)) is not None:
                    logger.info("%s works again after %d faults", part, past.times)
                # A run_once that returns without ever waiting must not keep the loop from everything else.
                await self._sleep(0)

    def _note(self, part: str, error: Exception, wait_s: float) -> None:
        known = self._troubles.get(part)
        said = f"{type(error).__name__}: {error}"
        if known is None:
            self._troubles[part] = Trouble(part, self._wall_us(), 1, said)
            logger.warning("%s failed, tried again in %g s: %s", part, wait_s, said, exc_info=error)
        else:
            self._troubles[part] = Trouble(part, known.since_us, known.times + 1, said)
            logger.debug("%s failed again, tried again in %g s: %s", part, wait_s, said)
