"""Where the next file of any stream begins: the media folders as the daemon offers them, the best one first.

A recorder never looks for a folder itself. It is told which there are, and by what each is known; between two
words of the daemon it only remembers which of them failed here, and goes on in the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simpang_buffer.model import FIRST_FOLDER

# A disk that keeps a call for so long is hanging: one that is only slow is done with a flush by then.
STUCK_S = 5.0
# The daemon hears of each failure within a second and makes another offer; this is for when it cannot.
_REST_S = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """A media folder that may be written to. path: absolute. device, inode: of the folder at that path, by
    which an empty mount point is not taken for the disk that was on it; 0 where nobody has looked. full: no
    file can be made there now."""

    folder: int
    path: Path
    device: int = 0
    inode: int = 0
    full: bool = False

    @property
    def identity(self) -> tuple[int, int]:
        return self.device, self.inode


class Places:
    """What one recorder process may write to. stuck_s: for how long the disk of a folder has been in one
    call."""

    def __init__(
        self,
        offered: Sequence[Place],
        stuck_s: Callable[[Path], float] = lambda path: 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._offered = tuple(offered)
        self._stuck_s = stuck_s
        self._monotonic = monotonic
        # When each failed last.
        self._failed: dict[int, float] = {}
        # Where a file begins when nothing is offered: it then fails with the reason of that folder.
        self._last = offered[0] if offered else None

    def offer(self, places: Iterable[Place]) -> None:
        """The daemon's word: it has looked since, and what failed here may be whole again."""
        self._offered = tuple(places)
        self._failed.clear()

    def best(self) -> Place | None:
        """Where the next file begins; None where no folder is left that has not failed."""
        return next((place for place in self._offered if self._is_usable(place)), None)

    def now(self) -> Place:
        """As `best`; where there is none, the last one that was: opening a file in it says what is wrong."""
        self._last = self.best() or (self._offered[0] if self._offered else None) or self._last
        return self._last or Place(FIRST_FOLDER, Path("/nonexistent"))

    def holds(self, folder: int) -> bool:
        """Whether a file in it may go on past its next key frame."""
        best = self.best()
        return best is None or any(one.folder == folder and self._is_usable(one) for one in self._offered)

    def hangs(self, folder: int) -> bool:
        """Whether its disk has kept the thread for so long that nothing more is entrusted to it."""
        return any(place.folder == folder and self._stuck_s(place.path) > STUCK_S for place in self._offered)

    def note_failed(self, folder: int) -> None:
        """Nothing begins there for a while, or until the daemon makes another offer."""
        self._failed[folder] = self._monotonic()

    def _is_usable(self, place: Place) -> bool:
        failed_at = self._failed.get(place.folder)
        if failed_at is not None and self._monotonic() - failed_at < _REST_S:
            return False
        return self._stuck_s(place.path) <= STUCK_S


def only(media: Path) -> Places:
    """Where there is one folder and will be no other."""
    return Places([Place(FIRST_FOLDER, media)])


def place_fields(place: Place) -> list[Any]:
    return [place.folder, str(place.path), place.device, place.inode]


def place_from(fields: Sequence[Any]) -> Place:
    """From `place_fields`. Raises ValueError, TypeError."""
    folder, path, device, inode = fields
    return Place(int(folder), Path(str(path)), int(device), int(inode))
