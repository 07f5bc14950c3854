"""What it costs to make the index anew from media files alone.

    python tests/bench/rebuild.py [--files 50000] [--streams 44] [--data DIR]

The files are as the recorder closes them, but sparse: head and table are there, the media between them is a
hole, which a rebuild does not read.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from recordings import Take, record
from simpang_buffer.index.index import open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rebuild import Rebuild
from simpang_buffer.media.seal import run_box, table_box
from simpang_buffer.model import Fragment, StreamKey, segment_path

MINUTE_US = 60_000_000
# Runs of a day: cameras that are restarted each night.
RUN_FILES = 1440
FRAGMENT_BYTES = 440_000


def build(media: Path, files: int, streams: int) -> None:
    """Sixty fragments a file, which is what most are."""
    with tempfile.TemporaryDirectory(dir=media.parent) as folder:
        head = record(Path(folder), Take(seconds=1)).files[0].head
    start_us = head.header.anchor_us
    for number in range(files):
        minute, stream = divmod(number, streams)
        run, seq = divmod(minute, RUN_FILES)
        key = StreamKey(f"camera-{stream // 2}", ("main", "sub")[stream % 2])
        anchor_us = start_us + run * RUN_FILES * MINUTE_US
        header = replace(
            head.header, camera=key.camera, stream=key.stream, run=run + 1, seq=seq, anchor_us=anchor_us,
            first_chunk=seq * 15,
        )  # fmt: skip
        data = head.init + run_box(header)
        fragments, at = [], len(data)
        for second in range(60):
            begin_us = anchor_us + seq * MINUTE_US + second * 1_000_000
            fragments.append(Fragment(at, FRAGMENT_BYTES, second * 90_000, 90_000, begin_us, 2, 25))
            at += FRAGMENT_BYTES + 68
        path = media / segment_path(key, run + 1, seq)
        if seq == 0:
            path.parent.mkdir(parents=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.pwrite(descriptor, data, 0)
        os.pwrite(descriptor, table_box(fragments, bytes(32)), at)
        os.close(descriptor)


async def measure(data: Path, files: int) -> None:
    async with open_index(data / "index.db") as index:
        work = Rebuild(index, {1: MediaFiles(data / "media")}, "site", rest=0)
        cpu_s, began = time.process_time(), time.monotonic()
        await work.survey()
        survey_s = time.process_time() - cpu_s
        await work.run()
        cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - began
        totals = await index.stream_totals()
    assert sum(total.segments for total in totals.values()) == files, "not every file became a row"
    print(f"{files} files: {cpu_s / files * 1e3:.3f} ms of CPU a file, {wall_s / files * 1e3:.3f} ms of time")
    print(f"  of it listing them and looking into runs: {survey_s / files * 1e3:.3f} ms of CPU a file")
    async with open_index(data / "index.db") as index:
        cpu_s = time.process_time()
        await Rebuild(index, {1: MediaFiles(data / "media")}, "site", rest=0).run()
        cpu_s = time.process_time() - cpu_s
    print(f"  once more, all being known: {cpu_s / files * 1e3:.3f} ms of CPU a file")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--streams", type=int, default=44)
    parser.add_argument("--data", type=Path, help="an empty folder (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        data = arguments.data or Path(temporary)
        media = data / "media"
        media.mkdir(parents=True)
        build(media, arguments.files, arguments.streams)
        asyncio.run(measure(data, arguments.files))


if __name__ == "__main__":
    main()
