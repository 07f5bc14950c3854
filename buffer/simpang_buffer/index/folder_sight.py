"""What is found at the path of a media folder: whose it is, on which disk, and how much room there is.

A folder is known by its marker file, `simpang-folder`, and not by its path: a mount point without its disk,
or with another one, is not taken for it. Everything here blocks, for as long as a disk takes to answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from simpang_buffer.index.space import Space

MARKER_FILE = "simpang-folder"
_MOST_MARKER_BYTES = 4096
_MARKER_ID = re.compile(r"[0-9a-f]{32}")
_MOST_MOUNTS_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Marker:
    """id: 32 hexadecimal digits. site: that which made the folder."""

    id: str
    site: str


@dataclass(frozen=True, slots=True)
class Sight:
    """fault: why nothing can be said of it, in words; all else is then empty. device, inode: of the folder.

    apart: whether it lies on another disk than the system, or is mounted by itself. damaged: the marker is
    there and cannot be understood. inodes_free: how many more files fit; None where the file system has no
    such bound.
    """

    fault: str = ""
    device: int = 0
    inode: int = 0
    apart: bool = False
    marker: Marker | None = None
    damaged: bool = False
    space: Space | None = None
    inodes_free: int | None = None
    read_only: bool = False


def see(folder: Path, *, beside: Path | int, mountinfo: Path = Path("/proc/self/mountinfo")) -> Sight:
    """beside: a folder of the system's own disk, or of the index's, or that one's device, since it may have
    gone: what is on the same is not apart."""
    try:
        found = folder.stat()
        if not folder.is_dir():
            return Sight("it is no folder")
        marker, damaged = _read_marker(folder)
        status = os.statvfs(folder)
    except OSError as error:
        return Sight(os.strerror(error.errno or 0))
    system = {Path("/").stat().st_dev}
    if isinstance(beside, int):
        system.add(beside)
    elif beside.exists():
        system.add(beside.stat().st_dev)
    apart = found.st_dev not in system or folder.resolve() in mount_points(mountinfo)
    return Sight(
        device=found.st_dev,
        inode=found.st_ino,
        apart=apart,
        marker=marker,
        damaged=damaged,
        space=Space(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize),
        inodes_free=status.f_favail if status.f_files else None,
        read_only=bool(status.f_flag & os.ST_RDONLY),
    )


def is_mounted(folder: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether something is mounted at exactly this path."""
    try:
        return folder.resolve() in mount_points(mountinfo)
    except OSError:
        return False


def mount_points(mountinfo: Path) -> set[Path]:
    """Field 5 of each line (proc(5)); blanks and the like stand there as octal numbers."""
    points = set()
    with contextlib.suppress(OSError), mountinfo.open("rb") as file:
        for line in file.read(_MOST_MOUNTS_BYTES).decode(errors="replace").splitlines():
            fields = line.split(" ")
            if len(fields) > 4:
                point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
                points.add(Path(point))
    return points


def new_marker(site: str) -> Marker:
    return Marker(uuid4().hex, site)


def write_marker(folder: Path, marker: Marker) -> None:
    """Durable when it returns. Raises OSError."""
    path = folder / MARKER_FILE
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"v": 1, "site": marker.site, "id": marker.id}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_marker(folder: Path) -> tuple[Marker | None, bool]:
    """The marker, and whether there is one that cannot be understood. Raises OSError where a disk fails."""
    try:
        with (folder / MARKER_FILE).open("rb") as file:
            data = file.read(_MOST_MARKER_BYTES)
    except FileNotFoundError:
        return None, False
    try:
        said = json.loads(data)
        marker = Marker(said["id"], said["site"])
        if not (isinstance(marker.site, str) and _MARKER_ID.fullmatch(marker.id)):
            raise ValueError(marker.id)
    except (ValueError, KeyError, TypeError):
        return None, True
    return marker, False
