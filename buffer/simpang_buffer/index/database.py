"""index.db through two connections: a writer, whose transactions never mix, and a reader of whole ones."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias, cast

import aiosqlite

from simpang_buffer.index.errors import NewerSchema, ReadOnly, translate

SCHEMA_VERSION = 2
# The oldest schema whose program may go on with this one. Schema 1 knows no holds, and one media folder.
READABLE_BY = 2

Row: TypeAlias = tuple[Any, ...]
Values: TypeAlias = Sequence[Any] | dict[str, Any]

# A check in another process may hold a read lock for a moment while the daemon checkpoints.
_BUSY_S = 10.0


@asynccontextmanager
async def open_database(path: Path, *, read_only: bool = False) -> AsyncIterator[Database]:
    """Opens (and, unless read_only, creates) the database. Raises StorageError's children, see errors.py."""
    with _translated(path):
        if read_only:
            if not await asyncio.to_thread(path.exists):
                raise ReadOnly(f"{path} does not exist; start simpang once, or name the right data folder")
            async with _connect(path, "ro") as reader:
                await _check_version(reader, path)
                yield Database(path, None, reader)
            return
        async with _connect(path, "rwc") as writer:
            await writer.execute("pragma journal_mode = wal")
            await writer.execute("pragma synchronous = full")
            await _check_version(writer, path)
            await _create(writer)
            async with _connect(path, "ro") as reader:
                yield Database(path, writer, reader)


class Database:
    """Reads through `read`, writes through `transaction`. Raises only StorageError's children."""

    def __init__(self, path: Path, writer: aiosqlite.Connection | None, reader: aiosqlite.Connection) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._turn = asyncio.Lock()

    async def read(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows; each call sees the state after some whole transaction."""
        with _translated(self.path):
            # A connection without a row factory gives tuples.
            return cast("list[Row]", await self._reader.execute_fetchall(sql, values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits (durably) at the end of the block, rolls back when it raises or is cancelled."""
        if self._writer is None:
            raise ReadOnly(f"{self.path} is open for reading only")
        async with self._turn:
            with _translated(self.path):
                try:
                    # Inside, since a cancelled `begin` is carried out all the same.
                    await self._writer.execute("begin immediate")
                    yield Transaction(self._writer)
                    await self._writer.commit()
                finally:
                    # After a commit there is nothing to undo, and this does nothing.
                    await self._writer.rollback()


class Transaction:
    """The statements of one transaction."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def run(self, sql: str, values: Values = ()) -> int:
        """Returns the number of rows changed."""
        async with self._connection.execute(sql, values) as cursor:
            return cursor.rowcount

    async def run_many(self, sql: str, rows: Sequence[Values]) -> None:
        async with self._connection.executemany(sql, rows):
            return

    async def rows(self, sql: str, values: Values = ()) -> list[Row]:
        return cast("list[Row]", await self._connection.execute_fetchall(sql, values))

    async def value(self, sql: str, values: Values = ()) -> Any:
        """The first column of the first row, or None."""
        rows = await self.rows(sql, values)
        return rows[0][0] if rows else None


@asynccontextmanager
async def _connect(path: Path, mode: str) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(
        _uri(path, mode), uri=True, isolation_level=None, timeout=_BUSY_S
    ) as connection:
        await connection.execute("pragma foreign_keys = on")
        yield connection


def _uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"


async def _check_version(connection: aiosqlite.Connection, path: Path) -> None:
    version = await _value(connection, "pragma user_version")
    if version <= SCHEMA_VERSION:
        return
    # Migrations are additive within a release, so an older program may go on with a newer database.
    readable_by = await _value(connection, "select value from meta where key = 'readable_by'")
    if readable_by is None or int(readable_by) > SCHEMA_VERSION:
        raise NewerSchema(
            f"{path} was written by a newer simpang (schema {version}, this one knows {SCHEMA_VERSION}); "
            "install that version again, or move the file aside to have it rebuilt from the media files"
        )


async def _create(writer: aiosqlite.Connection) -> None:
    """Makes the tables at first, and brings older ones up to date, step by step."""
    version = await _value(writer, "pragma user_version")
    folder = resources.files("simpang_buffer.index")
    steps = {SCHEMA_VERSION: folder.joinpath("schema.sql")}
    if version:
        numbers = range(version + 1, SCHEMA_VERSION + 1)
        steps = {number: folder.joinpath("migrations", f"{number:04}.sql") for number in numbers}
    for number, script in steps.items():
        # One script, so that a crash leaves either no table or all of them with their version.
        await writer.executescript(
            f"begin immediate;\n{script.read_text(encoding='utf-8')}\n"
            f"insert or replace into meta values ('readable_by', '{READABLE_BY}');\n"
            f"pragma user_version = {number};\ncommit;"
        )


async def _value(connection: aiosqlite.Connection, sql: str) -> Any:
    rows = list(await connection.execute_fetchall(sql))
    return rows[0][0] if rows else None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
