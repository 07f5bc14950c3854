"""Moves the footage of one media folder to another while recording and reading go on.

Newest first: it is what people ask for, and what is oldest may be evicted before its turn comes. Nothing new
is written to a folder from the moment that it is to be moved.

Steps, for some files at a time, so that a crash between any two of them loses nothing and leaves nothing
over: the copies' paths go on the garbage list of the target; the files are copied, made durable and read
back; in one transaction their rows name the new folder, the copies leave the garbage list and the originals
go on it; the originals are unlinked. Copies that never came to their rows are garbage at the next start. A
reader that holds the old path finds no file there and asks the index again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from simpang_buffer.index.changes import names
from simpang_buffer.index.copying import Copier, CopyFailed
from simpang_buffer.index.database import Transaction
from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.folder_choice import Folder, FolderState
from simpang_buffer.index.folders import Folders
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rows import SEGMENT_COLUMNS, segment_of
from simpang_buffer.model import Segment, StreamKey

logger = logging.getLogger(__name__)

# meta: the move that is wanted.
MOVE = "move"
# A disk reads and writes this much beside 44 streams: a terabyte in 14 hours.
BYTES_PER_S = 20 * 10**6
# Copied, and then one transaction: some seconds of work are done again after a crash.
_BATCH = 8
_AGAIN_S = 2.0
# Of the index, so much is looked through in one read: 900 rows of 44 streams.
_AT_ONCE_US = 1_200_000_000


class MoveRefused(Exception):
    """What was asked for cannot be moved; says why."""


@dataclass(frozen=True, slots=True)
class Move:
    """source, target: folder ids. bytes_per_s: at most. total_bytes: in the source at the beginning.

    state: moving, waiting (words say for what) or done: the source is empty, and stays so until released.
    """

    source: int
    target: int
    bytes_per_s: int
    started_us: int
    total_bytes: int
    state: Literal["moving", "waiting", "done"] = "moving"
    left_bytes: int = 0
    problems: int = 0
    words: str = ""


class Mover:
    """`prepare` before folders are looked at, then `run` for ever; one move at a time."""

    def __init__(
        self, index: Index, folders: Folders, *, now_us: Callable[[], int], copier: Copier | None = None
    ) -> None:
        self._index = index
        self._folders = folders
        self._now_us = now_us
        self._copier = copier or Copier()
        self._move: Move | None = None
        self._wanted = asyncio.Event()
        # What comes next, and where to look for more; rows that could not be copied are passed over.
        self._rows: deque[Segment] = deque()
        self._below_us = _EVERYTHING_US
        # How many files were moved since it looked from the newest on.
        self._moved = 0

    @property
    def move(self) -> Move | None:
        return self._move

    async def prepare(self) -> None:
        """Takes up what an earlier process began. Raises StorageError."""
        text = await self._index.meta(MOVE)
        try:
            self._take_up(Move(**json.loads(text)) if text else None)
        except (ValueError, TypeError) as error:
            logger.warning("a move that cannot be read is forgotten: %s", error)

    async def begin(self, source: int, target: int, bytes_per_s: int = BYTES_PER_S) -> Move:
        """Raises MoveRefused, StorageError."""
        if self._move is not None and self._move.state != "done":
            raise MoveRefused("another move goes on; stop that one first")
        places = {folder: self._folder(folder) for folder in (source, target)}
        if source == target:
            raise MoveRefused("both are the same folder")
        for folder, found in places.items():
            if found is None:
                raise MoveRefused(f"there is no media folder {folder}")
        if not _takes(places[target]):
            raise MoveRefused(f"{_path(places[target])} takes no footage now: {_words(places[target])}")
        left = await self._left(source)
        move = Move(source, target, bytes_per_s, self._now_us(), left, left_bytes=left)
        await self._keep(move)
        self._take_up(move)
        self._folders.request_look()
        return move

    async def stop(self) -> None:
        """Ends the move, or releases the folder that was emptied: it is written to again. Raises
        StorageError."""
        async with self._index.db.transaction() as tx:
            await tx.run("delete from meta where key = ?", (MOVE,))
        self._take_up(None)
        self._folders.request_look()

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            try:
                if not await self.run_once():
                    await asyncio.sleep(_AGAIN_S)
            except (StorageError, OSError) as error:
                self._wait(str(error))
                await asyncio.sleep(_AGAIN_S)

    async def run_once(self) -> bool:
        """Moves some files; False where nothing can be done now. Raises StorageError, OSError."""
        move = self._move
        if move is None or move.state == "done":
            self._wanted.clear()
            return False
        source, target = self._folder(move.source), self._folder(move.target)
        if source is None or not source.readable:
            return self._wait(f"{_path(source)}: {_words(source)}")
        if target is None or not _takes(target):
            return self._wait(f"{_path(target)}: {_words(target)}")
        if target.free_share <= 0:
            return self._wait(f"{target.path} is full to its limits: moving more would evict what it holds")
        rows = await self._next(move.source)
        if not rows:
            if self._moved:
                # What was being recorded when it began, or was given another time since, stands above.
                self._look_from_the_newest()
                self._move = replace(move, problems=0)
            else:
                await self._finish(move)
            return True
        try:
            failed = await self._move_files(move, source.files, target.files, rows)
        except BaseException:
            self._rows.extendleft(reversed(rows))
            raise
        left = await self._left(move.source)
        if self._move is not None:
            self._move = replace(
                self._move, state="moving", words="", left_bytes=left, problems=move.problems + failed
            )
        return True

    async def _finish(self, move: Move) -> None:
        left = await self._left(move.source)
        words = f"{move.problems} files could not be moved; look at the disk's health" if left else ""
        done = replace(move, state="done", left_bytes=left, words=words)
        await self._keep(done)
        self._move = done
        logger.info("media folder %d has been moved to %d, %d bytes left", move.source, move.target, left)

    async def _move_files(
        self, move: Move, source: MediaFiles, target: MediaFiles, rows: Sequence[Segment]
    ) -> int:
        """Returns how many could not be."""
        copies = {(move.target, row.path) for row in rows}
        self._index.spared |= copies
        try:
            async with self._index.db.transaction() as tx:
                await tx.run_many(
                    """insert into garbage
                       select ?, id, ?, ? from stream where camera = ? and stream = ?
                       on conflict do nothing""",
                    [(move.target, row.run, row.seq, *names(row.key)) for row in rows],
                )
            moved: list[Segment] = []
            failed = 0
            for row in rows:
                if self._move is None:
                    break
                try:
                    await self._copier.copy(source, target, row, move.bytes_per_s)
                    moved.append(row)
                except CopyFailed as error:
                    # If its disk was pulled the file is none that cannot be moved.
                    await asyncio.to_thread(source.check_there)
                    failed += 1
                    logger.warning("%s stays where it is: %s", source.root / row.path, error)
            if moved:
                await asyncio.to_thread(target.sync_folders, [row.path for row in moved])
                # Its disk may be gone, and what was copied lie under its mount point.
                await asyncio.to_thread(target.check_there)
                async with self._index.db.transaction() as tx:
                    for row in moved:
                        await _rename(tx, row, move.target)
                self._moved += len(moved)
        finally:
            self._index.spared -= copies
        # What was evicted meanwhile or could not be copied is on the target's list, the rest on the source's.
        for files in (target, source):
            await empty_garbage(self._index, files)
        return failed

    async def _next(self, folder: int) -> list[Segment]:
        while not self._rows:
            newest_us = await self._newest_below()
            if newest_us is None:
                return []
            since_us = newest_us - _AT_ONCE_US
            rows = await self._index.db.read(
                f"""select c.camera, c.stream, {SEGMENT_COLUMNS} from stream c
                    join segment s on s.stream_id = c.id and s.start_us >= ?1 and s.start_us < ?2
                    join format f on f.id = s.format_id
                    where s.folder_id = ?3 order by s.start_us desc, s.ordinal desc""",
                (since_us, self._below_us, folder),
            )
            self._rows.extend(segment_of(StreamKey(row[0], row[1]), row[2:]) for row in rows)
            self._below_us = since_us
        return [self._rows.popleft() for _ in range(min(_BATCH, len(self._rows)))]

    async def _newest_below(self) -> int | None:
        """When the newest segment began that was not looked at yet."""
        rows = await self._index.db.read(
            """select max((select start_us from segment where stream_id = id and start_us < ?
                           order by start_us desc limit 1)) from stream""",
            (self._below_us,),
        )
        newest_us: int | None = rows[0][0]
        return newest_us

    async def _left(self, folder: int) -> int:
        rows = await self._index.db.read(
            "select coalesce(sum(bytes), 0) from stored where folder_id = ?", (folder,)
        )
        return int(rows[0][0])

    async def _keep(self, move: Move) -> None:
        await self._index.set_meta(MOVE, json.dumps(asdict(move)))

    def _take_up(self, move: Move | None) -> None:
        self._move = move
        self._look_from_the_newest()
        self._folders.emptying = frozenset() if move is None else frozenset({move.source})
        if move is None or move.state == "done":
            self._copier.stop()
        else:
            self._copier.go()
            self._wanted.set()

    def _look_from_the_newest(self) -> None:
        self._rows.clear()
        self._below_us, self._moved = _EVERYTHING_US, 0

    def _wait(self, words: str) -> bool:
        if self._move is not None:
            self._move = replace(self._move, state="waiting", words=words)
        return False

    def _folder(self, folder: int) -> Folder | None:
        return self._folders.by_id(folder)


_EVERYTHING_US = 1 << 62


def _takes(folder: Folder | None) -> bool:
    return folder is not None and folder.state is FolderState.PRESENT


def _path(folder: Folder | None) -> str:
    return str(folder.path) if folder is not None else "a folder that is not known here"


def _words(folder: Folder | None) -> str:
    return "it is not there" if folder is None else folder.words or f"it is {folder.state}"


async def _rename(tx: Transaction, row: Segment, target: int) -> None:
    """The row names the new folder, if it is still there; its copy is kept and its original is not."""
    stream_id = await tx.value(
        "select id from stream where camera = ? and stream = ?", (row.key.camera, row.key.stream)
    )
    place = (stream_id, row.start_us, row.run, row.seq, row.folder)
    changed = await tx.run(
        """update segment set folder_id = ?6
           where stream_id = ?1 and start_us = ?2 and run = ?3 and seq = ?4 and folder_id = ?5""",
        (*place, target),
    )
    if not changed:
        return
    await tx.run(
        "update stored set bytes = bytes - ?, segments = segments - 1 where stream_id = ? and folder_id = ?",
        (row.size_bytes, stream_id, row.folder),
    )
    await tx.run(
        """insert into stored values (?, ?, ?, 1) on conflict (stream_id, folder_id)
           do update set bytes = bytes + excluded.bytes, segments = segments + 1""",
        (stream_id, target, row.size_bytes),
    )
    await tx.run(
        "delete from garbage where folder_id = ? and stream_id = ? and run = ? and seq = ?",
        (target, stream_id, row.run, row.seq),
    )
    await tx.run(
        "insert into garbage values (?, ?, ?, ?) on conflict do nothing",
        (row.folder, stream_id, row.run, row.seq),
    )
