"""A disk that is full to its last block, in a mount namespace of this process; run by a test.

Started by `unshare --mount` with a folder to mount a small disk on, so it ends with the process. Prints what
was found as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from recordings import START_US, Take, recorded
from simpang_buffer.index.check import check
from simpang_buffer.index.errors import StorageFull
from simpang_buffer.index.index import open_index
from simpang_buffer.index.retention import Limits, Retention, disk_space

DISK_BYTES = 24 << 20
FREE_BYTES = 1 << 20


def fill(path: Path) -> None:
    """Somebody else's file takes all that is left."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    for block in (b"x" * 65_536, b"x" * 4096, b"x"):
        with contextlib.suppress(OSError):
            while os.write(fd, block):
                continue
    os.close(fd)


async def run(data: Path) -> dict[str, object]:
    async with open_index(data / "index.db") as index:
        index.media.mkdir()
        retention = Retention(
            index,
            lambda total_bytes: Limits(total_bytes, FREE_BYTES, max_days=30),
            now_us=lambda: START_US,
            clock_trusted=lambda: False,
        )
        await retention.run_once()
        for run in range(1, 25):
            take = Take(
                seconds=6, segment_s=2, run=run, start_us=START_US + run * 10**7, width=320, height=240
            )
            await recorded(index, take)
        await asyncio.to_thread(fill, data / "other")
        free = [disk_space(data).free_bytes]
        refused = False
        try:
            await index.set_meta("a", "b" * 50_000)
        except StorageFull:
            refused = True
        evicted = await retention.run_once()
        await retention.run_once()
        free.append(disk_space(data).free_bytes)
        await recorded(index, Take(seconds=6, run=99))
        return {
            "free": free,
            "refused": refused,
            "evicted": evicted,
            "reserve": (data / "reserve").stat().st_size,
            "faults": [finding.code for finding in await check(index.media, index, deep=True)],
        }


def main() -> None:
    disk = Path(sys.argv[1])
    options = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)
    print(json.dumps(asyncio.run(run(disk))))


if __name__ == "__main__":
    main()
