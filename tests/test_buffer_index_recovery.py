"""Whatever has become of the index, footage stays, recording can begin, and a rebuild is due until done."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from recordings import KEY, START_US, Take, recorded, written
from simpang_buffer.index import recovery
from simpang_buffer.index.backup import back_up, backup_path
from simpang_buffer.index.check import check
from simpang_buffer.index.errors import NewerSchema
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.opening import open_whole_index
from simpang_buffer.index.owners import note_site
from simpang_buffer.index.rebuild import Rebuild
from simpang_buffer.index.recovery import Due, drop_due, read_due, recover
from simpang_buffer.model import StreamKey

NOW_US = START_US + 3_600_000_000


async def recorded_here(data: Path, *, runs: int = 2, site: str = "site") -> None:
    async with open_index(data / "index.db") as index:
        index.media.mkdir()
        await note_site(index, site)
        for run in range(1, runs + 1):
            await recorded(index, Take(seconds=4, segment_s=2, run=run, start_us=START_US + run * 10**7))


async def recovered(data: Path) -> Due | None:
    return await asyncio.to_thread(recover, data / "index.db", data / "media", "site", NOW_US)


def media_files(data: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in (data / "media").rglob("*.mp4")}


async def rows(index: Index) -> int:
    return len(await index.segments(KEY, 0, START_US * 2))


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def drop_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("drop table meta")


FATES: dict[str, tuple[Callable[[Path], object], str]] = {
    "deleted": (lambda path: path.unlink(), "missing"),
    "emptied": (lambda path: os.truncate(path, 0), "missing"),
    "cut off": (lambda path: os.truncate(path, path.stat().st_size // 2), "damaged"),
    "cut within its head": (lambda path: os.truncate(path, 50), "damaged"),
    "no database": (lambda path: path.write_bytes(b"something else" * 500), "damaged"),
    "zeroed": (lambda path: overwrite(path, 0, bytes(8192)), "damaged"),
    "a page lost": (lambda path: overwrite(path, 8192, b"\xff" * 12_288), "damaged"),
    "a table missing": (drop_tables, "damaged"),
}


@pytest.mark.parametrize("fate", FATES)
async def test_an_index_that_is_no_more_is_rebuilt_and_kept(tmp_path: Path, fate: str) -> None:
    ruin, cause = FATES[fate]
    await recorded_here(tmp_path)
    path = tmp_path / "index.db"
    before = media_files(tmp_path)
    await asyncio.to_thread(ruin, path)
    ruined = path.read_bytes() if path.exists() else b""

    async with open_whole_index(path, tmp_path / "media", "site", NOW_US) as (index, due):
        assert due is not None
        assert (due.cause, due.from_backup, read_due(path)) == (cause, False, due)
        assert media_files(tmp_path) == before
        if due.aside is not None:
            assert (tmp_path / due.aside).read_bytes() == ruined
            assert due.aside.startswith("index.db.damaged-2025")
        assert (due.aside is None) == (fate == "deleted")

        await Rebuild(index, {1: MediaFiles(index.media)}, "site", rest=0).run()
        assert await rows(index) == 4
        assert await check(index.media, index, deep=True) == []
    assert media_files(tmp_path) == before


async def test_what_no_file_knows_is_saved_from_a_damaged_index(tmp_path: Path) -> None:
    """Holds, events and the facts of the last run, with the pages of segments gone."""
    await recorded_here(tmp_path)
    path = tmp_path / "index.db"
    async with open_index(path) as index:
        await index.set_meta("boot_id", "boot-1")
        async with index.db.transaction() as tx:
            await tx.run(
                """insert into hold (camera, start_us, end_us, reason, who, made_us)
                   values ('gate', 1, 2, 'asked for by the police', 'siti', 3)"""
            )
            await tx.run("insert into event (camera, kind, start_us) values ('gate', 'motion', 5)")
        ((page, size),) = await index.db.read(
            """select rootpage, (select page_size from pragma_page_size) from sqlite_master
               where name = 'segment'"""
        )
    overwrite(path, (page - 1) * size, b"\xff" * size)

    async with open_whole_index(path, tmp_path / "media", "site", NOW_US) as (index, due):
        assert due is not None and due.cause == "damaged" and due.salvaged
        holds = await index.db.read("select camera, reason, who from hold")
        events = await index.db.read("select camera, kind from event")
        assert await index.meta("boot_id") == "boot-1"
        # What is changed now is not undone by the next start.
        async with index.db.transaction() as tx:
            await tx.run("delete from hold")
    async with open_whole_index(path, tmp_path / "media", "site", NOW_US + 1) as (index, _):
        assert await index.db.read("select count(*) from hold") == [(0,)]

    assert holds == [("gate", "asked for by the police", "siti")]
    assert events == [("gate", "motion")]


async def test_a_good_backup_takes_its_place_and_the_rest_comes_from_the_files(tmp_path: Path) -> None:
    await recorded_here(tmp_path)
    path = tmp_path / "index.db"
    await asyncio.to_thread(back_up, path, backup_path(path))
    async with open_index(path) as index:
        # Since the backup: one run more, and the oldest file evicted.
        await recorded(index, Take(seconds=2, run=3, start_us=START_US + 3 * 10**7))
        (index.media / (await index.segments(KEY, 0, START_US * 2))[0].path).unlink()
    overwrite(path, 0, b"\0" * 100)

    async with open_whole_index(path, tmp_path / "media", "site", NOW_US) as (index, due):
        assert due is not None and due.from_backup
        assert await rows(index) == 4

        await Rebuild(index, {1: MediaFiles(index.media)}, "site", rest=0).run()

        assert [(row.run, row.seq) for row in await index.segments(KEY, 0, START_US * 2)] == [
            (1, 1), (2, 0), (2, 1), (3, 0),
        ]  # fmt: skip
        assert await check(index.media, index, deep=True) == []


async def test_a_backup_that_is_damaged_as_well_is_not_used(tmp_path: Path) -> None:
    await recorded_here(tmp_path)
    path = tmp_path / "index.db"
    await asyncio.to_thread(back_up, path, backup_path(path))
    for one in (path, backup_path(path)):
        overwrite(one, 4096, b"\xff" * 12_288)

    async with open_whole_index(path, tmp_path / "media", "site", NOW_US) as (index, due):
        assert due is not None and not due.from_backup
        assert await rows(index) == 0


async def test_a_rebuild_is_due_until_it_has_come_to_its_end(tmp_path: Path) -> None:
    await recorded_here(tmp_path)
    path = tmp_path / "index.db"
    path.unlink()
    async with open_whole_index(path, tmp_path / "media", "site", NOW_US) as (_, first):
        pass

    async with open_whole_index(path, tmp_path / "media", "site", NOW_US + 5) as (_, again):
        assert again == first
    await asyncio.to_thread(drop_due, path)
    async with open_whole_index(path, tmp_path / "media", "site", NOW_US + 9) as (_, none):
        assert none is None


@pytest.mark.parametrize("step", ["note", "move", "restore"])
async def test_a_crash_on_the_way_is_mended_by_the_next_start(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await recorded_here(tmp_path)
    path = tmp_path / "index.db"
    await asyncio.to_thread(back_up, path, backup_path(path))
    overwrite(path, 0, b"\0" * 100)
    with monkeypatch.context() as patched:
        # Where the power goes cannot be told in any other way.
        if step == "note":
            patched.setattr(Path, "rename", stop_at(Path.rename, "index.rebuild"))
        elif step == "move":
            patched.setattr(Path, "rename", stop_at(Path.rename, "index.db.damaged"))
        else:
            patched.setattr(Path, "replace", stop_at(Path.replace, "index.db"))
        with pytest.raises(PowerCut):
            await asyncio.to_thread(recover, path, tmp_path / "media", "site", NOW_US)

    async with open_whole_index(path, tmp_path / "media", "site", NOW_US) as (index, due):
        assert due is not None
        await Rebuild(index, {1: MediaFiles(index.media)}, "site", rest=0).run()
        assert await rows(index) == 4


class PowerCut(Exception):
    pass


def stop_at(act: Callable[[Path, Path], Path], name: str) -> Callable[[Path, Path], Path]:
    def stopping(self: Path, target: Path) -> Path:
        if target.name.startswith(name):
            raise PowerCut
        return act(self, target)

    return stopping


async def test_a_new_data_folder_has_nothing_to_rebuild(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()

    assert await recovered(tmp_path) is None


async def test_the_index_of_another_gateway_is_moved_aside(tmp_path: Path) -> None:
    """Somebody copied index.db from one gateway to another; its files are not here."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    await recorded_here(here)
    async with open_index(there / "index.db") as index:
        index.media.mkdir()
        await note_site(index, "pasar")
        await recorded(
            index, Take(seconds=4, segment_s=2, run=9, key=StreamKey("yard", "main"), site="pasar")
        )
    await asyncio.to_thread(shutil.copyfile, there / "index.db", here / "index.db")
    before = media_files(here)

    async with open_whole_index(here / "index.db", here / "media", "site", NOW_US) as (index, due):
        assert due is not None
        assert (due.cause, (due.aside or "").startswith("index.db.foreign-")) == ("foreign", True)
        await Rebuild(index, {1: MediaFiles(index.media)}, "site", rest=0).run()
        assert await rows(index) == 4
    assert media_files(here) == before


async def test_a_site_that_was_given_another_name_keeps_its_index_and_its_cameras(tmp_path: Path) -> None:
    await recorded_here(tmp_path)
    path = tmp_path / "index.db"

    async with open_whole_index(path, tmp_path / "media", "bundaran", NOW_US) as (index, due):
        assert due is None
        await note_site(index, "bundaran")
        await written(index.media, Take(seconds=2, run=3, site="bundaran", start_us=START_US + 3 * 10**7))
        await Rebuild(index, {1: MediaFiles(index.media)}, "bundaran", rest=0).run()

        assert [row.run for row in await index.segments(KEY, 0, START_US * 2)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("site", "marker", "cause"),
    [
        ("pasar", "marker-of-this-disk", None),  # the site was given another name
        ("pasar", "marker-of-another-disk", "foreign"),
        ("site", "marker-of-another-disk", None),  # another disk was put in
    ],
)
async def test_whose_an_index_is_is_told_by_site_and_marker(
    tmp_path: Path, site: str, marker: str, cause: str | None
) -> None:
    await recorded_here(tmp_path, site=site)
    async with open_index(tmp_path / "index.db") as index, index.db.transaction() as tx:
        await tx.run(
            "insert or replace into folder (id, marker, path) values (1, 'marker-of-this-disk', 'media')"
        )
    (tmp_path / "media" / "simpang-folder").write_text(f"{marker}\n")

    due = await recovered(tmp_path)

    assert (due.cause if due is not None else None) == cause


async def test_a_newer_index_is_never_moved_aside(tmp_path: Path) -> None:
    await recorded_here(tmp_path)
    with closing(sqlite3.connect(tmp_path / "index.db")) as raw, raw:
        raw.execute("update meta set value = '99' where key = 'readable_by'")
        raw.execute("pragma user_version = 99")

    with pytest.raises(NewerSchema):
        async with open_whole_index(tmp_path / "index.db", tmp_path / "media", "site", NOW_US):
            pass

    assert [path.name for path in tmp_path.glob("index*")] == ["index.db"]


def test_a_note_that_cannot_be_read_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "index.rebuild").write_text('{"cause": ')

    assert read_due(tmp_path / "index.db") == Due("missing", 0, detail="the note of a rebuild cannot be read")
    assert recovery.CAUSES == ("missing", "damaged", "foreign", "by-hand")
