"""The power goes between any two steps of delete, adopt and repair: the next start leaves everything true."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from recordings import KEY, SECOND_US, START_US, Take, forget_row, index_all, recorded, written
from simpang_buffer.index.adoption import adopt
from simpang_buffer.index.check import check
from simpang_buffer.index.database import open_database
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.retention import Limits, Retention, Space
from simpang_buffer.model import FIRST_FOLDER, GapReason, segment_path
from stopping import Countdown, PowerCut, StoppingFiles, StoppingIndex

# One piece of work on a data folder, which stops where the countdown says.
Work = Callable[[StoppingIndex, StoppingFiles], Awaitable[object]]


async def recording_that_lost_its_end(index: Index) -> None:
    """A closed run, then one with a torn file, one without a fragment and one under a wrong name."""
    await recorded(index, Take(seconds=4, segment_s=2, run=1))
    torn = await written(index.media, Take(seconds=4, segment_s=2, run=2), close=False)
    await index_all(index, torn)
    path = torn.files[-1].path
    await asyncio.to_thread(path.write_bytes, path.read_bytes()[:-50])
    empty = await written(index.media, Take(seconds=2, run=3), close=False)
    await asyncio.to_thread(empty.files[0].path.write_bytes, b"\0" * 700)
    misnamed = await written(index.media, Take(seconds=2, run=4))
    await asyncio.to_thread(misnamed.files[0].path.rename, index.media / segment_path(KEY, 4, 1))


async def adopt_all(index: StoppingIndex, files: StoppingFiles) -> None:
    await adopt(files.root, index, files=files)


async def evict_most(index: StoppingIndex, files: StoppingFiles) -> None:
    await adopt(files.root, index, files=files)
    retention = Retention(
        index,
        lambda total: Limits(max_bytes=30_000, min_free_bytes=0, max_days=1000),
        now_us=lambda: START_US + 100 * SECOND_US,
        clock_trusted=lambda: True,
        files=files,
        spaces=lambda: {FIRST_FOLDER: Space(1 << 40, 1 << 39)},
    )
    await retention.run_once()


async def repair_all(index: StoppingIndex, files: StoppingFiles) -> None:
    await check(files.root, index, deep=True, repair=True, files=files)


async def damage(index: Index) -> None:
    """A short file, a missing one and an unknown one in a run that was settled long ago."""
    run = await recorded(index, Take(seconds=8, segment_s=2, run=1))
    await recorded(index, Take(seconds=2, run=2, start_us=START_US + 60 * SECOND_US))
    await index.settle(KEY, 2)
    first, second, third, _ = (file.path for file in run.files)
    await asyncio.to_thread(first.write_bytes, first.read_bytes()[: len(first.read_bytes()) * 2 // 3])
    await asyncio.to_thread(second.unlink)
    await forget_row(index, run.rows[2])
    assert third.exists()


async def stop_after(data: Path, steps: int | None, work: Work) -> bool:
    """Runs the work with only so many steps; whether it came to its end."""
    countdown = Countdown(steps)
    async with open_database(data / "index.db") as database:
        index = StoppingIndex(database, data / "media", countdown)
        try:
            await work(index, StoppingFiles(data / "media", countdown))
        except PowerCut:
            return False
        # A file's trouble is reported, and a power cut is no trouble of a file.
        return countdown.left is None or countdown.done < countdown.left


@pytest.mark.parametrize(
    ("before", "work"),
    [
        (recording_that_lost_its_end, adopt_all),
        (recording_that_lost_its_end, evict_most),
        (damage, repair_all),
    ],
    ids=["adopt", "evict", "repair"],
)
async def test_power_may_go_between_any_two_steps(
    tmp_path: Path, before: Callable[[Index], Awaitable[None]], work: Work
) -> None:
    ends = []
    for steps in range(100):
        data = tmp_path / str(steps)
        (data / "media").mkdir(parents=True)
        async with open_index(data / "index.db") as index:
            await before(index)
        finished = await stop_after(data, steps, work)
        # And again, so that a start that is itself cut off is covered.
        await stop_after(data, steps // 2, work)

        async with open_index(data / "index.db") as index:
            await work_to_the_end(data, work)

            assert await check(index.media, index, deep=True) == [], f"after {steps} steps"
            assert await index.garbage() == []
            found = await index.segments(KEY, 0, START_US * 2)
            kept = [(row.run, row.seq, row.fragments, row.end_us) for row in found]
            ends.append((kept, await index.next_run(KEY)))
        if finished:
            break
    else:
        pytest.fail("the work never ends")

    # Wherever it was cut, it ends the same.
    assert all(end == ends[-1] for end in ends)
    assert len(ends) > 5


async def work_to_the_end(data: Path, work: Work) -> None:
    assert await stop_after(data, None, work)


async def test_a_deleted_file_is_never_in_the_index_and_never_forgotten(tmp_path: Path) -> None:
    """Invariants 1 and 2 at every moment of a delete, not only after the next start."""
    for steps in range(12):
        data = tmp_path / str(steps)
        (data / "media").mkdir(parents=True)
        async with open_index(data / "index.db") as index:
            run = await recorded(index, Take(seconds=6, segment_s=2, run=1))

        async def delete(index: StoppingIndex, files: StoppingFiles) -> None:
            retention = Retention(
                index,
                lambda total: Limits(1 << 40, 0, 1000),
                now_us=lambda: START_US,
                clock_trusted=lambda: False,
                files=files,
            )
            await retention.delete(KEY, START_US, START_US + 5 * SECOND_US)

        finished = await stop_after(data, steps, delete)

        async with open_index(data / "index.db") as index:
            indexed = {row.path for row in await index.segments(KEY, 0, START_US * 2)}
            garbage = set(await index.garbage())
            on_disk = {row.path for row in run.rows if (index.media / row.path).exists()}
            assert indexed <= on_disk
            assert on_disk <= indexed | garbage
            assert not indexed & garbage
            gone = await index.gone(KEY, 0, START_US * 2)
            assert [one.reason for one in gone] in ([], [GapReason.DELETED])
        if finished:
            assert indexed == {run.rows[2].path}
            return
    pytest.fail("the delete never ends")
