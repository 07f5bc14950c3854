"""Starts `ipycam` (PyPI), an ONVIF camera nobody here wrote, for tests.

It lives in `.peers/ipycam`, a virtual environment of its own, since it brings OpenCV. Without that this
fails, and says how to get it. What it is like: Media1 only; H.264 by ffmpeg over its own RTSP server, which
asks for no password; WS-Security on every ONVIF call, the clock's included, when it has one (as Axis does);
a ProbeMatch outside any ProbeMatches.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

_PYTHON = Path(__file__).parents[1] / ".peers" / "ipycam" / "bin" / "python"
_SCRIPT = Path(__file__).with_name("ipycam_camera.py")


@dataclass(frozen=True, slots=True)
class IpyCam:
    """A running camera; main is 640x360 at 10 fps, sub 320x180 at 10 fps.

    rtsp_url holds no credentials. epr: its WS-Discovery endpoint reference, new with each start.
    """

    host: str
    onvif_port: int
    rtsp_port: int
    name: str
    epr: str
    process: asyncio.subprocess.Process

    @property
    def address(self) -> str:
        return f"{self.host}:{self.onvif_port}"

    def rtsp_url(self, stream: str = "video_main") -> str:
        return f"rtsp://{self.host}:{self.rtsp_port}/{stream}"


@contextlib.asynccontextmanager
async def ipycam(
    *, host: str = "127.0.0.1", user: str = "", password: str = "", name: str = "Peer"
) -> AsyncIterator[IpyCam]:
    """A camera that answers WS-Discovery on loopback, ONVIF and RTSP on free ports of `host`."""
    if not _PYTHON.exists():
        raise FileNotFoundError(f"{_PYTHON} is missing: run `make setup-test`")
    onvif_port, rtsp_port, nobody = _free_ports(3)
    config = {
        "name": name, "local_ip": host, "onvif_port": onvif_port, "rtsp_port": rtsp_port,
        "username": user, "password": password, "go2rtc_api_port": nobody,
        "main_width": 640, "main_height": 360, "main_fps": 10, "main_bitrate": "500K",
        "sub_width": 320, "sub_height": 180, "sub_fps": 10, "sub_bitrate": "200K",
        "hw_accel": "cpu", "show_timestamp": False,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        str(_PYTHON),
        str(_SCRIPT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    noise = asyncio.create_task(process.stderr.read(), name="ipycam:stderr")
    try:
        process.stdin.write(json.dumps(config).encode() + b"\n")
        async with asyncio.timeout(30):
            ready = await process.stdout.readline()
        if not ready:
            raise RuntimeError(f"ipycam did not start: {(await noise).decode(errors='replace')[-2000:]}")
        yield IpyCam(host, onvif_port, rtsp_port, name, json.loads(ready)["epr"], process)
    finally:
        process.stdin.close()  # on which it ends
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
        await noise


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
