"""Media folders: told apart by their markers, chosen by their room, and never missed at the cost of a row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from recordings import KEY, START_US, Take, index_all, written
from simpang_buffer.index.absence import unavailable
from simpang_buffer.index.adoption import adopt
from simpang_buffer.index.check import check
from simpang_buffer.index.folder_choice import Chosen, Folder, FolderState, choose
from simpang_buffer.index.folder_identity import FolderPlan
from simpang_buffer.index.folder_sight import MARKER_FILE
from simpang_buffer.index.folders import Folders
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.rebuild import Rebuild
from simpang_buffer.index.space import Limits, Space
from simpang_buffer.model import GapReason, Segment
from simpang_buffer.reading.coverage import coverage

GB = 10**9
HOUR_US = 3_600_000_000
ALL = (0, START_US * 2)


def limits(total_bytes: int) -> Limits:
    return Limits(total_bytes * 9 // 10, 0, 30)


@dataclass
class Site:
    """An index with its first folder, and a second one that is a plain directory."""

    index: Index
    second: Path
    now_us: int = START_US
    now_s: float = 0.0
    came: list[int] = field(default_factory=list)

    @property
    def media(self) -> Path:
        return self.index.media

    def folders(self, *plans: FolderPlan, site: str = "digulis") -> Folders:
        first = FolderPlan(self.media, limits, first=True)
        return Folders(
            self.index,
            site,
            [first, *(plans or (FolderPlan(self.second, limits, mount=False),))],
            data=self.media.parent,
            now_us=lambda: self.now_us,
            monotonic=lambda: self.now_s,
            came=self.came.append,
        )

    async def states(self, folders: Folders) -> dict[str, str]:
        await folders.look()
        return {one.path.name: one.state.value for one in folders.folders}


@pytest_asyncio.fixture
async def at(tmp_path: Path) -> AsyncIterator[Site]:
    for name in ("second", "data", "data/media"):
        (tmp_path / name).mkdir()
    async with open_index(tmp_path / "data" / "index.db") as index:
        yield Site(index, tmp_path / "second")


async def in_second(at: Site, **changes: object) -> list[Segment]:
    """A run of three files that lies in folder 2."""
    take = replace(Take(seconds=6, segment_s=2, run=2), **changes)  # type: ignore[arg-type]  # fields of Take
    recording = await written(at.second, take, folder=2)
    await index_all(at.index, recording)
    return recording.rows


def of(id_: int, *, free: float, state: FolderState = FolderState.PRESENT) -> Folder:
    """A folder of 1000 GB of which this share is free."""
    space = Space(1000 * GB, int(1000 * GB * free))
    used = 1000 * GB - space.free_bytes
    return Folder(id_, Path(f"/{id_}"), state, space=space, limits=Limits(1000 * GB, 0, 30), used_bytes=used)


def order(
    folders: list[Folder], chosen: Chosen | None = None, oldest: int | None = None, now_us: int = 0
) -> list[int]:
    return [one.id for one in choose(folders, now_us, chosen, oldest)]


# Choosing


def test_files_go_where_the_largest_share_is_free() -> None:
    assert order([of(1, free=0.2), of(2, free=0.7), of(3, free=0.5)]) == [2, 3, 1]


def test_files_stay_where_they_go_until_another_folder_is_better_by_a_tenth() -> None:
    chosen = Chosen(1, 0)

    assert order([of(1, free=0.50), of(2, free=0.59)], chosen) == [1, 2]
    assert order([of(1, free=0.50), of(2, free=0.61)], chosen) == [2, 1]


def test_once_all_are_full_to_their_limits_files_go_where_the_oldest_footage_lies_for_an_hour_at_least() -> (
    None
):
    full = [of(1, free=0.0), of(2, free=0.001)]

    assert order(full, None, oldest=2) == [2, 1]
    assert order(full, Chosen(1, 0), oldest=2, now_us=HOUR_US - 1) == [1, 2]
    assert order(full, Chosen(1, 0), oldest=2, now_us=HOUR_US) == [2, 1]


def test_a_folder_with_room_comes_before_one_that_would_have_to_evict() -> None:
    assert order([of(1, free=0.0), of(2, free=0.05)], Chosen(1, 0), oldest=1) == [2, 1]


def test_a_full_folder_and_a_failing_one_come_last_and_the_others_not_at_all() -> None:
    states = FolderState
    folders = [
        of(1, free=0.9, state=states.FAILING),
        of(2, free=0.9, state=states.FULL),
        of(3, free=0.9, state=states.MISSING),
        of(4, free=0.9, state=states.FOREIGN),
        of(5, free=0.9, state=states.DRAINING),
        of(6, free=0.1),
    ]

    assert order(folders, Chosen(1, 0)) == [6, 2, 1]


# Telling them apart


async def test_a_folder_gets_its_marker_when_it_is_first_used_and_keeps_its_number(at: Site) -> None:
    found = [await at.states(at.folders()), await at.states(at.folders())]

    assert found == [{"media": "present", "second": "present"}] * 2
    marker = json.loads((at.second / MARKER_FILE).read_text())
    rows = await at.index.db.read("select id, marker, path, apart from folder order by id")
    assert rows[1] == (2, marker["id"], str(at.second), 0)
    assert (marker["v"], marker["site"]) == (1, "digulis")
    assert [row[0] for row in rows] == [1, 2]


async def test_footage_of_an_older_release_needs_no_marker(at: Site) -> None:
    recording = await written(at.media, Take(seconds=4))
    await index_all(at.index, recording)

    assert (await at.states(at.folders()))["media"] == "present"
    assert (at.media / MARKER_FILE).exists()
    assert await check(at.media, at.index) == []


async def test_a_further_folder_without_a_disk_of_its_own_is_not_written_to(at: Site) -> None:
    folders = at.folders(FolderPlan(at.second, limits))

    assert await at.states(folders) == {"media": "present", "second": "missing"}
    assert list(at.second.iterdir()) == []
    assert "no disk is mounted here" in folders.folders[1].words
    assert [one.id for one in folders.ordered] == [1]


async def test_a_folder_that_had_a_disk_is_missing_without_its_marker_whatever_lies_there(at: Site) -> None:
    folders = at.folders()
    await folders.look()
    async with at.index.db.transaction() as tx:
        await tx.run("update folder set apart = 1 where id = 2")
    (at.second / MARKER_FILE).unlink()

    folders = at.folders()
    states = await at.states(folders)

    assert states["second"] == "missing"
    assert list(at.second.iterdir()) == []
    assert folders.folders[1].id == 2


async def test_another_sites_disk_is_left_alone(at: Site) -> None:
    text = json.dumps({"v": 1, "site": "elsewhere", "id": "0" * 32})
    (at.second / MARKER_FILE).write_text(text)

    folders = at.folders()
    states = await at.states(folders)

    assert states["second"] == "foreign"
    assert "'elsewhere'" in folders.folders[1].words
    assert [path.name for path in at.second.iterdir()] == [MARKER_FILE]
    assert (at.second / MARKER_FILE).read_text() == text
    assert [one.folder for one in folders.files()] == [1]


async def test_a_marker_of_this_site_that_the_index_has_lost_is_taken_up_again(at: Site) -> None:
    await at.folders().look()
    async with at.index.db.transaction() as tx:
        await tx.run("delete from folder")
    markers = [(path / MARKER_FILE).read_text() for path in (at.media, at.second)]

    states = await at.states(at.folders())

    assert set(states.values()) == {"present"}
    assert [(path / MARKER_FILE).read_text() for path in (at.media, at.second)] == markers
    assert await at.index.db.read("select id from folder order by id") == [(1,), (2,)]


async def test_a_site_that_was_renamed_keeps_its_folders(at: Site) -> None:
    await at.folders().look()

    assert set((await at.states(at.folders(site="renamed"))).values()) == {"present"}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"v":1,"site":"digulis","id":"../../x"}', '{"site":3,"id":"' + "0" * 32 + '"}']
)
async def test_a_marker_that_cannot_be_read_is_nobodys(at: Site, text: str) -> None:
    (at.second / MARKER_FILE).write_text(text)

    assert (await at.states(at.folders()))["second"] == "foreign"


async def test_a_copy_of_a_folder_is_not_used_beside_it(at: Site, tmp_path: Path) -> None:
    third = tmp_path / "third"
    third.mkdir()
    plans = [FolderPlan(path, limits, mount=False) for path in (at.second, third)]
    await at.folders(plans[0]).look()
    (third / MARKER_FILE).write_bytes((at.second / MARKER_FILE).read_bytes())

    folders = at.folders(*plans)

    assert await at.states(folders) == {"media": "present", "second": "present", "third": "foreign"}


async def test_a_folder_that_moved_is_known_by_its_marker(at: Site, tmp_path: Path) -> None:
    rows = await in_second(at)
    await at.folders().look()
    elsewhere = at.second.rename(tmp_path / "elsewhere")

    folders = at.folders(FolderPlan(elsewhere, limits, mount=False))
    await folders.look()

    assert [one.id for one in folders.folders] == [1, 2]
    assert at.index.path_of(rows[0]).exists()
    assert await check(at.media, at.index, folders=folders.files()) == []


async def test_a_folder_that_left_the_configuration_is_read_and_not_written_to(at: Site) -> None:
    folders = at.folders()
    await folders.look()
    await in_second(at)

    alone = at.folders(FolderPlan(at.second.parent / "other", limits, mount=False))

    assert await at.states(alone) == {"media": "present", "other": "missing", "second": "draining"}
    assert [one.id for one in alone.ordered] == [1]


# Going and coming


async def test_footage_of_a_missing_folder_is_unavailable_and_comes_back_with_it(
    at: Site, tmp_path: Path
) -> None:
    folders = at.folders()
    await folders.look()
    first = await written(at.media, Take(seconds=6, run=1))
    await index_all(at.index, first)
    await in_second(at, start_us=START_US + 6_000_000)
    end_us = START_US + 12_000_000

    async def covered() -> tuple[list[tuple[int, int]], list[tuple[int, int, str]]]:
        found = await coverage(at.index, lambda key: None, KEY, START_US, end_us, end_us, GapReason.DISABLED)
        return [(one.start_us, one.end_us) for one in found.spans], [
            (gap.start_us, gap.end_us, gap.reason.value) for gap in found.gaps
        ]

    before = await covered()
    at.came.clear()
    aside = at.second.rename(tmp_path / "pulled")
    states = await at.states(folders)
    gone = await covered()
    aside.rename(at.second)
    back = await at.states(folders)

    assert states == {"media": "present", "second": "missing"}
    assert before[0][-1][1] == end_us
    assert gone == ([(START_US, START_US + 6_000_000)], [(START_US + 6_000_000, end_us, "disk-error")])
    assert back["second"] == "present"
    assert await covered() == before
    assert at.came == [2]


async def test_no_row_is_touched_for_a_folder_that_is_missing(at: Site, tmp_path: Path) -> None:
    folders = at.folders()
    await folders.look()
    rows = await in_second(at)
    await at.index.condemn(rows[:1], GapReason.EVICTED)
    at.second.rename(tmp_path / "pulled")
    await folders.look()

    for files in folders.files():
        await empty_garbage(at.index, files)
    found = await check(at.media, at.index, folders=folders.files(), repair=True)

    assert found == []
    assert await at.index.garbage(2) == [rows[0].path]
    assert len(await at.index.segments(KEY, *ALL)) == 2
    assert len(await unavailable(at.index, KEY, *ALL)) == 1

    (tmp_path / "pulled").rename(at.second)
    await folders.look()
    for files in folders.files():
        await empty_garbage(at.index, files)

    assert await at.index.garbage() == []
    assert not (at.second / rows[0].path).exists()
    assert await check(at.media, at.index, folders=folders.files()) == []


async def test_a_disk_that_goes_while_it_is_looked_through_loses_no_row(at: Site, tmp_path: Path) -> None:
    """A cable that makes contact for a second: what is not found then was not removed."""
    folders = at.folders()
    await folders.look()
    rows = await in_second(at)
    files = {one.folder: one for one in folders.files()}
    at.second.rename(tmp_path / "pulled")
    at.second.mkdir()

    with pytest.raises(OSError, match="has gone"):
        await Rebuild(at.index, {2: files[2]}, "digulis").run()

    assert await at.index.segments(KEY, *ALL) == rows
    assert await at.index.garbage(2) == []


async def test_the_first_folder_is_used_though_nothing_can_be_noted_of_it(at: Site) -> None:
    """A disk that was full when the gateway was brought up to date: only what is used can be evicted from."""
    (at.media / (MARKER_FILE + ".new")).mkdir()  # the marker cannot be written
    folders = at.folders()

    states = await at.states(folders)
    spaces = await asyncio.to_thread(folders.spaces)

    assert states["media"] == "present"
    assert (folders.ordered[0].id, 1 in spaces) == (1, True)


async def test_nothing_is_made_under_the_mount_point_of_the_data_folder(at: Site, tmp_path: Path) -> None:
    folders = at.folders()
    await folders.look()
    data = at.media.parent
    data.rename(tmp_path / "pulled")
    data.mkdir()

    gone = await at.states(folders)
    under = list(data.iterdir())
    ordered = [one.id for one in folders.ordered]
    data.rmdir()
    (tmp_path / "pulled").rename(data)

    assert gone == {"media": "missing", "second": "present"}
    assert (under, ordered) == ([], [2])
    assert (await at.states(folders))["media"] == "present"


async def test_a_run_over_two_folders_is_adopted_whole(at: Site) -> None:
    """The last row of a run may lie in another folder than the files that no row knows."""
    folders = at.folders()
    await folders.look()
    run = await written(at.media, Take(seconds=8, segment_s=2, run=1))
    for number in (1, 3):
        path = run.rows[number].path
        (at.second / path).parent.mkdir(parents=True, exist_ok=True)
        (at.media / path).rename(at.second / path)
    await at.index.add_run(run.files[0].head.header, 160, 120)
    await at.index.add_segment(run.rows[2])

    for files in folders.files():
        await adopt(files.root, at.index, files=files)

    rows = await at.index.segments(KEY, *ALL)
    assert [(row.seq, row.folder) for row in rows] == [(0, 1), (1, 2), (2, 1), (3, 2)]
    assert await check(at.media, at.index, deep=True, folders=folders.files()) == []


async def test_a_disk_that_failed_rests_longer_each_time(at: Site) -> None:
    folders = at.folders()
    await folders.look()
    states = []

    for wait_s in (30, 31, 61, 100, 121):
        if wait_s in (30, 61):
            folders.note_fault(2, GapReason.DISK_ERROR, "Input/output error")
        at.now_s += wait_s
        states.append((await at.states(folders))["second"])

    assert states == ["failing", "present", "failing", "present", "present"]


async def test_all_streams_that_fail_at_once_are_one_failure(at: Site) -> None:
    folders = at.folders()
    await folders.look()
    for _ in range(16):
        folders.note_fault(2, GapReason.DISK_ERROR, "Input/output error")

    at.now_s += 61

    assert (await at.states(folders))["second"] == "present"


async def test_a_disk_that_does_not_answer_is_given_some_seconds_and_then_not_waited_for(
    at: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simpang_buffer.index import folders as module

    folders = at.folders()
    await folders.look()
    see, answers = module.see, asyncio.Event()
    loop = asyncio.get_running_loop()

    def hangs(path: Path, **options: object) -> object:
        if path == at.second and not answers.is_set():
            asyncio.run_coroutine_threadsafe(answers.wait(), loop).result(20)
        return see(path, **options)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(module, "see", hangs)
    monkeypatch.setattr(module, "_ANSWER_S", 0.05)
    states = [(await at.states(folders))["second"] for _ in range(4)]
    answers.set()
    async with asyncio.timeout(5):
        while (await at.states(folders))["second"] != "present":
            await asyncio.sleep(0.01)

    assert states == ["present", "present", "missing", "missing"]
    assert [one.id for one in folders.ordered] == [1, 2]
