"""Recording goes on though the disk of the data folder is missing: a stand-in on another disk takes over.

While the data folder is there, every further media folder gets copies, now and then, of what a gateway needs:
the index, the state, the secrets. Where `[buffer].mount` names a disk that is not mounted at the start,
nothing is made under it; the daemon starts in the first further folder that is there, with those copies. What
the copied index lacks is read from the media files. Its runs are numbered far above all that the real one may
have given since, so that no two recordings ever share a number.

Once the disk is back its footage is shown and it is recorded to; index and state stay in the stand-in until
the next start. That start takes in what was recorded meanwhile. Holds, events and settings that were made in
the stand-in are not carried over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simpang.config.boot import LAST_GOOD, STAND_IN, Boot
from simpang.config.model import Config
from simpang.data_folder import FolderUnusable
from simpang.lock import hold_lock
from simpang_buffer.index.backup import back_up
from simpang_buffer.index.folder_choice import Folder, FolderState
from simpang_buffer.index.folder_sight import is_mounted, see
from simpang_buffer.index.index import LEAST_RUN, Index
from simpang_buffer.index.returning import FOLDERS_AWAY
from simpang_buffer.model import FIRST_FOLDER

logger = logging.getLogger(__name__)

# A gateway has recorded with it since the last start from the real data folder.
_USED = "used"
# No stream begins so many runs between two copies: it is one each 0.2 s.
RUNS_APART = 100_000
_FIRST_COPY_S = 60.0
_COPY_EVERY_S = 6 * 3600.0
_AGAIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Home:
    """Where this gateway lives. data: for databases and secrets. media: the first media folder.

    missing: the mount point whose disk is not there, so that data is a stand-in; None at home.
    """

    data: Path
    media: Path
    missing: Path | None = None


def find_home(boot: Boot) -> Home:
    """Blocks. Raises FolderUnusable where the disk is missing and no other one can stand in."""
    home = Home(boot.data, boot.data / "media")
    mount = boot.config.buffer.mount
    if mount is None or is_mounted(mount):
        return home
    for folder in boot.config.buffer.folder:
        sight = see(folder.path, beside=Path("/"))
        ours = sight.marker is not None and sight.marker.site == boot.config.site.id
        usable = not sight.fault and not sight.damaged and not sight.read_only
        if usable and (ours or (sight.marker is None and (sight.apart or not folder.mount))):
            return Home(folder.path / STAND_IN, home.media, mount)
    raise FolderUnusable(
        f"the disk that holds the buffer is not mounted at {mount}; mount it, or take the key mount out of "
        f"[buffer] to record on the disk that {mount} lies on"
    )


def prepare(home: Home) -> None:
    """Of a stand-in: makes it, and notes that it is used. Blocks; raises OSError."""
    home.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home.data / _USED).touch()


async def raise_run_numbers(index: Index) -> None:
    """Once for each copy: its runs stay apart from those of the index that it is a copy of."""
    if await index.meta(LEAST_RUN) is not None:
        return
    async with index.db.transaction() as tx:
        newest = await tx.value("select coalesce(max(next_run), 1) from stream")
        least = (newest // RUNS_APART + 1) * RUNS_APART + 1
        # What was recorded since the copy was made is in the folders.
        ids = sorted({FIRST_FOLDER, *(row[0] for row in await tx.rows("select id from folder"))})
        await tx.run("insert or replace into meta values (?, ?)", (FOLDERS_AWAY, json.dumps(ids)))
        await tx.run("insert into meta values (?, ?)", (LEAST_RUN, str(least)))


async def refuse_others(config: Config, home: Home) -> None:
    """Raises LockHeld where a gateway of this site works in a stand-in: it would record the same cameras."""
    for folder in config.buffer.folder:
        lock = folder.path / STAND_IN / "lock"
        if lock.parent == home.data or not await asyncio.to_thread(lock.exists):
            continue
        try:
            # Not kept: nobody could unmount that disk.
            async with hold_lock(lock, wait_s=0):
                pass
        except OSError as error:
            logger.warning("%s cannot be looked at: %s", lock, error)


async def come_home(index: Index, folders: Sequence[Folder]) -> None:
    """What a stand-in has recorded is to be taken in from the folders that are there. Raises StorageError."""
    used = [one for one in folders if one.readable and await asyncio.to_thread(_mark(one.path).exists)]
    if not used:
        return
    known = set(json.loads(await index.meta(FOLDERS_AWAY) or "[]"))
    await index.set_meta(
        FOLDERS_AWAY, json.dumps(sorted(known | {one.id for one in folders if one.readable}))
    )
    for one in used:
        logger.info("%s was recorded to while the data folder was missing: its files are taken in", one.path)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(_mark(one.path).unlink)


class Copies:
    """Keeps every further folder able to stand in. `run` for ever; `copy` once.

    folders: the media folders as they are now.
    """

    def __init__(
        self, home: Home, folders: Callable[[], Sequence[Folder]], *, first_s: float = _FIRST_COPY_S
    ) -> None:
        self._home = home
        self._folders = folders
        self._first_s = first_s

    async def run(self) -> None:
        wait_s = self._first_s
        while True:
            await asyncio.sleep(wait_s)
            wait_s = _COPY_EVERY_S if await self.copy() else _AGAIN_S

    async def copy(self) -> bool:
        """Whether all that are there now have copies."""
        whole = True
        for folder in self._folders():
            if folder.path == self._home.media or folder.state is not FolderState.PRESENT:
                continue
            try:
                skipped = await asyncio.to_thread(copy_to, self._home.data, folder.path / STAND_IN)
            except (OSError, sqlite3.Error) as error:
                skipped = str(error)
            if skipped is not None:
                logger.warning("%s cannot stand in for the data folder: %s", folder.path, skipped)
                whole = False
        return whole


def copy_to(data: Path, stand_in: Path) -> str | None:
    """Copies what a gateway needs; why not, in words. Blocks. Raises OSError, sqlite3.Error."""
    stand_in.mkdir(mode=0o700, exist_ok=True)
    if stand_in.stat().st_mode & 0o077:
        return "its file system does not keep secrets to one user (format it as ext4)"
    if (stand_in / _USED).exists():
        return "what was recorded with it is not taken in yet"
    for name in ("index.db", "state.db"):
        if not (data / name).exists():
            continue
        for suffix in ("-wal", "-shm", "-journal"):
            # Of a time when it stood in: they do not belong to the copy.
            (stand_in / (name + suffix)).unlink(missing_ok=True)
        done = back_up(data / name, stand_in / name)
        if done.skipped is not None:
            return done.skipped
    secrets = stand_in / "secrets"
    secrets.mkdir(mode=0o700, exist_ok=True)
    for source in [*(data / "secrets").iterdir(), data / LAST_GOOD]:
        if source.is_file():
            target = secrets / source.name if source.parent.name == "secrets" else stand_in / source.name
            _copy_file(source, target)
    return None


def _copy_file(source: Path, target: Path) -> None:
    new = target.with_name(target.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as writing, source.open("rb") as reading:
        shutil.copyfileobj(reading, writing)
        writing.flush()
        os.fsync(writing.fileno())
    new.replace(target)


def _mark(folder: Path) -> Path:
    return folder / STAND_IN / _USED
