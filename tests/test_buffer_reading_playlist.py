"""A clip as HLS: a player that reads it over HTTP by byte ranges gets every picture of every part."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from media_samples import SoundTrack, aac, g711
from recordings import KEY, SECOND_US, START_US, Take, recorded, tail_of, written
from simpang.picture.aac import encode as encode_aac
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import GapReason
from simpang_buffer.reading.browser_sound import Encode
from simpang_buffer.reading.clips import Clip, Part, clips
from simpang_buffer.reading.playlist import playlist
from simpang_buffer.reading.progressive import ProgressiveMp4
from simpang_buffer.reading.tail import Tails, no_tail


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


def encode(law: str, rate: int, samples: bytes) -> Sequence[bytes]:
    return encode_aac({"alaw": "pcm_alaw", "ulaw": "pcm_mulaw"}[law], rate, samples)


def uri(part: Part) -> str:
    return f"{part.start_us}.mp4"


async def clip(index: Index, start_s: float, end_s: float) -> Clip:
    return await clips(
        index, no_tail, KEY, START_US + int(start_s * SECOND_US), START_US + int(end_s * SECOND_US)
    )


@asynccontextmanager
async def served(found: Clip, encode: Encode | None = None) -> AsyncIterator[tuple[str, list[str]]]:
    """The playlist's address, and the ranges that were asked for."""
    asked: list[str] = []

    async def get_part(request: web.Request) -> web.Response:
        part = next(one for one in found.parts if uri(one) == request.path[1:])
        mp4 = await asyncio.to_thread(ProgressiveMp4.read, part, indexed=False, encode=encode)
        wanted = request.http_range
        asked.append(request.headers.get("Range", ""))
        start, end = wanted.start or 0, wanted.stop or mp4.total_bytes
        body = b"".join([block async for block in mp4.write(start, end)])
        head = {"Content-Range": f"bytes {start}-{end - 1}/{mp4.total_bytes}", "Accept-Ranges": "bytes"}
        return web.Response(body=body, status=206, headers=head, content_type="video/mp4")

    async def get_playlist(request: web.Request) -> web.Response:
        return web.Response(
            text="".join(playlist(found, uri, aac=encode is not None)),
            content_type="application/vnd.apple.mpegurl",
        )

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


def strictly(text: str) -> list[tuple[str, int, int, float]]:
    """(address, first byte, byte behind the last, seconds) of each entry; fails on what RFC 8216 forbids."""
    lines = text.split("\n")
    assert lines[0] == "#EXTM3U" and lines[-1] == "" and "" not in lines[:-1]
    (target,) = [int(line.partition(":")[2]) for line in lines if line.startswith("#EXT-X-TARGETDURATION:")]
    once = ("#EXT-X-VERSION:", "#EXT-X-MEDIA-SEQUENCE:", "#EXT-X-PLAYLIST-TYPE:", "#EXT-X-ENDLIST")
    assert all(sum(line.startswith(tag) for line in lines) <= 1 for tag in once)
    found: list[tuple[str, int, int, float]] = []
    mapped: str | None = None
    length_s: float | None = None
    span: tuple[int, int] | None = None
    for line in lines[1:-1]:
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-MAP":
            assert length_s is None and span is None
            mapped = value
        elif tag == "#EXTINF":
            assert mapped and length_s is None and value.endswith(",")
            length_s = float(value[:-1])
            # Section 4.3.3.1: rounded to the nearest integer.
            assert length_s > 0 and round(length_s) <= target
        elif tag == "#EXT-X-BYTERANGE":
            size, at = map(int, value.split("@"))
            span = (at, at + size)
        elif not line.startswith("#"):
            assert length_s is not None and span is not None
            assert f'URI="{line}"' in (mapped or "")
            found.append((line, *span, length_s))
            length_s = span = None
        else:
            assert tag in (
                "#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-PLAYLIST-TYPE",
                "#EXT-X-DISCONTINUITY", "#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-ENDLIST",
            ), line  # fmt: skip
    for before, after in itertools.pairwise(found):
        # Within a part, entries follow each other without a hole.
        assert before[0] != after[0] or before[2] == after[1]
    return found


@pytest.mark.parametrize("sound", [None, g711("PCMA", seconds=30)], ids=["silent", "AAC made of G.711"])
async def test_a_playlist_that_grows_changes_nothing_that_was_in_it(
    index: Index, sound: SoundTrack | None
) -> None:
    """Through the growth of a file, its end, the commit of its row, and the end of its run."""
    run = await written(index.media, Take(seconds=30, segment_s=10, sound=sound), close=False)
    await index.add_run(run.files[0].head.header, 160, 120)
    asked_us = START_US + 60 * SECOND_US
    seen: list[list[str]] = []
    files = [tail_of(file) for file in run.files]

    def shown(number: int, fragments: int, waiting: int) -> Tails:
        before = tuple(files[number - waiting : number])
        tail = replace(files[number], fragments=files[number].fragments[:fragments], before=before)
        return lambda key: tail

    async def look(tails: Tails, *, over: bool = False) -> str:
        found = await clips(index, tails, KEY, START_US, asked_us)
        return "".join(playlist(found, lambda part: "clip.mp4", event=True, over=over, aac=sound is not None))

    for number in range(3):
        for fragments in (1, 5, 9, 10):
            # The second file is closed, and its row not committed, when the third has begun.
            waiting = 1 if number == 2 and fragments == 1 else 0
            if number == 2 and fragments == 5:
                await index.add_segment(run.rows[1])
            seen.append((await look(shown(number, fragments, waiting))).split("\n")[:-1])
        if number == 0:
            # Between two files there is a moment without an open one.
            await index.add_segment(run.rows[0])
            seen.append((await look(no_tail)).split("\n")[:-1])
    last = await look(no_tail, over=False)
    finished = await look(shown(2, 10, 0), over=True)

    for before, after in itertools.pairwise(seen):
        assert after[: len(before)] == before
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in seen[0]
    assert finished.split("\n")[: len(seen[-1])] == seen[-1]
    assert finished.endswith("#EXT-X-ENDLIST\n") and "ENDLIST" not in last
    assert sum(one[3] for one in strictly(finished)) == pytest.approx(30)
    # The chunk that is being written is not in it: whole ones of four and two seconds are.
    assert sum(one[3] for one in strictly("\n".join(seen[-1]) + "\n")) == pytest.approx(28)


async def test_sound_made_for_browsers_plays_from_a_playlist(index: Index) -> None:
    await recorded(index, Take(seconds=18, segment_s=8, sound=g711("PCMA", seconds=18)))
    found = await clip(index, 2.5, 40)

    async with served(found, encode=encode) as (address, _):
        output, complaints = await run(
            *("ffprobe", "-v", "error", "-count_frames", "-show_entries"),
            *("stream=codec_type,codec_name,nb_read_frames", "-of", "json", address),
        )
        _, decoded = await run("ffmpeg", "-v", "error", "-xerror", "-i", address, "-f", "null", "-")

    assert complaints == decoded == ""
    streams = {stream["codec_type"]: stream for stream in json.loads(output)["streams"]}
    assert int(streams["video"]["nb_read_frames"]) == 16 * 15
    assert streams["audio"]["codec_name"] == "aac"
    assert int(streams["audio"]["nb_read_frames"]) == pytest.approx(16 * 8000 / 1024, abs=3)


async def test_key_frames_that_come_rarely_do_not_make_entries_longer_than_was_said(index: Index) -> None:
    await recorded(index, Take(seconds=45, key_every=300))

    text = "".join(playlist(await clip(index, 0, 45), uri))

    assert [round(one[3]) for one in strictly(text)] == [10, 10, 10, 10, 5]


async def test_a_long_range_has_an_entry_for_each_file(index: Index) -> None:
    await recorded(index, Take(seconds=18, segment_s=4))
    whole = START_US, START_US + 18 * SECOND_US
    found = await clips(index, no_tail, KEY, *whole, detail=False)
    lengths = [one[3] for one in strictly("".join(playlist(found, uri)))]

    # The first file is read, since the range begins in it; it has a chunk of 4 s.
    assert lengths == pytest.approx([4, 4, 4, 4, 2])
