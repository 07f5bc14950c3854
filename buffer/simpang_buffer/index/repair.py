"""What can be done about a finding of `buffer check` without losing anything.

No file that holds a fragment as it was sealed is ever removed: a file is adopted as far as it is good, or set
aside (adoption.py), and a row goes only where its file has gone before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from simpang_buffer.index.adoption import adopt_file
from simpang_buffer.index.changes import forget, recount, stream_id_of
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rows import Doomed
from simpang_buffer.model import FIRST_FOLDER, GapReason, Segment, StreamKey


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. code: see check.py. path: relative to its media folder, None for the index. repaired: it is
    gone now."""

    code: str
    path: Path | None
    words: str
    folder: int = FIRST_FOLDER
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A finding and what its repair needs: the row, or where the file without one belongs."""

    finding: Finding
    row: Segment | None = None
    place: tuple[StreamKey, int, int] | None = None


async def repair_all(
    index: Index, folders: Mapping[int, MediaFiles], faults: Sequence[Fault]
) -> list[Finding]:
    """Nobody may be recording what they are about."""
    done = [
        replace(fault.finding, repaired=await _repair(index, folders[fault.finding.folder], fault))
        for fault in faults
    ]
    for files in folders.values():
        await empty_garbage(index, files)
    return done


async def _repair(index: Index, files: MediaFiles, fault: Fault) -> bool:
    """Whether the fault is gone now."""
    row = fault.row
    match fault.finding.code:
        case "index":
            async with index.db.transaction() as tx:
                await recount(tx)
            return not await index.faults()
        case "missing" if row is not None:
            return await index.condemn([row], GapReason.DISK_ERROR) == 1
        case "garbage" if row is not None:
            await index.drop_garbage([Doomed(row.key, row.run, row.seq)], row.folder)
            return True
        case "short" if row is not None:
            # The row first: until the file is adopted it is one that no row knows, as after a crash.
            async with index.db.transaction() as tx:
                await forget(tx, await stream_id_of(tx, row.key), row)
            return not (await adopt_file(index, files, row.key, row.run, row.seq)).problems
        case "unknown" if fault.place is not None:
            return not (await adopt_file(index, files, *fault.place)).problems
    return False
