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

# Unlinking a large file takes milliseconds; so many are done before anybody else gets the thread.
_BATCH = 100


async def empty_garbage(index: Index, files: MediaFiles) -> int:
    """Unlinks everything on the garbage list; returns how many files. Idempotent.

    OSError passes through: what could not be unlinked stays on the list.
    """
    paths = await index.garbage()
    for at in range(0, len(paths), _BATCH):
        batch = paths[at : at + _BATCH]
        await asyncio.to_thread(_unlink, files, batch)
        await index.drop_garbage(batch)
        await _remove_empty_runs(index, files, batch)
    return len(paths)


def _unlink(files: MediaFiles, paths: Sequence[Path]) -> None:
    for path in paths:
        files.unlink(path)
    files.sync_folders(paths)


async def _remove_empty_runs(index: Index, files: MediaFiles, paths: Sequence[Path]) -> None:
    for folder in {path.parent for path in paths}:
        camera, stream, run = folder.parts
        newest = await index.newest_run(StreamKey(camera, stream))
        # A recorder may be about to create its next file in the folder of the newest run.
        if newest is not None and int(run) < newest.run:
            await asyncio.to_thread(files.remove_folder, folder)
