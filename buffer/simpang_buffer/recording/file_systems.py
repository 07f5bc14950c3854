"""How files are made durable, and whether space is taken ahead, by the file system that a folder lies on.

Chosen from /proc, whose files are opened before the recorder confines itself: later it can open none.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

# Since 5.8 syncfs(2) reports what could not be written.
_SYNCFS_REPORTS = (5, 8)
# Their sync_fs ends with a flush of the disk (tried: tests/bench/durability.py). FUSE's does nothing.
_WHOLE = frozenset({"xfs", "btrfs", "f2fs"})
# Where taking space ahead lessens what is written (measured). btrfs writes elsewhere all the same.
_AHEAD = frozenset({"ext4", "xfs"})
_MOST_MOUNTS_BYTES = 1 << 20


class Method(enum.StrEnum):
    """JOURNAL: write-back of each file, one commit of the journal. WHOLE: write-back of each, one syncfs.
    EACH: every file and folder by itself."""

    JOURNAL = "journal"
    WHOLE = "file-system"
    EACH = "each-file"


@dataclass(frozen=True, slots=True)
class Choice:
    """why: for the log. ahead: whether space is taken ahead of the writes."""

    method: Method
    ahead: bool
    why: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mountinfo (proc(5)) that matters here. device: major:minor."""

    device: str
    point: Path
    kind: str
    options: frozenset[str]


def mount_of(path: Path, mountinfo: str) -> Mount | None:
    """The file system that an absolute path without symbolic links lies on; odd lines are skipped. Pure."""
    found: Mount | None = None
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not dash or len(fields) < 6 or len(rest) < 3:
            continue
        point = Path(_unescaped(fields[4]))
        # The later of two mounts on one place hides the other.
        if path.is_relative_to(point) and (found is None or point.is_relative_to(found.point)):
            options = frozenset(rest[2].split(",")) | frozenset(fields[5].split(","))
            found = Mount(fields[2], point, rest[0], options)
    return found


def has_journal(disk: str, journals: Iterable[str]) -> bool:
    """Whether jbd2 keeps a journal on the disk itself, named by the journal's inode: sda1-8. Pure."""
    return any(re.fullmatch(re.escape(disk) + r"-\d+", name) for name in journals)


def choose(folder: Path, mount: Mount | None, *, journal: bool, release: tuple[int, int]) -> Choice:
    """Pure. journal: whether the file system's disk has one of jbd2's. release: of the kernel."""
    if mount is None:
        return Choice(Method.EACH, False, "its file system is not in /proc/self/mountinfo")
    ahead = mount.kind in _AHEAD
    own = mount.point in (folder, folder.parent)
    if mount.kind == "ext4":
        if "data=journal" in mount.options:
            # Data goes through the journal, so that write-back means something else.
            return Choice(Method.EACH, ahead, "ext4 with data=journal")
        if journal:
            return Choice(Method.JOURNAL, ahead, "ext4 with a journal")
        return Choice(Method.EACH, ahead, "ext4 without a journal of its own")
    if mount.kind in _WHOLE and own:
        if release >= _SYNCFS_REPORTS:
            return Choice(Method.WHOLE, ahead, f"{mount.kind} with nothing else on it")
        return Choice(Method.EACH, ahead, "syncfs of this kernel hides errors (before 5.8)")
    if mount.kind in _WHOLE:
        return Choice(Method.EACH, ahead, f"{mount.kind} is shared with others, who would be synced too")
    return Choice(Method.EACH, False, f"{mount.kind} is not known to make many files durable at once")


class FileSystems:
    """Made before the sandbox closes; `choice` works afterwards, until the end of the `with`."""

    def __init__(self, proc: Path = Path("/proc"), disks: Path = Path("/sys/dev/block")) -> None:
        self._disks = disks
        self._known: dict[Path, tuple[int, Choice]] = {}
        self._mounts = _open(proc / "self" / "mountinfo", os.O_RDONLY)
        self._journals = _open(proc / "fs" / "jbd2", os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> FileSystems:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for fd in (self._mounts, self._journals):
            if fd >= 0:
                os.close(fd)
        self._mounts = self._journals = -1

    def choice(self, folder: Path) -> Choice:
        """For a folder that exists; looked up anew when another disk is mounted there. Raises OSError."""
        device = folder.stat().st_dev
        known = self._known.get(folder)
        if known is not None and known[0] == device:
            return known[1]
        path = Path(os.path.realpath(folder))
        mount = mount_of(path, self._mountinfo())
        if mount is not None and mount.kind != "btrfs" and mount.device != _numbers(device):
            mount = None  # another mount hides it; only btrfs numbers its volumes otherwise
        journal = mount is not None and self._has_journal(mount.device)
        choice = choose(path, mount, journal=journal, release=_release())
        self._note(folder, device, choice)
        return choice

    def give_up(self, folder: Path, why: str) -> Choice:
        """What was chosen does not work here: every file by itself from now on."""
        choice = Choice(Method.EACH, False, why)
        self._note(folder, folder.stat().st_dev, choice)
        return choice

    def _note(self, folder: Path, device: int, choice: Choice) -> None:
        self._known[folder] = (device, choice)
        if choice.method is Method.EACH:
            words = "%s: every file is made durable by itself, which wears the disk: %s"
            logger.warning(words, folder, choice.why)
        else:
            logger.info("%s: all files are made durable together: %s", folder, choice.why)

    def _mountinfo(self) -> str:
        text = b""
        with contextlib.suppress(OSError):
            # A table that changes while it is read may lack a line: the mount is then not found.
            while len(text) < _MOST_MOUNTS_BYTES and (piece := os.pread(self._mounts, 65_536, len(text))):
                text += piece
        return text.decode(errors="replace")

    def _has_journal(self, device: str) -> bool:
        with contextlib.suppress(OSError):
            disk = (self._disks / device).readlink().name
            os.lseek(self._journals, 0, os.SEEK_SET)
            return has_journal(disk, os.listdir(self._journals))  # noqa: PTH208 - a descriptor has no path
        return False


def _numbers(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def _open(path: Path, flags: int) -> int:
    """-1 where there is none: then nothing is known, and the safe way is taken."""
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError:
        return -1


def _release() -> tuple[int, int]:
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def _unescaped(field: str) -> str:
    """Blanks and the like stand as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
