"""One media file while it grows: created, appended to, closed. It blocks: the disk thread's only.

Making it durable is group_sync's, for all files at once.
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
    FIRST_FOLDER,
    ROW_SEAL_BYTES,
    Fragment,
    FragmentFlags,
    GapReason,
    RunHeader,
    Segment,
    VideoFormat,
    segment_path,
)
from simpang_buffer.recording.file_calls import FileCalls
from simpang_buffer.recording.space_ahead import SpaceAhead

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
    """A file's bytes up to `good_end` are whole: head and sealed fragments. What fails is cut back to there.

    fd: open for appending, else -1. synced_end: up to where it is durable, its name included. started_end: up
    to where the disk was told to write. folder: id of
    the media folder. identity: device and inode that the media folder must have, (0, 0) where that is not
    known.
    """

    def __init__(
        self,
        media: Path,
        head: SegmentHead,
        folder: int = FIRST_FOLDER,
        identity: tuple[int, int] = (0, 0),
    ) -> None:
        self.head = head
        self.media = media
        self.folder = folder
        self._identity = identity
        self.path = media / head.path
        self.fragments: list[Fragment] = []
        self.good_end = 0
        self.fd = -1
        self.synced_end = 0
        self.started_end = 0
        self._seal = b""
        self._torn = False
        self._calls = FileCalls()
        self._ahead: SpaceAhead | None = None

    def open(self, calls: FileCalls | None = None, *, ahead: int | None = None) -> None:
        """Creates the file, which must not exist, and writes its head. Raises DiskFailed.

        ahead: how large the file may become, 0 if nobody knows: space is taken before it is needed, and what
        is left of it given back by `close_up`. None: no space is.
        """
        self._calls = calls or self._calls
        try:
            self._make_folders()
            self.fd = self._calls.create(self.path)
        except OSError as error:
            raise disk_failed(error, self.head.path) from error
        if ahead is not None:
            self._ahead = SpaceAhead(self._calls, ahead)
        self._write([self.head.to_bytes()])

    def append(self, buffers: Sequence[bytes], fragment: Fragment, seal: bytes) -> None:
        """One fragment and its seal in one write. Raises DiskFailed, the file then cut back to `good_end`."""
        self._write(buffers)
        self.fragments.append(fragment)
        self._seal = seal

    def close_up(self) -> None:
        """Writes the table: nothing more is appended. Its row is true once the file is synced, and then it is
        to be closed. Raises DiskFailed, also where it holds nothing: a recorder deletes no file, not even its
        own, so adoption does.
        """
        if not self.fragments:
            raise DiskFailed(GapReason.DISK_ERROR, f"{self.head.path}: it holds no picture")
        self._write([table_box(self.fragments, self._seal)])
        if self._ahead is not None and self._ahead.taken_end > self.good_end:
            # What stays taken is only wasted: it comes back when the file is deleted.
            with contextlib.suppress(OSError):
                self._calls.cut(self.fd, self.good_end)

    def abandon(self) -> None:
        """Closes without trusting it: adoption reads what the disk holds, not what the cache does."""
        if self.fd >= 0:
            # The kernel marks pages clean although they never reached the disk.
            with contextlib.suppress(OSError):
                self._calls.forget_cache(self.fd)
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            # What close may report late, a sync has already reported or was never promised.
            with contextlib.suppress(OSError):
                self._calls.close(fd)

    def note_synced(self) -> None:
        self.synced_end = self.good_end

    def row(self) -> Segment:
        """Of a file that is closed up and synced."""
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
            seal=self._seal[:ROW_SEAL_BYTES],
            folder=self.folder,
        )

    def _write(self, buffers: Sequence[bytes]) -> None:
        if self._torn:
            raise DiskFailed(GapReason.DISK_ERROR, f"{self.head.path}: its torn end could not be cut off")
        size_bytes = sum(map(len, buffers))
        try:
            if self._ahead is not None:
                self._ahead.before(self.fd, self.good_end, size_bytes)
            self._write_all(buffers)
        except OSError as error:
            failed = disk_failed(error, self.head.path)
            try:
                self._calls.cut(self.fd, self.good_end)
            except OSError as second:
                self._torn = True
                failed.add_note(f"nor could the torn end be cut off: {os.strerror(second.errno or 0)}")
            raise failed from error
        self.good_end += size_bytes

    def _write_all(self, buffers: Sequence[bytes]) -> None:
        """All of it, in as few calls as the kernel allows."""
        for at in range(0, len(buffers), _MAX_BUFFERS):
            group: Sequence[bytes | memoryview] = buffers[at : at + _MAX_BUFFERS]
            size = sum(map(len, group))
            done = self._calls.write(self.fd, group)
            if done < size:  # a signal, or the last bytes of room: the next call says which
                rest = memoryview(b"".join(group))[done:]
                while rest:
                    rest = rest[self._calls.write(self.fd, [rest]) :]

    def _make_folders(self) -> None:
        if self._identity != (0, 0):
            found = self.media.stat()
            if (found.st_dev, found.st_ino) != self._identity:
                # A mount point without its disk: what was written there would fill another one.
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), str(self.media))
        missing = []
        folder = self.path.parent
        while folder != self.media and not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            self._calls.make_folder(folder)
