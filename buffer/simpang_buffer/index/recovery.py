"""What is done about an index that is missing, damaged or another's, before it is opened or while it runs.

It is moved aside, never deleted; the last backup takes its place where there is a good one; and a note beside
it (index.rebuild) says that it is to be rebuilt from the media files, and why. The note is durable before
anything is moved and stays until the rebuild has come to its end, so no crash between any two steps leaves an
index that is incomplete without saying so. No media file is touched here.

Everything here blocks.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from simpang_buffer.index.backup import backup_path, read_ends, restore
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.model import StreamKey, segment_path

# missing: there was none beside the media files. damaged: SQLite or the disk says so. foreign: it is of
# another site's folder. by-hand: a person asked.
Cause: TypeAlias = Literal["missing", "damaged", "foreign", "by-hand"]
CAUSES: tuple[Cause, ...] = ("missing", "damaged", "foreign", "by-hand")

# The file of a media folder by which it is known again, and its index's row of it.
_MARKER_FILE = "simpang-folder"
# Rows of which the files are looked for, to tell whose an index is that knows no marker.
_SAMPLE = 20
_SUFFIXES = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Due:
    """A rebuild that is due. since_us: when that was found. aside: the old index's name now, if there was
    one. from_backup: whether the index began with what a backup knew. detail: what was the matter, in words.
    salvaged: what the old one still tells has been put into the new one.
    """

    cause: Cause
    since_us: int
    aside: str | None = None
    from_backup: bool = False
    detail: str = ""
    salvaged: bool = False


def recover(index: Path, media: Path, site: str, now_us: int) -> Due | None:
    """Makes sure that what is opened next is an index of this folder: the one that is there, the backup, or
    none. Returns the rebuild that is due, also one that an earlier start did not finish. Raises OSError."""
    found = _fault(index, media, site)
    if found is not None:
        cause, detail = found
        return replace(index, cause, detail, now_us)
    return read_due(index)


def replace(index: Path, cause: Cause, detail: str, now_us: int, *, backup: bool = True) -> Due:
    """Moves the index aside and puts the backup in its place, if there is a good one (and it may be used).
    The database must be closed. Raises OSError."""
    aside = None
    if any(_with(index, suffix).exists() for suffix in _SUFFIXES):
        name = "foreign" if cause == "foreign" else "damaged"
        aside = _free_name(index, f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_us / 1e6))}")
    note_due(index, Due(cause, now_us, aside, False, detail))
    if aside is not None:
        for suffix in _SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                _with(index, suffix).rename(index.with_name(aside + suffix))
    copied = backup and cause != "foreign" and restore(backup_path(index), index)
    due = Due(cause, now_us, aside, copied, detail)
    note_due(index, due)
    return due


def note_due(index: Path, due: Due) -> None:
    """Durable when it returns."""
    path = _note(index)
    new = path.with_name(path.name + ".new")
    fields = {name: getattr(due, name) for name in Due.__dataclass_fields__}
    with new.open("w") as file:
        file.write(json.dumps(fields))
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    _sync_folder(path.parent)


def read_due(index: Path) -> Due | None:
    try:
        fields = json.loads(_note(index).read_text())
        if fields["cause"] not in CAUSES:
            raise ValueError(fields["cause"])
        return Due(**fields)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        # Half a note is a note: something was to be rebuilt.
        return Due("missing", 0, detail="the note of a rebuild cannot be read")


def drop_due(index: Path) -> None:
    _note(index).unlink(missing_ok=True)
    _sync_folder(index.parent)


def _fault(index: Path, media: Path, site: str) -> tuple[Cause, str] | None:
    """Why the index cannot be gone on with."""
    if not index.exists() or index.stat().st_size == 0:
        has_media = media.is_dir() and bool(MediaFiles(media).streams())
        if has_media or backup_path(index).exists():
            return "missing", f"there was no {index.name} beside the media files"
        return None
    try:
        with contextlib.closing(_look_into(index)) as connection:
            tables = read_ends(connection)
            if not tables:
                return "missing", f"{index.name} was empty"
            facts = dict(connection.execute("select key, value from meta where key = 'site'"))
            if _is_foreign(connection, tables, facts.get("site"), media, site):
                return "foreign", f"{index.name} is that of site {facts.get('site')!r}"
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR):
            return "damaged", str(error)
        if code == sqlite3.SQLITE_ERROR:
            # A table or column that every index has is not there.
            return "damaged", str(error)
    return None


def _look_into(index: Path) -> sqlite3.Connection:
    # Not read-only: what a killed daemon left in the log is recovered by the first who opens the file.
    return sqlite3.connect(f"{index.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=10)


def _is_foreign(
    connection: sqlite3.Connection, tables: set[str], known_site: str | None, media: Path, site: str
) -> bool:
    """An index of this site is ours, whatever disk is there now (folders.py tells disks apart). One of
    another site is, too, if it knows this folder's marker, or where there is none some of its newest files:
    then the site was given another name."""
    if known_site is None or known_site == site or not MediaFiles(media).streams():
        return False
    row = (
        connection.execute("select marker from folder where id = 1").fetchone()
        if "folder" in tables
        else None
    )
    with contextlib.suppress(OSError):
        said = (media / _MARKER_FILE).read_text(errors="replace")
        if row is not None and said.strip():
            return row[0] not in said
    newest = connection.execute(
        """select c.camera, c.stream, s.run, s.seq from segment s join stream c on c.id = s.stream_id
           where s.start_us = (select max(start_us) from segment where stream_id = c.id)
           order by s.start_us desc limit ?""",
        (_SAMPLE,),
    ).fetchall()
    return bool(newest) and not any(
        (media / segment_path(StreamKey(camera, stream), run, seq)).exists()
        for camera, stream, run, seq in newest
    )


def _note(index: Path) -> Path:
    return index.with_name(f"{index.stem}.rebuild")


def _with(index: Path, suffix: str) -> Path:
    return index.with_name(index.name + suffix)


def _free_name(index: Path, what: str) -> str:
    for name in _names(f"{index.name}.{what}"):
        if not any(index.with_name(name + suffix).exists() for suffix in _SUFFIXES):
            return name
    raise AssertionError("names without end")


def _names(first: str) -> Iterator[str]:
    yield first
    number = 1
    while True:
        number += 1
        yield f"{first}-{number}"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
