"""Keeps the index whole while the daemon runs: takes in what the last run left, rebuilds, backs up, mends.

None of it is in recording's way. Streams are recorded first, under run numbers above all that lie in the
media folders (`prepare`), and what lies there is taken in beside them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from simpang_buffer.index.adoption import Report, adopt, reserve_run_numbers
from simpang_buffer.index.daily_backup import AFTER_S, EVERY_S, DailyBackup
from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.foreign import foreign_streams
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.mending import Mender
from simpang_buffer.index.owners import note_site
from simpang_buffer.index.rebuild import Rebuild
from simpang_buffer.index.recovery import Due, drop_due, note_due
from simpang_buffer.model import RunHeader, StreamKey

logger = logging.getLogger(__name__)

# A rebuild that failed (the index was exchanged under it, a disk hung) is begun again.
_AGAIN_S = 5.0


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
        backup_every_s: float = EVERY_S,
        backup_after_s: float = AFTER_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # Streams of other sites, and whose they are.
        self.foreign: dict[StreamKey, str] = {}
        self._index = index
        self._site = site
        self._folders = folders
        self._due = due
        self._now_us = now_us
        self._own = own
        self._is_free = is_free
        self._open_runs = open_runs
        self._mender = Mender(index.db, self._replaced, now_us=now_us, monotonic=monotonic)
        self._backup = DailyBackup(
            index.db.path,
            is_whole=self._is_whole,
            done=self._backed_up,
            now_us=now_us,
            every_s=backup_every_s,
            after_s=backup_after_s,
        )
        # First run numbers that streams had no files of at the start.
        self._below: dict[StreamKey, int] = {}
        self._adopting = True
        self._rebuild: Rebuild | None = None
        self._problems = 0
        self._wanted = asyncio.Event()
        if due is not None:
            self._wanted.set()

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
        since_us = self._due.since_us if self._due else None
        detail = self._due.detail if self._due else ""
        return Condition(
            state,
            self._due,
            since_us if fault is None else self._mender.since_us,
            detail if fault is None else str(fault),
            rebuild.done if rebuild else 0,
            rebuild.total if rebuild else None,
            self._problems,
            self._backup.made_us,
            self._backup.skipped,
        )

    async def prepare(self) -> None:
        """Makes every stream ready to be recorded at once: run numbers above those that lie in the folders.

        Raises StorageError, OSError.
        """
        for files in self._folders():
            await reserve_run_numbers(self._index, files)
        self._below = {key: await self._index.next_run(key) for key in await self._index.streams()}
        await note_site(self._index, self._site)
        await self.look_for_foreign()

    async def look_for_foreign(self) -> None:
        """Sets `foreign`, which changes with a rebuild, and when an id becomes ours."""
        self.foreign = await foreign_streams(self._index.db)

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
            group.create_task(self._mender.run(), name="index: mending")
            group.create_task(self._backup.run(), name="index: backup")

    # What lies in the folders

    async def _take_in(self) -> None:
        while self._adopting and self._due is None:
            try:
                await self._adopt()
                self._adopting = False
            except (StorageError, OSError) as error:
                logger.warning("what the last run left is not taken in yet: %s", error)
                await asyncio.sleep(_AGAIN_S)
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._adopting = False
            while (due := self._due) is not None:
                try:
                    await self._rebuild_once(due)
                except (StorageError, OSError) as error:
                    logger.warning("the rebuild of the index broke off and begins again: %s", error)
                    await asyncio.sleep(_AGAIN_S)

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
        await self.look_for_foreign()
        _tell(report)
        self._problems = len(report.problems)
        if self._due is due:
            # Not while another fault was found meanwhile: then once more.
            await asyncio.to_thread(drop_due, self._index.db.path)
            self._due = None
            logger.info("the index is whole again: %d files", self._rebuild.done)
        self._backup.soon()

    async def _replaced(self, due: Due) -> None:
        """Another index is open. It must know the runs that go on before it hears of their files."""
        for files in self._folders():
            await reserve_run_numbers(self._index, files)
        for header, width, height in self._open_runs():
            await self._index.add_run(header, width, height)
        await note_site(self._index, self._site)
        self._due = due
        self._wanted.set()

    def _is_whole(self) -> bool:
        return self._due is None and self._index.db.fault is None

    def _backed_up(self) -> None:
        self._mender.use_backup = True


def _tell(report: Report) -> None:
    if report.adopted or report.removed:
        logger.info("took in %d files, removed %d empty ones", len(report.adopted), len(report.removed))
    for path in report.aside:
        logger.warning("%s is not what its name says, or was altered: it is kept, and not shown", path)
    for problem in report.problems:
        logger.warning("%s could not be taken in: %s", problem.path, problem.words)
