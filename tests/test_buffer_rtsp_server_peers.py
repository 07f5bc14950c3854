"""Players that nobody here wrote read from our RTSP server: ffprobe, ffmpeg and GStreamer, by TCP and UDP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

import media_samples
from media_samples import SoundTrack, VideoCodec
from served_camera import served_camera
from simpang_buffer.rtsp.auth import Credentials, ServerAuth
from simpang_buffer.rtsp.mount import Mount
from simpang_buffer.rtsp.session import Source, open_session

SECONDS = 1
USERS = {"petugas": "rahasia:@/ sekali"}
SIGN_IN = "petugas:rahasia%3A%40%2F%20sekali"
# 640 x 360 in 4:2:0, as decoders hand it on.
PICTURE_BYTES = 640 * 360 * 3 // 2
Transport = Literal["tcp", "udp"]


async def run(command: Sequence[str], within_s: float = 20) -> tuple[int, str, str]:
    """Exit status, standard output and error of a program."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within_s):
            out, err = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def ffmpeg_decodes(url: str, transport: Transport, maps: Sequence[str]) -> str:
    """What ffmpeg has to complain of while it decodes a second."""
    command = ["ffmpeg", "-v", "error", "-xerror", "-rtsp_transport", transport, "-i", url]
    status, _, err = await run([*command, *maps, "-t", str(SECONDS), "-f", "null", "-"])
    assert status == 0, err
    return err


@pytest.mark.parametrize(
    ("codec", "sound"),
    [
        ("h264", media_samples.aac()),
        ("h265", media_samples.g711("PCMA")),
        ("h264", media_samples.g711("PCMU")),
    ],
    ids=["h264-aac", "h265-pcma", "h264-pcmu"],
)
async def test_ffmpeg_decodes_without_an_error(codec: VideoCodec, sound: SoundTrack) -> None:
    async with served_camera(codec, sound, auth=ServerAuth(USERS)) as camera:
        maps = ["-map", "0:v", "-map", "0:a"]
        complaints = await asyncio.gather(
            ffmpeg_decodes(camera.url(SIGN_IN), "tcp", maps), ffmpeg_decodes(camera.url(SIGN_IN), "udp", maps)
        )

        assert list(complaints) == ["", ""]
        await has_no_readers(camera.mount)


async def has_no_readers(mount: Mount) -> None:
    """Fails with TimeoutError if somebody still reads after 3 s."""
    async with asyncio.timeout(3):
        while mount.readers:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("codec", ["h264", "h265"])
async def test_what_ffmpeg_copies_is_what_was_published(codec: VideoCodec, tmp_path: Path) -> None:
    async with served_camera(codec) as camera:
        file = tmp_path / "copy.bin"
        muxer = "h264" if codec == "h264" else "hevc"
        command = ["ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", camera.url(), "-map", "0:v"]
        status, _, err = await run([*command, "-c", "copy", "-frames:v", "40", "-f", muxer, str(file)])

        assert status == 0, err
        pictures = [tuple(u.nals) for u in camera.units]
        got = list(media_samples.split(file.read_bytes()))
        wanted = [nal for number in range(40) for nal in pictures[number % len(pictures)]]
        # Access unit delimiters apart, which ffmpeg adds for H.264 in this format.
        got = [
            nal
            for nal in got
            if media_samples.nal_kind(codec, nal) not in ((9,) if codec == "h264" else (35,))
        ]
        assert got == [nal.rstrip(b"\0") for nal in wanted]


async def test_ffprobe_reads_formats_from_the_description() -> None:
    async with served_camera("h265", media_samples.aac(), auth=ServerAuth(USERS)) as camera:
        command = ["ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-show_streams", "-of", "json"]
        status, out, err = await run([*command, camera.url(SIGN_IN)])

        assert (status, err) == (0, "")
        video, audio = json.loads(out)["streams"]
        assert (video["codec_name"], video["width"], video["height"]) == ("hevc", 640, 360)
        assert (audio["codec_name"], audio["sample_rate"], audio["channels"]) == ("aac", "16000", 1)


@pytest.mark.parametrize("codec", ["h264", "h265"])
async def test_gstreamer_decodes_without_an_error(codec: VideoCodec, tmp_path: Path) -> None:
    depay, decoder = ("rtph264depay", "avdec_h264") if codec == "h264" else ("rtph265depay", "avdec_h265")
    # A pad of rtspsrc that nothing is linked to makes it fail.
    sound = "s. ! rtppcmadepay ! alawdec ! fakesink sync=false"
    async with served_camera(codec, media_samples.g711("PCMA"), auth=ServerAuth(USERS)) as camera:

        async def play(transport: Transport) -> tuple[bool, bytes]:
            """Whether it decoded 30 pictures, and what it had to say. It is ended from outside, since its
            releases differ in how a pipeline of two branches ends."""
            pictures = tmp_path / transport
            source = f"rtspsrc location={camera.url()} protocols={transport} latency=100 name=s"
            sign_in = ["user-id=petugas", f"user-pw={USERS['petugas']}"]
            sink = f"filesink location={pictures} buffer-mode=unbuffered"
            video = f"s. ! {depay} ! {decoder} max-errors=0 ! {sink}"
            process = await asyncio.create_subprocess_exec(
                "gst-launch-1.0", "-q", *source.split(), *sign_in, *video.split(), *sound.split(),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            enough = 30 * PICTURE_BYTES
            deadline = time.monotonic() + 25
            while process.returncode is None and time.monotonic() < deadline:
                if pictures.exists() and pictures.stat().st_size >= enough:
                    break
                await asyncio.sleep(0.05)
            if process.returncode is None:
                process.kill()
            said, _ = await process.communicate()
            return pictures.stat().st_size >= enough, said

        assert list(await asyncio.gather(play("tcp"), play("udp"))) == [(True, b"")] * 2


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_each_digest_algorithm_alone_lets_clients_in(algorithm: str) -> None:
    async with served_camera(auth=ServerAuth(USERS, algorithms=[algorithm])) as camera:
        if algorithm == "MD5":
            assert await ffmpeg_decodes(camera.url(SIGN_IN), "tcp", []) == ""
        else:
            # libav and GStreamer know MD5 only; the recorder is the peer that signs with SHA-256.
            credentials = Credentials("petugas", USERS["petugas"])
            source = Source(camera.url(), "127.0.0.1", camera.port, credentials)
            async with open_session(source) as session:
                assert [track.track.encoding for track in session.tracks] == ["H264"]


async def test_a_wrong_password_is_refused_with_401() -> None:
    async with served_camera(auth=ServerAuth(USERS)) as camera:
        status, _, err = await run(
            ["ffprobe", "-v", "error", "-rtsp_transport", "tcp", camera.url("petugas:salah")]
        )

        assert status != 0
        assert "401 Unauthorized" in err


async def test_twenty_players_at_once_are_all_served() -> None:
    async with served_camera("h264", auth=ServerAuth(USERS), noise=2_000, width=320, height=240) as camera:
        probe = [
            "ffmpeg",
            "-v",
            "error",
            "-rtsp_transport",
            "tcp",
            "-analyzeduration",
            "0",
            "-i",
            camera.url(SIGN_IN),
        ]
        copy = [*probe, "-c", "copy", "-frames:v", "10", "-f", "null", "-"]
        results = await asyncio.gather(*(run(copy, within_s=30) for _ in range(20)))

        assert [(status, err) for status, _, err in results] == [(0, "")] * 20
