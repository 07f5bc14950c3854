"""An index of any older schema is brought up to date as if it had always been new, and never left between."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from simpang_buffer.index.backup import backup_path
from simpang_buffer.index.changes import forget, stream_id_of
from simpang_buffer.index.database import SCHEMA_VERSION
from simpang_buffer.index.errors import NewerSchema
from simpang_buffer.index.index import open_index
from simpang_buffer.index.schema import READABLE_BY
from simpang_buffer.model import GapReason, StreamKey

KEY = StreamKey("gate", "main")
OLD = {int(path.stem[-4:]): path for path in Path(__file__).parent.glob("old_index_*.sql")}

# Migrates with the driver that the daemon uses, and is killed after so many steps of SQLite's machine.
MIGRATE = """
import asyncio, os, signal, sys
from pathlib import Path
import aiosqlite
from simpang_buffer.index.schema import bring_up_to_date

async def main():
    left = int(sys.argv[2])
    def step():
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0
    async with aiosqlite.connect(sys.argv[1], isolation_level=None) as writer:
        await writer.execute("pragma journal_mode = wal")
        await writer.execute("pragma foreign_keys = on")
        await writer.set_progress_handler(step, 10)
        await bring_up_to_date(writer, Path(sys.argv[1]))

asyncio.run(main())
"""


def old_index(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(OLD[version].read_text())


def structure(path: Path) -> dict[str, object]:
    """Tables, columns, keys, indexes, references, checks: what a schema is, however it was written down."""
    found: dict[str, object] = {}
    with closing(sqlite3.connect(path)) as raw:
        for name, without_rowid in raw.execute("select name, wr from pragma_table_list where type = 'table'"):
            columns = raw.execute(f"pragma table_xinfo({name})").fetchall()
            references = raw.execute(f"pragma foreign_key_list({name})").fetchall()
            indexes = {
                (index[2], index[3], tuple(raw.execute(f"pragma index_info({index[1]})")))
                for index in raw.execute(f"pragma index_list({name})")
            }
            (sql,) = raw.execute("select sql from sqlite_master where name = ?", (name,)).fetchone() or ("",)
            found[name] = (without_rowid, columns, references, indexes, sorted(checks(sql)))
        found["version"] = raw.execute("pragma user_version").fetchone()
        found["readable_by"] = raw.execute("select value from meta where key = 'readable_by'").fetchone()
    return found


def checks(sql: str) -> list[str]:
    sql = re.sub(r"--[^\n]*", "", sql)
    found = []
    for match in re.finditer(r"\bcheck \(", sql):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        found.append(" ".join(sql[match.end() : end - 1].split()))
    return found


def test_every_older_schema_has_a_fixture() -> None:
    assert sorted(OLD) == list(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize("version", OLD)
async def test_an_upgraded_index_is_a_fresh_one_with_the_old_rows(tmp_path: Path, version: int) -> None:
    await asyncio.to_thread(old_index, tmp_path / "index.db", version)

    async with open_index(tmp_path / "index.db") as index, open_index(tmp_path / "fresh.db"):
        rows = await index.segments(KEY, 0, 1 << 60)
        runs = await index.runs(KEY, 0, 1 << 60)
        gone = await index.gone(KEY, 0, 1 << 60)
        sub = await index.segments(StreamKey("gate", "sub"), 0, 1 << 60)

        assert await asyncio.to_thread(structure, tmp_path / "index.db") == await asyncio.to_thread(
            structure, tmp_path / "fresh.db"
        )
        assert [(row.run, row.seq, row.size_bytes, row.folder) for row in rows] == [
            (2, 0, 30_000, 1),
            (2, 1, 20_000, 1),
            (3, 0, 20_000, 1),
        ]
        assert [(run.run, run.previous_end, run.moved_us) for run in runs] == [
            (2, GapReason.CAMERA_REBOOT, 0),
            (3, GapReason.POWER, 0),
        ]
        assert [(one.reason, one.end_us - one.start_us) for one in gone] == [
            (GapReason.EVICTED, 60_000_000),
            (GapReason.DISK_ERROR, 10_000_000),
        ]
        assert (sub[0].codec, sub[0].width, sub[0].height) == ("hvc1.1.6.L93.B0", 640, 360)
        assert [path.name for path in await index.garbage()] == ["000007.mp4", "000008.mp4"]
        assert [pin.job for pin in await index.pins()] == ["job-1"]
        assert (await index.next_run(KEY), await index.settled_run(KEY)) == (4, 2)
        assert await index.meta("boot_id") == "b1"
        assert await index.faults() == []
        # And it goes on: what is added now is behind all that is there.
        assert [one.run for _, one in await index.in_order(0, 10)] == [2, 2, 1, 3]


async def test_an_index_is_backed_up_before_it_is_migrated(tmp_path: Path) -> None:
    await asyncio.to_thread(old_index, tmp_path / "index.db", 1)

    async with open_index(tmp_path / "index.db"):
        pass

    with closing(sqlite3.connect(backup_path(tmp_path / "index.db"))) as raw:
        assert raw.execute("pragma user_version").fetchone() == (1,)
        assert raw.execute("select count(*) from segment").fetchone() == (4,)


async def test_a_fresh_index_and_one_of_today_are_not_backed_up(tmp_path: Path) -> None:
    for _ in range(2):
        async with open_index(tmp_path / "index.db"):
            pass

    assert not backup_path(tmp_path / "index.db").exists()


def test_a_kill_within_a_migration_leaves_the_old_index_or_the_new_one(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.db"
    asyncio.run(opened(fresh))
    ends = set()
    for steps in (0, 40, 80, 120, 160, 200, 240, 280, 100_000):
        path = tmp_path / f"{steps}.db"
        old_index(path, 1)
        done = subprocess.run([sys.executable, "-c", MIGRATE, str(path), str(steps)], check=False, timeout=30)
        assert done.returncode in (0, -signal.SIGKILL)

        with closing(sqlite3.connect(path)) as raw:
            (version,) = raw.execute("pragma user_version").fetchone()
            assert raw.execute("pragma integrity_check").fetchone() == ("ok",)
            assert raw.execute("select count(*) from segment").fetchone() == (4,)
            assert raw.execute("select count(*) from garbage").fetchone() == (2,)
        ends.add((version, done.returncode))
        asyncio.run(opened(path))
        assert structure(path) == structure(fresh)

    # The kills were within it, and the last one was not killed.
    assert ends == {(1, -signal.SIGKILL), (SCHEMA_VERSION, 0)}


async def opened(path: Path) -> None:
    async with open_index(path) as index:
        assert await index.faults() == []


def newer(path: Path, readable_by: int) -> None:
    """A schema of tomorrow: one more column, one more table."""
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(
            f"""alter table segment add column lens text not null default '';
                create table lens (name text primary key);
                update meta set value = '{readable_by}' where key = 'readable_by';
                pragma user_version = {SCHEMA_VERSION + 1};"""
        )


async def test_an_additive_newer_index_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    await asyncio.to_thread(old_index, path, 1)
    async with open_index(path):
        pass
    await asyncio.to_thread(newer, path, READABLE_BY)

    async with open_index(path) as index:
        rows = await index.segments(KEY, 0, 1 << 60)
        async with index.db.transaction() as tx:
            await forget(tx, await stream_id_of(tx, KEY), rows[2])
        await index.add_segment(rows[2])

        assert await index.segments(KEY, 0, 1 << 60) == rows
        assert await index.faults() == []
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("pragma user_version").fetchone() == (SCHEMA_VERSION + 1,)
        assert raw.execute("select value from meta where key = 'readable_by'").fetchone() == (
            str(READABLE_BY),
        )


async def test_a_newer_index_that_we_cannot_read_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    async with open_index(path):
        pass
    await asyncio.to_thread(newer, path, SCHEMA_VERSION + 1)
    before = path.read_bytes()

    with pytest.raises(NewerSchema, match="install that version again, or move the file aside"):
        async with open_index(path):
            pass

    assert path.read_bytes() == before
