"""N well-behaved cameras in a process of their own: `python good_cameras.py N` prints the port.

rtsp://127.0.0.1:PORT/0 and so on: 25 pictures a second, a key frame each second, H.264. Ends when its
standard input closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from media_samples import parameter_sets, video
from simpang_buffer.model import AccessUnit
from simpang_buffer.rtsp.mount import Mount
from simpang_buffer.rtsp.served_track import h264_track
from simpang_buffer.rtsp.server import RtspServer

FPS = 25
TICKS = 90_000 // FPS


@contextlib.asynccontextmanager
async def good_cameras(count: int) -> AsyncIterator[int]:
    """Starts them; the port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__)), str(count),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            port = int(await process.stdout.readline())
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def _replay(mount: Mount, begin_s: float) -> None:
    units = video("h264", frames=2 * FPS, fps=FPS, key_every=FPS, noise=2000)
    loop = asyncio.get_running_loop()
    number = 0
    while True:
        unit = units[number % len(units)]
        now_us = time.time_ns() // 1000
        mount.publish(AccessUnit(True, number * TICKS, 0, unit.key, unit.data, now_us))
        number += 1
        await asyncio.sleep(max(0.0, begin_s + number / FPS - loop.time()))


async def _serve(count: int) -> None:
    sets = parameter_sets("h264", video("h264", frames=2 * FPS, fps=FPS, key_every=FPS, noise=2000))
    mounts = {f"/{number}": Mount([h264_track(sets[0], sets[1], "trackID=0")]) for number in range(count)}
    server = RtspServer("127.0.0.1", 0, mounts)
    print(server.port, flush=True)
    begin_s = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(server.run(), name="server")]
        for number, mount in enumerate(mounts.values()):
            running.append(
                tasks.create_task(_replay(mount, begin_s + number * 0.0137), name=f"camera {number}")
            )
        await asyncio.to_thread(sys.stdin.read)
        for task in running:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
