"""Opens state.db and gives one short transaction at a time.

Errors: StateError(what, try_this) when the file cannot be used: not ours, from a newer simpang, damaged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import aiosqlite

# The oldest version of simpang's schema that can read what this one writes (DESIGN: a database names it).
# Additive changes keep it; it rises only when an older program would misread the file.
USER_VERSION = 1


class StateError(Exception):
    """state.db cannot be used: what is wrong, and what a person can do."""

    def __init__(self, what: str, try_this: str) -> None:
        super().__init__(f"{what}; {try_this}")


def schema_files() -> Sequence[Traversable]:
    """Every part's tables, in the order in which they are made."""
    package = resources.files("simpang")
    return (package / "state" / "schema.sql", package / "jobs" / "schema.sql")


class State:
    """An open state.db. `connection` may be read from at any time; writes go through `transaction`."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self.connection = connection
        self._writing = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """One transaction, alone: committed (and on the disk) at the end, undone when the block raises."""
        async with self._writing:
            try:
                await self.connection.execute("begin immediate")
                yield self.connection
                await self.connection.execute("commit")
            except BaseException:
                # A statement whose caller was cancelled runs all the same, in the connection's thread; what
                # is queued here comes after it. After a commit that ran so there is nothing to undo.
                with contextlib.suppress(sqlite3.OperationalError):
                    await self.connection.execute("rollback")
                raise


@contextlib.asynccontextmanager
async def open_state(path: Path, *, schemas: Sequence[Traversable] | None = None) -> AsyncIterator[State]:
    """Opens (and where it is new, makes) state.db. Raises StateError."""
    await asyncio.to_thread(_make_private, path)
    try:
        connection = await aiosqlite.connect(path, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise StateError(f"{path} cannot be opened: {error}", "check the folder's owner and mode") from error
    try:
        try:
            await _prepare(connection, path, schema_files() if schemas is None else schemas)
        except sqlite3.DatabaseError as error:
            raise StateError(
                f"{path} is damaged: {error}",
                "move it away and start again: adopted cameras and open jobs are lost, footage is not",
            ) from error
        yield State(connection)
    finally:
        await connection.close()


def _make_private(path: Path) -> None:
    """Some cameras want their password in the stream address, which is kept here. SQLite gives its other
    files the mode of this one."""
    with contextlib.suppress(OSError):  # which opening it says better
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


async def _prepare(connection: aiosqlite.Connection, path: Path, schemas: Sequence[Traversable]) -> None:
    # WAL: readers never wait for the writer. FULL: a commit survives a power cut; a job is a promise.
    for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on", "busy_timeout = 5000"):
        await connection.execute(f"pragma {pragma}")
    async with connection.execute("pragma user_version") as cursor:
        row = await cursor.fetchone()
    version = row[0] if row else 0
    if version > USER_VERSION:
        raise StateError(
            f"{path} was written by a newer simpang (schema {version}, this one reads {USER_VERSION})",
            "install that version again, or move the file away",
        )
    for schema in schemas:
        text = await asyncio.to_thread(schema.read_text, encoding="utf-8")
        await connection.executescript(
            f"begin immediate;\n{text}\npragma user_version = {USER_VERSION};\ncommit;"
        )
