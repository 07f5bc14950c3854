"""Files that no row knows are adopted up to their last right seal, or removed; the tree is not walked."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from media_files import decode_errors, probe
from recordings import KEY, SECOND_US, START_US, Take, index_all, recorded, written
from simpang_buffer.index.adoption import adopt
from simpang_buffer.index.check import check
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.media.boxes import Scan
from simpang_buffer.media.seal import SEAL_BYTES
from simpang_buffer.model import GapReason, Segment, StreamKey, segment_path


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


async def rows(index: Index) -> list[Segment]:
    return await index.segments(KEY, 0, START_US * 2)


async def test_a_file_left_open_is_adopted_as_the_recorder_would_have_closed_it(index: Index) -> None:
    await written(index.media, Take(seconds=5, previous_end=GapReason.POWER), close=False)
    twin = index.media.parent / "twin"
    twin.mkdir()
    closed = await written(twin, Take(seconds=5, previous_end=GapReason.POWER))

    report = await adopt(index.media, index)

    assert report.adopted == tuple(closed.rows)
    assert await rows(index) == closed.rows
    path = closed.rows[0].path
    assert (index.media / path).read_bytes() == (twin / path).read_bytes()
    run = await index.newest_run(KEY)
    assert run is not None and run.previous_end is GapReason.POWER
    assert await check(index.media, index, deep=True) == []


@pytest.mark.parametrize(
    "tail", ["torn in mdat", "torn in seal", "zeroed", "foreign bytes behind", "altered"]
)
async def test_a_torn_tail_is_cut_behind_the_last_right_seal(index: Index, tail: str) -> None:
    recording = await written(index.media, Take(seconds=5), close=False)
    file = recording.files[0]
    path, last = file.path, file.fragments[-1]
    whole = path.read_bytes()
    seal_at = last.offset + last.size_bytes
    damaged = {
        "torn in mdat": whole[: seal_at - 100],
        "torn in seal": whole[: seal_at + SEAL_BYTES - 1],
        "zeroed": whole[: last.offset] + bytes(len(whole) - last.offset),
        "foreign bytes behind": whole + b"\0\0\0\x10moof" + bytes(5000),
        "altered": whole[: seal_at - 7] + b"#" + whole[seal_at - 6 :],
    }[tail]
    path.write_bytes(damaged)
    kept = len(file.fragments) - (tail != "foreign bytes behind")

    report = await adopt(index.media, index)

    (row,) = report.adopted
    assert row.fragments == kept
    assert row.end_us == file.fragments[kept - 1].end_us
    assert row.size_bytes == path.stat().st_size
    assert probe(path).frames == row.frames == sum(one.frames for one in file.fragments[:kept])
    assert decode_errors(path) == ""
    assert await check(index.media, index, deep=True) == []


@pytest.mark.parametrize("content", [b"", bytes(4096), b"\0\0\0\x1cftypiso6", b"\xff" * 100])
async def test_a_file_without_a_fragment_is_removed(index: Index, content: bytes) -> None:
    await recorded(index, Take(seconds=2, run=1))
    path = index.media / segment_path(KEY, 2, 0)
    path.parent.mkdir()
    path.write_bytes(content)

    report = await adopt(index.media, index)

    assert report.removed == (segment_path(KEY, 2, 0),)
    assert not path.parent.exists()
    assert await check(index.media, index, deep=True) == []


async def test_a_header_without_a_fragment_is_removed(index: Index) -> None:
    recording = await written(index.media, Take(seconds=2), close=False)
    file = recording.files[0]
    file.path.write_bytes(file.path.read_bytes()[: file.fragments[0].offset + 40])

    report = await adopt(index.media, index)

    assert (report.adopted, report.removed) == ((), (segment_path(KEY, 1, 0),))
    assert await check(index.media, index) == []


async def test_adopting_twice_changes_nothing(index: Index) -> None:
    await written(index.media, Take(seconds=3), close=False)
    await adopt(index.media, index)
    before = (await rows(index), await index.stream_totals())

    again = await adopt(index.media, index)

    assert (again.adopted, again.removed, again.problems) == ((), (), ())
    assert (await rows(index), await index.stream_totals()) == before


async def test_files_behind_the_last_known_one_are_found_in_every_run_since(index: Index) -> None:
    known = await written(index.media, Take(seconds=6, segment_s=2, run=1))
    await adopt(index.media, index)
    # Run 2 ended with a file whose sync failed; run 3 went on and was indexed; run 4 was never heard of.
    broken = await written(index.media, Take(seconds=4, segment_s=2, run=2), close=False)
    await index_all(index, broken)
    await recorded(index, Take(seconds=2, run=3))
    unheard = await written(index.media, Take(seconds=4, segment_s=2, run=4), close=False)

    report = await adopt(index.media, index)

    assert len(known.rows) == 3
    assert [(row.run, row.seq) for row in report.adopted] == [(2, 1), (4, 0), (4, 1)]
    assert len(unheard.files) == 2
    assert await check(index.media, index, deep=True) == []
    assert await index.next_run(KEY) == 5


class Watched(MediaFiles):
    """Remembers which runs' folders are listed whole."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.listed: list[int] = []
        self.asked = 0

    def segments(self, key: StreamKey, run: int) -> list[int]:
        self.listed.append(run)
        return super().segments(key, run)

    def size(self, path: Path) -> int | None:
        self.asked += 1
        return super().size(path)


async def test_a_start_does_not_walk_what_was_adopted_before(index: Index) -> None:
    for run in range(1, 6):
        await recorded(index, Take(seconds=4, segment_s=1, run=run, start_us=START_US + run * 10 * SECOND_US))
    await adopt(index.media, index)
    files = Watched(index.media)

    await adopt(index.media, index, files=files)

    # Known runs are never listed; only the newest is asked for files behind its last.
    assert files.listed == []
    assert files.asked <= 8


async def test_only_the_streams_named_are_touched(index: Index) -> None:
    other = StreamKey("gate", "sub")
    await written(index.media, Take(seconds=2), close=False)
    recording = await written(index.media, Take(seconds=2, key=other), close=False)
    open_bytes = recording.files[0].path.read_bytes()

    report = await adopt(index.media, index, [KEY])

    assert [row.key for row in report.adopted] == [KEY]
    assert recording.files[0].path.read_bytes() == open_bytes


async def test_a_lost_index_is_rebuilt_from_the_files(tmp_path: Path) -> None:
    async with open_index(tmp_path / "index.db") as index:
        index.media.mkdir()
        await recorded(index, Take(seconds=6, segment_s=2, run=1))
        await recorded(
            index, Take("h265", 4, 2, START_US + 60 * SECOND_US, 2, previous_end=GapReason.UNREACHABLE)
        )
        before = (await rows(index), await index.runs(KEY, 0, START_US * 2), await index.stream_totals())
    for name in os.listdir(tmp_path):
        if name.startswith("index.db"):
            (tmp_path / name).unlink()

    async with open_index(tmp_path / "index.db") as rebuilt:
        await adopt(rebuilt.media, rebuilt)

        after = (await rows(rebuilt), await rebuilt.runs(KEY, 0, START_US * 2), await rebuilt.stream_totals())
        assert after == before
        assert await check(rebuilt.media, rebuilt, deep=True) == []


async def test_a_file_under_another_name_is_set_aside_not_adopted_nor_lost(index: Index) -> None:
    recording = await written(index.media, Take(seconds=2, run=1))
    content = recording.files[0].path.read_bytes()
    stray = index.media / segment_path(StreamKey("yard", "main"), 9, 3)
    stray.parent.mkdir(parents=True)
    recording.files[0].path.rename(stray)

    report = await adopt(index.media, index)

    (aside,) = report.aside
    assert (index.media / aside).read_bytes() == content
    assert report.adopted == ()
    assert await check(index.media, index, deep=True) == []


async def test_folders_that_are_not_ours_are_passed_over(index: Index) -> None:
    for name in ("lost+found", "GATE/main/000001", "gate/.hidden/000001", "gate/main/old"):
        folder = index.media / name
        folder.mkdir(parents=True)
        (folder / "000000.mp4").write_bytes(b"mine")
    (index.media / "gate" / "main" / "000001").symlink_to(index.media / "lost+found")

    report = await adopt(index.media, index)

    assert (report.adopted, report.removed, report.aside, report.problems) == ((), (), (), ())
    assert (index.media / "lost+found" / "000000.mp4").read_bytes() == b"mine"


async def test_a_file_that_cannot_be_read_is_reported_and_tried_again(index: Index) -> None:
    recording = await written(index.media, Take(seconds=2), close=False)
    path = segment_path(KEY, 1, 0)

    class Broken(MediaFiles):
        def close_torn(self, path: Path, scanned: object) -> None:
            raise OSError(5, "Input/output error")

    report = await adopt(index.media, index, files=Broken(index.media))

    assert [problem.path for problem in report.problems] == [path]
    assert recording.files[0].path.exists()
    assert [row.path for row in (await adopt(index.media, index)).adopted] == [path]


async def test_a_file_refused_by_the_disk_once_is_adopted_though_later_ones_were(index: Index) -> None:
    recording = await written(index.media, Take(seconds=6, segment_s=2), close=False)
    assert len(recording.files) == 3

    class Refusing(MediaFiles):
        def read_back(self, path: Path) -> Scan:
            if path == segment_path(KEY, 1, 0):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read_back(path)

    first = await adopt(index.media, index, files=Refusing(index.media))
    second = await adopt(index.media, index)
    third = await adopt(index.media, index)

    assert [problem.path for problem in first.problems] == [segment_path(KEY, 1, 0)]
    assert [one.seq for one in first.adopted] == [1, 2]
    assert [one.seq for one in second.adopted] == [0]
    assert (third.adopted, third.problems) == ((), ())
    assert await check(index.media, index, deep=True) == []
