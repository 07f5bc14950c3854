"""Keeps the index whole while the daemon runs: takes in what the last run left, rebuilds, backs up, mends.

None of it is in recording's way. Streams are recorded first, under run numbers above all that lie in the
media folders (`prepare`), and what lies there is taken in beside them. Where the index or its disk fails,
recorders go on writing files, whose rows wait until the index can be written again.

    its disk refuses   tried again every half second, and the file opened anew when it does no longer
    it is damaged      checked first; then moved aside, the backup put in its place, and rebuilt
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simpang_buffer.index.adoption import Report, adopt, reserve_run_numbers
from simpang_buffer.index.backup import back_up, backup_path, damage
from simpang_buffer.index.errors import CorruptIndex, StorageError
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rebuild import Rebuild, note_site
from simpang_buffer.index.recovery import Due, drop_due, note_due, replace
from simpang_buffer.model import RunHeader, StreamKey

logger = logging.getLogger(__name__)

BACKUP_EVERY_S = 86_400.0
# A start is busy enough; a backup that is due then waits.
_BACKUP_AFTER_S = 300.0
# What was skipped or failed is tried again sooner.
_BACKUP_AGAIN_S = 3600.0
_TRY_EVERY_S = 0.5
# A rebuild that failed (the index was exchanged under it, a disk hung) is begun again.
_REBUILD_AGAIN_S = 5.0
# Damage that a check does not confirm may be a fault of memory or cable; twice within so long it is not.
_TWICE_WITHIN_S = 3600.0
# A disk that refuses one part of the index for so long has lost it.
_LOST_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Condition:
    """What people are told. state: ok, adopting (what the last run left), rebuilding, or failing (the index
    cannot be read or written now). detail: the fault in words. done, total: files; total is None until they
    are listed. backup_us: of the last backup; backup_skipped: why there is no newer one."""

    state: Literal["ok", "adopting", "rebuilding", "failing"] = "ok"
    due: Due | None = None
    since_us: int | None = None
    detail: str = ""
    done: int = 0
    total: int | None = None
    problems: int = 0
    backup_us: int | None = None
    backup_skipped: str | None = None


class IndexKeeper:
    """`prepare` before anything is recorded; then `run` for ever. Raises nothing that recording dies of.

    folders: those that are there now. due: the rebuild that was found due at the start. own: ids of the
    cameras that are recorded here. is_free: whether nobody may be writing the file (key, run, seq).
    open_runs: header, width and height of the files that are open, whose runs a new index must know.
    """

    def __init__(
        self,
        index: Index,
        site: str,
        *,
        folders: Callable[[], Iterable[MediaFiles]],
        due: Due | None,
        now_us: Callable[[], int],
        own: Callable[[], Collection[str]] = frozenset,
        is_free: Callable[[StreamKey, int, int], bool] = lambda key, run, seq: True,
        open_runs: Callable[[], Iterable[tuple[RunHeader, int, int]]] = tuple,
        backup_every_s: float = BACKUP_EVERY_S,
        backup_after_s: float = _BACKUP_AFTER_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index = index
        self._site = site
        self._folders = folders
        self._due = due
        self._now_us = now_us
        self._own = own
        self._is_free = is_free
        self._open_runs = open_runs
        self._backup_every_s = backup_every_s
        self._backup_after_s = backup_after_s
        self._monotonic = monotonic
        self._below: dict[StreamKey, int] = {}
        self._adopting = True
        self._rebuild: Rebuild | None = None
        self._problems = 0
        self._failing_since_us: int | None = None
        self._backup_us: int | None = None
        self._backup_skipped: str | None = None
        self._wanted = asyncio.Event()
        self._rebuilt = asyncio.Event()
        if due is not None:
            self._wanted.set()
        self._suspected_s: float | None = None
        self._replaced = False

    def condition(self) -> Condition:
        fault = self._index.db.fault
        rebuild = self._rebuild
        state: Literal["ok", "adopting", "rebuilding", "failing"] = "ok"
        if fault is not None:
            state = "failing"
        elif self._due is not None:
            state = "rebuilding"
        elif self._adopting:
            state = "adopting"
        return Condition(
            state,
            self._due,
            self._failing_since_us if fault is not None else self._due.since_us if self._due else None,
            str(fault) if fault is not None else self._due.detail if self._due else "",
            rebuild.done if rebuild else 0,
            rebuild.total if rebuild else None,
            self._problems,
            self._backup_us,
            self._backup_skipped,
        )

    async def prepare(self) -> None:
        """Makes every stream ready to be recorded at once: run numbers above those that lie in the folders.

        Raises StorageError, OSError.
        """
        for files in self._folders():
            await reserve_run_numbers(self._index, files)
        self._below = {key: await self._index.next_run(key) for key in await self._index.streams()}
        await note_site(self._index, self._site)

    def rebuild(self) -> None:
        """A person asks for it. One that goes on goes on."""
        if self._due is None:
            self._due = Due("by-hand", self._now_us())
            self._wanted.set()

    async def oldest_first(self, size_bytes: int, keys: Collection[StreamKey] | None = None) -> bool:
        """To be asked before so much is evicted (of these streams) for want of space: while a rebuild goes on
        it makes sure that what is oldest is known. Whether older files may have come than were known when
        this was last asked."""
        if (rebuild := self._rebuild) is None:
            return False
        if self._due is None:
            # What was read before its end may lack what came last.
            self._rebuild = None
            return True
        await rebuild.take_oldest(size_bytes, keys)
        return True

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_in(), name="index: adoption and rebuild")
            group.create_task(self._mend(), name="index: mending")
            group.create_task(self._back_up(), name="index: backup")

    # What lies in the folders

    async def _take_in(self) -> None:
        while self._adopting and self._due is None:
            try:
                await self._adopt()
                self._adopting = False
            except (StorageError, OSError) as error:
                logger.warning("what the last run left is not taken in yet: %s", error)
                await asyncio.sleep(_REBUILD_AGAIN_S)
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._adopting = False
            while (due := self._due) is not None:
                try:
                    await self._rebuild_once(due)
                except (StorageError, OSError) as error:
                    logger.warning("the rebuild of the index broke off and begins again: %s", error)
                    await asyncio.sleep(_REBUILD_AGAIN_S)

    async def _adopt(self) -> None:
        report = Report()
        for files in self._folders():
            by_bound: dict[int | None, list[StreamKey]] = {}
            for key in await asyncio.to_thread(files.streams):
                # Streams that were not there at the start have nothing that the last run left.
                if key in self._below:
                    by_bound.setdefault(self._below[key], []).append(key)
            for below, keys in by_bound.items():
                report += await adopt(files.root, self._index, keys, files=files, below=below)
        _tell(report)
        self._problems = len(report.problems)

    async def _rebuild_once(self, due: Due) -> None:
        await asyncio.to_thread(note_due, self._index.db.path, due)
        folders = {files.folder: files for files in self._folders()}
        self._rebuild = Rebuild(self._index, folders, self._site, own=self._own, is_free=self._is_free)
        logger.warning("the index is being rebuilt from the media files: %s", due.detail or due.cause)
        report = await self._rebuild.run()
        _tell(report)
        self._problems = len(report.problems)
        if self._due is due:
            # Not while another fault was found meanwhile: then once more.
            await asyncio.to_thread(drop_due, self._index.db.path)
            self._due = None
            logger.info("the index is whole again: %d files", self._rebuild.done)
        self._rebuilt.set()

    # Faults

    async def _mend(self) -> None:
        database = self._index.db
        while True:
            await database.failed.wait()
            self._failing_since_us = self._now_us()
            since_s = self._monotonic()
            logger.error("the index fails, recording goes on: %s", database.fault)
            while database.failed.is_set():
                try:
                    await self._mend_once(since_s)
                except (StorageError, OSError, sqlite3.Error) as error:
                    logger.debug("the index cannot be mended yet: %s", error)
                    await asyncio.sleep(_TRY_EVERY_S)
            logger.info("the index can be read and written again")
            self._failing_since_us = None

    async def _mend_once(self, since_s: float) -> None:
        """Raises StorageError, OSError or sqlite3.Error while it cannot be done."""
        database = self._index.db
        # While nothing can be written there, the old connections still read.
        await asyncio.to_thread(_probe, database.path)
        fault, now_s = database.fault, self._monotonic()
        suspect = isinstance(fault, CorruptIndex) or now_s - since_s > _LOST_AFTER_S
        if not suspect:
            await database.reopen()
            await note_site(self._index, self._site)
            return
        found: list[str] = []

        def between() -> None:
            word = damage(database.path, alone=False)
            confirmed = word is not None or (
                self._suspected_s is not None and now_s - self._suspected_s < _TWICE_WITHIN_S
            )
            self._suspected_s = now_s
            if confirmed:
                found.append(word or str(fault))
                due = replace(database.path, "damaged", found[0], self._now_us(), backup=not self._replaced)
                self._due, self._replaced = due, True

        await database.reopen(between)
        if found:
            aside = self._due.aside if self._due else None
            logger.error("the index was damaged (%s): kept as %s, rebuilt from the files", found[0], aside)
            await self._know_open_runs()
            self._wanted.set()

    async def _know_open_runs(self) -> None:
        """A new index hears of a run when its next file opens; the open one's row must not come first."""
        for files in self._folders():
            await reserve_run_numbers(self._index, files)
        for header, width, height in self._open_runs():
            await self._index.add_run(header, width, height)
        await note_site(self._index, self._site)

    # Backup

    async def _back_up(self) -> None:
        path = self._index.db.path
        target = backup_path(path)
        with contextlib.suppress(FileNotFoundError):
            self._backup_us = (await asyncio.to_thread(target.stat)).st_mtime_ns // 1000
        age_s = (self._now_us() - self._backup_us) / 1e6 if self._backup_us else self._backup_every_s
        # By a clock that was wrong it may seem to be of tomorrow.
        wait_s = max(self._backup_every_s - max(age_s, 0.0), self._backup_after_s)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._rebuilt.wait()
            self._rebuilt.clear()
            if self._due is not None or self._index.db.fault is not None:
                # There is nothing whole to back up.
                wait_s = min(_BACKUP_AGAIN_S, self._backup_every_s)
                continue
            try:
                done = await asyncio.to_thread(back_up, path, target)
            except (sqlite3.Error, OSError) as error:
                self._backup_skipped = str(error)
            else:
                self._backup_skipped = done.skipped
            if self._backup_skipped is None:
                self._backup_us = self._now_us()
                wait_s = self._backup_every_s
            else:
                logger.warning("the index is not backed up: %s", self._backup_skipped)
                wait_s = min(_BACKUP_AGAIN_S, self._backup_every_s)


def _probe(index: Path) -> None:
    """Whether anything can be written beside the index. Raises OSError."""
    probe = index.with_name(".index-probe")
    try:
        probe.write_bytes(b"simpang")
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _tell(report: Report) -> None:
    if report.adopted or report.removed:
        logger.info("took in %d files, removed %d empty ones", len(report.adopted), len(report.removed))
    for path in report.aside:
        logger.warning("%s is not what its name says, or was altered: it is kept, and not shown", path)
    for problem in report.problems:
        logger.warning("%s could not be taken in: %s", problem.path, problem.words)
