"""Starts gst-rtsp-server cameras (Debian's, see gst_camera.py) for tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simpang_buffer.rtsp.auth import Credentials

_SCRIPT = Path(__file__).with_name("gst_camera.py")


@dataclass(frozen=True, slots=True)
class GstCamera:
    """A running camera. url holds no credentials; process can be killed to see it vanish."""

    url: str
    host: str
    port: int
    credentials: Credentials | None
    process: asyncio.subprocess.Process


@contextlib.asynccontextmanager
async def gst_camera(
    video: Literal["h264", "h265", "jpeg", "jpeg422"] = "h264",
    audio: Literal["none", "aac", "pcma"] = "none",
    *,
    user: str = "",
    password: str = "",
    fps: int = 25,
    frames: int = -1,
    gop: int = 25,
    bframes: int = 0,
    width: int = 320,
    height: int = 240,
    kbps: int = 400,
    shared: bool = True,
    host: str = "127.0.0.1",
    certificate: Path | None = None,
) -> AsyncIterator[GstCamera]:
    """A camera with a moving picture at rtsp://host:port/stream on a free port.

    user: digest sign-in (MD5) is asked for when given. frames: the stream ends after about so many (the
    server spends one or two before it plays, so count what is sent by its markers), -1 never; fps frames a
    second in real time; gop: frames from key frame to key frame. shared: one encoder for all sessions; else
    each session has its own, from its own frame 0. certificate: PEM file with certificate and key; then it is
    an rtsps:// camera.
    """
    options = {
        "video": video, "audio": audio, "user": user, "password": password, "fps": fps, "frames": frames,
        "gop": gop, "bframes": bframes, "width": width, "height": height, "kbps": kbps, "shared": shared,
        "host": host, "certificate": str(certificate or ""),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/python3",
        str(_SCRIPT),
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            line = await process.stdout.readline()
        assert line, "gst_camera.py ended at once; are python3-gi and gir1.2-gst-rtsp-server-1.0 installed?"
        port = json.loads(line)["port"]
        credentials = Credentials(user, password) if user else None
        scheme = "rtsps" if certificate else "rtsp"
        yield GstCamera(f"{scheme}://{host}:{port}/stream", host, port, credentials, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # communicate() closes the pipes as well, where wait() alone would leave their transports behind.
        await process.communicate()
