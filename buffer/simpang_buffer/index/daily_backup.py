"""Backs the index up once a day, and when it has been rebuilt."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

from simpang_buffer.index.backup import back_up, backup_path

logger = logging.getLogger(__name__)

EVERY_S = 86_400.0
# A start is busy enough; a backup that is due then waits.
AFTER_S = 300.0
# What was skipped or failed is tried again sooner.
_AGAIN_S = 3600.0


class DailyBackup:
    """`run` for ever. made_us: when the last one was made; skipped: why there is no newer one, in words.

    is_whole: whether there is anything worth a copy now. done: called after each.
    """

    def __init__(
        self,
        index: Path,
        *,
        is_whole: Callable[[], bool],
        done: Callable[[], None],
        now_us: Callable[[], int],
        every_s: float = EVERY_S,
        after_s: float = AFTER_S,
    ) -> None:
        self.made_us: int | None = None
        self.skipped: str | None = None
        self._index = index
        self._is_whole = is_whole
        self._done = done
        self._now_us = now_us
        self._every_s = every_s
        self._after_s = after_s
        self._asked = asyncio.Event()

    def soon(self) -> None:
        self._asked.set()

    async def run(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            found = await asyncio.to_thread(backup_path(self._index).stat)
            self.made_us = found.st_mtime_ns // 1000
        age_s = (self._now_us() - self.made_us) / 1e6 if self.made_us else self._every_s
        # By a clock that was wrong it may seem to be of tomorrow.
        wait_s = max(self._every_s - max(age_s, 0.0), self._after_s)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._asked.wait()
            self._asked.clear()
            wait_s = min(_AGAIN_S, self._every_s)
            if self._is_whole() and await self._back_up():
                wait_s = self._every_s

    async def _back_up(self) -> bool:
        try:
            made = await asyncio.to_thread(back_up, self._index, backup_path(self._index))
        except (sqlite3.Error, OSError) as error:
            self.skipped = str(error)
        else:
            self.skipped = made.skipped
        if self.skipped is not None:
            logger.warning("the index is not backed up: %s", self.skipped)
            return False
        self.made_us = self._now_us()
        self._done()
        return True
