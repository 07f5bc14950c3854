"""A whole demo camera as its own process: found, signed in to, read and killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator

import psutil
import pytest

from demo_identity import PASSWORD, USER, identity
from simpang.demo.identity import Identity
from simpang_buffer.rtsp.auth import Credentials as StreamCredentials
from simpang_buffer.rtsp.session import Source, TrackReport, open_session
from simpang_onvif.adapter import connect
from simpang_onvif.device import Credentials
from simpang_onvif.discovery import discover
from simpang_onvif.profiles import choose
from simpang_onvif.uri_policy import UriPolicy


def command(who: Identity) -> list[str]:
    return [
        *(sys.executable, "-m", "simpang", "demo-camera", "--name", who.name, "--codec", who.codec),
        *("--listen", f"{who.host}:{who.http_port}", "--rtsp-port", str(who.rtsp_port), "--audio", who.audio),
        *("--user", USER, "--password-stdin"),
    ]


@contextlib.asynccontextmanager
async def camera_process(who: Identity) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, once it has said that it is ready."""
    process = await asyncio.create_subprocess_exec(
        *command(who),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{PASSWORD}\n".encode())
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def run(*arguments: str, given: bytes = b"") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate(given)
    return process.returncode or 0, out.decode(), err.decode()


def painter_of(process: asyncio.subprocess.Process) -> psutil.Process:
    [painter] = [p for p in psutil.Process(process.pid).children() if "simpang.picture.paint" in p.cmdline()]
    return painter


async def ends(process: psutil.Process, within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)


async def test_it_is_found_signed_in_to_and_read_like_any_camera() -> None:
    who = identity("127.0.1.93", "h264", "aac", name="Digulis Utara")
    async with camera_process(who) as process:
        found = [d async for d in discover(interfaces=["lo"], seconds=1.0) if d.epr == who.endpoint]
        policy = UriPolicy(allow_loopback=True)
        async with connect(found[0].xaddrs[0], Credentials(USER, PASSWORD), policy) as device:
            main, sub = choose(await device.profiles())
            assert sub is not None
            uris = [(await device.stream_uri(profile)).url for profile in (main, sub)]
        for uri, width in zip(uris, (1280, 640), strict=True):
            url = uri.replace("rtsp://", f"rtsp://{USER}:rahasia%20%26%20%3Csekali%3E@")
            probe = (
                "ffprobe",
                "-v",
                "error",
                "-rtsp_transport",
                "tcp",
                "-analyzeduration",
                "800000",
                "-show_streams",
                "-of",
                "json",
                url,
            )
            status, out, err = await run(*probe)
            assert (status, err) == (0, "")
            streams = json.loads(out)["streams"]
            assert [stream["codec_name"] for stream in streams] == ["h264", "aac"]
            assert streams[0]["width"] == width
        listed = " ".join(" ".join(p.cmdline()) for p in (psutil.Process(process.pid), painter_of(process)))

    assert PASSWORD not in listed


async def test_the_recorder_s_session_gets_a_key_frame_at_once_and_its_time() -> None:
    who = identity("127.0.1.94", "h265", "pcma")
    async with camera_process(who):
        url = f"rtsp://{who.host}:{who.rtsp_port}/main"
        source = Source(url, who.host, who.rtsp_port, StreamCredentials(USER, PASSWORD), audio=True)
        loop = asyncio.get_running_loop()
        async with open_session(source) as session:
            begun_s = loop.time()
            reports: dict[int, TrackReport] = {}
            packets = {0: 0, 1: 0}
            async with asyncio.timeout(10):
                while len(reports) < 2 or min(packets.values()) < 5:
                    for item in session.read_available():
                        if isinstance(item, TrackReport):
                            reports[item.track_index] = item
                        else:
                            packets[item.track_index] += 1
                    await asyncio.sleep(0.03)
            waited_s = loop.time() - begun_s

        # Regular key frames are 2 s apart.
        assert waited_s < 1.9
        apart_us = abs(reports[0].report.ntp_us - reports[1].report.ntp_us)
        assert apart_us < 2_000_000


async def test_sigterm_ends_camera_and_painter() -> None:
    async with camera_process(identity("127.0.1.95")) as process:
        painter = painter_of(process)

        process.send_signal(signal.SIGTERM)

        async with asyncio.timeout(5):
            assert await process.wait() == 0
        await ends(painter)


async def test_the_painter_does_not_outlive_a_killed_camera() -> None:
    async with camera_process(identity("127.0.1.96")) as process:
        painter = painter_of(process)

        process.kill()

        await ends(painter)


async def test_a_camera_without_a_painter_ends_and_says_so() -> None:
    async with camera_process(identity("127.0.1.97")) as process:
        painter_of(process).kill()

        async with asyncio.timeout(5):
            assert await process.wait() == 1
        assert process.stderr is not None
        assert b"painting process" in await process.stderr.read()


async def test_an_address_in_use_is_named() -> None:
    who = identity("127.0.1.98")
    server = await asyncio.start_server(lambda reader, writer: None, who.host, who.rtsp_port)
    async with server:
        status, out, err = await run(*command(who), given=b"rahasia\n")

    assert (status, out) == (1, "")
    assert who.host in err
    assert "running already" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "wrong",
    [("--listen", "camera"), ("--listen", "127.0.0.1:0"), ("--rtsp-port", "70000"), ("--codec", "vp8")],
)
async def test_wrong_arguments_are_usage(wrong: tuple[str, str]) -> None:
    status, _, err = await run(*command(identity()), *wrong)

    assert status == 2
    assert wrong[0] in err
    assert "Traceback" not in err


async def test_without_a_password_it_does_not_start() -> None:
    status, _, err = await run(*command(identity()))

    assert status == 2
    assert "password" in err
