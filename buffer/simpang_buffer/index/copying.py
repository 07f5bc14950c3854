"""Copies one media file to another folder, no faster than asked, and reads back what the disk holds of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable

from simpang_buffer.index.closed_file import ClosedFiles
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import Segment

# So much at a time: a stop is heard within a tenth of a second at any rate.
_PIECE_BYTES = 1 << 20
_LONGEST_REST_S = 0.1


class CopyFailed(Exception):
    """The original is not what its row says, or cannot be read: it stays where it is."""


class Copier:
    """One file at a time, in a thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._stopped = threading.Event()
        # The task that waits for the file was cancelled.
        self._given_up = threading.Event()
        self._began_s = 0.0
        self._due_s = 0.0

    def go(self) -> None:
        self._stopped.clear()

    def stop(self) -> None:
        """What is being copied is given up."""
        self._stopped.set()

    async def copy(self, source: MediaFiles, target: MediaFiles, row: Segment, bytes_per_s: int) -> None:
        """Durable when it returns, but for its name. Raises CopyFailed; OSError where the target cannot take
        it. Nothing is left of a copy that failed."""
        self._given_up.clear()
        work = asyncio.ensure_future(asyncio.to_thread(self._copy, source, target, row, bytes_per_s))
        try:
            await asyncio.shield(work)
        except BaseException:
            # A thread is not cancelled with its task, and would write on.
            self._given_up.set()
            await asyncio.wait([work])
            await asyncio.to_thread(target.unlink, row.path)
            raise

    def _copy(self, source: MediaFiles, target: MediaFiles, row: Segment, bytes_per_s: int) -> None:
        path = target.root / row.path
        try:
            reading = os.open(source.root / row.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CopyFailed(f"it cannot be opened ({error.strerror})") from error
        try:
            size_bytes = os.fstat(reading).st_size
            if size_bytes != row.size_bytes:
                raise CopyFailed(f"it has {size_bytes} bytes, its row says {row.size_bytes}")
            target.check_there()
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            target.unlink(row.path)
            writing = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            try:
                digest = self._pour(reading, writing, size_bytes, bytes_per_s)
                os.fsync(writing)
                for descriptor in (reading, writing):
                    # What is read back comes from the disk, and recording's own pages stay in memory.
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                self._verify(target, row, writing, digest)
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    def _pour(self, reading: int, writing: int, size_bytes: int, bytes_per_s: int) -> bytes:
        """The SHA-256 of what was read."""
        left, digest = size_bytes, hashlib.sha256()
        while left:
            if self._stopped.is_set() or self._given_up.is_set():
                raise CopyFailed("the move was stopped")
            self._rest(bytes_per_s)
            try:
                data = os.pread(reading, min(left, _PIECE_BYTES), size_bytes - left)
            except OSError as error:
                raise CopyFailed(f"it cannot be read ({error.strerror})") from error
            if not data:
                raise CopyFailed("it became shorter while it was copied")
            left -= len(data)
            digest.update(data)
            while data:
                data = data[os.write(writing, data) :]
        return digest.digest()

    def _rest(self, bytes_per_s: int) -> None:
        """Until the next piece is due; what was not used of the rate is not made up for."""
        now_s = self._monotonic()
        self._due_s = max(self._due_s, now_s - _LONGEST_REST_S)
        while (wait_s := self._due_s - self._monotonic()) > 0 and not self._stopped.is_set():
            if self._given_up.wait(min(wait_s, _LONGEST_REST_S)):
                return
        self._due_s += _PIECE_BYTES / bytes_per_s

    def _verify(self, target: MediaFiles, row: Segment, writing: int, digest: bytes) -> None:
        """That the disk holds what was read, and that this is what the row is about."""
        found, at = hashlib.sha256(), 0
        while data := os.pread(writing, _PIECE_BYTES, at):
            found.update(data)
            at += len(data)
        if found.digest() != digest:
            raise OSError(
                errno.EIO, "the disk does not hold what was written to it", str(target.root / row.path)
            )
        # Without a table (adopted on a full disk) or with a head that is damaged, it is still moved as it is.
        with contextlib.suppress(BadBox):
            if ClosedFiles().row(writing, row.key, target.folder)[0].seal != row.seal:
                raise CopyFailed("it does not end with the seal that its row names")
