"""The media folder as adoption, deletion and the check see it. Everything here blocks: call it in a thread.

An object, so that a test can stop the work between any two of its steps.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

from simpang_buffer.media.boxes import Scan, scan
from simpang_buffer.media.seal import SEAL_BYTES, table_box
from simpang_buffer.model import FIRST_FOLDER, ROW_SEAL_BYTES, FragmentFlags, Segment, StreamKey, segment_path

_ID = re.compile(r"[a-z0-9-]{1,32}")
_RUN = re.compile(r"\d{6,18}")
_SEGMENT = re.compile(r"(\d{6,18})\.mp4")
# A fragment holds 4 MB at most (segment_writer), so a file that is torn within its first one is no larger.
_MOST_TORN_BYTES = 8 << 20


class MediaFiles:
    """Paths given and returned are relative to `root`. OSError passes through; a missing file is no error.

    folder: the id of the media folder that root is. identity: device and inode that root had when it was
    found to be that folder, (0, 0) where nobody looked.
    """

    def __init__(self, root: Path, folder: int = FIRST_FOLDER, identity: tuple[int, int] = (0, 0)) -> None:
        self.root = root
        self.folder = folder
        self._identity = identity

    def check_there(self) -> None:
        """Raises OSError where root is no longer the folder that it was: then no file has gone for not being
        there, and what was written may lie on another disk."""
        if self._identity != (0, 0):
            found = self.root.stat()
            if (found.st_dev, found.st_ino) != self._identity:
                raise OSError(errno.ENODEV, "the disk that was here has gone", str(self.root))

    def streams(self) -> list[StreamKey]:
        """Streams that have a folder. What is not named as we name it is not ours and passed over."""
        cameras = [name for name in _folders(self.root) if _ID.fullmatch(name)]
        return [
            StreamKey(camera, stream)
            for camera in cameras
            for stream in _folders(self.root / camera)
            if _ID.fullmatch(stream)
        ]

    def runs(self, key: StreamKey) -> list[int]:
        return sorted(int(n) for n in _folders(self.root / key.camera / key.stream) if _RUN.fullmatch(n))

    def segments(self, key: StreamKey, run: int) -> list[int]:
        """Sequence numbers of the run's files."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder(key, run)) as entries:
            matches = [_SEGMENT.fullmatch(entry.name) for entry in entries]
            return sorted(int(match[1]) for match in matches if match)
        return []

    def sizes(self, key: StreamKey, run: int) -> dict[int, int]:
        """Size of each of the run's files by sequence number; what vanishes meanwhile is left out."""
        sizes = {seq: self.size(segment_path(key, run, seq)) for seq in self.segments(key, run)}
        return {seq: size for seq, size in sizes.items() if size is not None}

    def segments_after(self, key: StreamKey, run: int, seq: int) -> list[int]:
        """Sequence numbers above seq, asked for one by one, since a run may hold a month of files."""
        found: list[int] = []
        missing = 0
        # Numbers follow each other; a few are allowed to be missing (a file that held nothing was removed).
        while missing < 8:
            seq += 1
            if self.size(segment_path(key, run, seq)) is None:
                missing += 1
            else:
                found.append(seq)
                missing = 0
        return found

    def size(self, path: Path) -> int | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return (self.root / path).stat().st_size
        return None

    def read_back(self, path: Path) -> Scan:
        """What the disk holds of a file, up to its last right seal. Raises BadBox without a whole header."""
        with (self.root / path).open("rb") as file:
            # After a failed sync the page cache may show bytes that never reached the disk. Written first,
            # since only clean pages can be dropped.
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return scan(file)

    def holds_nothing(self, path: Path, header_end: int) -> bool:
        """Whether no footage can be in a file of which no fragment is whole: it ends within the first one, or
        what stands behind its header is zeros, or it has no header and nothing that looks like a fragment.
        header_end: 0 without a header. What is not empty by this measure may be of use to somebody."""
        with (self.root / path).open("rb") as file:
            file.seek(header_end)
            data = file.read(_MOST_TORN_BYTES + 1)
        if len(data) > _MOST_TORN_BYTES:
            return False
        if header_end == 0:
            return b"mdat" not in data
        if not data.strip(b"\0") or len(data) < 8:
            return True
        # Whole by its lengths, yet not as it was sealed: it was altered, or its disk lost a piece.
        moof = int.from_bytes(data[:4], "big")
        mdat = int.from_bytes(data[moof : moof + 4], "big")
        return data[4:8] != b"moof" or len(data) < moof + mdat + SEAL_BYTES or not data[moof:].strip(b"\0")

    def close_torn(self, path: Path, scanned: Scan) -> None:
        """Cuts the file behind its last good seal, appends its fragment table and makes it durable."""
        table = table_box(scanned.fragments, scanned.seal)
        with (self.root / path).open("r+b", buffering=0) as file:
            file.truncate(scanned.good_end)
            file.seek(scanned.good_end)
            try:
                _write_all(file.fileno(), table)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                # Every fragment can be found without the table, only slower.
                file.truncate(scanned.good_end)
            os.fsync(file.fileno())

    def unlink(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (self.root / path).unlink()

    def remove(self, key: StreamKey, run: int, seqs: Iterable[int]) -> dict[int, OSError]:
        """Unlinks files of a run, durably; returns which could not be, and why. Raises OSError where their
        folder cannot be synced, ValueError for a stream that is none, whatever was done to the index."""
        if not _ID.fullmatch(key.camera) or not _ID.fullmatch(key.stream):
            raise ValueError(f"garbage names a path outside the media folder: {key}")
        stuck: dict[int, OSError] = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            # By names in an open folder: resolving sixty thousand paths takes a second.
            folder = os.open(self._folder(key, run), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for seq in seqs:
                    try:
                        self.unlink_in(folder, key, run, seq)
                    except FileNotFoundError:
                        continue
                    except OSError as error:
                        stuck[seq] = error
                self.sync_opened(folder)
            finally:
                os.close(folder)
        return stuck

    def unlink_in(self, folder: int, key: StreamKey, run: int, seq: int) -> None:
        """folder: the open one of the run."""
        os.unlink(f"{seq:06}.mp4", dir_fd=folder)

    def sync_opened(self, folder: int) -> None:
        os.fsync(folder)

    def set_aside(self, path: Path) -> Path:
        """Renames a file that is not what its name says; it is ours no longer. Returns the new path."""
        aside = path.with_name(path.name + ".unknown")
        number = 1
        while (self.root / aside).exists():
            number += 1
            aside = path.with_name(f"{path.name}.unknown-{number}")
        (self.root / path).rename(self.root / aside)
        return aside

    def move_run(self, key: StreamKey, run: int, to: StreamKey) -> bool:
        """Gives a run's folder to another stream, durably. False where that one has such a run."""
        source, target = self._folder(key, run), self._folder(to, run)
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if target.exists():
            return False
        source.rename(target)
        names = [segment_path(key, run, 0).parent, segment_path(to, run, 0).parent]
        self.sync_folders(name / "0" for name in names)
        return True

    def sync_folders(self, paths: Iterable[Path]) -> None:
        """Makes durable which files there are: syncs their folders and the ones around."""
        for folder in sorted({parent for path in paths for parent in path.parents}, reverse=True):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                fd = os.open(self.root / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)

    def remove_folder(self, folder: Path) -> None:
        """Removes the folder if it is empty."""
        with contextlib.suppress(OSError):
            (self.root / folder).rmdir()

    def _folder(self, key: StreamKey, run: int) -> Path:
        return self.root / segment_path(key, run, 0).parent


def segment_of_scan(scanned: Scan, size_bytes: int) -> Segment:
    """The index row of a file that was read back; it must hold a fragment."""
    header, fragments = scanned.header, scanned.fragments
    return Segment(
        key=header.run.key,
        run=header.run.run,
        seq=header.run.seq,
        start_us=fragments[0].start_us,
        end_us=max(fragments[-1].end_us, fragments[0].start_us),
        size_bytes=size_bytes,
        fragments=len(fragments),
        frames=sum(fragment.frames for fragment in fragments),
        first_chunk=header.run.first_chunk,
        chunks=max(sum(FragmentFlags.CHUNK in fragment.flags for fragment in fragments), 1),
        codec=header.codec,
        width=header.width,
        height=header.height,
        header_sha256=header.header_sha256,
        seal=scanned.seal[:ROW_SEAL_BYTES],
    )


def _folders(parent: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(parent) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    return []


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
