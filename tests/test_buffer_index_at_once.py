"""A transaction in one go: wholly done or not at all, and who cuts in on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from simpang_buffer.index.database import Database, Transaction, open_database
from simpang_buffer.index.errors import ReadOnly, StorageError

FULL, NORMAL = 2, 1


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "index.db") as opened:
        yield opened


async def said(database: Database) -> list[str]:
    return [row[0] for row in await database.read("select value from meta where key like 't%' order by key")]


async def add(tx: Transaction, *keys: str) -> int:
    await tx.run_many("insert into meta values (?, ?)", [(key, key) for key in keys])
    return int(await tx.value("select count(*) from meta where key like 't%'"))


async def test_what_the_body_returns_is_returned_once_it_is_committed(database: Database) -> None:
    assert await database.at_once(lambda tx: add(tx, "t1", "t2")) == 2

    assert await said(database) == ["t1", "t2"]


@pytest.mark.parametrize("error", ["of the body", "of a statement", "it waits for something else"])
async def test_a_body_that_fails_has_changed_nothing(database: Database, error: str) -> None:
    async def fails(tx: Transaction) -> None:
        await add(tx, "t1")
        if error == "of the body":
            raise ValueError(error)
        if error == "of a statement":
            await tx.run("insert into nothing values (1)")
        await asyncio.sleep(0)

    with pytest.raises((ValueError, StorageError, AssertionError)):
        await database.at_once(fails)

    assert await said(database) == []
    assert await database.at_once(lambda tx: add(tx, "t2")) == 1


async def test_one_whose_caller_is_cancelled_mixes_with_no_other(database: Database) -> None:
    first = asyncio.create_task(database.at_once(lambda tx: add(tx, "t1")))
    await asyncio.sleep(0)
    first.cancel()
    async with database.transaction() as tx:
        await tx.run("insert into meta values ('t2', 't2')")

    with pytest.raises(asyncio.CancelledError):
        await first
    assert "t2" in await said(database)


async def test_only_what_may_be_undone_does_not_wait_for_the_disk(database: Database) -> None:
    async def synchronous(tx: Transaction) -> int:
        return int(await tx.value("pragma synchronous"))

    async def fails(tx: Transaction) -> None:
        raise ValueError

    found = [await database.at_once(synchronous, durable=durable) for durable in (True, False, True)]
    with pytest.raises(ValueError):
        await database.at_once(fails, durable=False)

    assert [*found, await database.at_once(synchronous)] == [FULL, NORMAL, FULL, FULL]


async def test_one_that_reads_only_refuses(tmp_path: Path, database: Database) -> None:
    async with open_database(database.path, read_only=True) as reader:
        with pytest.raises(ReadOnly):
            await reader.at_once(lambda tx: add(tx, "t1"))
