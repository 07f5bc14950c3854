"""A copy of index.db beside it, for the day when it is damaged or gone; what is newer is read from the files.

The copy is of one moment, taken in pages from a connection of its own: in WAL mode a reader never holds up
the writer, and it is sent to the disk in small parts, so that no commit waits behind one large sync. It takes
the old one's name only when it is whole, durable and found good.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# 256 kB a step: read and written within a few milliseconds on a disk.
_STEP_PAGES = 64
# So that copying takes a quarter of a disk's time at most, whatever its speed.
_REST = 3.0
# What is left free beside the copy: recording comes first.
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    """What became of one. skipped: why there is none, in words; None when it was made."""

    size_bytes: int = 0
    skipped: str | None = None


def backup_path(index: Path) -> Path:
    return index.with_name(f"{index.stem}-backup.db")


def back_up(
    source: Path,
    target: Path,
    *,
    free_bytes: Callable[[Path], int] = lambda folder: _free_bytes(folder),
    pause: Callable[[float], None] = time.sleep,
) -> Backup:
    """Copies a database, of which others may be writing. Blocks for as long as it takes.

    Skipped, with the reason, where space is short or the copy turns out damaged: the old copy stays then.
    Raises sqlite3.Error where the source cannot be read, OSError where the copy cannot be written.
    """
    size_bytes = sum(_size(path) for path in (source, source.with_name(source.name + "-wal")))
    free = free_bytes(target.parent)
    if free < size_bytes + _SPARE_BYTES:
        return Backup(skipped=f"it takes {size_bytes >> 20} MB, and only {free >> 20} MB are free")
    new = target.with_name(target.name + ".new")
    new.unlink(missing_ok=True)
    try:
        _copy(source, new, pause)
        if (fault := damage(new)) is not None:
            return Backup(skipped=f"the copy is damaged ({fault}), and so may {source} be")
        new.replace(target)
        _sync(target.parent)
    finally:
        new.unlink(missing_ok=True)
    return Backup(target.stat().st_size)


def restore(backup: Path, index: Path) -> bool:
    """Puts the copy in the place of an index that is gone. False where there is no copy, or none that can be
    read.

    It is renamed, since copying and reading some hundred megabytes would keep recording waiting; what was
    found good when it was made, and is not now, is found out like any other damage. Raises OSError.
    """
    try:
        with _opened(backup, "mode=ro&immutable=1") as connection:
            if not read_ends(connection):
                return False
    except sqlite3.Error:
        return False
    backup.replace(index)
    _sync(index.parent)
    return True


def read_ends(connection: sqlite3.Connection) -> set[str]:
    """The names of the tables, of each of which the last page was read: a file that was cut off or
    overwritten shows there, within a millisecond. Raises sqlite3.Error."""
    rows = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    tables = {str(row[0]) for row in rows}
    for table in sorted(tables):
        connection.execute(f'select * from "{table}" order by 1 desc limit 1').fetchall()
    return tables


def damage(path: Path, *, alone: bool = True) -> str | None:
    """What SQLite finds wrong with a database that nobody has open, None for nothing. Reads all of it.

    alone: there is no write-ahead log beside it that counts.
    """
    try:
        with _opened(path, "mode=ro&immutable=1" if alone else "mode=rw") as connection:
            (word,) = connection.execute("pragma quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error)
    return None if word == "ok" else str(word)


def _copy(source: Path, new: Path, pause: Callable[[float], None]) -> None:
    with _opened(source, "mode=ro") as reader, _opened(new, "mode=rwc") as writer:
        # We sync it ourselves, and an unfinished copy is thrown away.
        writer.execute("pragma synchronous = off")
        writer.execute("pragma journal_mode = off")
        # Held to the end: a copy without it would start over with each commit of the writer.
        reader.execute("begin")
        reader.execute("select 1 from sqlite_master limit 1").fetchall()
        began = time.monotonic()

        def rest(status: int, remaining: int, total: int) -> None:
            nonlocal began
            # Starts write-back and waits for nothing: a sync of each part would be a flush of the disk each.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            pause(min((time.monotonic() - began) * _REST, 1.0))
            began = time.monotonic()

        descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
        try:
            reader.backup(writer, pages=_STEP_PAGES, progress=rest, sleep=0)
        finally:
            os.close(descriptor)
    _sync(new)


@contextlib.contextmanager
def _opened(path: Path, query: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}", uri=True, isolation_level=None, timeout=10
    )
    try:
        yield connection
    finally:
        connection.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
