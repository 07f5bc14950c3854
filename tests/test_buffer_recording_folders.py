"""Four streams record while disks are pulled, fill up and come back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mounts import fill, memory_disk, plug, pull
from peer_gst import GstCamera, gst_camera
from simpang.config.model import Config
from simpang.media_folders import MediaFolders
from simpang_buffer.index.check import check
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import GapReason, Segment, StreamKey
from simpang_buffer.reading.coverage import Coverage, coverage
from simpang_buffer.reading.tail import Tail
from simpang_buffer.recording.pool import RecorderPool, StreamSpec
from simpang_buffer.rtsp.session import Source

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

KEYS = [StreamKey(name, "main") for name in ("east", "north", "south", "west")]
SECOND_US = 1_000_000


@dataclass
class Site:
    pool: RecorderPool
    media: MediaFolders
    index: Index
    root: Path

    @property
    def first(self) -> Path:
        return self.index.media

    @property
    def second(self) -> Path:
        return self.root / "second"

    def tails(self) -> dict[StreamKey, Tail | None]:
        return {key: self.pool.tail(key) for key in KEYS}

    def all_in(self, folder: int) -> bool:
        """Whether every stream's newest file is there, and holds something."""
        return all(
            tail is not None and tail.folder == folder and len(tail.fragments) > 0
            for tail in self.tails().values()
        )

    def state(self, folder: int) -> str:
        found = self.media.folders.by_id(folder)
        return found.state.value if found is not None else "unknown"

    async def rows(self, key: StreamKey) -> list[Segment]:
        return await self.index.segments(key, 0, 1 << 60)

    async def covered(self, key: StreamKey, since_us: int) -> Coverage:
        now_us = time.time_ns() // 1000
        return await coverage(self.index, self.pool.tail, key, since_us, now_us, now_us, GapReason.DISABLED)

    async def settle(self) -> None:
        """Until every file that is not open has its row."""
        await eventually(lambda: all(not tail.before for tail in self.tails().values() if tail is not None))


@contextlib.asynccontextmanager
async def site(root: Path, camera: GstCamera, *, segment_s: float = 60.0) -> AsyncIterator[Site]:
    """As the gateway puts it together. The second folder is the better one wherever it is there."""
    for name in ("data/media", "second", "disk"):
        await asyncio.to_thread((root / name).mkdir, parents=True, exist_ok=True)
    folder = {"path": str(root / "second"), "max_bytes": "100%", "min_free": 0}
    config = Config.model_validate(
        {
            "site": {"id": "digulis", "time_zone": "Asia/Pontianak"},
            # What is free of this disk beyond that is less than all of another.
            "buffer": {"max_bytes": "100%", "min_free": "60%", "folder": [folder]},
        }
    )
    async with open_index(root / "data" / "index.db") as index:
        media = MediaFolders(config, index, root / "data" / "media", now_us=lambda: time.time_ns() // 1000)
        pool = RecorderPool(
            index.media,
            "digulis",
            index,
            segment_s=segment_s,
            flush_s=0.5,
            folders=media.folders.files,
            further=media.further,
            on_disk_failed=media.failed,
        )
        media.join(pool, lambda: {key.camera for key in KEYS}, lambda: None)
        await media.prepare()
        tasks = [asyncio.create_task(pool.run(), name="pool"), asyncio.create_task(media.run(), name="media")]
        try:
            source = Source(camera.url, camera.host, camera.port)
            pool.want(StreamSpec(key, source) for key in KEYS)
            yield Site(pool, media, index, root)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    task.result()


async def eventually(condition: Callable[[], object], seconds: float = 20.0) -> float:
    """How long it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
    return time.monotonic() - began


def files_under(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file())


async def test_a_disk_that_is_pulled_stops_no_stream_and_its_footage_comes_back_with_it(
    tmp_path: Path,
) -> None:
    began_us = time.time_ns() // 1000
    disk, point = tmp_path / "disk", tmp_path / "second"
    for folder in (disk, point):
        folder.mkdir()
    await plug(disk, point)
    async with gst_camera(gop=10, shared=False) as camera, site(tmp_path, camera) as at:
        await eventually(lambda: at.all_in(2))
        await asyncio.sleep(2)
        before = {key: await at.covered(key, began_us) for key in KEYS}

        await pull(at.second)
        took_s = await eventually(lambda: at.all_in(1))
        await eventually(lambda: at.state(2) == "missing")
        await at.settle()
        pulled = {key: await at.covered(key, began_us) for key in KEYS}
        left_under = files_under(at.second)
        faults = await check(at.first, at.index, recording=True, folders=at.media.folders.files())
        await plug(disk, at.second)
        back_s = await eventually(lambda: at.state(2) == "present")
        back = {key: await at.covered(key, began_us) for key in KEYS}
        rows = {key: await at.rows(key) for key in KEYS}

    assert took_s < 4
    assert back_s < 3
    assert left_under == []
    assert faults == []
    for key in KEYS:
        assert [row.folder for row in rows[key]] == [2]
        lost_until = pulled[key].spans[0].start_us
        (gap,) = [one for one in pulled[key].gaps if one.end_us == lost_until]
        assert gap.reason is GapReason.DISK_ERROR
        # All that was recorded before is there again, and the run went on without a hole.
        assert back[key].spans[0].start_us == before[key].spans[0].start_us
        assert len(back[key].spans) == 1
    async with open_index(tmp_path / "data" / "index.db") as index:
        index.places[2] = tmp_path / "second"
        assert await check(index.media, index, deep=True, folders=[index.files(1), index.files(2)]) == []
    await pull(tmp_path / "second")


async def test_a_disk_that_is_mounted_late_is_not_written_to_before(tmp_path: Path) -> None:
    async with gst_camera(gop=10, shared=False) as camera, site(tmp_path, camera) as at:
        await eventually(lambda: at.all_in(1))
        late, left_under = at.state(2), files_under(at.second)
        async with memory_disk(at.second, "size=500m"):
            # The process confined itself before the disk was there, so another one has to take its place.
            pid = at.pool.processes()[0][0]
            await eventually(lambda: at.all_in(2))
            runs = {key: tail.header for key, tail in at.tails().items() if tail is not None}
            replaced = at.pool.processes()[0][0] != pid

    assert (late, left_under) == ("unknown", [])
    assert replaced
    assert {(header.run, header.previous_end) for header in runs.values()} == {(2, GapReason.RESTART)}


@pytest.mark.parametrize("kind", ["space", "inodes"])
async def test_a_disk_that_fills_up_alone_costs_a_key_frame(tmp_path: Path, kind: str) -> None:
    options = {"space": "size=500m", "inodes": "size=500m,nr_inodes=40"}[kind]
    (tmp_path / "second").mkdir()
    async with (
        memory_disk(tmp_path / "second", options),
        gst_camera(gop=10, shared=False) as camera,
        site(tmp_path, camera, segment_s=3) as at,
    ):
        await eventually(lambda: at.all_in(2))
        if kind == "space":
            await asyncio.to_thread(fill, at.second / "filler")
        else:
            for number in range(40):
                with contextlib.suppress(OSError):
                    await asyncio.to_thread((at.second / f"filler-{number}").touch)
        took_s = await eventually(lambda: at.all_in(1))
        state = at.state(2)
        await at.settle()
        found = {key: await at.covered(key, 0) for key in KEYS}
        faults = await check(at.first, at.index, recording=True, folders=at.media.folders.files())

    assert state == "full"
    assert faults == []
    assert took_s < 5
    for key in KEYS:
        gaps = [gap for gap in found[key].gaps if gap.start_us > found[key].spans[0].start_us]
        assert all(gap.reason is GapReason.DISK_FULL for gap in gaps)
        # No new file fits, but the open one is written to its end.
        assert sum(gap.end_us - gap.start_us for gap in gaps) < (2 * SECOND_US if kind == "space" else 1)


async def test_with_both_disks_gone_nothing_is_written_and_the_first_that_is_back_is_used(
    tmp_path: Path,
) -> None:
    for name in ("second", "disk"):
        (tmp_path / name).mkdir()
    await plug(tmp_path / "disk", tmp_path / "second")
    async with gst_camera(gop=10, shared=False) as camera, site(tmp_path, camera, segment_s=3) as at:
        await eventually(lambda: at.all_in(2))
        aside = at.first.rename(at.first.with_name("media-away"))
        blocked = at.first
        blocked.write_bytes(b"")
        await eventually(lambda: at.state(1) == "missing")
        await pull(at.second)
        await eventually(lambda: at.state(2) == "missing")
        await eventually(lambda: all(at.pool.status(key).state != "recording" for key in KEYS))
        reasons = {at.pool.status(key).reason for key in KEYS}
        left_under = files_under(at.second)

        blocked.unlink()
        aside.rename(at.first)
        at.media.folders.request_look()
        took_s = await eventually(lambda: at.all_in(1))
        await at.settle()
        faults = await check(at.first, at.index, recording=True, folders=at.media.folders.files())

    assert reasons == {"disk-error"}
    assert left_under == []
    assert took_s < 5
    assert faults == []
