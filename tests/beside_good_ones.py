"""Hostile cameras in a recorder beside good ones, and what is measured on the good ones."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from good_cameras import FPS, good_cameras
from hostile_cameras import Hostile
from pool_site import PoolSite, eventually, key_of, pool_site
from scripted_camera import scripted_camera
from simpang_buffer.index.check import check
from simpang_buffer.index.index import open_index
from simpang_buffer.model import Segment
from simpang_buffer.recording.pool import StreamSpec
from simpang_buffer.rtsp.session import Source

# A recorder with eight streams, and what one hostile camera may make it keep: pictures of 8 MB on their way.
MOST_BYTES = 160 << 20
# Fragments are a second long; a beat, the disk and the pulse come on top.
FRESH_S = 3.0


@dataclass(frozen=True)
class Seen:
    """Of one case. connections: of the hostile camera. late_s: the latest of the good ones, at its worst."""

    case: str
    connections: int
    pid: int
    late_s: float
    most_bytes: int
    runs: tuple[int, ...]


async def beside_good_ones(
    folder: Path, cases: Sequence[Hostile], *, good: int, seconds: float
) -> tuple[list[Seen], dict[str, list[Segment]]]:
    """Each case for some seconds beside the good cameras: what was seen, and the good ones' rows."""
    names = [f"good-{number}" for number in range(good)]
    seen: list[Seen] = []
    async with good_cameras(good) as port, pool_site(folder, segment_s=10.0) as here:
        specs = [
            StreamSpec(key_of(name), Source(f"rtsp://127.0.0.1:{port}/{number}", "127.0.0.1", port))
            for number, name in enumerate(names)
        ]
        here.pool.want(specs)
        await eventually(lambda: all(here.status(name).state == "recording" for name in names))
        await eventually(lambda: all(here.written(name) > FPS for name in names))
        for number, case in enumerate(cases):
            seen.append(await _one(here, specs, names, case, f"hostile-{number}", seconds))
        here.pool.want(specs)
        await asyncio.sleep(1.0)
    async with open_index(folder / "index.db", folder / "media") as index:
        assert await check(folder / "media", index, deep=True) == []
        rows = {name: await index.segments(key_of(name), 0, 1 << 60) for name in names}
    return seen, rows


async def _one(
    here: PoolSite, specs: list[StreamSpec], names: list[str], case: Hostile, name: str, seconds: float
) -> Seen:
    late_s, most_bytes = 0.0, 0
    async with scripted_camera(habits=case.habits) as camera:
        source = camera.source(**case.source)
        if case.tls:
            source = replace(source, url=source.url.replace("rtsp://", "rtsps://"))
        here.pool.want([*specs, StreamSpec(key_of(name), source)])
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(0.1)
            newest = [here.status(one).last_fragment_us or 0 for one in names]
            late_s = max(late_s, time.time() - min(newest) / 1e6)
            most_bytes = max(most_bytes, *(rss_bytes for _, _, rss_bytes in here.pool.processes()), 0)
        here.pool.want(specs)
        (pid,) = here.pids()
        runs = tuple(here.run(one) for one in names)
        return Seen(case.id, camera.connections, pid, late_s, most_bytes, runs)


def holes(rows: Sequence[Segment]) -> list[str]:
    """Where the rows of a good camera do not join, or hold fewer pictures than their time has."""
    found = [f"another run: {row.run}" for row in rows if row.run != 1]
    for before, after in itertools.pairwise(rows):
        if abs(after.start_us - before.end_us) > 2_000:
            found.append(
                f"{(after.start_us - before.end_us) / 1e6:.3f} s between {before.seq} and {after.seq}"
            )
    for row in rows:
        expected = (row.end_us - row.start_us) / 1e6 * FPS
        if abs(row.frames - expected) > 1.5:
            found.append(f"{row.frames} pictures in the time of {expected:.1f} in {row.seq}")
    return found
