"""Which of the known media folders lies at a path, if any. Pure.

A folder that was used is told by its marker. One without a marker is the known one only where it cannot be a
disk that is missing: it never had a disk of its own. So a mount point whose disk has gone is never taken for
the disk, and nothing is written to what lies under it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from simpang_buffer.index.folder_choice import FolderState
from simpang_buffer.index.folder_sight import MARKER_FILE, Marker, Sight
from simpang_buffer.index.space import Limits
from simpang_buffer.model import FIRST_FOLDER


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """What the configuration says of a folder. limits: from the size of its file system. drain: nothing new
    is written there. mount: it is only used on a disk of its own. mount_point: something must be mounted
    there, else the folder is not looked at. first: it is the one beside the index."""

    path: Path
    limits: Callable[[int], Limits]
    drain: bool = False
    mount: bool = True
    mount_point: Path | None = None
    first: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A row of `folder`. apart: it was on a disk of its own when it was first used."""

    id: int
    marker: str
    path: Path
    apart: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """known: which one it is. new: it is none yet, and may be made one; its marker, where it has one of this
    site, stays. mark: the known one's marker is to be written again. Else state and words say why it cannot
    be used."""

    known: Known | None = None
    new: bool = False
    mark: bool = False
    state: FolderState = FolderState.MISSING
    words: str = ""


def identify(plan: FolderPlan, sight: Sight, known: Mapping[str, Known], site: str) -> Identity:
    """known: by marker."""
    if sight.fault:
        return Identity(words=f"it cannot be looked at ({sight.fault}); mount its disk, or look at its cable")
    if sight.damaged:
        words = f"its {MARKER_FILE} cannot be read; if it is this site's folder, delete that file"
        return Identity(state=FolderState.FOREIGN, words=words)
    here = next((one for one in known.values() if one.path == plan.path), None)
    if sight.marker is not None:
        return _by_marker(plan, sight.marker, known, site)
    if plan.first:
        here = next((one for one in known.values() if one.id == FIRST_FOLDER), None)
    if here is not None and not here.apart:
        return Identity(known=here, mark=True)
    if here is not None and not sight.apart:
        return Identity(
            words="the disk that was here is not mounted; nothing is written to what lies under it"
        )
    if plan.mount and not plan.first and not sight.apart:
        words = "no disk is mounted here; mount it, or set mount = false to use the disk that it lies on"
        return Identity(words=words)
    return Identity(new=True)


def _by_marker(plan: FolderPlan, marker: Marker, known: Mapping[str, Known], site: str) -> Identity:
    if marker.id in known:
        return Identity(known=known[marker.id])
    nothing_first = all(one.id != FIRST_FOLDER for one in known.values())
    if marker.site == site or (plan.first and nothing_first):
        return Identity(new=True)
    words = (
        f"it is a folder of site {marker.site!r}; nothing is written or deleted there. "
        f"To take its footage in, delete its {MARKER_FILE}"
    )
    return Identity(state=FolderState.FOREIGN, words=words)
