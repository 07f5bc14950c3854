"""The data folder: made where it is missing, and checked before anything relies on it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from simpang_buffer.index.reserve import Reserve

# Databases, their journals and a few seconds of video: with less, nothing can even start.
LEAST_FREE_BYTES = 32 * 10**6


class FolderUnusable(Exception):
    """str() says which folder, why, and what to do."""


def prepare(data: Path, *, least_free_bytes: int = LEAST_FREE_BYTES) -> None:
    """DATA, DATA/media and DATA/secrets (0700), writable and with room. Raises FolderUnusable.

    Where there is footage already, a full disk is no reason to refuse: eviction makes room, and until then
    the reserve lets the databases be opened.
    """
    evictable = (data / "index.db").exists()
    if evictable and free(data) < least_free_bytes:
        Reserve(data / "reserve").release()
    for folder, mode in ((data, 0o750), (data / "media", 0o750), (data / "secrets", 0o700)):
        try:
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
            _write_probe(folder)
        except OSError as error:
            if not (evictable and error.errno == errno.ENOSPC):
                raise FolderUnusable(f"{folder}: {why(error)}") from error
    free_bytes = free(data)
    if not evictable and free_bytes < least_free_bytes:
        raise FolderUnusable(
            f"{data}: its disk is full ({free_bytes // 10**6} MB free); free at least "
            f"{least_free_bytes // 10**6} MB, or name a folder on another disk with --data"
        )


def free(data: Path) -> int:
    """Bytes that may still be written under `data`."""
    status = os.statvfs(data)
    return status.f_bavail * status.f_frsize


def total(data: Path) -> int:
    """Size of the file system under `data`."""
    status = os.statvfs(data)
    return status.f_blocks * status.f_frsize


def _write_probe(folder: Path) -> None:
    # The mode alone does not tell: a read-only mount or a quota shows only when something is written.
    probe = folder / ".write-probe"
    try:
        with probe.open("wb") as opened:
            opened.write(b"simpang")
    finally:
        probe.unlink(missing_ok=True)


def why(error: OSError) -> str:
    """What is the matter with a folder, and what to do."""
    user = f"uid {os.geteuid()}"
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return f"not writable by {user}; chown it to that user, or name another folder with --data"
        case errno.EROFS:
            return "is on a read-only file system; remount it, or name another folder with --data"
        case errno.ENOSPC | errno.EDQUOT:
            return "its disk is full; free some space, or name a folder on another disk with --data"
        case errno.ENOTDIR | errno.EEXIST:
            return "is in the way of a folder; move that file, or name another folder with --data"
        case _:
            return f"{error.strerror}; name another folder with --data"
