"""What can be wrong with the buffer's storage.

StorageError
├── CorruptIndex    index.db is damaged: move it aside, it is rebuilt from the media files
├── NewerSchema     index.db was written by a newer simpang: install that one again
├── ReadOnly        index.db or its folder cannot be written
├── Unreadable      the disk refuses to read or write index.db
├── StorageFull     no space left for the index
├── Busy            another program keeps index.db locked
└── HoldsFull       a pin would hold more than holds may take: try later
"""

from __future__ import annotations

import sqlite3
from pathlib import Path


class StorageError(Exception):
    """Says which file and what a person can do."""


class CorruptIndex(StorageError):
    pass


class NewerSchema(StorageError):
    pass


class ReadOnly(StorageError):
    pass


class Unreadable(StorageError):
    pass


class StorageFull(StorageError):
    pass


class Busy(StorageError):
    pass


class HoldsFull(StorageError):
    pass


# SQLite's primary result codes (https://sqlite.org/rescode.html); the high bits say the details.
_BUSY, _LOCKED, _PROTOCOL = 5, 6, 15
_READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 8, 10, 11, 13, 14, 26


def translate(error: sqlite3.Error, path: Path) -> StorageError:
    """The one place where SQLite's errors become ours."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (_CORRUPT, _NOTADB):
        return CorruptIndex(
            f"{path} is damaged ({error}); stop simpang, move the file aside and start again: "
            "the index is rebuilt from the media files"
        )
    if code in (_READONLY, _CANTOPEN):
        return ReadOnly(
            f"{path} cannot be opened or written ({error}); let simpang's user write to {path.parent}"
        )
    if code == _FULL:
        return StorageFull(f"no space left for {path}; free some, or lower buffer.max_bytes")
    if code in (_BUSY, _LOCKED, _PROTOCOL):
        return Busy(f"{path} is kept locked by another program ({error}); end that one")
    if code == _IOERR:
        return Unreadable(f"{path} cannot be read or written ({error}); look at the disk's health")
    return StorageError(f"{path}: {error}")
