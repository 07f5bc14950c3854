"""The media folders, watched: which are there, how much room each has, and where the next file begins.

Folders come and go (a disk is pulled, a mount is late, another disk is put in); none of it stops recording in
the others. A folder that is not there is never written to, and no row of the index is touched for it: its
footage cannot be read until it is back, and then is there as before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.folder_choice import Chosen, Folder, FolderState, choose
from simpang_buffer.index.folder_faults import ROOM_BYTES, FolderFaults
from simpang_buffer.index.folder_identity import FolderPlan, Identity, Known, identify
from simpang_buffer.index.folder_rows import FolderRows
from simpang_buffer.index.folder_sight import Sight, is_mounted, new_marker, see, write_marker
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.space import Limits, Space, disk_space
from simpang_buffer.model import FIRST_FOLDER, GapReason

logger = logging.getLogger(__name__)

# A folder that goes or comes is noticed within 2 s.
LOOK_S = 1.0
# One folder without a mount point of its own can only go with the index itself.
LOOK_ALONE_S = 5.0
# How long a look waits for an answer, and after how many without one the disk is taken to be gone.
_ANSWER_S = 0.8
_SILENCES = 3


class Folders:
    """`look` once before anything is recorded, then `run` for ever. plans: the first one's is first.

    data: the folder of the index. open_bytes: of files that no row counts yet, by folder. changed: called
    after each look that found a state or an order changed. came: called with a folder whose files may not all
    be known, since it was not there before. room_bytes: what must be free in one that was full before files
    begin there again.
    """

    def __init__(
        self,
        index: Index,
        site: str,
        plans: Sequence[FolderPlan],
        *,
        data: Path,
        now_us: Callable[[], int],
        open_bytes: Callable[[], Mapping[int, int]] = dict,
        changed: Callable[[], None] = lambda: None,
        came: Callable[[int], None] = lambda folder: None,
        room_bytes: Callable[[], int] = lambda: ROOM_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folders: tuple[Folder, ...] = ()
        self.changed = changed
        self.came = came
        # Ids of those that are being emptied though their plans do not say so.
        self.emptying: frozenset[int] = frozenset()
        self._index = index
        self._rows = FolderRows(index, monotonic)
        self._site = site
        self._plans = list(plans)
        self._data = data
        self._data_identity: tuple[int, int] | None = None
        self._now_us = now_us
        self._open_bytes = open_bytes
        self._faults = FolderFaults(monotonic, room_bytes)
        self._chosen: Chosen | None = None
        self._ordered: tuple[Folder, ...] = ()
        self._looks: dict[Path, asyncio.Future[Sight]] = {}
        # Those that the index has learnt of in this look.
        self._added: set[int] = set()
        # How many looks in a row had no answer.
        self._silences: dict[Path, int] = {}
        self._wanted = asyncio.Event()

    @property
    def ordered(self) -> tuple[Folder, ...]:
        """Where new files may begin, the best first."""
        return self._ordered

    def by_id(self, folder: int) -> Folder | None:
        return next((one for one in self.folders if one.id == folder), None)

    @property
    def sound(self) -> list[Folder]:
        """Those that are there and may be worked on: one that fails is left in peace if there is another."""
        there = [one for one in self.folders if one.readable]
        return [one for one in there if one.state is not FolderState.FAILING] or there

    @property
    def away(self) -> frozenset[int]:
        """Ids of those in which files may be left that nobody looks at now."""
        return self._rows.ids - {one.id for one in self.sound}

    def files(self) -> list[MediaFiles]:
        """Of the folders that may be worked on."""
        return [one.files for one in self.sound]

    def spaces(self) -> dict[int, Space]:
        """Of the folders that may be worked on, by id, as it is this moment. Blocks."""
        found = {}
        for one in self.sound:
            with contextlib.suppress(OSError):
                found[one.id] = disk_space(one.path)
        return found

    def limits_of(self, folder: int, total_bytes: int) -> Limits:
        """By id; those of the first folder for one that is in no plan any more."""
        found = self.by_id(folder)
        plan = next(
            (one for one in self._plans if found is not None and one.path == found.path), self._plans[0]
        )
        return plan.limits(total_bytes)

    def note_fault(self, folder: int, reason: GapReason, words: str) -> None:
        """A file could not be written there: another folder is better, if there is one."""
        self._faults.note(folder, reason, words)
        self.request_look()

    def request_look(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        while True:
            alone = len(self._plans) == 1 and self._plans[0].mount_point is None and not self._faults
            try:
                async with asyncio.timeout(LOOK_ALONE_S if alone else LOOK_S):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            await self.look()

    async def look(self) -> None:
        """Once at all folders."""
        if self._data_identity is None:
            # Once: it may hang when another folder is to be looked at.
            self._data_identity = await asyncio.to_thread(_identity, self._data)
        await self._rows.refresh()
        found: list[Folder] = []
        await self._judge_all(self._plans, found)
        await self._judge_all(self._forgotten({one.id for one in found}), found)
        self._note(found)

    def _forgotten(self, found: set[int]) -> list[FolderPlan]:
        """Folders that hold footage and are in the configuration no more: they are read, and empty."""
        planned = {plan.path for plan in self._plans}
        return [
            FolderPlan(known.path, self._plans[0].limits, drain=True)
            for known in self._rows.known.values()
            if known.id not in {FIRST_FOLDER, *found}
            and known.path not in planned
            and self._rows.used(known.id) > 0
        ]

    async def _judge_all(self, plans: Sequence[FolderPlan], found: list[Folder]) -> None:
        sights = await self._see(plans) if plans else {}
        for plan in plans:
            found.append(await self._judge(plan, sights.get(plan.path), {one.id for one in found}))

    async def _see(self, plans: Sequence[FolderPlan]) -> dict[Path, Sight]:
        """What is found at each path; nothing for one whose disk does not answer."""
        loop = asyncio.get_running_loop()
        for plan in plans:
            if plan.path not in self._looks:
                self._looks[plan.path] = loop.run_in_executor(None, self._see_one, plan)
        looks = {plan.path: self._looks[plan.path] for plan in plans}
        await asyncio.wait(looks.values(), timeout=_ANSWER_S)
        done = {path: look for path, look in looks.items() if look.done()}
        for path in done:
            del self._looks[path]
        return {path: look.result() for path, look in done.items()}

    def _see_one(self, plan: FolderPlan) -> Sight:
        if plan.mount_point is not None and not is_mounted(plan.mount_point):
            return Sight(f"no disk is mounted at {plan.mount_point}")
        assert self._data_identity is not None  # asked for in the first look
        sight = see(plan.path, beside=self._data_identity[0])
        if plan.first and sight.marker is None and _identity(plan.path.parent) != self._data_identity:
            # It was there when the index was opened. What is under its mount point is not its.
            return Sight(f"the disk of {plan.path.parent} is not mounted")
        if plan.first and sight.fault and plan.path.parent.is_dir() and not plan.path.exists():
            # Never of a further one: its disk is missing then.
            plan.path.mkdir(mode=0o750, exist_ok=True)
            sight = see(plan.path, beside=self._data_identity[0])
        return sight

    async def _judge(self, plan: FolderPlan, sight: Sight | None, taken: set[int]) -> Folder:
        before = next((one for one in self.folders if one.path == plan.path), None)
        if sight is None:
            return self._silent(plan, before)
        self._silences.pop(plan.path, None)
        identity = identify(plan, sight, self._rows.known, self._site)
        try:
            known = await self._make_known(plan, sight, identity)
        except (OSError, StorageError) as error:
            # On a full disk neither a marker nor a row can be written until something is evicted there.
            known = identity.known or self._unmarked_first(plan, sight)
            if known is None:
                return Folder(0, plan.path, FolderState.MISSING, f"it cannot be used yet: {error}")
        if known is None:
            return Folder(self._last_id(plan), plan.path, identity.state, identity.words)
        if known.id in taken:
            words = "it is a copy of another folder, or the same one mounted twice; it is not used"
            return Folder(0, plan.path, FolderState.FOREIGN, words)
        limits = plan.limits(sight.space.total_bytes) if sight.space is not None else None
        used = self._rows.used(known.id) + self._open_bytes().get(known.id, 0)
        folder = Folder(
            known.id,
            plan.path,
            FolderState.PRESENT,
            "",
            0,
            sight.device,
            sight.inode,
            sight.space,
            limits,
            used,
        )
        if plan.drain or known.id in self.emptying:
            return replace(folder, state=FolderState.DRAINING)
        state, words = await asyncio.to_thread(self._faults.judge, folder, sight)
        return replace(folder, state=state, words=words)

    def _silent(self, plan: FolderPlan, before: Folder | None) -> Folder:
        """Of a folder whose disk does not answer: it may be starting up. Where there is another folder it is
        not waited for."""
        silences = self._silences[plan.path] = self._silences.get(plan.path, 0) + 1
        folder = before or Folder(self._last_id(plan), plan.path, FolderState.MISSING)
        if silences < _SILENCES and before is not None:
            return before
        others = any(one.readable for one in self.folders if one.path != plan.path)
        state = FolderState.MISSING if others or not folder.readable else FolderState.FAILING
        return replace(folder, state=state, words="its disk does not answer; look at its cable and health")

    def _last_id(self, plan: FolderPlan) -> int:
        """Of the folder that was at the path."""
        known = [one for one in self._rows.known.values() if one.path == plan.path]
        if plan.first:
            known = [one for one in self._rows.known.values() if one.id == FIRST_FOLDER]
        return known[0].id if known else 0

    def _unmarked_first(self, plan: FolderPlan, sight: Sight) -> Known | None:
        """The folder beside the index is the first one, unless another is."""
        if not plan.first or any(one.id == FIRST_FOLDER for one in self._rows.known.values()):
            return None
        return Known(FIRST_FOLDER, "", plan.path, sight.apart)

    async def _make_known(self, plan: FolderPlan, sight: Sight, identity: Identity) -> Known | None:
        """Marker before row: a folder with a marker of this site that no row knows is made known again."""
        if identity.known is not None:
            known = identity.known
            if identity.mark and not sight.read_only:
                marker = replace(new_marker(self._site), id=known.marker)
                await asyncio.to_thread(write_marker, plan.path, marker)
            if known.path != plan.path:
                await self._rows.moved(known, plan.path)
            return known
        if not identity.new:
            return None
        marker = sight.marker or new_marker(self._site)
        if sight.marker is None:
            await asyncio.to_thread(write_marker, plan.path, marker)
        known = await self._rows.add(marker.id, plan.path, apart=sight.apart, first=plan.first)
        if known.id != FIRST_FOLDER:
            # Footage may lie there already.
            self._added.add(known.id)
        logger.info("%s is media folder %d", plan.path, known.id)
        return known

    def _note(self, found: Sequence[Folder]) -> None:
        now_us, before = self._now_us(), {one.path: one for one in self.folders}
        dated = []
        for folder in found:
            old = before.get(folder.path)
            same = old is not None and old.state is folder.state
            dated.append(replace(folder, since_us=old.since_us if old is not None and same else now_us))
            if not same:
                _tell(old, folder)
        was_sound = {one.id for one in self.sound}
        self.folders = tuple(dated)
        # One that is there comes last, should an old path bear the same id.
        by_state = sorted((one for one in dated if one.id), key=lambda one: one.readable)
        places = {FIRST_FOLDER: self._index.media, **{one.id: one.path for one in by_state}}
        self._index.places.update(places)
        for gone in self._index.places.keys() - places.keys():
            del self._index.places[gone]
        there = {one.id for one in dated if one.readable}
        self._index.absent = self._rows.ids - there
        ordered = choose(dated, now_us, self._chosen, self._rows.oldest(there))
        if ordered and (self._chosen is None or self._chosen.id != ordered[0].id):
            self._chosen = Chosen(ordered[0].id, now_us)
        changed = [_essence(one) for one in ordered] != [_essence(one) for one in self._ordered]
        self._ordered = tuple(ordered)
        sound = {one.id for one in self.sound}
        for folder_id in (sound - was_sound if before else set()) | self._added:
            self.came(folder_id)
        self._added.clear()
        if changed or sound != was_sound:
            self.changed()


def _identity(folder: Path) -> tuple[int, int] | None:
    """Device and inode; None where there is no such folder."""
    with contextlib.suppress(OSError):
        found = folder.stat()
        return found.st_dev, found.st_ino
    return None


def _essence(folder: Folder) -> tuple[int, Path, int, int, bool]:
    return folder.id, folder.path, folder.device, folder.inode, folder.state is FolderState.FULL


def _tell(old: Folder | None, folder: Folder) -> None:
    if folder.state in (FolderState.PRESENT, FolderState.DRAINING):
        if old is not None:
            logger.info("%s: the media folder is %s again", folder.path, folder.state)
    else:
        logger.warning("%s: the media folder is %s: %s", folder.path, folder.state, folder.words)
