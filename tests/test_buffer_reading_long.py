"""Clips of any length: planned from rows, read file by file, in memory that does not grow with the length."""

from __future__ import annotations

import asyncio
import shutil
import time
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from media_files import decode_errors, probe
from recordings import KEY, SECOND_US, START_US, Take, index_all, recorded, written
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import GapReason
from simpang_buffer.reading.clips import Part, clips
from simpang_buffer.reading.errors import Vanished
from simpang_buffer.reading.progressive import ProgressiveMp4
from simpang_buffer.reading.tail import no_tail

DAYS = 30
MINUTE_US = 60 * SECOND_US


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


async def part_of(index: Index, end_s: float, *, detail: bool) -> Part:
    (part,) = (
        await clips(index, no_tail, KEY, START_US, START_US + int(end_s * SECOND_US), detail=detail)
    ).parts
    return part


async def test_a_month_is_planned_from_its_rows_and_read_from_anywhere(index: Index) -> None:
    """43,200 files of a minute each, of which only the first and one in the middle exist."""
    run = await written(index.media, Take(seconds=6, segment_s=2))
    first, middle, _ = run.rows
    count = DAYS * 24 * 60
    rows = [first]
    for seq in range(1, count):
        start_us = rows[-1].end_us
        rows.append(replace(middle, seq=seq, start_us=start_us, end_us=start_us + MINUTE_US))
    await index.add_run(run.files[0].head.header, 160, 120)
    await index.add_segments(rows)
    here = index.path_of(replace(middle, seq=count // 2))
    await asyncio.to_thread(shutil.copy, index.path_of(middle), here)
    end_us = rows[-1].end_us

    tracemalloc.start()
    began = time.perf_counter()
    found = await clips(index, no_tail, KEY, START_US, end_us)
    mp4 = await asyncio.to_thread(ProgressiveMp4.read, found.parts[0])
    took_s = time.perf_counter() - began
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # In the middle of the file in the middle.
    behind = count - count // 2
    at = mp4.total_bytes - behind * (middle.size_bytes - mp4.init_bytes)
    block = await asyncio.to_thread(mp4.block, at, at + middle.size_bytes - mp4.init_bytes)

    assert len(found.parts) == 1
    assert block.count(b"moof") == middle.fragments
    with pytest.raises(Vanished):
        await asyncio.to_thread(mp4.block, at - 1, at)
    # A list of its fragments would be 500 MB.
    assert peak < 60_000_000
    assert kept < 30_000_000
    # Measured: 0.7 s without tracemalloc.
    assert took_s < 20


async def test_a_file_that_cannot_be_read_costs_its_minute_and_not_the_clip(
    index: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a long clip it is found when its turn comes: its length was promised by then."""
    run = await recorded(index, Take(seconds=12, segment_s=4))
    mp4 = await asyncio.to_thread(ProgressiveMp4.read, await part_of(index, 12, detail=False))
    size = run.files[1].path.stat().st_size
    await asyncio.to_thread(run.files[1].path.write_bytes, bytes(size))

    content = await asyncio.to_thread(mp4.block, 0, mp4.total_bytes)

    path = tmp_path / "clip.mp4"
    await asyncio.to_thread(path.write_bytes, content)
    assert await asyncio.to_thread(decode_errors, path) == ""
    found = await asyncio.to_thread(probe, path)
    assert found.frames == (4 + 4) * 15
    steps = {after - before for before, after in pairwise(found.dts)}
    assert steps == {6000, 6000 + 4 * 90_000}
    assert sum("cannot be read" in one.message for one in caplog.records) == 1


async def test_a_reader_that_eviction_overtakes_is_told_and_holds_nothing_up(index: Index) -> None:
    run = await recorded(index, Take(seconds=12, segment_s=4))
    mp4 = await asyncio.to_thread(ProgressiveMp4.read, await part_of(index, 12, detail=False))
    await asyncio.to_thread(mp4.block, 0, 2000)

    await index.condemn([run.rows[1]], GapReason.EVICTED)
    await empty_garbage(index, index.files())

    assert not run.files[1].path.exists()
    with pytest.raises(Vanished, match="ask for the range again"):
        await asyncio.to_thread(mp4.block, 0, mp4.total_bytes)


async def test_an_adopted_file_without_a_table_keeps_its_place(index: Index, tmp_path: Path) -> None:
    """A full disk had no room for it: every fragment is found by reading the file."""
    run = await written(index.media, Take(seconds=12, segment_s=4))
    file = run.files[1]
    end = file.fragments[-1].offset + file.fragments[-1].size_bytes + 68
    with file.path.open("r+b") as cut:
        cut.truncate(end)
    run.rows[1] = replace(run.rows[1], size_bytes=end)
    await index_all(index, run)

    for detail in (True, False):
        mp4 = await asyncio.to_thread(ProgressiveMp4.read, await part_of(index, 12, detail=detail))
        path = tmp_path / "clip.mp4"
        await asyncio.to_thread(path.write_bytes, await asyncio.to_thread(mp4.block, 0, mp4.total_bytes))

        assert await asyncio.to_thread(decode_errors, path) == ""
        assert (await asyncio.to_thread(probe, path)).frames == 12 * 15
