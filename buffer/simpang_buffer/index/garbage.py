"""Deletes files so that a crash between steps is safe: row to garbage, unlink, sync the folder, drop the row.

The first step is `Index.condemn`; this is the rest, which is also the first thing done at start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rows import Doomed
from simpang_buffer.model import StreamKey, segment_path

# A file here and there may be stuck (immutable, somebody else's). When more are, the disk or its owner is at
# fault, and going on would only empty the index of footage that stays where it is.
MOST_STUCK = 20
# Each costs a sync of every folder that it is about, and a commit; more than retention evicts at once.
_BATCH = 2000


async def empty_garbage(index: Index, files: MediaFiles) -> dict[Path, OSError]:
    """Unlinks all that is on the garbage list of this folder; returns what could not be and why: it stays
    there. Idempotent.

    Raises OSError where more than MOST_STUCK files are stuck, or a folder cannot be synced.
    """
    stuck: dict[Doomed, OSError] = {}
    last, more = None, True
    while more and (listed := await index.doomed(files.folder, last, _BATCH)):
        last, more = listed[-1], len(listed) == _BATCH
        if index.spared:
            listed = [one for one in listed if (files.folder, one.path) not in index.spared]
        stuck |= await asyncio.to_thread(_unlink, files, listed)
        gone = [one for one in listed if one not in stuck] if stuck else listed
        await index.drop_garbage(gone, files.folder)
        await _remove_empty_runs(index, files, gone)
        if len(stuck) > MOST_STUCK:
            raise next(iter(stuck.values()))
    return {one.path: error for one, error in stuck.items()}


def _unlink(files: MediaFiles, listed: Sequence[Doomed]) -> dict[Doomed, OSError]:
    """listed: run by run."""
    stuck: dict[Doomed, OSError] = {}
    for (key, run), group in groupby(listed, key=itemgetter(0, 1)):
        found = files.remove(key, run, [one.seq for one in group])
        stuck |= {Doomed(key, run, seq): error for seq, error in found.items()}
    # Else a disk that was pulled holds them all the same.
    files.check_there()
    return stuck


async def _remove_empty_runs(index: Index, files: MediaFiles, gone: Sequence[Doomed]) -> None:
    newest = await index.newest_runs() if gone else {}
    # A recorder may be about to create its next file in the folder of the newest run.
    runs = [run for run, _ in groupby(gone, key=itemgetter(0, 1))]
    left = [(key, run) for key, run in runs if run < newest.get(key, 0)]
    await asyncio.to_thread(_remove_folders, files, left)


def _remove_folders(files: MediaFiles, runs: Iterable[tuple[StreamKey, int]]) -> None:
    for key, run in runs:
        files.remove_folder(segment_path(key, run, 0).parent)
