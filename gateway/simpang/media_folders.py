"""The folders that footage lies in, as the configuration names them, put together with all that uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

from simpang.config.model import Config
from simpang.config.values import Size
from simpang.keeping import limits
from simpang_buffer.index.folder_choice import FolderState
from simpang_buffer.index.folder_faults import ROOM_BYTES
from simpang_buffer.index.folder_identity import FolderPlan
from simpang_buffer.index.folders import Folders
from simpang_buffer.index.index import Index
from simpang_buffer.index.moving import Mover
from simpang_buffer.index.returning import Returning
from simpang_buffer.index.space import Limits
from simpang_buffer.model import FIRST_FOLDER, GapReason
from simpang_buffer.recording.places import Place
from simpang_buffer.recording.pool import RecorderPool


def plans(config: Config, media: Path) -> list[FolderPlan]:
    """media: the first folder, beside the index."""
    buffer = config.buffer
    first = FolderPlan(
        media, partial(limits, config), drain=buffer.drain, mount_point=buffer.mount, first=True, mount=False
    )
    return [
        first,
        *(
            FolderPlan(
                one.path,
                partial(_limits, one.max_bytes, one.min_free, buffer.max_days),
                drain=one.drain,
                mount=one.mount,
            )
            for one in buffer.folder
        ),
    ]


def _limits(max_bytes: Size, min_free: Size, max_days: float, total_bytes: int) -> Limits:
    return Limits(max_bytes.of(total_bytes), min_free.of(total_bytes), max_days)


# What is worth to begin for on a disk that was full. Less than a megabyte is not even a header and a picture
# for each of some cameras.
_ROOM_S = 4
_LEAST_ROOM_BYTES = 1 << 20


class MediaFolders:
    """`join` the pool, then `prepare` before anything is recorded, then `run`. media: the first folder.

    missing: the mount point whose disk is not there, so that a stand-in is worked with (stand_in.py).
    """

    def __init__(
        self,
        config: Config,
        index: Index,
        media: Path,
        *,
        now_us: Callable[[], int],
        missing: Path | None = None,
    ) -> None:
        self.media = media
        self.missing = missing
        self.folders = Folders(
            index,
            config.site.id,
            plans(config, media),
            data=media.parent,
            now_us=now_us,
            open_bytes=self.open_bytes,
            changed=self._changed,
            came=self._came,
            room_bytes=self._room_bytes,
        )
        self.mover = Mover(index, self.folders, now_us=now_us)
        self._config = config
        self._index = index
        self._pool: RecorderPool | None = None
        # Of all streams, when they were last recorded: on a full disk none of them is.
        self._bps = 0
        self._returning: Returning | None = None
        self._request_space: Callable[[], None] = lambda: None

    @property
    def further(self) -> tuple[Path, ...]:
        return tuple(one.path for one in self._config.buffer.folder)

    def join(
        self, pool: RecorderPool, own: Callable[[], Collection[str]], request_space: Callable[[], None]
    ) -> None:
        """own: ids of the cameras that are recorded here. request_space: called when a folder is full."""
        self._pool = pool
        self._request_space = request_space
        self._returning = Returning(
            self._index,
            self._config.site.id,
            self.folders.files,
            own=own,
            is_free=pool.is_free,
            away=lambda: self.folders.away,
        )

    async def prepare(self) -> None:
        """Which folders there are; raises StorageError."""
        await self.mover.prepare()
        await self.folders.look()

    async def run(self) -> None:
        assert self._returning is not None  # joined before it is run
        async with asyncio.TaskGroup() as group:
            group.create_task(self.folders.run(), name="folders: watch")
            group.create_task(self._returning.run(), name="folders: taking in")
            group.create_task(self.mover.run(), name="folders: moving")

    def failed(self, folder: int, reason: GapReason, words: str) -> None:
        """A recorder could not write there."""
        self.folders.note_fault(folder, reason, words)
        if reason is GapReason.DISK_FULL:
            self._request_space()

    def open_bytes(self) -> Mapping[int, int]:
        """Of files that no row counts yet, by folder."""
        sizes: dict[int, int] = {FIRST_FOLDER: 0}
        for tail in self._pool.open_files() if self._pool is not None else ():
            if tail.fragments:
                last = tail.fragments[-1]
                sizes[tail.folder] = sizes.get(tail.folder, 0) + last.offset + last.size_bytes
        return sizes

    def _room_bytes(self) -> int:
        """Some seconds of all that is recorded, or was while there was room."""
        self._bps = self._pool.bps or self._bps if self._pool is not None else 0
        return max(self._bps // 8 * _ROOM_S, _LEAST_ROOM_BYTES) if self._bps else ROOM_BYTES

    def _changed(self) -> None:
        if self._pool is not None:
            places = [
                Place(one.id, one.path, one.device, one.inode, one.state is FolderState.FULL)
                for one in self.folders.ordered
            ]
            self._pool.use(places)
        if self._returning is not None:
            self._returning.note()

    def _came(self, folder: int) -> None:
        if self._returning is not None:
            self._returning.note(folder)
