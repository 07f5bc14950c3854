from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from simpang.roster.known import KEPT_US, Known, KnownCameras, KnownSource
from simpang.state.database import USER_VERSION, State, StateError, open_state

NOW_US = 1_795_000_000_000_000
UTARA = Known(
    "utara", "adopted", "urn:uuid:1", "10.0.4.21", "Utara", "Acme", "X1", "1.0", "S1", "02:00:00:00:00:01",
    NOW_US, NOW_US,
)  # fmt: skip
MAIN = KnownSource("main", "rtsp://10.0.4.21:554/main", "10.0.4.21", 554)


@pytest_asyncio.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    async with open_state(tmp_path / "state.db") as state:
        yield state


async def test_what_is_put_survives_a_restart(tmp_path: Path) -> None:
    async with open_state(tmp_path / "state.db") as state:
        await KnownCameras(state).put(UTARA, [MAIN])

    async with open_state(tmp_path / "state.db") as state:
        known = KnownCameras(state)
        assert await known.all() == [UTARA]
        assert await known.sources("utara") == [MAIN]


async def test_commit_is_on_the_disk_when_it_returns(state: State) -> None:
    settings = {}
    for name in ("journal_mode", "synchronous", "foreign_keys"):
        async with state.connection.execute(f"pragma {name}") as cursor:
            row = await cursor.fetchone()
            assert row is not None
            settings[name] = row[0]

    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_transaction_that_raises_leaves_nothing(state: State) -> None:
    with pytest.raises(RuntimeError):
        async with state.transaction() as db:
            await db.execute("insert into refused_sign_in values ('a', 1)")
            raise RuntimeError

    async with state.connection.execute("select count(*) from refused_sign_in") as cursor:
        assert await cursor.fetchone() == (0,)


async def test_transaction_that_is_cancelled_leaves_nothing_and_blocks_nobody(state: State) -> None:
    begun = asyncio.Event()

    async def write_and_wait() -> None:
        async with state.transaction() as db:
            await db.execute("insert into refused_sign_in values ('a', 1)")
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait(), name="writer")
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with state.transaction() as db, db.execute("select count(*) from refused_sign_in") as cursor:
        assert await cursor.fetchone() == (0,)


async def test_transaction_may_be_cancelled_at_any_statement(state: State) -> None:
    async def write() -> None:
        async with state.transaction() as db:
            await db.execute("insert or replace into refused_sign_in values ('a', 1)")
            await db.execute("insert or replace into refused_sign_in values ('a', 2)")

    for turns in range(12):
        task = asyncio.create_task(write(), name="writer")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        async with state.transaction() as db, db.execute("select count(*) from refused_sign_in") as cursor:
            assert await cursor.fetchone() in ((0,), (2,))


async def test_transactions_wait_for_each_other(state: State) -> None:
    async def count_up() -> None:
        async with state.transaction() as db:
            async with db.execute("select count(*) from refused_sign_in") as cursor:
                row = await cursor.fetchone()
            assert row is not None
            await asyncio.sleep(0)
            await db.execute("insert into refused_sign_in values ('a', ?)", (row[0] + 1,))

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(count_up(), name=f"writer-{number}")

    async with state.connection.execute("select max(time_us) from refused_sign_in") as cursor:
        assert await cursor.fetchone() == (20,)


async def test_newer_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute(f"pragma user_version = {USER_VERSION + 1}")
    db.close()

    with pytest.raises(StateError, match=r"newer simpang .* install"):
        async with open_state(tmp_path / "state.db"):
            pass


async def test_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is no database" * 500)

    with pytest.raises(StateError, match="move it away"):
        async with open_state(tmp_path / "state.db"):
            pass


async def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="none"):
        async with open_state(tmp_path / "none" / "state.db"):
            pass


async def test_schema_refuses_what_its_document_excludes(state: State) -> None:
    for statement in (
        "insert into refused_sign_in values ('', 1)",
        "insert into refused_sign_in values ('a', 0)",
        "insert into stream_source values ('nobody', 'main', 'rtsp://x', '10.0.4.21', 554)",
        "insert into camera (id, origin, epr, address, name, adopted_us, seen_us)"
        " values ('../x', 'config', '', 'a', '', 1, 1)",
        "insert into camera (id, origin, epr, address, name, adopted_us, seen_us)"
        " values ('x', 'guess', '', 'a', '', 1, 1)",
        "insert into camera (id, origin, epr, address, name, adopted_us, seen_us)"
        " values ('x', 'config', '', 'a', '', 2, 1)",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            async with state.transaction() as db:
                await db.execute(statement)


async def test_camera_that_is_put_again_keeps_when_it_was_adopted(state: State) -> None:
    known = KnownCameras(state)
    await known.put(UTARA, [MAIN])
    later = replace(UTARA, address="10.0.4.99", adopted_us=NOW_US + 5, seen_us=NOW_US + 5)

    await known.put(later, [])

    (row,) = await known.all()
    assert (row.address, row.adopted_us, row.seen_us) == ("10.0.4.99", NOW_US, NOW_US + 5)
    assert await known.sources("utara") == []


async def test_refusals_are_kept_for_a_day_and_forgotten_when_one_is_accepted(state: State) -> None:
    known = KnownCameras(state)
    await known.note_refused("a", NOW_US - KEPT_US - 1)
    await known.note_refused("a", NOW_US - 5)
    await known.note_refused("b", NOW_US - 4)
    await known.note_refused("a", NOW_US)

    assert await known.refused("a", NOW_US) == [NOW_US - 5, NOW_US]
    await known.note_accepted("a")
    assert await known.refused("a", NOW_US) == []
    assert await known.refused("b", NOW_US) == [NOW_US - 4]


async def test_only_we_may_read_it(tmp_path: Path) -> None:
    async with open_state(tmp_path / "state.db") as state:
        await state.connection.execute("select 1")

        assert {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {
            "state.db": 0,
            "state.db-wal": 0,
            "state.db-shm": 0,
        }
