"""Our own RTSP server on loopback, with a mount that plays a few seconds of real media over and over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import media_samples
from media_samples import CLOCK, SoundTrack, Unit, VideoCodec
from simpang_buffer.model import AccessUnit
from simpang_buffer.rtsp.auth import ServerAuth
from simpang_buffer.rtsp.mount import Mount
from simpang_buffer.rtsp.sdp import Track
from simpang_buffer.rtsp.served_track import aac_track, g711_track, h264_track, h265_track
from simpang_buffer.rtsp.server import RtspServer
from simpang_buffer.rtsp.server_limits import DEFAULT_LIMITS, ServerLimits


@dataclass
class ServedCamera:
    """A running server. sent: every picture published since the start."""

    server: RtspServer
    mount: Mount
    units: Sequence[Unit]
    sent: list[AccessUnit] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.port

    def url(self, sign_in: str = "") -> str:
        return f"rtsp://{sign_in and sign_in + '@'}127.0.0.1:{self.port}/main"


def video_track(codec: VideoCodec, units: Sequence[Unit]) -> Track:
    sets = media_samples.parameter_sets(codec, units)
    if codec == "h264":
        return h264_track(sets[0], sets[1], "trackID=0")
    return h265_track(sets[0], sets[1], sets[2], "trackID=0")


def sound_track(sound: SoundTrack) -> Track:
    if sound.encoding == "MPEG4-GENERIC":
        return aac_track(sound.config, sound.rate, sound.channels, "trackID=1")
    return g711_track(sound.encoding, "trackID=1")


def as_access_unit(unit: Unit, pts: int | None = None) -> AccessUnit:
    return AccessUnit(True, unit.pts if pts is None else pts, 0, unit.key, unit.data, time.time_ns() // 1000)


@contextlib.asynccontextmanager
async def served_camera(
    codec: VideoCodec = "h264",
    sound: SoundTrack | None = None,
    *,
    auth: ServerAuth | None = None,
    fps: int = 25,
    noise: int = 12_000,
    width: int = 640,
    height: int = 360,
    limits: ServerLimits = DEFAULT_LIMITS,
) -> AsyncIterator[ServedCamera]:
    """A camera at rtsp://127.0.0.1:PORT/main in real time, a key frame every second."""
    units = media_samples.video(
        codec, frames=fps, fps=fps, key_every=fps, noise=noise, width=width, height=height
    )
    tracks = [video_track(codec, units), *([] if sound is None else [sound_track(sound)])]
    mount = Mount(tracks)
    server = RtspServer("127.0.0.1", 0, {"/main": mount}, auth, limits=limits)
    camera = ServedCamera(server, mount, units)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(server.run(), name="served-camera"),
            tasks.create_task(_publish(camera, units, sound, fps), name="publisher"),
        ]
        try:
            yield camera
        finally:
            for task in running:
                task.cancel()


async def _publish(camera: ServedCamera, units: Sequence[Unit], sound: SoundTrack | None, fps: int) -> None:
    start = time.monotonic()
    wall_us = time.time_ns() // 1000
    number = sounds = 0
    while True:
        due_s = number / fps
        await asyncio.sleep(max(0.0, start + due_s - time.monotonic()))
        unit = units[number % len(units)]
        data = AccessUnit(True, number * CLOCK // fps, 0, unit.key, unit.data, wall_us + round(due_s * 1e6))
        camera.sent.append(data)
        camera.mount.publish(data)
        number += 1
        while sound is not None and sounds * sound.frames[0].samples <= due_s * sound.rate:
            frame = sound.frames[sounds % len(sound.frames)]
            pts = sounds * frame.samples
            heard_us = wall_us + pts * 1_000_000 // sound.rate
            camera.mount.publish(AccessUnit(False, pts, 0, True, frame.data, heard_us))
            sounds += 1
