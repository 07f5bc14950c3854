"""A demo camera: paints, serves RTSP, answers ONVIF and discovery."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import sys
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from simpang.demo.device import Device
from simpang.demo.identity import STREAMS, Identity
from simpang.demo.responder import responding
from simpang.picture.wire import Kind, Painted, read_painted
from simpang_buffer.model import AccessUnit
from simpang_buffer.rtsp.auth import ServerAuth
from simpang_buffer.rtsp.mount import Mount
from simpang_buffer.rtsp.sdp import Track
from simpang_buffer.rtsp.served_track import aac_track, g711_track, h264_track, h265_track
from simpang_buffer.rtsp.server import RtspServer

_log = logging.getLogger(__name__)

_SOUND = 2
_AAC_RATE = 16_000
# The painter draws its sprites first; on a busy laptop that takes some seconds.
_START_S = 30.0
_STOP_S = 2.0
_PIPE_BYTES = 1024 * 1024
_START_CODE = re.compile(b"\x00\x00\x00\x01|\x00\x00\x01")


class PainterEnded(Exception):
    """Without pictures there is no camera."""


async def run_camera(
    identity: Identity, ready: Callable[[], None], *, discovery_port: int | None = None
) -> None:
    """Be a camera until cancelled; ready is called once, when everything answers.

    Raises PainterEnded, and OSError where an address is in use; once it runs, inside an ExceptionGroup.
    """
    auth = ServerAuth({identity.user: identity.password}, realm="demo camera")
    async with _painting(identity) as painter:
        publisher = Publisher(identity, painter)
        async with asyncio.timeout(_START_S):
            mounts = await publisher.start()
        # Not before there is something to serve: a client would be told that there is no such stream.
        server = RtspServer(identity.host, identity.rtsp_port, mounts, auth)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.run(), name="rtsp-server")
            try:
                async with _answering(identity), _found(identity, discovery_port):
                    ready()
                    await publisher.publish()
            finally:
                serving.cancel()


class Publisher:
    """Turns what the painter writes into mounts, and feeds them."""

    def __init__(self, identity: Identity, painter: asyncio.subprocess.Process) -> None:
        assert painter.stdout is not None and painter.stdin is not None
        self._identity = identity
        self._pictures = painter.stdout
        self._requests = painter.stdin
        self._mounts: dict[str, Mount] = {}

    async def start(self) -> dict[str, Mount]:
        """The streams by path, once every track has said how it is coded. Raises PainterEnded."""
        sound: list[Track] | None = [] if self._identity.audio == "none" else None
        videos: dict[int, Track] = {}
        while len(videos) < len(STREAMS) or sound is None:
            painted = await self._next()
            if painted.kind is Kind.CONFIG:
                sound = [self._sound_track(painted.data)]
            elif painted.kind is Kind.KEY_PICTURE:
                videos[painted.track] = _video_track(self._identity.codec, painted.data)
        for number, stream in enumerate(STREAMS):
            ask = functools.partial(self._requests.write, str(number).encode())
            self._mounts[stream.path] = Mount([videos[number], *sound], key_wanted=ask)
        return self._mounts

    async def publish(self) -> None:
        """Feed the mounts for ever. Raises PainterEnded."""
        mounts = [self._mounts[stream.path] for stream in STREAMS]
        while True:
            painted = await self._next()
            unit = _access_unit(painted)
            if painted.kind is Kind.SOUND:
                for mount in mounts:
                    mount.publish(unit)
            elif painted.kind in (Kind.PICTURE, Kind.KEY_PICTURE):
                mounts[painted.track].publish(unit)

    async def _next(self) -> Painted:
        painted = await read_painted(self._pictures)
        if painted is None:
            raise PainterEnded("the painting process has ended")
        return painted

    def _sound_track(self, config: bytes) -> Track:
        if self._identity.audio == "aac":
            return aac_track(config, _AAC_RATE, 1, "trackID=1")
        return g711_track("PCMA", "trackID=1")


@contextlib.asynccontextmanager
async def _painting(identity: Identity) -> AsyncIterator[asyncio.subprocess.Process]:
    """The painter; it ends by itself when our end of its pipes closes, however that comes about."""
    painter = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "simpang.picture.paint", "--name", identity.name, "--codec", identity.codec),
        *("--audio", identity.audio, "--seed", str(identity.seed), "--time-zone", identity.time_zone),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_PIPE_BYTES,
    )
    try:
        yield painter
    finally:
        assert painter.stdin is not None
        painter.stdin.close()
        with contextlib.suppress(TimeoutError):
            # Not asyncio.timeout(): see child.py.
            await asyncio.wait_for(painter.wait(), _STOP_S)
        if painter.returncode is None:
            painter.kill()
            await painter.wait()


@contextlib.asynccontextmanager
async def _answering(identity: Identity) -> AsyncIterator[None]:
    runner = web.AppRunner(Device(identity).application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, identity.host, identity.http_port).start()
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _found(identity: Identity, port: int | None) -> AsyncIterator[None]:
    async with responding(identity) if port is None else responding(identity, port):
        yield


def _access_unit(painted: Painted) -> AccessUnit:
    video = painted.kind is not Kind.SOUND
    data = painted.data
    if video:
        data = b"".join(len(unit).to_bytes(4) + unit for unit in _units(data))
    key = painted.kind is not Kind.PICTURE
    return AccessUnit(video, painted.pts, 0, key, data, painted.wall_us)


def _video_track(codec: str, key_picture: bytes) -> Track:
    """Described by the parameter sets that come with every key frame. Raises ValueError if one is missing."""
    units = _units(key_picture)
    try:
        if codec == "h264":
            sets = {unit[0] & 0x1F: unit for unit in units}
            return h264_track(sets[7], sets[8], "trackID=0")
        sets = {unit[0] >> 1 & 0x3F: unit for unit in units}
        return h265_track(sets[32], sets[33], sets[34], "trackID=0")
    except KeyError as missing:
        raise ValueError(f"the painter's key frame has no parameter set {missing}") from None


def _units(data: bytes) -> list[bytes]:
    """The NAL units between start codes."""
    return [unit for unit in _START_CODE.split(data) if unit]
