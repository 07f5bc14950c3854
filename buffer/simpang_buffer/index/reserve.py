"""Whether the disk has room, and a few megabytes that are given back when it has none.

To make room a segment's row must first go to the garbage list, and that takes some room itself: on a disk
that is full to the last block nothing could be evicted, and recording would stop for want of space that is
there to be had.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

# A batch of evictions writes some hundred pages of 4 kB to the index's log.
RESERVE_BYTES = 4 << 20
# Ten seconds of sixteen streams: what recording needs until somebody looks again.
_ROOM_BYTES = 16 << 20


def has_room(folder: Path, size_bytes: int = _ROOM_BYTES) -> bool:
    """Whether so much can be written in the folder, as its file system, its inodes and quotas have it: tried,
    since only trying tells. Blocks."""
    path = folder / ".room"
    try:
        status = os.statvfs(folder)
        if status.f_bavail * status.f_frsize < size_bytes:
            # Root could take what is reserved for it; a recorder has no such right.
            return False
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Without a name it is gone even if we die here.
            path.unlink()
            os.posix_fallocate(fd, 0, size_bytes)
        finally:
            os.close(fd)
    except OSError as error:
        # Whatever else is wrong, less footage does not mend it.
        return error.errno not in (errno.ENOSPC, errno.EDQUOT)
    return True


class Reserve:
    """The file beside the index. Both methods block and are idempotent. beside: without it, the disk has gone
    and this is only its mount point."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES, *, beside: Path | None = None) -> None:
        self._beside = beside
        self._path = path
        self._size_bytes = size_bytes

    def keep(self) -> None:
        """Takes the space if there is room for it."""
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_size == self._size_bytes:
                return
        if self._beside is not None and not self._beside.exists():
            return
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(fd, 0, self._size_bytes)
        except OSError:
            # No room: what was taken is given back, and the next time may be better.
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def release(self) -> None:
        self._path.unlink(missing_ok=True)
