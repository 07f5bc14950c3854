"""The index at full size: 44 streams for 30 days. How large it is, how fast it answers, what evicting a day
costs and how long that holds up a segment that wants its row.

    python tests/bench/index.py [--streams 44] [--days 30] [--data DIR] [--files]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from simpang_buffer.index.changes import recount
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.retention import DAY_US, Limits, Retention
from simpang_buffer.index.space import Space
from simpang_buffer.model import FIRST_FOLDER, AnchorSource, GapReason, RunHeader, Segment, StreamKey
from simpang_buffer.reading.coverage import coverage

MINUTE_US = 60_000_000
START_US = 1_790_000_000_000_000 // DAY_US * DAY_US
# A run a day: cameras that are restarted each night.
RUN_MINUTES = 1440
_ALONE_S = 4.0


def keys(streams: int) -> list[StreamKey]:
    return [StreamKey(f"camera-{number // 2}", ("main", "sub")[number % 2]) for number in range(streams)]


def rows(streams: int, minutes: int) -> Iterator[tuple[object, ...]]:
    """Segments in the order in which they are recorded."""
    for minute in range(minutes):
        for number in range(streams):
            start_us = START_US + minute * MINUTE_US + number * 1_000_003
            run, seq = divmod(minute, RUN_MINUTES)
            size_bytes = (26_000_000 if number % 2 == 0 else 3_500_000) + minute * 7919 % 100_000
            end_us = start_us + MINUTE_US
            yield (
                number + 1, start_us, run + 1, seq, MINUTE_US, size_bytes, 60, 1500, seq * 15, 15, 1,
                end_us // 1000 * 64 + number, os.urandom(16), 1,
            )  # fmt: skip


async def build(path: Path, streams: int, days: int) -> None:
    """Through SQLite itself: through the product it would take an hour."""
    async with open_index(path) as index:
        for key in keys(streams):
            for run in range(days):
                anchor_us = START_US + run * DAY_US
                header = RunHeader("bench", key.camera, key.stream, run + 1, 0, "avc1.640028", anchor_us,
                                   AnchorSource.RTCP, 0, GapReason.CAMERA_REBOOT, 0)  # fmt: skip
                await index.add_run(header, 1920, 1080)
    await asyncio.to_thread(_fill, path, streams, days * 1440)
    async with open_index(path) as index, index.db.transaction() as tx:
        await recount(tx)
        await tx.run(
            """update run set last_seq = 1439,
                     start_us = (select min(start_us) from segment s where s.stream_id = run.stream_id
                                 and s.start_us >= run.anchor_us),
                     end_us = (select max(end_us) from segment s where s.stream_id = run.stream_id
                               and s.start_us < run.anchor_us + 86400000000)"""
        )


def _fill(path: Path, streams: int, minutes: int) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("pragma synchronous = off")
        database.execute("insert into format values (1, ?, 'avc1.640028', 1920, 1080)", (b"h" * 32,))
        made = rows(streams, minutes)
        while page := list(islice(made, 100_000)):
            database.execute("begin")
            database.executemany(f"insert into segment values ({', '.join('?' * 14)})", page)
            database.execute("commit")
        database.execute("pragma wal_checkpoint(truncate)")


async def measure(path: Path, streams: int, days: int, files: bool) -> None:
    end_us = START_US + days * DAY_US
    print(f"index.db                       {path.stat().st_size / 1e6:8.1f} MB   (aim 150)")
    async with open_index(path) as index:
        await _clips(index, streams, days)
        await _coverage(index, streams, end_us)
        for _ in range(3):
            await _quiet(index, end_us, days)
        await _evict(index, streams, end_us, days, files)


async def _clips(index: Index, streams: int, days: int) -> None:
    taken = []
    for number in range(200):
        key = keys(streams)[number * 7 % streams]
        start_us = START_US + number * 7919 % (days * 1440) * MINUTE_US
        begun = time.perf_counter()
        found = await index.segments(key, start_us, start_us + 10 * MINUTE_US)
        taken.append(time.perf_counter() - begun)
        assert len(found) >= 1
    print(f"ten-minute clip found          {statistics.median(taken) * 1e3:8.2f} ms   (aim 2)")


async def _coverage(index: Index, streams: int, end_us: int) -> None:
    begun, cpu_s = time.perf_counter(), time.process_time()
    for key in keys(streams):
        found = await coverage(
            index, lambda _: None, key, end_us - 5 * DAY_US, end_us - 4 * DAY_US, end_us, GapReason.DISABLED
        )
        assert found.spans
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu_s
    print(f"day coverage of all streams    {wall_s * 1e3:8.1f} ms   (aim 100; {cpu_s * 1e3:.0f} ms CPU)")


def retention(index: Index, now_us: int, max_days: float) -> Retention:
    return Retention(
        index,
        lambda total_bytes: Limits(1 << 60, 0, max_days),
        now_us=lambda: now_us,
        clock_trusted=lambda: True,
        spaces=lambda: {FIRST_FOLDER: Space(1 << 60, 1 << 59)},
    )


async def _quiet(index: Index, end_us: int, days: int) -> None:
    """A look that finds nothing to do: the first reads the front of every queue."""
    keeper = retention(index, end_us, days + 1)
    first = time.process_time()
    assert await keeper.run_once() == 0
    second = time.process_time()
    assert await keeper.run_once() == 0
    third = time.process_time()
    print(f"a look that finds nothing      {(second - first) * 1e3:8.1f} ms CPU", end="")
    print(f", the next {(third - second) * 1e3:.1f}")


async def _evict(index: Index, streams: int, end_us: int, days: int, files: bool) -> None:
    held_up: list[float] = []
    done = asyncio.Event()

    async def write() -> None:
        seq = 0
        while not done.is_set():
            start_us = end_us + seq * MINUTE_US
            one = Segment(keys(streams)[0], days, 1440 + seq, start_us, start_us + MINUTE_US, 1000, 60, 1500,
                          0, 15, "avc1.640028", 1920, 1080, b"h" * 32, b"s" * 16)  # fmt: skip
            begun = time.perf_counter()
            await index.add_segment(one)
            held_up.append(time.perf_counter() - begun)
            seq += 1
            await asyncio.sleep(0.02)

    await _evict_day(index, end_us, days - 1, "a day evicted")
    if files:
        # With the second day's files, and some of the first that are left.
        await asyncio.to_thread(_touch, index.media, streams)
        await _evict_day(index, end_us, days - 2, "a day with its files")
    writing = asyncio.create_task(write())
    await asyncio.sleep(_ALONE_S)
    alone = list(held_up)
    held_up.clear()
    await _evict_day(index, end_us, days - 3, "a day beside a writer")
    done.set()
    await writing
    print(
        f"a row waited                   {max(held_up) * 1e3:8.0f} ms at most, median "
        f"{statistics.median(held_up) * 1e3:.1f} (aim 100; in {_ALONE_S:.0f} s without eviction "
        f"{max(alone) * 1e3:.0f}, median {statistics.median(alone) * 1e3:.1f})"
    )


async def _evict_day(index: Index, end_us: int, max_days: int, what: str) -> None:
    keeper = retention(index, end_us, max_days)
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    evicted = await keeper.run_once()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    print(f"{what:<30} {cpu_s:8.2f} s CPU (aim 1), {wall_s:.1f} s in all, {evicted} rows")
    assert (await index.db.read("select count(*) from garbage"))[0][0] == 0


def _touch(media: Path, streams: int) -> None:
    for key in keys(streams):
        for run in ("000001", "000002"):
            folder = media / key.camera / key.stream / run
            folder.mkdir(parents=True)
            for seq in range(1440):
                (folder / f"{seq:06}.mp4").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=44)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--data", type=Path, help="where to build it (default: a temporary folder)")
    parser.add_argument(
        "--files", action="store_true", help="with (empty) files to unlink for the evicted day"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.data) as folder:
        path = Path(folder) / "index.db"
        begun = time.perf_counter()
        asyncio.run(build(path, given.streams, given.days))
        print(f"built in {time.perf_counter() - begun:.0f} s: {given.streams} streams, {given.days} days")
        asyncio.run(measure(path, given.streams, given.days, given.files))


if __name__ == "__main__":
    main()
