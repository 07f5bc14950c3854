"""Real cameras, real recorder processes, a real index: what is recorded, and what survives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from peer_gst import GstCamera, gst_camera
from recorded_runs import probe
from simpang_buffer.index.check import check
from simpang_buffer.index.errors import StorageFull
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import FIRST_FOLDER, GapReason, Segment, StreamKey
from simpang_buffer.recording.places import Place
from simpang_buffer.recording.pool import LiveFrame, LiveInit, NotRecorded, RecorderPool, StreamSpec
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.session import Source
from tcp_gate import pictures_sent, tcp_gate

ALL_TIME = (0, 1 << 60)


def key_of(name: str) -> StreamKey:
    return StreamKey(name, "main")


@dataclass
class Site:
    """A pool that runs, and what it records into."""

    pool: RecorderPool
    index: Index
    media: Path
    full: list[float] = field(default_factory=list)

    async def rows(self, name: str) -> list[Segment]:
        return await self.index.segments(key_of(name), *ALL_TIME)

    def written(self, name: str) -> int:
        """Frames in files that no row knows yet."""
        tail = self.pool.tail(key_of(name))
        files = [*tail.before, tail] if tail else []
        return sum(fragment.frames for file in files for fragment in file.fragments)

    def state(self, name: str) -> str:
        return self.pool.status(key_of(name)).state

    def pid(self) -> int:
        ((pid, _, _),) = self.pool.processes()
        return pid


@contextlib.asynccontextmanager
async def site(folder: Path, *, segment_s: float = 60.0, media: Path | None = None) -> AsyncIterator[Site]:
    """Leaving stops the pool as the daemon does."""
    media = media or folder / "media"
    await asyncio.to_thread(media.mkdir, parents=True, exist_ok=True)
    full: list[float] = []
    async with open_index(folder / "index.db", media) as index:
        pool = RecorderPool(
            media,
            "site",
            index,
            segment_s=segment_s,
            flush_s=0.5,
            on_disk_full=lambda: full.append(time.monotonic()),
        )
        running = asyncio.create_task(pool.run(), name="pool")
        try:
            yield Site(pool, index, media, full)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


def spec(name: str, camera: GstCamera, **changes: object) -> StreamSpec:
    options: dict[str, object] = {"credentials": camera.credentials, "audio": True, **changes}
    return StreamSpec(key_of(name), Source(camera.url, camera.host, camera.port, **options))  # type: ignore[arg-type] # passed on


async def eventually(condition: Callable[[], object], *, seconds: float = 15.0) -> None:
    """Polls with a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def in_run(at: Site, name: str, run: int) -> bool:
    """Whether the stream's open file is of this run and holds something."""
    tail = at.pool.tail(key_of(name))
    return tail is not None and tail.header.run == run and bool(tail.fragments)


async def test_cameras_of_three_kinds_are_recorded_frame_for_frame(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        start = stack.enter_async_context
        cameras = {
            "aac": await start(gst_camera("h264", "aac", frames=75, user="viewer", password="p@ss:w/ü")),
            "hevc": await start(gst_camera("h265", frames=75)),
            "law": await start(gst_camera("h264", "pcma", frames=75, bframes=2)),
        }
        gates = {name: await start(tcp_gate(c.host, c.port)) for name, c in cameras.items()}
        here = await start(site(tmp_path, segment_s=2.0))

        here.pool.want(
            StreamSpec(
                key_of(name),
                Source(camera.url, gates[name].host, gates[name].port, camera.credentials, audio=True),
            )
            for name, camera in cameras.items()
        )
        await eventually(lambda: all(here.written(name) for name in cameras))
        await eventually(lambda: all(pictures_sent(gate.heard) > 60 for gate in gates.values()))
        quiet: dict[str, int] = {}
        while (sent := {name: pictures_sent(gate.heard) for name, gate in gates.items()}) != quiet:
            quiet = sent
            await asyncio.sleep(0.5)
    found = await files_of(tmp_path, list(cameras))

    assert {name: [s["codec_name"] for s in files[0][1]] for name, files in found.items()} == {
        "aac": ["h264", "aac"],
        "hevc": ["hevc"],
        "law": ["h264", "pcm_alaw"],
    }
    assert {name: sum(row.frames for row, _ in files) for name, files in found.items()} == sent
    for files in found.values():
        for row, streams in files:
            assert int(streams[0]["nb_read_frames"]) == row.frames
            assert (row.width, row.height) == (320, 240)
            assert row.codec.startswith(("avc1.", "hvc1."))


async def files_of(folder: Path, names: list[str]) -> dict[str, list[tuple[Segment, list[dict[str, str]]]]]:
    """Rows with what ffprobe finds in their files, after a check that found nothing wrong."""
    found: dict[str, list[tuple[Segment, list[dict[str, str]]]]] = {name: [] for name in names}
    async with open_index(folder / "index.db") as index:
        assert await check(folder / "media", index, deep=True) == []
        for name in names:
            for row in await index.segments(key_of(name), *ALL_TIME):
                probed = await asyncio.to_thread(probe, folder / "media" / row.path)
                found[name].append((row, probed["streams"]))
    return found


async def test_a_killed_recorder_costs_a_second_and_its_files_are_adopted(tmp_path: Path) -> None:
    # A camera each: gst-rtsp-server now and then aborts where two set up one shared stream at once.
    async with gst_camera(gop=10) as one, gst_camera(gop=10) as two, site(tmp_path) as here:
        here.pool.want([spec("one", one), spec("two", two)])
        await eventually(lambda: here.written("one") > 50 and here.written("two") > 50)
        before = here.pid()

        os.kill(before, signal.SIGKILL)
        killed_us = time.time_ns() // 1000
        await eventually(lambda: all(in_run(here, name, 2) for name in ("one", "two")))
        tails = [here.pool.tail(key_of(name)) for name in ("one", "two")]
        adopted = [await here.rows(name) for name in ("one", "two")]

    for tail, rows in zip(tails, adopted, strict=True):
        assert tail is not None
        assert tail.fragments[0].start_us - killed_us < 2_000_000
        assert [row.run for row in rows] == [1]
        assert killed_us - rows[0].end_us < 1_500_000
        assert (tail.header.run, tail.header.previous_end) == (2, GapReason.RESTART)
    async with open_index(tmp_path / "index.db") as index:
        assert await check(tmp_path / "media", index, deep=True) == []


async def test_a_recorder_has_confined_itself_before_it_records(tmp_path: Path) -> None:
    async with gst_camera() as camera, site(tmp_path) as here:
        here.pool.want([spec("cam", camera)])
        await eventually(lambda: here.written("cam"))
        (confinement,) = here.pool.confinements()
        status = await asyncio.to_thread(Path(f"/proc/{here.pid()}/status").read_text)

    assert confinement.escaped == ()
    facts = dict(line.split(":\t", 1) for line in status.splitlines())
    assert (facts["NoNewPrivs"], int(facts["CapBnd"], 16)) == ("1", 0) or os.geteuid() != 0
    assert facts["Seccomp"] == ("2" if confinement.seccomp else "0")


async def test_a_stopped_pool_leaves_every_row_and_no_file_open(tmp_path: Path) -> None:
    async with gst_camera() as camera:
        async with site(tmp_path) as here:
            here.pool.want([spec("one", camera)])
            await eventually(lambda: here.written("one") > 0)
            began = time.monotonic()
        took_s = time.monotonic() - began
        async with open_index(tmp_path / "index.db") as index:
            (row,) = await index.segments(key_of("one"), *ALL_TIME)
            findings = await check(tmp_path / "media", index, deep=True)

    assert took_s < 2
    assert findings == []
    assert row.frames > 25


async def test_a_camera_that_goes_and_comes_is_recorded_in_two_runs(tmp_path: Path) -> None:
    async with (
        gst_camera(gop=10) as camera,
        tcp_gate(camera.host, camera.port) as gate,
        site(tmp_path) as here,
    ):
        source = Source(camera.url, gate.host, gate.port)
        here.pool.want([StreamSpec(key_of("one"), source)])
        await eventually(lambda: here.written("one") > 0)

        gate.cut()
        await eventually(lambda: here.state("one") == "unreachable")
        status = here.pool.status(key_of("one"))
        gate.mend()
        await eventually(lambda: in_run(here, "one", 2))
        tail = here.pool.tail(key_of("one"))
        rows = await here.rows("one")

    assert (status.reason, status.retry_at_us is not None) == ("unreachable", True)
    assert tail is not None
    assert tail.header.previous_end is GapReason.UNREACHABLE
    assert [row.run for row in rows] == [1]


async def test_a_fault_of_one_camera_is_no_fault_of_the_others(tmp_path: Path) -> None:
    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                continue
        writer.close()

    async with contextlib.AsyncExitStack() as stack:
        good = await stack.enter_async_context(gst_camera())
        signed = await stack.enter_async_context(gst_camera(user="viewer", password="right"))
        gate = await stack.enter_async_context(tcp_gate(signed.host, signed.port))
        silent = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
        await stack.enter_async_context(silent)
        here = await stack.enter_async_context(site(tmp_path))
        silent_port = silent.sockets[0].getsockname()[1]
        wrong = Credentials("viewer", "hunter2")
        began = time.monotonic()

        here.pool.want(
            [
                spec("good", good),
                StreamSpec(key_of("wrong"), Source(signed.url, gate.host, gate.port, wrong)),
                StreamSpec(StreamKey("wrong", "sub"), Source(signed.url, gate.host, gate.port, wrong)),
                StreamSpec(key_of("silent"), Source("rtsp://127.0.0.1/x", "127.0.0.1", silent_port)),
            ]
        )
        await eventually(lambda: here.state("wrong") == "auth")
        await eventually(lambda: here.written("good") > 0)
        await eventually(lambda: here.pool.status(key_of("silent")).reason is not None, seconds=11)
        took_s = time.monotonic() - began
        reasons = {name: here.pool.status(key_of(name)).reason for name in ("good", "wrong", "silent")}
        sub = here.pool.status(StreamKey("wrong", "sub"))
        tries = gate.carried
        silent.close()

    assert reasons == {"good": None, "wrong": "auth", "silent": "timeout"}
    assert (sub.state, tries) == ("auth", 1)
    assert took_s < 11


async def test_recording_goes_on_once_a_full_disk_has_room(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", media], check=True)
    try:
        filler = media / "filler"
        filler.write_bytes(bytes((1 << 20) - 40_960))
        async with gst_camera(gop=10, kbps=1500) as camera, site(tmp_path, media=media) as here:
            here.pool.want([spec("one", camera)])
            await eventually(lambda: here.pool.status(key_of("one")).reason == "disk-full")
            # Room is asked for once the files are closed, a moment after the state is told.
            await eventually(lambda: here.full)
            filler.unlink()
            await eventually(lambda: here.state("one") == "recording" and here.written("one") > 0)
            tail = here.pool.tail(key_of("one"))
        async with open_index(tmp_path / "index.db", media) as index:
            findings = await check(media, index, deep=True)
    finally:
        subprocess.run(["umount", media], check=True)

    assert tail is not None
    assert tail.header.previous_end in (GapReason.DISK_FULL, None)
    assert findings == []


async def test_while_no_folder_has_room_nothing_is_tried_and_then_it_is_recorded_at_once(
    tmp_path: Path,
) -> None:
    """Each try would be a run of nothing, evicted before all else, and its gap called so."""
    async with gst_camera(gop=10) as camera, site(tmp_path) as here:
        here.pool.use([Place(FIRST_FOLDER, here.media, full=True)])
        here.pool.want([spec("one", camera)])
        await eventually(lambda: here.pool.status(key_of("one")).reason == "disk-full")
        await eventually(lambda: here.full)
        nothing = [path for path in here.media.rglob("*") if path.is_file()]
        began = time.monotonic()

        here.pool.use([Place(FIRST_FOLDER, here.media)])
        await eventually(lambda: here.state("one") == "recording")
        took_s = time.monotonic() - began

    assert nothing == []
    # A session, and a fragment a second long.
    assert took_s < 4


async def test_an_index_that_refuses_one_stream_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gst_camera("h264") as camera, site(tmp_path) as here:
        here.pool.want([spec("well", camera)])
        await eventually(lambda: here.written("well"))
        pid = here.pid()
        next_run, refused = here.index.next_run, iter([StorageFull("no space left"), OSError(5, "I/O error")])

        async def refuses(key: StreamKey) -> int:
            if key == key_of("late") and (error := next(refused, None)):
                raise error
            return await next_run(key)

        monkeypatch.setattr(here.index, "next_run", refuses)
        here.pool.want([spec("well", camera), spec("late", camera)])
        await eventually(lambda: here.pool.status(key_of("late")).reason == "disk-full")
        await eventually(lambda: here.written("late"))

        assert here.pid() == pid
        assert len(here.full) == 1


async def test_a_viewer_sees_a_picture_at_once_and_frames_as_they_come(tmp_path: Path) -> None:
    async with gst_camera("h264", "aac", gop=50) as camera, site(tmp_path) as here:
        here.pool.want([spec("one", camera)])
        await eventually(lambda: here.written("one") > 0)
        began = time.monotonic()

        async with here.pool.live(key_of("one")) as first, asyncio.timeout(10):
            init = await first.get()
            picture = await first.get()
            first_picture_s = time.monotonic() - began
            async with here.pool.live(key_of("one")) as second:
                other = [await second.get(), await second.get()]
            items = [await first.get() for _ in range(60)]

    assert isinstance(init, LiveInit)
    assert init.mime == f'video/mp4; codecs="{here.pool.status(key_of("one")).codec},mp4a.40.2"'
    assert isinstance(picture, LiveFrame)
    assert picture.video and picture.key
    assert first_picture_s < 1
    assert isinstance(other[0], LiveInit) and isinstance(other[1], LiveFrame) and other[1].key
    pictures = [item for item in items if isinstance(item, LiveFrame) and item.video]
    assert len(pictures) > 20
    assert [p.dts for p in pictures] == sorted(p.dts for p in pictures)
    assert any(isinstance(item, LiveFrame) and not item.video for item in items)


async def test_a_viewer_goes_on_after_its_recorder_died(tmp_path: Path) -> None:
    async with gst_camera(gop=10) as camera, site(tmp_path) as here:
        here.pool.want([spec("one", camera)])
        async with here.pool.live(key_of("one")) as feed, asyncio.timeout(15):
            first = await feed.get()
            os.kill(here.pid(), signal.SIGKILL)
            while not isinstance(item := await feed.get(), LiveInit):
                assert isinstance(item, LiveFrame)
            after = await feed.get()

    assert isinstance(first, LiveInit)
    assert item.run > first.run or item.run == 1
    assert isinstance(after, LiveFrame)
    assert after.key


async def test_what_nobody_wants_is_stopped_and_can_be_wanted_again(tmp_path: Path) -> None:
    async with gst_camera(gop=10) as camera, site(tmp_path) as here:
        here.pool.want([spec("one", camera)])
        await eventually(lambda: here.written("one") > 0)

        here.pool.want([])
        await eventually(lambda: here.pool.tail(key_of("one")) is None)
        stopped = here.state("one")
        with pytest.raises(NotRecorded):
            async with here.pool.live(key_of("one")):
                raise AssertionError("there is nothing live")
        here.pool.want([spec("one", camera)])
        await eventually(lambda: here.written("one") > 0)
        tail = here.pool.tail(key_of("one"))

    assert stopped == "disabled"
    assert tail is not None
    assert (tail.header.run, tail.header.previous_end) == (2, GapReason.DISABLED)


async def test_only_a_new_source_begins_a_new_run(tmp_path: Path) -> None:
    async with gst_camera(gop=10) as camera, site(tmp_path) as here:
        here.pool.want([spec("one", camera)])
        await eventually(lambda: here.written("one") > 0)

        here.pool.want([StreamSpec(key_of("one"), spec("one", camera).source, camera_offset_us=5)])
        written = here.written("one")
        await eventually(lambda: here.written("one") > written)
        same = here.pool.tail(key_of("one"))
        here.pool.want([spec("one", camera, audio=False)])
        await eventually(lambda: in_run(here, "one", 2))
        rows = await here.rows("one")

    assert same is not None
    assert same.header.run == 1
    assert [row.run for row in rows] == [1]
