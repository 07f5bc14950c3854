"""Deletes files so that a crash between steps is safe: row to garbage, unlink, sync the folder, drop the row.

The first step is `Index.condemn`; this is the rest, which is also the first thing done at start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.model import StreamKey

# A file here and there may be stuck (immutable, somebody else's). When more are, the disk or its owner is at
# fault, and going on would only empty the index of footage that stays where it is.
MOST_STUCK = 20
# Unlinking a large file takes milliseconds; so many are done before anybody else gets the thread.
_BATCH = 100


async def empty_garbage(index: Index, files: MediaFiles) -> dict[Path, OSError]:
    """Unlinks all that is on the garbage list of this folder; returns what could not be and why: it stays
    there. Idempotent.

    Raises OSError where more than MOST_STUCK files are stuck, or a folder cannot be synced.
    """
    listed = await index.garbage(files.folder)
    paths = [path for path in listed if (files.folder, path) not in index.spared]
    stuck: dict[Path, OSError] = {}
    for at in range(0, len(paths), _BATCH):
        batch = paths[at : at + _BATCH]
        stuck |= await asyncio.to_thread(_unlink, files, batch)
        gone = [path for path in batch if path not in stuck]
        await index.drop_garbage(gone, files.folder)
        await _remove_empty_runs(index, files, gone)
        if len(stuck) > MOST_STUCK:
            raise next(iter(stuck.values()))
    return stuck


def _unlink(files: MediaFiles, paths: Sequence[Path]) -> dict[Path, OSError]:
    stuck: dict[Path, OSError] = {}
    for path in paths:
        try:
            files.unlink(path)
        except OSError as error:
            stuck[path] = error
    files.sync_folders(paths)
    return stuck


async def _remove_empty_runs(index: Index, files: MediaFiles, paths: Sequence[Path]) -> None:
    for folder in {path.parent for path in paths}:
        camera, stream, run = folder.parts
        newest = await index.newest_run(StreamKey(camera, stream))
        # A recorder may be about to create its next file in the folder of the newest run.
        if newest is not None and int(run) < newest.run:
            await asyncio.to_thread(files.remove_folder, folder)
