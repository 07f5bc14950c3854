"""Every call by which a recorder touches a file, as one object: a test lets any of them fail.

Those that Python lacks (fallocate with KEEP_SIZE, sync_file_range, syncfs) go through the C library here and
nowhere else. All block, and raise OSError.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
# 64-bit offsets whatever the machine; both architectures of ours have the wide calls under these names.
_LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_LIBC.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_LIBC.syncfs.argtypes = (ctypes.c_int,)

# include/uapi/linux/falloc.h and fs.h
_FALLOC_FL_KEEP_SIZE = 1
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4


class FileCalls:
    """Offsets and sizes are bytes; a range without an end reaches to the end of the file."""

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o750, exist_ok=True)

    def create(self, path: Path) -> int:
        """A descriptor for appending to a file that must not exist."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        return os.writev(fd, buffers)

    def cut(self, fd: int, size_bytes: int) -> None:
        """The file ends there, space that was taken ahead included, and so does what comes next begin."""
        os.ftruncate(fd, size_bytes)
        os.lseek(fd, size_bytes, os.SEEK_SET)

    def free_bytes(self, fd: int) -> int:
        """What we may use of its file system."""
        found = os.fstatvfs(fd)
        return found.f_bavail * found.f_frsize

    def take_ahead(self, fd: int, offset: int, size_bytes: int) -> None:
        """Space for what will be written; the file does not grow by it (fallocate(2), KEEP_SIZE)."""
        _checked(_LIBC.fallocate(fd, _FALLOC_FL_KEEP_SIZE, offset, size_bytes))

    def start_write_back(self, fd: int, offset: int, size_bytes: int = 0) -> None:
        """Tells the disk to begin, and does not wait."""
        _checked(_LIBC.sync_file_range(fd, offset, size_bytes, _WRITE))

    def write_back(self, fd: int, offset: int) -> None:
        """The data from there on is on the disk, though it may be in its cache, and nothing yet says where.

        Raises what went wrong with any page of the file since it was opened, once (errseq).
        """
        _checked(_LIBC.sync_file_range(fd, offset, 0, _WAIT_BEFORE | _WRITE | _WAIT_AFTER))

    def sync(self, fd: int) -> None:
        """This file's data, and what it takes to find them."""
        os.fdatasync(fd)

    def commit_journal(self, fd: int) -> None:
        """Everything that any call has changed on this file system until now, if it keeps a journal; see
        group_sync.py."""
        os.utime(fd)
        os.fsync(fd)

    def sync_file_system(self, fd: int) -> None:
        _checked(_LIBC.syncfs(fd))

    def sync_folder(self, folder: Path) -> None:
        """Which files there are in it."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def forget_cache(self, fd: int) -> None:
        """What is read of the file from now on comes from the disk; pages not written yet stay."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self, fd: int) -> None:
        os.close(fd)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
