"""A media folder that was away has come: what lies there and no row knows is taken in, beside recording.

Which folders were away is noted in the index before anything is recorded without them, so that one that comes
back after the next start, with files left open when its disk was pulled, is looked through as well.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Iterable

from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rebuild import Rebuild
from simpang_buffer.model import StreamKey

logger = logging.getLogger(__name__)

# meta: ids of folders that have been away, and were not looked through since.
FOLDERS_AWAY = "folders_away"
_AGAIN_S = 5.0


class Returning:
    """`note` which folders are there, whenever that changes; `run` beside recording.

    folders: those that are there. own, is_free: as in Rebuild.
    """

    def __init__(
        self,
        index: Index,
        site: str,
        folders: Callable[[], Iterable[MediaFiles]],
        *,
        own: Callable[[], Collection[str]] = frozenset,
        is_free: Callable[[StreamKey, int, int], bool] = lambda key, run, seq: True,
        away: Callable[[], Collection[int]],
    ) -> None:
        self._index = index
        self._site = site
        self._folders = folders
        self._own = own
        self._is_free = is_free
        self._away = away
        self._new: set[int] = set()
        self._changed = asyncio.Event()

    def note(self, came: int | None = None) -> None:
        """Some folder has gone, or this one has come."""
        if came is not None:
            self._new.add(came)
        self._changed.set()

    async def run(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self.run_once()
            except (StorageError, OSError) as error:
                logger.warning("a media folder that came back is not looked through yet: %s", error)
                await asyncio.sleep(_AGAIN_S)
                continue
            await self._changed.wait()

    async def run_once(self) -> None:
        """Looks through all folders that are due and there. Raises StorageError, OSError."""
        due = await self._due()
        noted = due | self._new | set(self._away())
        if noted != due:
            await self._index.set_meta(FOLDERS_AWAY, json.dumps(sorted(noted)))
        for files in self._folders():
            if files.folder in noted:
                await self._look_through(files)

    async def _look_through(self, files: MediaFiles) -> None:
        folders = {files.folder: files}
        work = Rebuild(self._index, folders, self._site, own=self._own, is_free=self._is_free)
        report = await work.run()
        logger.info("%s: %d files are here again, %d problems", files.root, work.done, len(report.problems))
        for problem in report.problems:
            logger.warning("%s: %s could not be taken in: %s", files.root, problem.path, problem.words)
        if files.folder in self._away():
            return  # it has gone again
        self._new.discard(files.folder)
        left = await self._due() - {files.folder}
        await self._index.set_meta(FOLDERS_AWAY, json.dumps(sorted(left)))

    async def _due(self) -> set[int]:
        try:
            return {int(one) for one in json.loads(await self._index.meta(FOLDERS_AWAY) or "[]")}
        except (ValueError, TypeError):
            return set()
