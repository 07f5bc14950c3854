"""What the index says of media folders: their rows, how much each holds, and which holds the oldest footage.

Kept in memory, so that folders are told apart also while the index cannot be read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.folder_identity import Known
from simpang_buffer.index.folder_sight import see
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.model import FIRST_FOLDER

logger = logging.getLogger(__name__)

# Which folder holds the oldest footage changes by the hour.
_EVERY_S = 60.0
# The oldest three quarters of an hour of each stream: a few milliseconds.
_ROWS_LOOKED_AT = 45


async def folders_there(index: Index) -> list[MediaFiles]:
    """The media folders that can be read now, for a look without a daemon: each where it was last seen, and
    only with the marker that it had then."""
    base = index.db.path.absolute().parent
    found = [MediaFiles(index.media)]
    rows = await index.db.read("select id, marker, path from folder where id <> ?", (FIRST_FOLDER,))
    for number, marker, path in rows:
        sight = await asyncio.to_thread(see, base / path, beside=base)
        if sight.marker is not None and sight.marker.id == marker:
            found.append(MediaFiles(base / path, number))
    return found


class FolderRows:
    """known: by marker."""

    def __init__(self, index: Index, monotonic: Callable[[], float]) -> None:
        self.known: dict[str, Known] = {}
        self._index = index
        self._monotonic = monotonic
        self._generation = -1
        self._used: dict[int, int] = {}
        # Folders with some of the oldest footage, in its order.
        self._by_age: list[int] = []
        self._look_again_s = 0.0

    @property
    def ids(self) -> frozenset[int]:
        return frozenset({FIRST_FOLDER, *(one.id for one in self.known.values())})

    def used(self, folder: int) -> int:
        """Bytes of its rows."""
        return self._used.get(folder, 0)

    def oldest(self, there: set[int]) -> int | None:
        """Which of these folders holds the oldest footage; None where all that is very old is in others."""
        return next((folder for folder in self._by_age if folder in there), None)

    async def refresh(self) -> None:
        """Reads anew. Where the index cannot be read all stays as it was."""
        database = self._index.db
        base = database.path.absolute().parent
        try:
            if self._generation != database.generation:
                rows = await database.read("select id, marker, path, apart from folder")
                self.known = {row[1]: Known(row[0], row[1], base / row[2], bool(row[3])) for row in rows}
                self._generation = database.generation
            sums = await database.read("select folder_id, sum(bytes) from stored group by folder_id")
            self._used = dict(sums)
            if len(self.known) > 1:
                await self._look_for_oldest()
        except StorageError as error:
            logger.debug("folders are told apart by what is remembered: %s", error)

    async def add(self, marker: str, path: Path, *, apart: bool, first: bool) -> Known:
        """Raises StorageError."""
        async with self._index.db.transaction() as tx:
            free = await tx.value("select max(1, coalesce(max(id), 1)) + 1 from folder")
            taken = await tx.value("select 1 from folder where id = ?", (FIRST_FOLDER,))
            number = FIRST_FOLDER if first and taken is None else int(free)
            known = Known(number, marker, path, apart)
            await tx.run("insert into folder values (?, ?, ?, ?)", (number, marker, str(path), int(apart)))
        self.known[marker] = known
        return known

    async def moved(self, known: Known, path: Path) -> None:
        """It lies elsewhere than when it was last seen. Raises StorageError."""
        async with self._index.db.transaction() as tx:
            await tx.run("update folder set path = ? where id = ?", (str(path), known.id))
        self.known[known.marker] = Known(known.id, known.marker, path, known.apart)

    async def _look_for_oldest(self) -> None:
        now_s = self._monotonic()
        if now_s < self._look_again_s:
            return
        self._look_again_s = now_s + _EVERY_S
        rows = await self._index.db.read(
            """select s.folder_id from stream c
               join segment s on s.stream_id = c.id and s.start_us <= coalesce(
                 (select start_us from segment where stream_id = c.id order by start_us limit 1 offset ?),
                 (select max(start_us) from segment where stream_id = c.id))
               order by s.ordinal""",
            (_ROWS_LOOKED_AT,),
        )
        self._by_age = list(dict.fromkeys(row[0] for row in rows))
