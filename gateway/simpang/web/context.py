"""What a handler needs: the gateway, the camera in the path, the times in the query, the body."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from simpang.web.problems import Problem
from simpang.web.times import parse_time
from simpang_buffer.model import GapReason, StreamKey

if TYPE_CHECKING:
    # Only for its type: gateway.py names what this package offers.
    from simpang.gateway import Gateway
    from simpang.roster.view import Camera

GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway")

# A body is a few names and times; a reader that drips it is cut off.
BODY_S = 10.0

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time, [start_us, end_us)."""

    start_us: int
    end_us: int


def gateway_of(request: web.Request) -> Gateway:
    return request.app[GATEWAY]


def now_us() -> int:
    """Wall time. The one place where handlers read it."""
    return time.time_ns() // 1000


def camera_of(request: web.Request) -> Camera:
    """The camera that the path names, else Problem not-found."""
    id_ = request.match_info["id"]
    camera = gateway_of(request).roster.camera(id_)
    if camera is None:
        raise Problem("not-found", f"There is no camera {id_!r} here.")
    return camera


def stream_of(request: web.Request) -> StreamKey:
    """The stream that the path names. Its camera must be known, or have left footage (a removed camera's
    stays), or be another site's whose disk was brought here.
    """
    named = StreamKey(request.match_info["id"], request.match_info["stream"])
    if named in gateway_of(request).keeper.foreign:
        return named
    camera = camera_of(request)
    name = request.match_info["stream"]
    if name not in {stream.name for stream in camera.streams}:
        raise Problem("not-found", f"Camera {camera.id} has no stream {name!r}.")
    return StreamKey(camera.id, name)


def reason_of(request: web.Request) -> GapReason:
    """Why the footage of the camera that the path names ends where it does now."""
    camera = gateway_of(request).roster.camera(request.match_info["id"])
    return gateway_of(request).gap_reason(camera) if camera is not None else GapReason.DISABLED


def range_of(request: web.Request, most_s: int) -> Range:
    """start and end of the query; every fault in one Problem. A range is at most most_s long."""
    faults: list[tuple[str, str]] = []
    times: dict[str, int] = {}
    for name in ("start", "end"):
        text = request.query.get(name)
        if text is None:
            faults.append((name, "is needed: an RFC 3339 time such as 2026-11-24T02:00:00Z"))
            continue
        try:
            times[name] = parse_time(text)
        except ValueError as error:
            faults.append((name, str(error)))
    if len(times) == 2:
        length_us = times["end"] - times["start"]
        if length_us <= 0:
            faults.append(("end", "must be later than start"))
        elif length_us > most_s * 1_000_000:
            faults.append(("end", f"at most {most_s // 3600} hours after start"))
    if faults:
        raise Problem("malformed", "The times cannot be used.", errors=faults)
    return Range(times["start"], times["end"])


async def body_of(request: web.Request, model: type[M]) -> M:
    """The JSON body as a model, or Problem malformed with every fault in it. No body at all is an empty
    object.
    """
    try:
        async with asyncio.timeout(BODY_S):
            raw = await request.read()
    except TimeoutError:
        raise Problem("malformed", "The body did not come in time.") from None
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        faults = [
            (".".join(str(step) for step in fault["loc"]), fault["msg"])
            # Never the input: it may be a password.
            for fault in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise Problem("malformed", "The body cannot be used.", errors=faults) from None


def json_answer(model: BaseModel, status: int = 200) -> web.Response:
    return web.Response(status=status, body=model.model_dump_json().encode(), content_type="application/json")
