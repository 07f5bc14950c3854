"""One commit for all files that were written: how little it takes, and what it proves.

Every way begins with write-back of each file: started on all, then waited for, which also says, file by file,
what could not be written (the kernel notes it with the file and tells each descriptor once). The disk has the
data then, perhaps in its cache; nothing yet tells where they are. What follows makes that durable, and
flushes the cache, for all of them:

- **JOURNAL** (ext4). What tells where the data are is metadata: extents (converted from unwritten to written
  before a page counts as written), the size, and for new files inode and folder entry. All of it was changed
  in the journal's running transaction or in an older one, since write-back has ended. Transactions become
  durable in order, and with a flush of the disk's cache before the commit record. So one fsync of one file
  will do, if that file is in the running transaction: fsync of a file that an older one holds returns at
  once. Hence its time stamp is set first, which puts it there. It is not right without a journal (fsync then
  writes one file's metadata), or with data=journal (write-back means another thing). Space taken ahead is
  unwritten extents, hence the same; data=writeback only unties data from commits, and they were waited for.
- **WHOLE** (xfs, btrfs, f2fs with nothing else on them): syncfs. It tells of errors of anybody's files, so
  after one each file is asked by itself.
- **EACH**, everywhere else: fdatasync of each file, fsync of each folder with a new name in it, on the way
  from the media folder down to the file.

A file that failed is never synced again: the kernel marks its pages clean, and a second try would succeed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from simpang_buffer.recording.file_calls import FileCalls
from simpang_buffer.recording.file_systems import FileSystems, Method
from simpang_buffer.recording.segment_file import SegmentFile

# The kernel or the file system has no such call: nothing was tried, so nothing has failed.
_NO_SUCH_CALL = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.ESPIPE})

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Failures = dict[SegmentFile, OSError]


class GroupSync:
    """`sync` blocks: the disk thread's only."""

    def __init__(self, file_systems: FileSystems, calls: FileCalls) -> None:
        self._file_systems = file_systems
        self._calls = calls
        self._names = _Names()

    def sync(self, files: Iterable[SegmentFile]) -> Failures:
        """All that was written to these open files is durable, with the folders that name them, but for those
        returned, of which nothing is known."""
        failures: Failures = {}
        for media, group in groupby(sorted(files, key=_media), key=_media):
            failed = self._sync_media(media, list(group))
            if failed:
                # Perhaps it is another disk when it comes back.
                self._names.forget(media)
            failures |= failed
        return failures

    def start(self, files: Iterable[SegmentFile]) -> Failures:
        """The disk begins with what `sync` will wait for; whole pages, since others are written again."""
        failures: Failures = {}
        for file in files:
            whole_end = file.good_end - file.good_end % _PAGE_BYTES
            if whole_end > file.started_end:
                try:
                    self._calls.start_write_back(file.fd, file.started_end, whole_end - file.started_end)
                    file.started_end = whole_end
                except OSError as error:
                    # Where the call is missing `sync` finds out; any other error is told once, so now.
                    if error.errno not in _NO_SUCH_CALL:
                        failures[file] = error
        return failures

    def _sync_media(self, media: Path, files: Sequence[SegmentFile]) -> Failures:
        try:
            method = self._file_systems.choice(media).method
        except OSError:
            method = Method.EACH  # the folder has gone; each file will say what became of it
        failures: Failures = {}
        for file in files:
            try:
                self._calls.start_write_back(file.fd, file.synced_end)
            except OSError as error:
                if error.errno not in _NO_SUCH_CALL:
                    failures[file] = error
                elif method is not Method.EACH:
                    method = self._file_systems.give_up(media, f"sync_file_range: {error.strerror}").method
        started = [file for file in files if file not in failures]
        if method is Method.EACH:
            return failures | self._each(started)
        return failures | self._together(method, started)

    def _together(self, method: Method, files: Sequence[SegmentFile]) -> Failures:
        failures: Failures = {}
        for file in files:
            try:
                self._calls.write_back(file.fd, file.synced_end)
            except OSError as error:
                failures[file] = error
        written = [file for file in files if file not in failures]
        if not written:
            return failures
        try:
            if method is Method.JOURNAL:
                self._calls.commit_journal(written[-1].fd)
            else:
                self._calls.sync_file_system(written[-1].fd)
        except OSError as error:
            # A journal that fails, fails for all.
            rest = dict.fromkeys(written, error) if method is Method.JOURNAL else self._each(written)
            return failures | rest
        for file in written:
            self._note_synced(file)
        return failures

    def _each(self, files: Sequence[SegmentFile]) -> Failures:
        failures: Failures = {}
        folders: dict[Path, OSError | None] = {}
        for file in files:
            try:
                self._calls.sync(file.fd)
                for folder in self._names.missing(file):
                    if folder not in folders:
                        folders[folder] = self._sync_folder(folder)
                    if (failed := folders[folder]) is not None:
                        raise failed
            except OSError as error:
                failures[file] = error
        for file in files:
            if file not in failures:
                self._note_synced(file)
        return failures

    def _sync_folder(self, folder: Path) -> OSError | None:
        try:
            self._calls.sync_folder(folder)
        except OSError as error:
            return error
        return None

    def _note_synced(self, file: SegmentFile) -> None:
        self._names.note(file)
        file.note_synced()


class _Names:
    """Which folders are durable under their names. What this process has not seen to is not: the one before
    may have died between making a folder and syncing it."""

    def __init__(self) -> None:
        self._seen: set[Path] = set()
        # The newest run folder of each stream's, or they would be more and more.
        self._runs: dict[Path, Path] = {}

    def missing(self, file: SegmentFile) -> list[Path]:
        """Folders to be synced so that a start finds the file: media/camera/stream/run/file."""
        if file.synced_end > 0:
            return []
        run, stream, camera, media = list(file.path.parents)[:4]
        folders = [run] if self._runs.get(stream) == run else [run, stream]
        if stream not in self._seen:
            folders.append(camera)
        if camera not in self._seen:
            folders.append(media)
        return folders

    def note(self, file: SegmentFile) -> None:
        """The file and all above it are durable."""
        run, stream, camera = list(file.path.parents)[:3]
        self._runs[stream] = run
        self._seen |= {stream, camera}

    def forget(self, media: Path) -> None:
        self._seen = {folder for folder in self._seen if not folder.is_relative_to(media)}
        self._runs = {folder: run for folder, run in self._runs.items() if not folder.is_relative_to(media)}


def _media(file: SegmentFile) -> Path:
    return file.media
