"""`python tests/bench/clock_moves.py`: what it takes to date a run anew, by its length.

A run is moved in one transaction, and whoever wants to write to the index waits for it. Recording does not,
nor do readers: the slowest read beside it is measured too.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from simpang_buffer.index.clock_moves import move_run
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import AnchorSource, RunHeader, Segment, StreamKey

_MINUTE_US = 60_000_000
_NOW_US = 1_795_000_000_000_000
_STREAMS = 16
_RUNS = {"an hour": 60, "a day": 1440, "a week": 10_080, "a month": 43_200}


async def fill(index: Index) -> None:
    """A run of each length in a stream of its own, and others that hold a week each."""
    lengths = [*_RUNS.values(), *[10_080] * (_STREAMS - len(_RUNS))]
    for number, minutes in enumerate(lengths):
        key = StreamKey(f"camera-{number}", "main")
        anchor = (_MINUTE_US, AnchorSource.BOOT, 0, None, 0, "boot", 0)
        await index.add_run(RunHeader("bench", key.camera, key.stream, 1, 0, "avc1", *anchor), 1920, 1080)
        await index.add_segments([segment(key, seq) for seq in range(minutes)])


def segment(key: StreamKey, seq: int) -> Segment:
    start_us = (seq + 1) * _MINUTE_US
    counts = (26_000_000, 60, 1500, seq * 15, 15)
    picture = ("avc1", 1920, 1080, b"h" * 32, b"s" * 16)
    return Segment(key, 1, seq, start_us, start_us + _MINUTE_US, *counts, *picture)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_index(Path(folder) / "index.db") as index:
            await fill(index)
            for number, (what, rows) in enumerate(_RUNS.items()):
                key = StreamKey(f"camera-{number}", "main")
                reads: list[float] = []
                reading = asyncio.create_task(read(index, reads))
                began = time.perf_counter()
                await move_run(index, key, 1, _NOW_US)
                took = time.perf_counter() - began
                reading.cancel()
                sys.stdout.write(
                    f"{what:8} {rows:6} rows {took * 1e3:7.1f} ms; slowest read beside it "
                    f"{max(reads, default=0) * 1e3:5.1f} ms\n"
                )


async def read(index: Index, taken: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await index.newest(StreamKey("camera-9", "main"))
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    asyncio.run(main())
