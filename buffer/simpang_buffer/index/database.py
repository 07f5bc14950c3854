"""index.db through two connections: a writer, whose transactions never mix, and a reader of whole ones."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import aiosqlite

from simpang_buffer.index.errors import CorruptIndex, ReadOnly, StorageError, Unreadable, translate
from simpang_buffer.index.schema import READABLE_BY, SCHEMA_VERSION, bring_up_to_date, check_version

__all__ = ["READABLE_BY", "SCHEMA_VERSION", "Database", "Row", "Transaction", "Values", "open_database"]

Row: TypeAlias = tuple[Any, ...]
Values: TypeAlias = Sequence[Any] | dict[str, Any]
T = TypeVar("T")
_Do: TypeAlias = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]

# A check in another process may hold a read lock for a moment while the daemon checkpoints.
_BUSY_S = 10.0
# What does not pass by itself: the file or its disk must be seen to.
_FAULTS = (CorruptIndex, ReadOnly, Unreadable)


@asynccontextmanager
async def open_database(path: Path, *, read_only: bool = False) -> AsyncIterator[Database]:
    """Opens (and, unless read_only, creates or migrates) the database. Raises StorageError's children, see
    errors.py."""
    database = Database(path, read_only=read_only)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def media_beside(path: Path) -> Path:
    """The first media folder of an index: the one beside it."""
    return path.absolute().parent / "media"


class Database:
    """Reads through `read`, writes through `transaction`. Raises only StorageError's children.

    fault: the last one that said that the file is damaged or cannot be read or written, until `reopen` has
    mended it; `failed` is set while there is one. generation: counts how often it was opened, since what is
    remembered of the rows of one file (ids) is wrong of another.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.fault: StorageError | None = None
        self.failed = asyncio.Event()
        self.generation = 0
        self._uri = path.absolute().as_uri()
        self._read_only = read_only
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._turn = asyncio.Lock()
        # Unset while the file is exchanged: readers wait.
        self._ready = asyncio.Event()

    async def open(self) -> None:
        with self._translated():
            try:
                if self._read_only:
                    if not await asyncio.to_thread(self.path.exists):
                        raise ReadOnly(
                            f"{self.path} does not exist; start simpang once, or name the right data folder"
                        )
                    self._reader = await _connect(self._uri, "ro")
                    await check_version(self._reader, self.path)
                else:
                    self._writer = await _connect(self._uri, "rwc")
                    await self._writer.execute("pragma journal_mode = wal")
                    await self._writer.execute("pragma synchronous = full")
                    await check_version(self._writer, self.path)
                    await bring_up_to_date(self._writer, self.path)
                    self._reader = await _connect(self._uri, "ro")
            except BaseException:
                await self.close()
                raise
        self.generation += 1
        self._ready.set()

    async def close(self) -> None:
        self._ready.clear()
        connections = (self._reader, self._writer)
        self._reader = self._writer = None
        for connection in connections:
            if connection is not None:
                # A file that is damaged or gone is closed all the same; what was committed is durable.
                with contextlib.suppress(sqlite3.Error):
                    await connection.close()

    async def reopen(self, between: Callable[[], object] = lambda: None) -> None:
        """Closes the file, calls `between` in a thread, and opens what is there then; reads and writes wait.

        Raises StorageError and OSError, and so does every read and write until a later call succeeds.
        """
        async with self._turn:
            try:
                await self.close()
                await asyncio.to_thread(between)
                await self.open()
                self.fault = None
                self.failed.clear()
            except OSError as error:
                self.note(Unreadable(f"{self.path} cannot be opened: {error.strerror}; look at its disk"))
                raise
            finally:
                # Whoever waits is told what is the matter.
                self._ready.set()

    async def read(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows; each call sees the state after some whole transaction."""
        await self._ready.wait()
        with self._translated():
            if self._reader is None:
                raise self._closed()
            # A connection without a row factory gives tuples.
            return cast("list[Row]", await self._reader.execute_fetchall(sql, values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits (durably) at the end of the block, rolls back when it raises or is cancelled."""
        if self._read_only:
            raise ReadOnly(f"{self.path} is open for reading only")
        async with self._turn:
            with self._translated():
                if (writer := self._writer) is None:
                    raise self._closed()
                try:
                    # Inside, since a cancelled `begin` is carried out all the same.
                    await writer.execute("begin immediate")
                    yield Transaction(partial(_in_thread, writer))
                    await writer.commit()
                finally:
                    # After a commit there is nothing to undo, and this does nothing.
                    await writer.rollback()

    async def at_once(
        self, body: Callable[[Transaction], Coroutine[Any, Any, T]], *, durable: bool = True
    ) -> T:
        """`transaction` in one go on the writer's thread, for what others would have to wait for: the way
        there and back for each statement takes longer than most statements, on a busy machine much longer.

        body awaits nothing but its transaction. Once begun it is carried out, whoever is cancelled. durable:
        else a power cut may undo it, until the next transaction that is; the disk is not waited for.
        """
        if self._read_only:
            raise ReadOnly(f"{self.path} is open for reading only")
        async with self._turn:
            with self._translated():
                if (writer := self._writer) is None:
                    raise self._closed()
                return cast("T", await _in_thread(writer, lambda raw: _carried_out(raw, body, durable)))

    def _closed(self) -> StorageError:
        return self.fault or StorageError(f"{self.path} is closed")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            found = translate(error, self.path)
            if isinstance(found, _FAULTS):
                self.note(found)
            raise found from error

    def note(self, fault: StorageError) -> None:
        """Something is wrong with the file that will not pass by itself."""
        self.fault = fault
        self.failed.set()


class Transaction:
    """The statements of one transaction. do: calls what it is given with the connection, in its thread."""

    def __init__(self, do: _Do) -> None:
        self._do = do

    async def run(self, sql: str, values: Values = ()) -> int:
        """Returns the number of rows changed."""
        return cast("int", await self._do(lambda raw: raw.execute(sql, values).rowcount))

    async def run_many(self, sql: str, rows: Sequence[Values]) -> None:
        await self._do(lambda raw: raw.executemany(sql, rows))

    async def rows(self, sql: str, values: Values = ()) -> list[Row]:
        return cast("list[Row]", await self._do(lambda raw: raw.execute(sql, values).fetchall()))

    async def value(self, sql: str, values: Values = ()) -> Any:
        """The first column of the first row, or None."""
        rows = await self.rows(sql, values)
        return rows[0][0] if rows else None


async def _in_thread(connection: aiosqlite.Connection, work: Callable[[sqlite3.Connection], Any]) -> Any:
    # aiosqlite has no public way to do more than a statement in its thread.
    return await connection._execute(lambda: work(connection._conn))  # type: ignore[no-untyped-call]  # untyped there


def _carried_out(
    raw: sqlite3.Connection, body: Callable[[Transaction], Coroutine[Any, Any, T]], durable: bool
) -> T:
    """The transaction, in the thread of its connection: no await of the body ever waits."""

    async def do(work: Callable[[sqlite3.Connection], Any]) -> Any:
        return work(raw)

    try:
        if not durable:
            raw.execute("pragma synchronous = normal")
        raw.execute("begin immediate")
        steps = body(Transaction(do))
        try:
            steps.send(None)
        except StopIteration as end:
            raw.commit()
            return cast("T", end.value)
        steps.close()
        raise AssertionError("a transaction in one go awaited something else")
    finally:
        raw.rollback()
        if not durable:
            raw.execute("pragma synchronous = full")


async def _connect(uri: str, mode: str) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(
        f"{uri}?mode={mode}", uri=True, isolation_level=None, timeout=_BUSY_S
    )
    try:
        await connection.execute("pragma foreign_keys = on")
    except BaseException:
        await connection.close()
        raise
    return connection
