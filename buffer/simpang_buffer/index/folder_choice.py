"""The media folders as they are known now, and in which of them the next file begins. Pure.

While some folder has room, files go where the largest share of what it may hold is free, so that folders fill
side by side. Once all are as full as they may be, writing somewhere means evicting there: files go where the
oldest footage lies, so that what is evicted is the oldest of all. Neither changes back and forth: a folder
that is written to is left only for one that is better by a tenth, or after an hour.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.space import Limits, Space

# Of what it may hold: below this a folder counts as full to its limits; one that is written to, below that.
_ROOMY = 0.02
_STILL_ROOMY = 0.005
# How much larger another folder's free share must be.
_BETTER = 0.1
# How long files go to one folder while all are at their limits.
_STAY_US = 3_600_000_000


class FolderState(enum.StrEnum):
    """present: it is written to and read. draining: read, and empties. full: not even a file can be made in
    it. failing: its disk refused something lately, or does not answer. missing: it is not there. foreign: it
    is another site's, and left alone."""

    PRESENT = "present"
    DRAINING = "draining"
    FULL = "full"
    FAILING = "failing"
    MISSING = "missing"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Folder:
    """id: 0 for one that was never ours. path: absolute. words: what is the matter and what to do, empty
    while nothing is. device, inode: of the folder. since_us: of the state. used_bytes: what it holds of ours,
    open files included."""

    id: int
    path: Path
    state: FolderState
    words: str = ""
    since_us: int = 0
    device: int = 0
    inode: int = 0
    space: Space | None = None
    limits: Limits | None = None
    used_bytes: int = 0

    @property
    def files(self) -> MediaFiles:
        return MediaFiles(self.path, self.id, (self.device, self.inode))

    @property
    def readable(self) -> bool:
        return self.state not in (FolderState.MISSING, FolderState.FOREIGN)

    @property
    def writable(self) -> bool:
        """Whether new files may begin there, if only for want of a better place."""
        return self.state in (FolderState.PRESENT, FolderState.FULL, FolderState.FAILING)

    @property
    def free_share(self) -> float:
        """Of what it may hold, how much is not taken: what can be written before something must go."""
        if self.space is None or self.limits is None:
            return 0.0
        most, least_free = self.limits.max_bytes, self.limits.min_free_bytes
        may_hold = min(most, self.space.total_bytes - least_free)
        left = min(most - self.used_bytes, self.space.free_bytes - least_free)
        return max(left, 0) / may_hold if may_hold > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which folder files go to now, and since when."""

    id: int
    since_us: int


def choose(folders: Sequence[Folder], now_us: int, chosen: Chosen | None, oldest: int | None) -> list[Folder]:
    """Those that may be written to, the best first. oldest: id of the one that holds the oldest footage."""
    writable = [folder for folder in folders if folder.writable]
    writable.sort(key=lambda folder: (_rank(folder, chosen), *_order(folder, chosen, oldest), folder.id))
    current = next((folder for folder in writable if chosen is not None and folder.id == chosen.id), None)
    if current is None or chosen is None or writable[0] is current:
        return writable
    best = writable[0]
    rank = _rank(current, chosen)
    if _rank(best, chosen) != rank:
        return writable
    if rank == 0:
        stays = best.free_share - current.free_share < _BETTER
    else:
        stays = now_us - chosen.since_us < _STAY_US
    if rank > 1 or stays:
        writable.remove(current)
        writable.insert(0, current)
    return writable


def _rank(folder: Folder, chosen: Chosen | None) -> int:
    if folder.state is FolderState.FAILING:
        return 3
    if folder.state is FolderState.FULL:
        return 2
    enough = _STILL_ROOMY if chosen is not None and folder.id == chosen.id else _ROOMY
    return 0 if folder.free_share >= enough else 1


def _order(folder: Folder, chosen: Chosen | None, oldest: int | None) -> tuple[float, bool]:
    share = -folder.free_share if _rank(folder, chosen) == 0 else 0.0
    return share, folder.id != oldest
