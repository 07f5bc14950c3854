"""Cameras as the API shows them, and what discovery has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from simpang.repair_words import repair_words
from simpang.web import schemas
from simpang.web.context import camera_of, gateway_of, json_answer
from simpang.web.times import format_time

if TYPE_CHECKING:
    from simpang.roster.view import Camera


async def get_cameras(request: web.Request) -> web.Response:
    return json_answer(
        schemas.Cameras(items=[camera_answer(camera) for camera in gateway_of(request).roster.cameras()])
    )


async def get_camera(request: web.Request) -> web.Response:
    return json_answer(camera_answer(camera_of(request)))


async def post_trust(request: web.Request) -> web.Response:
    """Its TLS certificate has changed rightly: the next that it shows is the one it is known by."""
    camera = camera_of(request)
    await gateway_of(request).pool.trust_anew(camera.id)
    return json_answer(camera_answer(camera))


async def get_discovery(request: web.Request) -> web.Response:
    roster = gateway_of(request).roster
    items = [
        schemas.Found(
            address=device.address,
            name=device.name or None,
            hardware=device.hardware or None,
            epr=device.epr or None,
            interface=device.interface or None,
            problem=device.problem,
            detail=device.detail or None,
            camera=device.camera,
        )
        for device in roster.devices()
    ]
    return json_answer(schemas.Discovery(items=items, where_looked=list(roster.where_looked())))


def camera_answer(camera: Camera) -> schemas.Camera:
    device = camera.device
    return schemas.Camera.model_validate(
        {
            "id": camera.id,
            "name": camera.name,
            "address": camera.address,
            "device": {name: getattr(device, name) for name in schemas.Device.model_fields},
            "state": camera.state,
            "reason": camera.reason,
            "detail": camera.detail or None,
            "remedy": camera.remedy or None,
            "since": format_time(camera.since_us),
            "retry": _time(camera.retry_us),
            "clock_offset_s": camera.clock_offset_s,
            "streams": [
                {
                    "name": stream.name,
                    "codec": stream.codec,
                    "width": stream.width,
                    "height": stream.height,
                    "fps": stream.fps,
                    "bps": stream.bps,
                    "recording_since": _time(stream.recording_since_us),
                    "last_fragment": _time(stream.last_fragment_us),
                    "bytes": stream.bytes,
                    "oldest": _time(stream.oldest_us),
                    "lag_s": stream.lag_s,
                    "audio": stream.contents.audio or None,
                    "metadata": stream.contents.metadata or None,
                    "key_frames_s": stream.contents.key_frames_s,
                    "repairs": [_repair(kind, count) for kind, count in stream.repairs.items()],
                }
                for stream in camera.streams
            ],
        }
    )


def _repair(kind: str, count: int) -> dict[str, object]:
    words = repair_words(kind)
    return {"kind": kind, "count": count, "words": {"en": words.en, "id": words.id}}


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else format_time(time_us)
