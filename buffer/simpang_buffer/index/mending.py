"""What is done when the index fails while the daemon runs. Recording goes on; its rows wait (row_writer).

its disk refuses   tried again every half second; the file is opened anew when the disk takes writes again,
                   since the descriptors of a file system that went away do not come back with it
it is damaged      looked at whole first; then moved aside, and the backup or an empty index put in its place
it was removed     an open file lives on without a name; a new one is put in its place
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from simpang_buffer.index.backup import damage
from simpang_buffer.index.database import Database
from simpang_buffer.index.errors import CorruptIndex, StorageError, Unreadable
from simpang_buffer.index.recovery import Cause, Due, replace
from simpang_buffer.index.salvage import salvage

logger = logging.getLogger(__name__)

_TRY_EVERY_S = 0.5
_LOOK_EVERY_S = 2.0
# Damage that a check does not confirm may be a fault of memory or cable; twice within so long it is not.
_TWICE_WITHIN_S = 3600.0
# A disk that takes other files, and has refused the index for so long, has lost a part of it.
_LOST_AFTER_S = 10.0


class Mender:
    """`run` for ever. replaced: called with the rebuild that is due once another index is open.

    since_us: since when the index fails, None while it does not. use_backup: whether what was backed up last
    may take its place: not twice, or a damaged copy would come again and again.
    """

    def __init__(
        self,
        database: Database,
        replaced: Callable[[Due], Awaitable[None]],
        *,
        now_us: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.since_us: int | None = None
        self.use_backup = True
        self._database = database
        self._replaced = replaced
        self._now_us = now_us
        self._monotonic = monotonic
        # Of an index that has just taken the place of another.
        self._new: Due | None = None
        # Of the index's folder, which a mount point without its disk has not.
        self._identity: tuple[int, int] | None = None
        self._suspected_s: float | None = None
        # Since when the disk takes other files, in this fault.
        self._answers_since_s: float | None = None

    async def run(self) -> None:
        self._identity = await asyncio.to_thread(_identity, self._database.path.parent)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._database.failed.wait()
            if not self._database.failed.is_set():
                if await asyncio.to_thread(self._database.path.exists):
                    continue
                self._database.note(Unreadable(await asyncio.to_thread(self._why_gone)))
            await self._mend()

    async def _mend(self) -> None:
        database = self._database
        self.since_us, self._answers_since_s = self._now_us(), None
        logger.error("the index fails, recording goes on: %s", database.fault)
        while database.failed.is_set() or self._new is not None:
            try:
                if database.failed.is_set():
                    await self._mend_once()
                await self._fill()
            except (StorageError, OSError, sqlite3.Error) as error:
                logger.debug("the index cannot be mended yet: %s", error)
                await asyncio.sleep(_TRY_EVERY_S)
        logger.info("the index can be read and written again")
        self.since_us = None

    async def _mend_once(self) -> None:
        """Raises StorageError, OSError or sqlite3.Error while it cannot be done."""
        database, now_s = self._database, self._monotonic()
        try:
            # While nothing can be written there, the old connections still read.
            await asyncio.to_thread(self._check_there)
            await asyncio.to_thread(_probe, database.path)
        except OSError:
            self._answers_since_s = None
            raise
        if self._answers_since_s is None:
            self._answers_since_s = now_s

        def between() -> None:
            cause = self._lost(now_s)
            if cause is not None:
                words, use = str(database.fault), self.use_backup
                self._new = replace(database.path, cause, words, self._now_us(), backup=use)
                self.use_backup = False

        await database.reopen(between)
        self._identity = await asyncio.to_thread(_identity, database.path.parent)

    def _why_gone(self) -> str:
        path = self._database.path
        if _identity(path.parent) != self._identity:
            return f"the disk of {path} is gone; mount it again at {path.parent}, or look at its cable"
        return f"{path} was removed while it was open"

    def _check_there(self) -> None:
        """Raises OSError where the folder is another one without an index: a mount point, and what was made
        there would hide under the disk when that is back."""
        path = self._database.path
        if not path.exists() and _identity(path.parent) != self._identity:
            raise OSError(errno.ENODEV, "the disk that was here has gone", str(path.parent))

    async def _fill(self) -> None:
        """Another index is open: what is known without its files is put into it. Raises StorageError."""
        if (due := self._new) is not None:
            logger.error("the index is replaced (%s); the old one is kept as %s", due.detail, due.aside)
            await self._replaced(await salvage(self._database, due))
            self._new = None

    def _lost(self, now_s: float) -> Cause | None:
        """Why the file cannot be gone on with; it is closed now."""
        database = self._database
        if not database.path.exists():
            return "missing"
        is_corrupt = isinstance(database.fault, CorruptIndex)
        assert self._answers_since_s is not None  # set before the file was closed
        if not is_corrupt and now_s - self._answers_since_s <= _LOST_AFTER_S:
            return None
        before_s = self._suspected_s
        if is_corrupt:
            self._suspected_s = now_s
            if before_s is not None and now_s - before_s < _TWICE_WITHIN_S:
                return "damaged"
        return "damaged" if damage(database.path, alone=False) is not None else None


def _identity(folder: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = folder.stat()
        return found.st_dev, found.st_ino
    return None


def _probe(index: Path) -> None:
    """Whether anything can be written beside the index. Raises OSError."""
    probe = index.with_name(".index-probe")
    try:
        probe.write_bytes(b"simpang")
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
