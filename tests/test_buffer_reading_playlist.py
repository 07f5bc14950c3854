"""A clip as HLS: a player that reads it over HTTP by byte ranges gets every picture of every part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest_asyncio
from aiohttp import web

from media_samples import aac
from recordings import KEY, SECOND_US, START_US, Take, recorded
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import GapReason
from simpang_buffer.reading.clips import Clip, Part, clips
from simpang_buffer.reading.playlist import playlist
from simpang_buffer.reading.progressive import ProgressiveMp4
from simpang_buffer.reading.tail import no_tail


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


def uri(part: Part) -> str:
    return f"{part.start_us}.mp4"


async def clip(index: Index, start_s: float, end_s: float) -> Clip:
    return await clips(
        index, no_tail, KEY, START_US + int(start_s * SECOND_US), START_US + int(end_s * SECOND_US)
    )


@asynccontextmanager
async def served(found: Clip) -> AsyncIterator[tuple[str, list[str]]]:
    """The playlist's address, and the ranges that were asked for."""
    asked: list[str] = []

    async def get_part(request: web.Request) -> web.Response:
        part = next(one for one in found.parts if uri(one) == request.path[1:])
        mp4 = await asyncio.to_thread(ProgressiveMp4.read, part, indexed=False)
        wanted = request.http_range
        asked.append(request.headers.get("Range", ""))
        start, end = wanted.start or 0, wanted.stop or mp4.total_bytes
        body = b"".join([block async for block in mp4.write(start, end)])
        head = {"Content-Range": f"bytes {start}-{end - 1}/{mp4.total_bytes}", "Accept-Ranges": "bytes"}
        return web.Response(body=body, status=206, headers=head, content_type="video/mp4")

    async def get_playlist(request: web.Request) -> web.Response:
        return web.Response(text="".join(playlist(found, uri)), content_type="application/vnd.apple.mpegurl")

    app = web.Application()
    app.add_routes([web.get("/clip.m3u8", get_playlist), web.get("/{part}", get_part)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/clip.m3u8", asked
    finally:
        await runner.cleanup()


async def run(*command: str) -> tuple[str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return output.decode(), complaints.decode()


async def test_a_player_gets_every_picture_by_byte_ranges(index: Index) -> None:
    await recorded(index, Take(seconds=18, segment_s=8, sound=aac(seconds=18)))
    found = await clip(index, 2.5, 17.5)

    async with served(found) as (address, asked):
        output, complaints = await run(
            *("ffprobe", "-v", "error", "-count_frames", "-show_entries"),
            *("stream=codec_type,nb_read_frames:format=duration", "-of", "json", address),
        )
        _, decoded = await run("ffmpeg", "-v", "error", "-xerror", "-i", address, "-f", "null", "-")

    assert complaints == decoded == ""
    shown = json.loads(output)
    frames = {stream["codec_type"]: int(stream["nb_read_frames"]) for stream in shown["streams"]}
    assert frames["video"] == 16 * 15
    assert abs(frames["audio"] - 16 * 16_000 / 1024) < 3
    assert float(shown["format"]["duration"]) == 16
    assert all(one.startswith("bytes=") for one in asked)


async def test_parts_of_two_sizes_are_one_playlist_with_a_discontinuity(index: Index) -> None:
    await recorded(index, Take(seconds=9, segment_s=4))
    await recorded(
        index, Take("h264", 6, 2, START_US + 20_500_000, 4, GapReason.TIMEOUT, width=320, height=240)
    )
    found = await clip(index, 1.5, 40)

    text = "".join(playlist(found, uri))
    async with served(found) as (address, _):
        _, complaints = await run("ffmpeg", "-v", "error", "-xerror", "-i", address, "-f", "null", "-")
        output, _ = await run(
            *("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets"),
            *("-of", "csv=p=0", address),
        )

    assert complaints == ""
    # Said once for the stream and once for the programme that it belongs to.
    assert set(output.split()) == {str((8 + 6) * 15)}
    lines = text.splitlines()
    assert lines[0] == "#EXTM3U" and lines[-1] == "#EXT-X-ENDLIST"
    assert lines.count("#EXT-X-DISCONTINUITY") == 1
    starts = [line.removeprefix("#EXT-X-PROGRAM-DATE-TIME:") for line in lines if "DATE-TIME" in line]
    assert [datetime.fromisoformat(one) for one in starts] == [
        datetime.fromtimestamp(START_US / SECOND_US + 1, UTC),
        datetime.fromtimestamp(START_US / SECOND_US + 20.5, UTC),
    ]
    lengths = [float(line[8:].rstrip(",")) for line in lines if line.startswith("#EXTINF:")]
    assert sum(lengths) == 14
    target = next(line for line in lines if "TARGETDURATION" in line)
    assert int(target.partition(":")[2]) == 10 >= max(lengths)


async def test_an_empty_clip_is_a_valid_playlist_of_nothing(index: Index) -> None:
    text = "".join(playlist(await clip(index, 0, 5), uri))

    assert text.splitlines()[-1] == "#EXT-X-ENDLIST"
    assert "EXTINF" not in text
