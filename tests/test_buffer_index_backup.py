"""The index has a copy of one moment, made beside its writer, whole and durable before it is called one."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path

import pytest

from recordings import KEY, START_US, Take, recorded
from simpang_buffer.index.backup import back_up, backup_path, damage, restore
from simpang_buffer.index.index import open_index


class Stopped(Exception):
    """The power went."""


async def filled(path: Path, rows: int) -> None:
    async with open_index(path) as index:
        index.media.mkdir(exist_ok=True)
        await recorded(index, Take(seconds=4, segment_s=2))
        async with index.db.transaction() as tx:
            await tx.run_many(
                "insert into meta values (?, ?)", [(f"filler-{n}", "x" * 500) for n in range(rows)]
            )


async def test_a_backup_holds_what_was_committed_when_it_began(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    await filled(path, 4000)
    changes: list[str] = []

    async with open_index(path) as index:
        loop = asyncio.get_running_loop()

        def change(seconds: float) -> None:
            """The writer goes on in the middle of the copy."""
            if len(changes) < 5:
                changes.append(f"later-{len(changes)}")
                asyncio.run_coroutine_threadsafe(index.set_meta(changes[-1], "1"), loop).result()

        done = await asyncio.to_thread(back_up, path, backup_path(path), pause=change)

        assert (done.skipped, len(changes)) == (None, 5)
        assert await index.meta("later-4") == "1"
    assert done.size_bytes == backup_path(path).stat().st_size > 2_000_000
    assert await asyncio.to_thread(damage, backup_path(path)) is None
    with closing(sqlite3.connect(backup_path(path))) as raw:
        assert raw.execute("select count(*) from meta where key like 'later%'").fetchone() == (0,)
        assert raw.execute("select count(*) from segment").fetchone() == (2,)


async def test_no_write_waits_for_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    await filled(path, 8000)
    async with open_index(path) as index:
        copying = asyncio.create_task(asyncio.to_thread(back_up, path, backup_path(path)))
        taken = []
        while not copying.done():
            began = time.monotonic()
            await index.set_meta("now", str(began))
            taken.append(time.monotonic() - began)

        # The slowest says what else goes on with this disk; tests/bench/start.py measures it on a quiet one.
        assert (await copying).skipped is None
        assert len(taken) >= 5
        assert statistics.median(taken) < 0.05


@pytest.mark.parametrize("steps", [0, 1, 3])
async def test_a_backup_that_was_cut_off_leaves_the_one_before(tmp_path: Path, steps: int) -> None:
    path, target = tmp_path / "index.db", backup_path(tmp_path / "index.db")
    await filled(path, 2000)
    await asyncio.to_thread(back_up, path, target)
    before = target.read_bytes()
    await asyncio.to_thread(add_meta, path)
    left = steps

    def stop(seconds: float) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopped

    with pytest.raises(Stopped):
        await asyncio.to_thread(back_up, path, target, pause=stop)

    assert target.read_bytes() == before
    assert not target.with_name(target.name + ".new").exists()


def add_meta(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("insert into meta values ('more', '1')")


async def test_a_backup_is_skipped_with_a_reason_where_space_is_short(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    await filled(path, 10)

    done = await asyncio.to_thread(back_up, path, backup_path(path), free_bytes=lambda folder: 50 << 20)

    assert done.skipped is not None
    assert "only 50 MB are free" in done.skipped
    assert not backup_path(path).exists()


async def test_a_damaged_index_does_not_take_the_place_of_a_good_backup(tmp_path: Path) -> None:
    path, target = tmp_path / "index.db", backup_path(tmp_path / "index.db")
    await filled(path, 2000)
    await asyncio.to_thread(back_up, path, target)
    before = target.read_bytes()
    with path.open("r+b") as file:
        # A page within the rows of meta, as a bad sector would leave it.
        file.seek(path.stat().st_size // 8192 * 4096)
        file.write(b"\xff" * 4096)

    done = await asyncio.to_thread(back_up, path, target)

    assert done.skipped is not None
    assert "damaged" in done.skipped
    assert target.read_bytes() == before


async def test_a_backup_is_restored_if_it_is_good(tmp_path: Path) -> None:
    path, target = tmp_path / "index.db", backup_path(tmp_path / "index.db")
    assert not await asyncio.to_thread(restore, target, path)
    await filled(path, 100)
    await asyncio.to_thread(back_up, path, target)
    path.unlink()

    assert await asyncio.to_thread(restore, target, path)

    async with open_index(path) as index:
        assert len(await index.segments(KEY, 0, START_US * 2)) == 2
    await asyncio.to_thread(back_up, path, target)
    path.unlink()
    target.write_bytes(target.read_bytes()[:-5000])
    assert not await asyncio.to_thread(restore, target, path)
    assert not path.exists()
