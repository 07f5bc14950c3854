"""A disk of ours, as a file in a FUSE mount, for a loop device to sit on: it notes every write and flush.

    block_device.py MOUNT IMAGE LOG          MOUNT/disk is IMAGE; what is written to it goes into LOG too
    block_device.py MOUNT IMAGE LOG --cuts   MOUNT/cut-N-SEED is the disk as a power cut before record N of
                                             LOG may have left it; N never falls, and IMAGE is moved along

What is written to a cut is kept in memory and dropped with the next one. Runs with the Python of the peer
`fuse`.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import sys
import time
from pathlib import Path
from typing import Any

import mfusepy

from block_log import FLUSH as FLUSHED
from block_log import Entry, entries, in_flight, note, read_data, survivors

_BLOCK = 4096


class _Disk(mfusepy.Operations):  # type: ignore[misc]  # the library has no types
    """One file, of the image's size."""

    use_ns = True

    def __init__(self, image: Path) -> None:
        self.image = os.open(image, os.O_RDWR)
        self.size = os.fstat(self.image).st_size

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        now = time.time_ns()
        times = {"st_atime": now, "st_mtime": now, "st_ctime": now}
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2, **times}
        if not self.has(path):
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self.size, **times}

    def has(self, path: str) -> bool:
        return path == "/disk"

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", "disk"]

    def open(self, path: str, flags: int) -> int:
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        return 0

    def flush(self, path: str, fh: int) -> int:
        return 0

    def release(self, path: str, fh: int) -> int:
        return 0


class RecordedDisk(_Disk):
    """Writes go through to the image, and into the log."""

    def __init__(self, image: Path, log: Path) -> None:
        super().__init__(image)
        self.log = log.open("ab", buffering=1 << 20)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(self.image, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        note(self.log, time.monotonic_ns(), offset, data)
        return os.pwrite(self.image, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        note(self.log, time.monotonic_ns(), FLUSHED)
        return 0

    def destroy(self, path: str) -> None:
        self.log.close()


class CutDisk(_Disk):
    """The disk after a power cut; nothing is written to the image but what was safe by then."""

    def __init__(self, image: Path, log: Path) -> None:
        super().__init__(image)
        self.log_fd = os.open(log, os.O_RDONLY)
        self.records = entries(log)
        self.done = 0
        self.cut = ""
        self.blocks: dict[int, bytearray] = {}

    def has(self, path: str) -> bool:
        return path.startswith("/cut-")

    def open(self, path: str, flags: int) -> int:
        if path != self.cut:
            _, number, seed = path.split("-")
            self._cut(int(number), random.Random(int(seed)))
            self.cut = path
        return 0

    def _cut(self, number: int, chance: random.Random) -> None:
        safe, doubtful = in_flight(self.records, number)
        for entry in self.records[self.done : safe]:
            if not entry.is_flush:
                os.pwrite(self.image, self._data(entry), entry.offset)
        self.done = max(self.done, safe)
        self.blocks = {}
        for offset, data in survivors([(one.offset, self._data(one)) for one in doubtful], chance):
            self._overlay(offset, data)

    def _data(self, entry: Entry) -> bytes:
        return read_data(self.log_fd, entry)

    def _overlay(self, offset: int, data: bytes) -> None:
        at = 0
        while at < len(data):
            number, inside = divmod(offset + at, _BLOCK)
            if number not in self.blocks:
                self.blocks[number] = bytearray(
                    os.pread(self.image, _BLOCK, number * _BLOCK).ljust(_BLOCK, b"\0")
                )
            piece = data[at : at + _BLOCK - inside]
            self.blocks[number][inside : inside + len(piece)] = piece
            at += len(piece)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        found = bytearray(os.pread(self.image, size, offset))
        for number in range(offset // _BLOCK, (offset + size - 1) // _BLOCK + 1):
            block = self.blocks.get(number)
            if block is not None:
                start = max(number * _BLOCK, offset)
                end = min((number + 1) * _BLOCK, offset + len(found))
                found[start - offset : end - offset] = block[start - number * _BLOCK : end - number * _BLOCK]
        return bytes(found)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._overlay(offset, data)
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        return 0


def main(mount: str, image: str, log: str, cuts: str = "") -> None:
    disk = CutDisk(Path(image), Path(log)) if cuts else RecordedDisk(Path(image), Path(log))
    mfusepy.FUSE(disk, mount, foreground=True, nothreads=True, fsname="simpang-test-disk")


if __name__ == "__main__":
    main(*sys.argv[1:])
