"""Keeps the footage within its space and its ages, and never in the way of recording.

What goes and in which order is decided in `eviction`; this is the loop around it: look, choose a page,
condemn it in one short transaction, unlink, and on until nothing has to go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from simpang_buffer.index.candidates import Candidates
from simpang_buffer.index.deletions import DAY_US, Order, Removed
from simpang_buffer.index.errors import StorageFull
from simpang_buffer.index.eviction import Rule, Victim, evictions
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.holds import expire
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.reserve import Reserve, has_room
from simpang_buffer.index.rows import Place
from simpang_buffer.index.space import (
    FLOOR_BYTES,
    Limits,
    Quota,
    Shortage,
    Space,
    Usage,
    disk_space,
    excess_bytes,
    shortages,
)
from simpang_buffer.model import FIRST_FOLDER, GapReason, StreamKey

__all__ = ["DAY_US", "Limits", "Retention", "Space", "disk_space", "excess_bytes"]

logger = logging.getLogger(__name__)

# At 44 streams of 8 Mbit/s this is 220 MB, well within the default min_free.
_EVERY_S = 5.0
# At most so many in a transaction, and fewer where it takes longer than _LONG_S: so long a closed segment
# waits for its row.
PAGE = 1000
_LONG_S = 0.02
# The first of a look is small: it is what a disk that deletes nothing costs the index before that is known.
FIRST_PAGE = 50


# Where all is held, or a quota cannot be kept, everything is read anew once a minute, not at every look.
_LOOKS_SHORT = 12


@dataclass(frozen=True, slots=True)
class Policy:
    """What is asked beside the limits of space. rules: of a stream. quotas: of the streams that there are,
    from the size of all folders. margin_us: around an event, kept as long as it."""

    rules: Callable[[StreamKey], Rule] | None = None
    quotas: Callable[[frozenset[StreamKey], int], Sequence[Quota]] = lambda keys, total_bytes: ()
    margin_us: int = 0


@dataclass(frozen=True, slots=True)
class Young:
    """Footage went before its minimum age, for nothing else was left. age_us: how old it was."""

    at_us: int
    age_us: int


@dataclass(frozen=True, slots=True)
class RetentionStatus:
    """As of the last look. short: what could not be made free, for all that is left is held, or (a quota) has
    not reached its minimum age. young: the last by stream. spaces: by folder."""

    short: tuple[Shortage, ...] = ()
    young: Mapping[StreamKey, Young] = field(default_factory=dict)
    spaces: Mapping[int, Space] = field(default_factory=dict)
    usage: Usage = field(default_factory=lambda: Usage({}, {}))


@dataclass(frozen=True, slots=True)
class Deleted:
    """What `delete` did. held: how much it left because it is held or pinned."""

    segments: int
    size_bytes: int
    held_segments: int
    held_bytes: int


class Retention:
    """limits: from the size of a file system, since one may be a share of it. limits_of: each folder's own,
    from its id and size. folders: those that are there; spaces: theirs, by id. open_bytes: by folder, of
    files that no row counts yet. booted_us: see Candidates. oldest_first: asked before so many bytes (of
    these streams) are evicted; whether older rows may have come.

    `run` forever, or `run_once` by hand. Raises StorageError, OSError: whoever supervises starts it anew.
    """

    def __init__(
        self,
        index: Index,
        limits: Callable[[int], Limits],
        *,
        now_us: Callable[[], int],
        clock_trusted: Callable[[], bool],
        policy: Policy | None = None,
        files: MediaFiles | None = None,
        folders: Callable[[], Iterable[MediaFiles]] | None = None,
        limits_of: Callable[[int, int], Limits] | None = None,
        spaces: Callable[[], Mapping[int, Space]] | None = None,
        open_bytes: Callable[[], Mapping[int, int]] = dict,
        booted_us: Callable[[], int | None] = lambda: None,
        has_room: Callable[[Path], bool] = has_room,
        oldest_first: Callable[[int, Collection[StreamKey] | None], Awaitable[bool]] | None = None,
        reserve: Reserve | None = None,
        every_s: float = _EVERY_S,
    ) -> None:
        self.status = RetentionStatus()
        self._index = index
        self._limits = limits
        self._now_us = now_us
        self._clock_trusted = clock_trusted
        self._policy = policy or Policy()
        only = files or MediaFiles(index.media)
        self._folders = folders or (lambda: [only])
        self._limits_of = limits_of
        self._spaces = spaces or (lambda: {FIRST_FOLDER: disk_space(index.media)})
        self._open_bytes = open_bytes
        self._candidates = Candidates(index, self._policy.margin_us, booted_us)
        self._has_room = has_room
        self._oldest_first = oldest_first or _all_is_known
        self._reserve = reserve or Reserve(index.db.path.parent / "reserve", beside=index.db.path)
        self._every_s = every_s
        self._asked = asyncio.Event()
        # What could not be deleted at last, and has been said.
        self._stuck: set[Path] = set()
        self._young: dict[StreamKey, Young] = {}
        self._looks_short = 0
        self._page = PAGE

    def request_space(self) -> None:
        """Somebody found the disk full: look now, and evict something, whatever the limits say, if the media
        folder has no room. Where it was another disk that is full, or a fault that looks like it, eviction
        helps nobody, and repeated requests would eat the archive."""
        self._asked.set()

    async def run(self) -> None:
        while True:
            await self.run_once()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._asked.wait()

    async def run_once(self) -> int:
        """Evicts what has to go now; returns how many segments."""
        await self._empty_garbage()
        trusted = self._clock_trusted()
        if trusted:
            for ended in await expire(self._index.db, self._now_us()):
                logger.info("hold %d of %s (%s) has ended", ended.id, ended.wish.camera, ended.wish.reason)
        spaces = await self.spaces()
        usage = await self.usage()
        short = await self._shortages(spaces, usage)
        for one in short:
            if await self._oldest_first(one.bytes, one.quota.keys if one.quota else None):
                self._candidates.forget()
        short, evicted = await self._evict_for(short, spaces, trusted)
        if not short:
            self._looks_short = 0
        elif self._looks_short % _LOOKS_SHORT == 0:
            # Files that were taken in late stand before what was read last.
            self._candidates.forget()
            short, more = await self._evict_for(short, spaces, trusted)
            evicted += more
        self._looks_short += bool(short)
        self.status = RetentionStatus(tuple(short), dict(self._young), spaces, usage)
        await asyncio.to_thread(self._reserve.keep)
        return evicted

    async def _evict_for(
        self, short: Sequence[Shortage], spaces: Mapping[int, Space], trusted: bool
    ) -> tuple[list[Shortage], int]:
        """What is still short afterwards, and how many segments went."""
        await self._candidates.look(self._now_us(), trusted)
        evicted, page = 0, FIRST_PAGE
        while True:
            queues = await self._candidates.queues(self._rule, spaces)
            choice = evictions(
                queues, self._rule, short, self._candidates.protection, self._now_us(), trusted, most=page
            )
            if choice.victims:
                short = await self._evict(choice.victims, short)
                evicted += len(choice.victims)
                page = self._page
            elif not choice.dry:
                return choice.short, evicted

    async def delete(
        self, key: StreamKey, start_us: int, end_us: int, *, who: str = "", why: str = ""
    ) -> Deleted:
        """Removes the segments that lie in the range, but for what is held or pinned. who and why: for the
        record."""
        rows = await self._index.db.read(
            """select s.stream_id, s.start_us, s.run, s.seq, s.size_bytes
               from segment s join stream c on c.id = s.stream_id
               where c.camera = ?1 and c.stream = ?2 and s.start_us >= ?3 and s.end_us <= ?4
               and s.start_us <= ?4 order by s.start_us""",
            (key.camera, key.stream, start_us, end_us),
        )
        order = Order(GapReason.DELETED, "person", who, why, self._now_us())
        removed = Removed()
        at = 0
        while at < len(rows):
            page = rows[at : at + self._page]
            at += len(page)
            done = await self._remove([(order, [row[:4] for row in page])])
            removed = Removed(removed.places | done.places, removed.size_bytes + done.size_bytes)
        self._candidates.drop(key, removed.places)
        left = [row[4] for row in rows if row[:4] not in removed.places]
        if removed.places:
            logger.info(
                "%s: %d segments deleted, %s wished it: %s",
                key,
                len(removed.places),
                who or "somebody",
                why,
            )
        return Deleted(len(removed.places), removed.size_bytes, len(left), sum(left))

    async def spaces(self) -> Mapping[int, Space]:
        """Of the folders that are there now."""
        return await asyncio.to_thread(self._spaces)

    async def usage(self) -> Usage:
        """What footage takes now."""
        rows = await self._index.db.read(
            """select c.camera, c.stream, s.folder_id, s.bytes
               from stored s join stream c on c.id = s.stream_id"""
        )
        stored = {(StreamKey(camera, stream), folder): size for camera, stream, folder, size in rows}
        return Usage(stored, self._open_bytes())

    async def _shortages(self, spaces: Mapping[int, Space], usage: Usage) -> list[Shortage]:
        keys = frozenset(key for key, _ in usage.stored)
        total_bytes = sum(space.total_bytes for space in spaces.values())
        quotas = self._policy.quotas(keys, total_bytes)
        short = shortages(spaces, usage, self._limits, quotas, self._limits_of)
        if not self._asked.is_set():
            return short
        self._asked.clear()
        full = [folder for folder, space in spaces.items() if space.free_bytes < FLOOR_BYTES]
        if not full:
            full = await asyncio.to_thread(self._without_room, list(spaces))
        return short + [
            Shortage(FLOOR_BYTES, folder)
            for folder in full
            if not any(one.folder == folder and one.bytes >= FLOOR_BYTES for one in short)
        ]

    def _without_room(self, folders: Sequence[int]) -> list[int]:
        """Where nothing can be written though there seems to be space: no inodes, or a quota."""
        return [one for one in folders if not self._has_room(self._index.files(one).root)]

    def _rule(self, key: StreamKey) -> Rule:
        if self._policy.rules is not None:
            return self._policy.rules(key)
        # A share of a disk makes no difference to the age.
        return Rule(int(self._limits(0).max_days * DAY_US))

    async def _evict(self, victims: Sequence[Victim], short: Sequence[Shortage]) -> list[Shortage]:
        """What is short afterwards: a victim that was held in the meantime made no room."""
        by_rule = sorted(victims, key=lambda one: one.rule)
        orders = [
            (Order(GapReason.EVICTED, rule, at_us=self._now_us()), [one.row.place for one in group])
            for rule, group in groupby(by_rule, key=lambda one: one.rule)
        ]
        removed = await self._remove(orders)
        places: dict[StreamKey, list[Place]] = {}
        for one in victims:
            places.setdefault(one.key, []).append(one.row.place)
        for key, dropped in places.items():
            self._candidates.drop(key, frozenset(dropped))
        gone = [one for one in victims if one.row.place in removed.places]
        self._note_young(gone)
        return [
            replace(
                one,
                bytes=one.bytes
                - sum(each.row.size_bytes for each in gone if one.is_about(each.key, each.folder)),
            )
            for one in short
        ]

    def _note_young(self, victims: Sequence[Victim]) -> None:
        now_us = self._now_us()
        for victim in victims:
            if victim.young:
                self._young[victim.key] = Young(now_us, now_us - victim.row.end_us)
        for key, young in list(self._young.items()):
            if not 0 <= now_us - young.at_us < DAY_US:
                del self._young[key]

    async def _remove(self, orders: Sequence[tuple[Order, Sequence[Place]]]) -> Removed:
        try:
            removed = await self._index.remove(orders)
        except StorageFull:
            await asyncio.to_thread(self._reserve.release)
            removed = await self._index.remove(orders)
        self._page = _next_page(sum(len(places) for _, places in orders), removed.took_s)
        await self._empty_garbage()
        return removed

    async def _empty_garbage(self) -> None:
        stuck: dict[Path, OSError] = {}
        for files in self._folders():
            try:
                found = await empty_garbage(self._index, files)
            except StorageFull:
                # The files are gone by now, so there is room to say so.
                found = await empty_garbage(self._index, files)
            stuck |= {files.root / path: error for path, error in found.items()}
        for path in stuck.keys() - self._stuck:
            logger.warning(
                "%s cannot be deleted: %s; see whose it is, and to the disk's health",
                path,
                stuck[path].strerror,
            )
        self._stuck = set(stuck)


def _next_page(page: int, took_s: float) -> int:
    """How many may go in the next transaction, where so many took so long."""
    return min(max(int(page * _LONG_S / max(took_s, 1e-6)), FIRST_PAGE), PAGE)


async def _all_is_known(size_bytes: int, keys: Collection[StreamKey] | None) -> bool:
    return False
