"""The demo's picture: readable by machines from any copy of it, with traffic that keeps to the rules."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable

import av
import pytest
import pytest_asyncio
from PIL import Image

from simpang.picture.canvas import to_stamp
from simpang.picture.scene import Scene
from simpang.picture.strip import read_strip
from simpang.picture.traffic import REACH_M, STOP_LINE_M, Traffic
from simpang.picture.wire import Kind, Painted, pack, read_painted

MOMENT_US = 1_795_485_600_123_456


def luma_of(data: bytes, line_size: int) -> Callable[[int, int], int]:
    return lambda x, y: data[y * line_size + x]


@pytest.mark.parametrize("size", [(1280, 720), (640, 360)])
def test_the_strip_says_when_the_picture_was_painted(size: tuple[int, int]) -> None:
    planes = Scene("Utara", *size, seed=1, zone=None).paint(Traffic(1), MOMENT_US)

    for width, height in (size, (320, 180), (390, 219)):
        luma = planes.luma.resize((width, height), Image.Resampling.BILINEAR)
        assert read_strip(luma_of(luma.tobytes(), width), width, height) == MOMENT_US // 1000


def test_the_picture_moves_and_differs_by_camera() -> None:
    traffic = Traffic(1)
    scene = Scene("Utara", 640, 360, seed=1, zone=None)

    first = scene.paint(traffic, MOMENT_US).luma.tobytes()
    traffic.step(1)
    later = scene.paint(traffic, MOMENT_US).luma.tobytes()
    other = Scene("Timur", 640, 360, seed=2, zone=None).paint(Traffic(2), MOMENT_US).luma.tobytes()

    for picture in (later, other):
        assert sum(a != b for a, b in zip(first, picture, strict=True)) > 2_000


def test_a_name_of_any_length_and_script_fits_the_picture() -> None:
    for name in ("", "x" * 500, "Jl. Gajah Mada – Utara 北 \u202e\t"):
        Scene(name, 640, 360, seed=1, zone=None).paint(Traffic(1), MOMENT_US)


def test_a_stamp_off_the_picture_is_not_painted() -> None:
    stamp = to_stamp(Image.new("RGBA", (10, 10), (255, 0, 0, 255)), (5, 5))
    planes = Scene("Utara", 640, 360, seed=1, zone=None).paint(Traffic(1), MOMENT_US)
    before = planes.luma.tobytes()

    for at in ((-400, 10), (10, -400), (5_000, 10), (10, 5_000)):
        stamp.onto(planes, at)

    assert planes.luma.tobytes() == before


def test_nobody_runs_into_another_or_drives_on_red_for_ten_minutes() -> None:
    traffic = Traffic(3)
    passed = 0
    for _ in range(6_000):
        before = {id(v): v.along_m for queue in traffic.queues for v in queue.vehicles}
        lights = [traffic.light(queue.lane.heading) for queue in traffic.queues]
        traffic.step(0.1)

        for queue, light in zip(traffic.queues, lights, strict=True):
            for ahead, behind in itertools.pairwise(queue.vehicles):
                assert behind.along_m < ahead.along_m - ahead.kind.length_m
            for vehicle in queue.vehicles:
                assert vehicle.along_m < REACH_M + 30
                crosses = before.get(id(vehicle), 0.0) <= -STOP_LINE_M < vehicle.along_m
                passed += crosses
                # Amber may be driven through by who could not stop any more, and red just begun by them too.
                assert not (crosses and light == "red" and vehicle.speed < 4)
    assert passed > 300


@pytest.mark.parametrize("seed", range(4))
def test_lights_never_let_both_roads_go(seed: int) -> None:
    traffic = Traffic(seed)
    for _ in range(600):
        traffic.step(0.1)
        shown = {traffic.light(0), traffic.light(1)}
        assert "red" in shown
        assert (traffic.light(0), traffic.light(1)) == (traffic.light(2), traffic.light(3))


async def read_all(data: bytes) -> list[Painted]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    found: list[Painted] = []
    while (painted := await read_painted(reader)) is not None:
        found.append(painted)
    return found


async def test_records_survive_the_pipe_and_a_cut_one_is_the_end() -> None:
    records = [
        Painted(Kind.KEY_PICTURE, 1, 90_000, 6_000, MOMENT_US, b"abc"),
        Painted(Kind.CONFIG, 2, 0, 0, 0, b""),
    ]
    data = b"".join(map(pack, records))

    assert await read_all(data) == records
    assert await read_all(data[:-1]) == records[:1]


@pytest.mark.parametrize("head", [b"\xff" * 32, b"\0\0\0\1\0\7" + bytes(26), b"\0\0\0\0\x63\0" + bytes(26)])
async def test_what_no_painter_writes_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"record|Kind"):
        await read_all(head + bytes(100))


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Callable[..., object]]:
    started: list[asyncio.subprocess.Process] = []

    async def painter(*options: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "simpang.picture.paint", "--name", "Utara", *options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        started.append(process)
        return process

    yield painter
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize(("codec", "audio"), [("h264", "aac"), ("h265", "pcma")])
async def test_the_painter_s_streams_decode_and_tell_the_time(
    codec: str, audio: str, start: Callable[..., object]
) -> None:
    process = await start("--codec", codec, "--audio", audio)  # type: ignore[misc]  # a fixture's coroutine
    records: list[Painted] = []
    async with asyncio.timeout(20):
        while sum(r.track == 0 for r in records) < 20 or sum(r.track == 1 for r in records) < 12:
            painted = await read_painted(process.stdout)
            assert painted is not None
            records.append(painted)
    now_us = time.time_ns() // 1000

    for track, width, height, step in ((0, 1280, 720, 6_000), (1, 640, 360, 9_000)):
        video = [record for record in records if record.track == track]
        decoder = av.CodecContext.create("h264" if codec == "h264" else "hevc", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        frames = [f for r in video for f in decoder.decode(av.Packet(r.data))] + decoder.decode(None)
        assert [(frame.width, frame.height) for frame in frames] == [(width, height)] * len(video)
        assert video[0].kind is Kind.KEY_PICTURE
        assert all((b.pts - a.pts) % step == 0 < b.pts - a.pts for a, b in itertools.pairwise(video))
        for record, frame in zip(video, frames, strict=True):
            luma = frame.planes[0]
            said = read_strip(luma_of(bytes(luma), luma.line_size), width, height)
            assert said == record.wall_us // 1000
            assert 0 <= now_us - record.wall_us < 20_000_000
    sound = [record for record in records if record.track == 2]
    assert sound[0].kind is Kind.CONFIG
    assert bool(sound[0].data) == (audio == "aac")
    assert len(sound) > 10


async def test_a_key_frame_comes_when_asked_for(start: Callable[..., object]) -> None:
    process = await start()  # type: ignore[misc]  # a fixture's coroutine
    keys: list[int] = []
    pictures = 0
    async with asyncio.timeout(20):
        while pictures < 28:  # fewer than from one regular key frame to the next
            painted = await read_painted(process.stdout)
            assert painted is not None
            if painted.track == 0:
                pictures += 1
                if painted.kind is Kind.KEY_PICTURE:
                    keys.append(painted.pts)
                if pictures == 12:
                    process.stdin.write(b"0")

    assert len(keys) == 2
    assert keys[1] - keys[0] < 90_000 * 2


@pytest.mark.parametrize("end", ["stdin", "stdout"])
async def test_the_painter_ends_when_either_pipe_closes(end: str, start: Callable[..., object]) -> None:
    process = await start()  # type: ignore[misc]  # a fixture's coroutine
    async with asyncio.timeout(15):
        assert await read_painted(process.stdout) is not None
        if end == "stdin":
            process.stdin.close()
            while await process.stdout.read(1 << 16):
                continue
        else:
            process.stdout._transport.close()
        assert await process.wait() == 0
