"""Live over the WebSocket: what is sent is what ffprobe and a browser take, and nobody is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

import media_samples
from media_files import decode_errors, probe
from recorded_runs import video_format
from simpang.web.live import MOST_VIEWERS
from simpang.web.live_stream import LiveStream, video_only
from simpang_buffer.media.audio_format import audio_format
from simpang_buffer.media.fmp4 import init_segment
from simpang_buffer.model import AudioFormat, StreamKey
from simpang_buffer.recording.live import MAX_QUEUED_FRAMES, LiveFeed, LiveFrame, LiveInit
from web_site import FRAME_TICKS, Site, camera, live_frames, live_init, open_site

KEY = StreamKey("utara", "main")
LIVE = "/api/v1/cameras/utara/streams/main/live"


def frames_of(count: int = 45) -> list[LiveFrame]:
    return list(live_frames(media_samples.video("h264", frames=count)))


def show(site: Site) -> None:
    site.roster.told = [camera()]
    site.pool.inits[KEY] = live_init(media_samples.video("h264", frames=45))


async def watched(site: Site, viewers: int) -> None:
    async with asyncio.timeout(5):
        while len(site.pool.feeds.get(KEY, ())) != viewers:
            await asyncio.sleep(0.005)


async def opened(socket: aiohttp.ClientWebSocketResponse) -> tuple[str, bytes]:
    message = json.loads(await socket.receive_str(timeout=5))
    assert message["type"] == "init"
    return message["mime"], await socket.receive_bytes(timeout=5)


def decode_time(piece: bytes) -> int:
    at = piece.index(b"tfdt")
    (time,) = struct.unpack_from(">Q", piece, at + 8)
    assert isinstance(time, int)
    return time


async def test_each_frame_comes_as_one_fragment_from_a_key_frame_on(tmp_path: Path) -> None:
    frames = frames_of()
    async with open_site(tmp_path) as site, site.client() as client:
        show(site)
        async with client.ws_connect(LIVE) as socket:
            mime, header = await opened(socket)
            for frame in frames[5:]:
                site.pool.offer(KEY, frame)
            pieces = [await socket.receive_bytes(timeout=5) for _ in frames[15:]]

    (tmp_path / "live.mp4").write_bytes(header + b"".join(pieces))
    found = await asyncio.to_thread(probe, tmp_path / "live.mp4")
    assert mime == site.pool.inits[KEY].mime
    assert (found.frames, found.dts[0], found.keys[0]) == (30, 0, True)
    assert await asyncio.to_thread(decode_errors, tmp_path / "live.mp4") == ""


async def test_timeline_runs_on_over_a_new_run(tmp_path: Path) -> None:
    frames = frames_of(15)
    async with open_site(tmp_path) as site, site.client() as client:
        show(site)
        async with client.ws_connect(LIVE) as socket:
            await opened(socket)
            for frame in frames:
                site.pool.offer(KEY, frame)
            first = [decode_time(await socket.receive_bytes(timeout=5)) for _ in frames]
            site.pool.offer(KEY, live_init(media_samples.video("h264", frames=45), run=2))
            for frame in live_frames(media_samples.video("h264", frames=15), first_dts=900_000):
                site.pool.offer(KEY, frame)
            await opened(socket)
            second = [decode_time(await socket.receive_bytes(timeout=5)) for _ in frames]

    assert first + second == [number * FRAME_TICKS for number in range(30)]


async def test_viewer_that_does_not_keep_up_is_told_and_goes_on_at_a_key_frame(tmp_path: Path) -> None:
    frames = frames_of(45)
    async with open_site(tmp_path) as site, site.client() as client:
        show(site)
        async with client.ws_connect(LIVE) as socket:
            await opened(socket)
            # All at once, without giving the viewer a turn: more than its queue holds.
            offered = [frame for _ in range(4) for frame in frames]
            assert len(offered) > 2 * MAX_QUEUED_FRAMES
            for frame in offered:
                site.pool.offer(KEY, frame)
            async with asyncio.timeout(5):
                while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                    pass
            dropped = json.loads(message.data)
            piece = await socket.receive_bytes(timeout=5)

    assert dropped["type"] == "dropped" and 0 < dropped["frames"] < len(offered)
    # 14496-12: depends on nothing else.
    assert struct.pack(">I", 0x0200_0000) in piece[: piece.index(b"mdat")]


async def test_several_viewers_share_a_stream_and_leave_nothing_behind(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        show(site)
        async with client.ws_connect(LIVE) as one, client.ws_connect(LIVE) as other:
            headers = [await opened(one), await opened(other)]
            await watched(site, 2)
        await watched(site, 0)

    assert headers[0] == headers[1]


async def test_gateway_that_stops_says_so_and_does_not_wait(tmp_path: Path) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as client:
        async with asyncio.timeout(4), open_site(tmp_path) as site:
            show(site)
            async with client.post(f"{site.address}/api/v1/session", json={"token": site.token()}):
                socket = await client.ws_connect(site.address + LIVE)
            await opened(socket)
        message = await socket.receive(timeout=2)
        await socket.close()

    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY)


async def test_what_cannot_be_shown_is_a_problem_and_no_socket(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        async with client.get(LIVE) as response:
            assert (response.status, (await response.json())["code"]) == (426, "upgrade-required")
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await client.ws_connect(LIVE)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            await client.ws_connect(LIVE.replace("main", "other"))


async def test_viewers_who_come_at_once_are_counted_too(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        show(site)
        live, all_there, waiting = site.pool.live, asyncio.Event(), 0

        @contextlib.asynccontextmanager
        async def slowly(key: StreamKey) -> AsyncIterator[LiveFeed]:
            nonlocal waiting
            waiting += 1
            await all_there.wait()
            async with live(key) as feed:
                yield feed

        site.pool.live = slowly  # type: ignore[method-assign]  # all of them are on their way
        coming = [asyncio.ensure_future(client.ws_connect(LIVE)) for _ in range(MOST_VIEWERS + 5)]
        async with asyncio.timeout(10):
            while waiting < MOST_VIEWERS:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        all_there.set()
        came = await asyncio.gather(*coming, return_exceptions=True)
        watching = [one for one in came if isinstance(one, aiohttp.ClientWebSocketResponse)]
        for socket in watching:
            await socket.close()

    assert len(watching) == MOST_VIEWERS


def sound_format(encoding: str) -> AudioFormat:
    if encoding == "MPEG4-GENERIC":
        config = media_samples.aac().config.hex()
        return audio_format(encoding, 16_000, 1, {"config": config, "mode": "AAC-hbr"})
    return audio_format(encoding, 8_000, 1, {})


def live_init_with_sound(encoding: str) -> LiveInit:
    format_ = video_format("h264", media_samples.video("h264", frames=45))
    audio = sound_format(encoding)
    mime = f'video/mp4; codecs="{format_.codec},{audio.codec}"'
    return LiveInit(1, mime, init_segment(format_, audio), 90_000, audio.timescale, None)


def test_sound_is_sent_only_where_browsers_take_it() -> None:
    sound = LiveFrame(False, 1024, 0, True, 1024, b"sound")
    for encoding, kept in (("MPEG4-GENERIC", True), ("PCMA", False)):
        stream = LiveStream()
        mime, header = stream.start(live_init_with_sound(encoding))
        stream.add(frames_of(1)[0])

        assert ("mp4a.40.2" in mime) is kept and "alaw" not in mime
        assert (b"soun" in header) is kept
        assert (stream.add(sound) is not None) is kept


def test_header_without_its_sound_is_the_header_of_the_pictures_alone(tmp_path: Path) -> None:
    format_ = video_format("h264", media_samples.video("h264", frames=45))
    alone = init_segment(format_)
    stripped = video_only(live_init_with_sound("PCMA").init)

    # But for the next free track number, which nobody reads.
    assert len(stripped) == len(alone)
    assert sum(a != b for a, b in zip(stripped, alone, strict=True)) <= 1
    assert video_only(alone) == alone
