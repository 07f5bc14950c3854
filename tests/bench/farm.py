"""N cameras in one process, each replaying the same ten seconds: `python farm.py N` prints the port.

1280 x 720, 25 pictures a second, a key frame every 2 s, about 3.5 Mbit/s, H.264, no sign-in. The cameras do
not send in step: each begins a little later than the one before, as real ones do. Wants tests/ on the path.
"""

from __future__ import annotations

import asyncio
import sys
import time

from media_samples import parameter_sets, video
from simpang_buffer.model import AccessUnit
from simpang_buffer.rtsp.mount import Mount
from simpang_buffer.rtsp.served_track import h264_track
from simpang_buffer.rtsp.server import RtspServer

FPS = 25
TICKS = 90_000 // FPS


async def replay(mount: Mount, begin_s: float) -> None:
    units = video("h264", frames=250, width=1280, height=720, fps=FPS, key_every=2 * FPS, noise=NOISE_BYTES)
    number = 0
    loop = asyncio.get_running_loop()
    while True:
        unit = units[number % len(units)]
        now_us = time.time_ns() // 1000
        mount.publish(AccessUnit(True, number * TICKS, 0, unit.key, unit.data, now_us))
        number += 1
        await asyncio.sleep(max(0.0, begin_s + number / FPS - loop.time()))


async def main(count: int) -> None:
    units = video("h264", frames=250, width=1280, height=720, fps=FPS, key_every=2 * FPS, noise=NOISE_BYTES)
    sets = parameter_sets("h264", units)
    mounts = {f"/{number}": Mount([h264_track(sets[0], sets[1], "trackID=0")]) for number in range(count)}
    server = RtspServer("127.0.0.1", 0, mounts)
    size_bytes = sum(len(unit.data) for unit in units)
    print(server.port, f"{size_bytes * 8 / 10 / 1e6:.2f}", flush=True)
    begin_s = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run(), name="server")
        for number, mount in enumerate(mounts.values()):
            tasks.create_task(replay(mount, begin_s + number * 0.0137), name=f"camera {number}")


# Per picture; with what x264 makes of the rest of it, 3.5 Mbit/s.
NOISE_BYTES = 10_800

if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
