"""Footage of another site: a disk that was moved here from its gateway.

It is kept under its own camera ids, and its streams say which site recorded them. An id that is ours already
(recorded or wanted here, or taken by a third site) is not shared, since two places in one timeline would be
evidence of nothing: that footage is renamed to CAMERA-SITE, and so is footage whose id becomes ours later.
The files are not touched, only their folder is named anew; their run boxes go on saying what was recorded
where.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable

from simpang_buffer.index.changes import names
from simpang_buffer.index.database import Database
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.model import RunHeader, StreamKey

# An id is at most so long (CONTRACT: `[a-z0-9-]{1,32}`).
_LONGEST = 32


def renamed_camera(site: str, camera: str) -> str:
    """The id of another site's camera whose own id is taken here. Deterministic, so that a rebuild that was
    cut off, or another one, comes to the same."""
    name = f"{camera}-{site}"
    if len(name) <= _LONGEST:
        return name
    mark = hashlib.sha256(f"{site}/{camera}".encode()).hexdigest()[:8]
    return f"{camera[: _LONGEST - 9]}-{mark}"


def belongs(header: RunHeader, key: StreamKey, run: int, seq: int) -> bool:
    """Whether a file is what its path says, renamed or not."""
    if (header.stream, header.run, header.seq) != (key.stream, run, seq):
        return False
    return header.camera == key.camera or renamed_camera(header.site, header.camera) == key.camera


async def foreign_streams(database: Database) -> dict[StreamKey, str]:
    """The streams of other sites, and which."""
    rows = await database.read("select camera, stream, site from stream where site <> ''")
    return {StreamKey(camera, stream): site for camera, stream, site in rows}


async def own_cameras(database: Database) -> set[str]:
    """Ids under which the index holds footage of this site."""
    rows = await database.read("select distinct camera from stream where site = '' and segments > 0")
    return {row[0] for row in rows}


async def mark_foreign(database: Database, key: StreamKey, site: str) -> None:
    """The stream is another site's. One that is ours stays so."""
    async with database.transaction() as tx:
        await tx.run(
            """insert into stream (camera, stream, site) values (?, ?, ?)
               on conflict (camera, stream) do update set site = excluded.site
               where segments = 0""",
            (*names(key), site),
        )


async def make_way(database: Database, folders: Iterable[MediaFiles], key: StreamKey) -> StreamKey | None:
    """Renames another site's footage that lies under an id which is ours from now on; returns its new name.

    Folders before rows, and both again at the next call: a crash between them is mended by it. Nobody may be
    recording the stream. Raises OSError, StorageError.
    """
    site = (await foreign_streams(database)).get(key)
    if site is None:
        return None
    renamed = StreamKey(renamed_camera(site, key.camera), key.stream)
    for files in folders:
        await asyncio.to_thread(_rename, files, key, renamed)
    async with database.transaction() as tx:
        await tx.run("delete from stream where camera = ? and stream = ? and segments = 0", names(renamed))
        await tx.run(
            "update stream set camera = ? where camera = ? and stream = ?", (renamed.camera, *names(key))
        )
    return renamed


def _rename(files: MediaFiles, key: StreamKey, renamed: StreamKey) -> None:
    for run in files.runs(key):
        files.move_run(key, run, renamed)
