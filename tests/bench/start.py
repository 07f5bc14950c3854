"""How soon everything is recorded again after SIGKILL: an index of 44 streams and 30 days, and a torn tail of
20 MB of each stream. And what a backup of that index costs.

    python tests/bench/start.py [--streams 44] [--days 30] [--tail-mb 20] [--data DIR]

Counted from the start of the process that opens the index, until the recorders have been told of every stream
and have tried its camera (there are none: each refuses). The tails are taken in beside that.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from index import DAY_US, START_US, build, keys

from recordings import Take, record
from simpang_buffer.index.backup import back_up, backup_path
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.keeper import IndexKeeper
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.opening import open_whole_index
from simpang_buffer.media.fmp4 import VIDEO_TRACK, Sample, TrackRun, fragment
from simpang_buffer.media.seal import first_digest, run_box, seal_box
from simpang_buffer.model import AnchorSource, FragmentFlags, RunHeader, segment_path
from simpang_buffer.recording.pool import RecorderPool
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.rtsp.session import Source

SITE = "bench"
AIM_S = 2.0


def tails(media: Path, streams: int, days: int, megabytes: int) -> None:
    """A file of each stream that was being written, torn within its last fragment."""
    with tempfile.TemporaryDirectory(dir=media.parent) as folder:
        init = record(Path(folder), Take(seconds=1)).files[0].head.init
    anchor_us = START_US + days * DAY_US
    for key in keys(streams):
        path = media / segment_path(key, days + 1, 0)
        path.parent.mkdir(parents=True)
        header = RunHeader(SITE, key.camera, key.stream, days + 1, 0, "avc1.640028", anchor_us,
                           AnchorSource.RTCP, 0, None, 0)  # fmt: skip
        head = init + run_box(header)
        seal = first_digest(head)
        with path.open("wb") as file:
            file.write(head)
            for second in range(megabytes):
                sample = Sample(os.urandom(1 << 20), 90_000, 0, True)
                boxes = fragment(second + 1, [TrackRun(VIDEO_TRACK, second * 90_000, [sample])])
                sealed, seal = seal_box(seal, boxes, anchor_us + second * 1_000_000, FragmentFlags.KEY)
                file.write(b"".join(boxes) + sealed)
            file.truncate(file.tell() - 500_000)
            file.flush()
            os.fsync(file.fileno())
            # As after a boot: nothing of it is in memory.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def start(data: Path, streams: int, began_s: float) -> None:
    """What the daemon does, but for its page and its cameras."""
    async with open_whole_index(data / "index.db", data / "media", SITE, time.time_ns() // 1000) as (
        index,
        due,
    ):
        opened_s = time.monotonic() - began_s
        pool = RecorderPool(data / "media", SITE, index, segment_s=60, flush_s=2, processes=2)
        keeper = IndexKeeper(
            index,
            SITE,
            folders=lambda: [MediaFiles(data / "media")],
            due=due,
            now_us=lambda: time.time_ns() // 1000,
            is_free=pool.is_free,
        )
        await keeper.prepare()
        prepared_s = time.monotonic() - began_s
        wanted = keys(streams)
        # Port 9 of loopback: refused at once.
        pool.want([StreamSpec(key, Source("rtsp://127.0.0.1:9/", "127.0.0.1", 9)) for key in wanted])
        tasks = [asyncio.create_task(pool.run()), asyncio.create_task(keeper.run())]
        while not all(pool.status(key).reason for key in wanted):
            await asyncio.sleep(0.005)
        told_s = time.monotonic() - began_s
        while keeper.condition().state != "ok":
            await asyncio.sleep(0.01)
        adopted_s = time.monotonic() - began_s
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        taken_in = [await index.newest(key) for key in wanted]
        copied = await backup(index)
    print(f"index open                       {opened_s:6.2f} s")
    print(f"every stream may be recorded     {prepared_s:6.2f} s")
    print(f"every stream is being recorded   {told_s:6.2f} s   (aim {AIM_S:g})")
    print(f"every tail is taken in           {adopted_s:6.2f} s")
    print(copied)
    assert all(row is not None and row.seq == 0 and row.frames > 1 for row in taken_in)


async def backup(index: Index) -> str:
    """What the index's daily backup costs those who want to write meanwhile."""
    slowest_ms = {}
    began_s = 0.0
    for name, work in (("alone", asyncio.sleep(5)), ("beside", asyncio.to_thread(back_up_index, index))):
        began_s = time.monotonic()
        running, taken = asyncio.ensure_future(work), [0.0]
        while not running.done():
            begun = time.monotonic()
            await index.set_meta("bench", str(begun))
            taken.append(time.monotonic() - begun)
            await asyncio.sleep(0.05)
        slowest_ms[name] = max(taken) * 1e3
    took_s = time.monotonic() - began_s
    waits = f"a write waits {slowest_ms['beside']:.0f} ms at most, {slowest_ms['alone']:.0f} without it"
    return f"the index is backed up           {took_s:6.2f} s: {waits}"


def back_up_index(index: Index) -> None:
    done = back_up(index.db.path, backup_path(index.db.path))
    assert done.skipped is None, done.skipped


async def prepare(data: Path, arguments: argparse.Namespace) -> None:
    path = data / "index.db"
    await build(path, arguments.streams, arguments.days)
    async with open_index(path) as index:
        await index.set_meta("site", SITE)
    await asyncio.to_thread(tails, data / "media", arguments.streams, arguments.days, arguments.tail_mb)
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--streams", type=int, default=44)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--tail-mb", type=int, default=20)
    parser.add_argument("--data", type=Path, help="an empty folder (default: a temporary one)")
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.began is not None:
        # That no camera answers is no news.
        logging.disable(logging.WARNING)
        asyncio.run(start(arguments.data, arguments.streams, arguments.began))
        return
    with tempfile.TemporaryDirectory() as temporary:
        data = arguments.data or Path(temporary)
        (data / "media").mkdir(parents=True)
        asyncio.run(prepare(data, arguments))
        again = ["--streams", str(arguments.streams), "--data", str(data), "--began", str(time.monotonic())]
        subprocess.run([sys.executable, __file__, *again], check=True)


if __name__ == "__main__":
    main()
