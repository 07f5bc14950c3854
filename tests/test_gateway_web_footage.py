"""Clips over HTTP, judged by ffprobe; byte ranges; never a broken file."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_files import decode_errors, probe
from numbered_pictures import HEIGHT, WIDTH, numbered, of_jpeg
from recorded_runs import perform
from simpang.web import footage, readers
from simpang.web.ranges import ByteRange, Unsatisfiable, parse_range
from simpang.web.times import format_time, parse_time
from simpang_buffer.index.index import Index
from simpang_buffer.media.descriptors import JPEG, esds
from simpang_buffer.media.fmp4 import video_entry
from simpang_buffer.model import (
    AccessUnit,
    AnchorSource,
    GapReason,
    StreamKey,
    VideoFormat,
    segment_path,
)
from simpang_buffer.reading.clips import Clip, clips
from simpang_buffer.recording.places import only
from simpang_buffer.recording.segment_writer import OpenFile, RunStart, SegmentWriter, Step
from web_site import camera, now_us, open_site, record, stream

__all__ = ["numbered"]

KEY = StreamKey("utara", "main")
CLIP = "/api/v1/cameras/utara/streams/main/clip.mp4"
SECOND = 1_000_000


def query(start_us: int, end_us: int) -> dict[str, str]:
    return {"start": format_time(start_us), "end": format_time(end_us)}


async def saved(response: aiohttp.ClientResponse, path: Path) -> Path:
    path.write_bytes(await response.read())
    return path


async def test_clip_plays_from_the_key_frame_before_its_start(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        start = now_us() - 60 * SECOND
        await record(site.gateway.index, KEY, start, frames=60)

        async with client.get(CLIP, params=query(start + 1_500_000, start + 4 * SECOND)) as response:
            headers = response.headers
            file = await saved(response, tmp_path / "clip.mp4")

    found = await asyncio.to_thread(probe, file)
    assert (response.status, headers["Content-Type"]) == (200, "video/mp4")
    assert headers["Simpang-Start"] == format_time(start + SECOND)
    assert headers["Simpang-End"] == format_time(start + 4 * SECOND)
    assert "Simpang-Next" not in headers
    assert (found.frames, found.dts[0], found.keys[0]) == (45, 0, True)
    assert await asyncio.to_thread(decode_errors, file) == ""


async def test_parts_are_chained_by_simpang_next(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        first, second = now_us() - 120 * SECOND, now_us() - 60 * SECOND
        await record(site.gateway.index, KEY, first, frames=30)
        await record(site.gateway.index, KEY, second, run=2, frames=30, previous_end=GapReason.CAMERA_REBOOT)

        starts = [format_time(first)]
        seen = []
        while starts:
            async with client.get(
                CLIP, params={"start": starts.pop(), "end": format_time(now_us())}
            ) as response:
                seen.append(response.headers["Simpang-Start"])
                starts += [response.headers["Simpang-Next"]] if "Simpang-Next" in response.headers else []

    assert seen == [format_time(first), format_time(second)]


async def test_head_and_ranges_agree_with_the_whole(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        start = now_us() - 60 * SECOND
        await record(site.gateway.index, KEY, start)
        asked = query(start, start + 4 * SECOND)
        async with client.get(CLIP, params=asked) as response:
            whole, etag = await response.read(), response.headers["ETag"]
        async with client.head(CLIP, params=asked) as response:
            assert (response.status, response.content_length) == (200, len(whole))
        for header, expected in {
            "bytes=0-": whole,
            "bytes=0-0": whole[:1],
            "bytes=100-1999": whole[100:2000],
            "bytes=-500": whole[-500:],
            f"bytes={len(whole) - 1}-{len(whole) + 99}": whole[-1:],
        }.items():
            async with client.get(
                CLIP, params=asked, headers={"Range": header, "If-Range": etag}
            ) as response:
                assert (response.status, await response.read()) == (206, expected), header
                assert response.headers["Content-Range"].endswith(f"/{len(whole)}")
        async with client.get(CLIP, params=asked, headers={"Range": f"bytes={len(whole)}-"}) as response:
            assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
            assert (await response.json())["code"] == "range-not-satisfiable"
        async with client.get(
            CLIP, params=asked, headers={"Range": "bytes=0-1", "If-Range": '"old"'}
        ) as response:
            assert (response.status, await response.read()) == (200, whole)
        async with client.get(CLIP, params=asked, headers={"If-None-Match": etag}) as response:
            assert response.status == 304


async def test_range_without_footage_is_nothing_recorded_with_its_gaps(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera(state="unreachable", reason="unreachable")]
        start = now_us() - 600 * SECOND
        await record(site.gateway.index, KEY, start)

        for path in (CLIP, CLIP.replace("clip.mp4", "playlist.m3u8")):
            async with client.get(path, params=query(start + 60 * SECOND, start + 120 * SECOND)) as response:
                status, body = response.status, await response.json()

            assert (status, body["code"]) == (404, "nothing-recorded")
            (gap,) = body["gaps"]
            assert (parse_time(gap["start"]), parse_time(gap["end"])) == (
                start + 60 * SECOND,
                start + 120 * SECOND,
            )
            assert gap["reason"] == "unreachable"
        async with client.head(CLIP, params=query(start + 60 * SECOND, start + 120 * SECOND)) as response:
            assert (response.status, await response.read()) == (404, b"")


@pytest.mark.parametrize(
    ("asked", "paths"),
    [
        ({}, {"start", "end"}),
        ({"start": "yesterday", "end": "2026-11-24T02:00:00"}, {"start", "end"}),
        ({"start": "2026-11-24T02:00:00Z", "end": "2026-11-24T01:00:00Z"}, {"end"}),
        ({"start": "2006-11-24T02:00:00Z", "end": "2026-11-29T02:00:00Z"}, {"end"}),
        ({"start": "0001-01-01T00:00:00+23:59", "end": "9999-12-31T23:59:59-23:59"}, {"start", "end"}),
    ],
)
async def test_unusable_times_are_all_named_at_once(
    tmp_path: Path, asked: dict[str, str], paths: set[str]
) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        async with client.get(CLIP, params=asked) as response:
            body = await response.json()

    assert (response.status, body["code"]) == (400, "malformed")
    assert {error["path"] for error in body["errors"]} <= paths and body["errors"]


async def test_half_a_clip_is_never_taken_for_a_whole(tmp_path: Path) -> None:
    """A file that is gone, or is not what was sealed, ends the answer before its Content-Length."""
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        start = now_us() - 60 * SECOND
        await record(site.gateway.index, KEY, start)
        asked = query(start, start + 4 * SECOND)
        async with client.get(CLIP, params=asked) as response:
            await response.read()
        (site.gateway.index.media / segment_path(KEY, 1, 0)).write_bytes(b"")

        try:
            async with client.get(CLIP, params=asked) as response:
                status = response.status
                await response.read()
        except aiohttp.ClientPayloadError:
            status = 0

    assert status in (0, 404, 500, 503)


async def test_playlist_names_ranges_of_the_clip(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        start = now_us() - 60 * SECOND
        await record(site.gateway.index, KEY, start)
        async with client.get(
            CLIP.replace("clip.mp4", "playlist.m3u8"), params=query(start, start + 30 * SECOND)
        ) as response:
            text = await response.text()
        (address,) = {line for line in text.splitlines() if line.startswith("clip.mp4")}
        async with client.get(CLIP.removesuffix("clip.mp4") + address) as response:
            size = len(await response.read())

    assert response.status == 200
    sizes = [line.partition(":")[2] for line in text.splitlines() if line.startswith("#EXT-X-BYTERANGE")]
    last_size, last_offset = map(int, sizes[-1].split("@"))
    assert last_offset + last_size == size
    assert "#EXT-X-ENDLIST" in text


async def test_still_picture_is_the_key_frame_of_its_moment(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera(streams=(stream(codec="hvc1.1.6.L60.90"),))]
        start = now_us() - 60 * SECOND
        await record(site.gateway.index, KEY, start, codec="h265", frames=45)
        path, asked = "/api/v1/cameras/utara/snapshot.jpg", {"at": format_time(start + 1_700_000)}

        async with client.get(path, params=asked) as response:
            picture, headers = await response.read(), response.headers
        async with client.get(path, params=asked, headers={"If-None-Match": headers["ETag"]}) as response:
            again = response.status
        async with client.get(path) as response:
            late = response.status, (await response.json())["code"]

    assert (headers["Content-Type"], headers["Simpang-Start"]) == ("image/jpeg", format_time(start + SECOND))
    assert picture.startswith(b"\xff\xd8") and picture.endswith(b"\xff\xd9") and len(picture) > 2000
    assert again == 304
    assert late == (404, "nothing-recorded")


async def test_still_picture_of_garbage_is_a_problem_and_the_next_is_fine(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        bad, good = now_us() - 60 * SECOND, now_us() - 30 * SECOND
        segment = await record(site.gateway.index, KEY, bad, frames=15)
        await record(site.gateway.index, KEY, good, run=2, frames=15)
        file = site.gateway.index.media / segment.path
        content = file.read_bytes()
        at = content.index(b"mdat")
        file.write_bytes(content[: at + 4] + b"\xa5" * 3000 + content[at + 3004 :])
        path = "/api/v1/cameras/utara/snapshot.jpg"

        async with client.get(path, params={"at": format_time(bad + SECOND // 2)}) as response:
            refused = response.status, (await response.json())["code"]
        async with client.get(path, params={"at": format_time(good + SECOND // 2)}) as response:
            fine = response.status

    assert refused == (503, "unavailable")
    assert fine == 200


def test_ranges_as_in_rfc_9110() -> None:
    assert parse_range(None, 100) is None
    assert parse_range("bytes=0-49", 100) == ByteRange(0, 50)
    assert parse_range("bytes=50-", 100) == ByteRange(50, 100)
    assert parse_range("bytes=-20", 100) == ByteRange(80, 100)
    for ignored in ("bytes=5-4", "bytes=-", "bytes=0-1,5-6", "lines=0-1", "bytes", "bytes=a-b", "bytes=0-1x"):
        assert parse_range(ignored, 100) is None, ignored
    for impossible in ("bytes=100-", "bytes=-0", "bytes=999999-"):
        with pytest.raises(Unsatisfiable):
            parse_range(impossible, 100)


@given(st.text(max_size=60), st.integers(0, 1000))
def test_any_range_header_gives_bytes_that_exist(header: str, total_bytes: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            found = parse_range(text, total_bytes)
        except Unsatisfiable:
            continue
        assert found is None or 0 <= found.start < found.end <= total_bytes


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_survive_the_wire(time_us: int) -> None:
    assert parse_time(format_time(time_us)) == time_us


@given(st.text(max_size=50))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        parse_time(text)
    except ValueError as error:
        assert str(error)


def test_times_with_offsets_mean_what_they_say() -> None:
    utc = parse_time("2026-11-24T02:00:00Z")
    assert parse_time("2026-11-24T09:00:00+07:00") == parse_time("2026-11-24T09:00:00 07:00") == utc


async def test_what_all_readers_read_at_once_is_bounded_however_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Room for three readers of a minute.
    monkeypatch.setattr(readers, "MOST_BYTES", 1 << 20)
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        await record(site.gateway.index, KEY, now_us() - 60 * SECOND, frames=60)
        day = query(now_us() - 86_000 * SECOND, now_us())
        here, go_on = asyncio.Semaphore(0), asyncio.Event()

        footage.clips = slowly(here, go_on)  # type: ignore[assignment]  # each reader stops in the middle
        try:
            slow = [asyncio.ensure_future(client.get(CLIP, params=day)) for _ in range(3)]
            for _ in slow:
                await asyncio.wait_for(here.acquire(), 5)
            async with client.get(CLIP, params=day) as response:
                refused = (response.status, (await response.json())["code"])
        finally:
            footage.clips = clips
            go_on.set()
        served = [response.status for response in await asyncio.gather(*slow)]
        async with client.get(CLIP, params=day) as response:
            served.append(response.status)

    assert refused == (503, "busy")
    assert served == [200] * 4


def slowly(here: asyncio.Semaphore, go_on: asyncio.Event) -> Callable[..., Awaitable[Clip]]:
    async def read(*asked: Any, **more: Any) -> Clip:
        here.release()
        await go_on.wait()
        return await clips(*asked, **more)

    return read


FRAME = CLIP.replace("clip.mp4", "frame.jpg")


@pytest.mark.usefixtures("numbered")
async def test_a_picture_is_the_key_frame_before_a_moment_or_exactly_the_one_on_the_screen(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        start = now_us() - 60 * SECOND
        for run, codec in enumerate(("h264", "h265"), 1):
            at_run = start + run * 20 * SECOND
            shape = {"width": WIDTH, "height": HEIGHT}
            await record(site.gateway.index, KEY, at_run, run=run, codec=codec, frames=60, **shape)  # type: ignore[arg-type]  # one of the two
            for query_, number in (
                ({"at": 22.4, "exact": "0"}, 15),
                ({"at": 22.4, "exact": "1"}, 22),
                ({"at": 0.0, "exact": "1"}, 0),
                ({"at": 59.9, "exact": "1"}, 59),
                ({"at": 80.0, "exact": "1"}, 59),
            ):
                at_us = at_run + int(float(query_["at"]) * SECOND) // 15
                asked = {"at": format_time(at_us), "exact": str(query_["exact"])}
                async with client.get(FRAME, params=asked) as response:
                    picture, headers = await response.read(), response.headers
                assert response.status == 200, await response.text()
                assert await asyncio.to_thread(of_jpeg, picture) == number, (codec, query_)
                shown_us = parse_time(headers["Simpang-Time"])
                assert abs(shown_us - (at_run + number * SECOND // 15)) <= 1
                assert headers["Simpang-Key-Frame"] == str(int(number % 15 == 0))
        async with client.get(FRAME, params=asked, headers={"If-None-Match": headers["ETag"]}) as response:
            assert response.status == 304
        async with client.get(FRAME, params={"at": format_time(start)}) as response:
            assert (response.status, (await response.json())["code"]) == (404, "nothing-recorded")
        async with client.get(FRAME, params={"at": "noon", "exact": "2", "width": "-1"}) as response:
            body = await response.json()
        assert {error["path"] for error in body["errors"]} == {"at", "exact", "width"}


async def test_a_picture_that_the_camera_sent_as_jpeg_is_that_jpeg(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        start = now_us() - 60 * SECOND
        pictures = await record_jpegs(site.gateway.index, KEY, start, 45)

        async with client.get(
            FRAME, params={"at": format_time(start + 31 * SECOND // 15), "exact": "1"}
        ) as response:
            served = await response.read()
        async with client.get(
            FRAME, params={"at": format_time(start + 31 * SECOND // 15), "width": "64"}
        ) as response:
            small = await response.read()

    assert served == pictures[31]
    assert small.startswith(b"\xff\xd8") and len(small) < len(served)


async def record_jpegs(index: Index, key: StreamKey, start_us: int, count: int) -> list[bytes]:
    """A run of an MJPEG camera, 15 pictures a second; what it sent."""
    painter = av.CodecContext.create("mjpeg", "w")
    assert isinstance(painter, av.VideoCodecContext)
    painter.width, painter.height, painter.pix_fmt = 160, 120, "yuvj420p"
    painter.time_base = Fraction(1, 15)
    jpegs = []
    for number in range(count):
        frame = av.VideoFrame(160, 120, "yuvj420p")
        for plane in frame.planes:
            plane.update(random.Random(number).randbytes(plane.buffer_size))
        frame.pts = number
        jpegs += [bytes(packet) for packet in painter.encode(frame)]
    entry = video_entry(b"mp4v", 160, 120, esds(JPEG))
    format_ = VideoFormat("mp4v.6C", 160, 120, entry)
    cutter = SegmentWriter(
        RunStart("digulis", key, 1, None, 0), only(index.media), None,
        lambda: (start_us, AnchorSource.RTCP), segment_s=600,
    )  # fmt: skip
    steps: list[Step] = []
    for number, jpeg in enumerate(jpegs):
        unit = AccessUnit(True, number * 6000, 0, True, jpeg, start_us + number * SECOND // 15)
        steps += cutter.add_picture(unit, format_)
    (segment,) = await asyncio.to_thread(perform, [*steps, *cutter.finish()])
    assert isinstance(steps[0], OpenFile)
    await index.add_run(steps[0].file.head.header, 160, 120)
    await index.add_segment(segment)
    return jpegs
