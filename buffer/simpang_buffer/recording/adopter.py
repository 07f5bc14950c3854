"""Adopts what recorders that died, and files whose disk failed, have left: beside recording, never before it.

Streams go on under a run number above all used ones, so a file of any size may be read as long as it takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from simpang_buffer.index.adoption import Report, adopt
from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.model import StreamKey

logger = logging.getLogger(__name__)

# Side by side: one large file does not keep the others waiting.
_AT_ONCE = 3
_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class _Left:
    """Runs from since and before below, which nobody records any more."""

    key: StreamKey
    since: int
    below: int


class Adopter:
    """`put` at any time, `run` beside recording. folders: those that are there now. settled: called with the
    stream and `below` once its files are judged."""

    def __init__(
        self,
        index: Index,
        folders: Callable[[], Iterable[MediaFiles]],
        settled: Callable[[StreamKey, int], None],
    ) -> None:
        self._index = index
        self._folders = folders
        self._settled = settled
        self._waiting: asyncio.Queue[_Left] = asyncio.Queue()

    def put(self, key: StreamKey, since: int, below: int) -> None:
        """Nobody may write in these runs from now on."""
        self._waiting.put_nowait(_Left(key, since, below))

    async def run(self) -> None:
        """Until cancelled. What the index or a disk refuses is tried again."""
        async with asyncio.TaskGroup() as group:
            for number in range(_AT_ONCE):
                group.create_task(self._keep_adopting(), name=f"adopter-{number}")

    async def _keep_adopting(self) -> None:
        while True:
            left = await self._waiting.get()
            level = logging.WARNING
            while True:
                try:
                    await self._adopt(left)
                    break
                except (StorageError, OSError) as error:
                    logger.log(level, "%s: its last files are not taken in yet: %s", left.key, error)
                    level = logging.DEBUG
                    await asyncio.sleep(_AGAIN_S)

    async def _adopt(self, left: _Left) -> None:
        report = Report()
        for files in self._folders():
            report += await adopt(
                files.root, self._index, [left.key], files=files, since=left.since, below=left.below
            )
        logger.info("%s: adopted %d, removed %d", left.key, len(report.adopted), len(report.removed))
        for path in report.aside:
            logger.warning("%s: %s is not as it was sealed: it is kept, and not shown", left.key, path)
        for problem in report.problems:
            logger.warning("%s: not adopted yet: %s: %s", left.key, problem.path, problem.words)
        self._settled(left.key, left.below)
