"""One media file while it grows: created, appended to, made durable, closed. It blocks: the disk thread's
only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simpang_buffer.media.seal import run_box, table_box
from simpang_buffer.model import (
    Fragment,
    FragmentFlags,
    GapReason,
    RunHeader,
    Segment,
    VideoFormat,
    segment_path,
)

# Linux takes at most 1024 buffers in one writev (IOV_MAX).
_MAX_BUFFERS = 1024

# What "no room" looks like, quotas among it: eviction can help. It cannot for a file too large (EFBIG).
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class DiskFailed(Exception):
    """A write or a sync failed. reason: disk-full or disk-error. broken: the file was left without its
    table.
    """

    def __init__(self, reason: GapReason, detail: str, *, broken: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.broken = broken


def disk_failed(error: OSError, path: Path) -> DiskFailed:
    """What an error of the operating system means for a recording."""
    reason = GapReason.DISK_FULL if error.errno in _FULL else GapReason.DISK_ERROR
    return DiskFailed(reason, f"{path}: {os.strerror(error.errno or 0)}")


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """How a file begins. init: ftyp and moov."""

    header: RunHeader
    video: VideoFormat
    init: bytes

    @property
    def path(self) -> Path:
        return segment_path(self.header.key, self.header.run, self.header.seq)

    @property
    def header_sha256(self) -> bytes:
        return hashlib.sha256(self.init).digest()

    def to_bytes(self) -> bytes:
        return self.init + run_box(self.header)


class SegmentFile:
    """A file's bytes up to `good_end` are whole: head and sealed fragments. What fails is cut back to
    there.
    """

    def __init__(self, media: Path, head: SegmentHead) -> None:
        self.head = head
        self.path = media / head.path
        self.fragments: list[Fragment] = []
        self.good_end = 0
        self._media = media
        self._seal = b""
        self._fd = -1
        self._synced_end = 0
        self._unsynced_folders: list[Path] = []

    def open(self) -> None:
        """Creates the file, which must not exist, and writes its head. Raises DiskFailed."""
        try:
            self._make_folders()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(self.path, flags, 0o640)
        except OSError as error:
            raise disk_failed(error, self.head.path) from error
        self._write([self.head.to_bytes()])

    def append(self, buffers: Sequence[bytes], fragment: Fragment, seal: bytes) -> None:
        """One fragment and its seal in one write. Raises DiskFailed, the file then cut back to `good_end`."""
        self._write(buffers)
        self.fragments.append(fragment)
        self._seal = seal

    def start_write_back(self) -> None:
        """Tells the disk to begin with what is not synced: it shortens the sync that follows."""
        # Linux starts write-back at DONTNEED, and drops only pages that are clean: none in this range.
        os.posix_fadvise(self._fd, self._synced_end, 0, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        """Makes durable all that was appended. After DiskFailed the file must not be trusted or synced
        again.
        """
        try:
            os.fdatasync(self._fd)
            while self._unsynced_folders:
                _sync_folder(self._unsynced_folders[-1])
                self._unsynced_folders.pop()
            self._synced_end = self.good_end
        except OSError as error:
            # The kernel marks pages clean although they never reached the disk; whoever reads this file next
            # (adoption) must see what the disk holds.
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            raise disk_failed(error, self.head.path) from error

    def finish(self) -> Segment | None:
        """Writes the table, syncs and closes: the row is then true. None for a file of no fragments: removed.

        Raises DiskFailed; the file is closed all the same.
        """
        if self._fd < 0:
            return None  # never created by us: not ours to remove
        try:
            if not self.fragments:
                self.path.unlink()
                return None
            self._write([table_box(self.fragments, self._seal)])
            self.sync()
            return self._row()
        except OSError as error:
            raise disk_failed(error, self.head.path) from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Closes without a table; adoption will read the file to its last right seal."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            # What close may report late, a sync has already reported or was never promised.
            with contextlib.suppress(OSError):
                os.close(fd)

    def _row(self) -> Segment:
        head = self.head.header
        return Segment(
            key=head.key,
            run=head.run,
            seq=head.seq,
            start_us=self.fragments[0].start_us,
            end_us=self.fragments[-1].end_us,
            size_bytes=self.good_end,
            fragments=len(self.fragments),
            frames=sum(fragment.frames for fragment in self.fragments),
            first_chunk=head.first_chunk,
            chunks=sum(FragmentFlags.CHUNK in fragment.flags for fragment in self.fragments),
            codec=self.head.video.codec,
            width=self.head.video.width,
            height=self.head.video.height,
            header_sha256=self.head.header_sha256,
            seal=self._seal,
        )

    def _write(self, buffers: Sequence[bytes]) -> None:
        try:
            self.good_end += _write_all(self._fd, buffers)
        except OSError as error:
            failed = disk_failed(error, self.head.path)
            try:
                os.ftruncate(self._fd, self.good_end)
                os.lseek(self._fd, self.good_end, os.SEEK_SET)
            except OSError as second:
                failed.add_note(f"nor could the torn end be cut off: {os.strerror(second.errno or 0)}")
            raise failed from error

    def _make_folders(self) -> None:
        """Every folder made, and the one that names it, is synced before the first row that needs it."""
        missing = []
        folder = self.path.parent
        while folder != self._media and not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            folder.mkdir(mode=0o750, exist_ok=True)
        self._unsynced_folders = [self.path.parent, *(folder.parent for folder in missing)]


def _write_all(fd: int, buffers: Sequence[bytes]) -> int:
    """All of it, in as few calls as the kernel allows; the bytes written."""
    total = 0
    for at in range(0, len(buffers), _MAX_BUFFERS):
        group = buffers[at : at + _MAX_BUFFERS]
        size = sum(map(len, group))
        done = os.writev(fd, group)
        if done < size:  # a signal, or the last bytes of room: the next call says which
            rest = memoryview(b"".join(group))[done:]
            while rest:
                rest = rest[os.write(fd, rest) :]
        total += size
    return total


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
