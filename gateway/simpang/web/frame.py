"""frame.jpg: one picture of a stream at a moment, in full size: the key frame at or before it, or exactly it.

Decoded in the picture process; of a camera that sends JPEG, the very bytes that it sent.
"""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from simpang.picture.studio import Look, PictureFailed, StudioBusy
from simpang.web.context import gateway_of, now_us, stream_of
from simpang.web.problems import Problem
from simpang.web.snapshot import LOOK_BACK_US, STUDIO
from simpang.web.times import format_time, parse_time
from simpang_buffer.model import StreamKey
from simpang_buffer.reading.clips import clips
from simpang_buffer.reading.errors import ReadingError
from simpang_buffer.reading.moment import Moment, moment

# MJPEG quantizer: nothing that the camera's own compression left is lost to the eye.
_QUALITY = 2
_MOST_WIDTH = 8192


async def get_frame(request: web.Request) -> web.Response:
    key = stream_of(request)
    at_us, exact, width = _asked(request)
    try:
        found = await _find(request, key, at_us, exact=exact)
        headers = {
            hdrs.ETAG: f'"{found.name}-{width}"',
            hdrs.CACHE_CONTROL: "private, no-cache",
            "Simpang-Time": format_time(found.time_us),
            "Simpang-Key-Frame": "1" if found.key else "0",
        }
        if request.headers.get(hdrs.IF_NONE_MATCH) == headers[hdrs.ETAG]:
            return web.Response(status=304, headers=headers)
        if found.is_jpeg and not width:
            picture = await asyncio.to_thread(found.jpeg)
        else:
            look = Look(most_width=width, quality=_QUALITY, pts=found.pts)
            picture = await request.app[STUDIO].still((str(key), found.name), found.movie, look)
    except StudioBusy:
        raise Problem(
            "busy", "Too many pictures are asked for at once.", headers={"Retry-After": "2"}
        ) from None
    except PictureFailed as failed:
        raise Problem("unavailable", f"The picture cannot be decoded: {failed}.") from None
    except ReadingError as error:
        raise Problem("unavailable", str(error)) from error
    return web.Response(body=picture, content_type="image/jpeg", headers=headers)


async def _find(request: web.Request, key: StreamKey, at_us: int, *, exact: bool) -> Moment:
    gateway = gateway_of(request)
    found = await clips(gateway.index, gateway.pool.tail, key, at_us - LOOK_BACK_US, at_us + 1)
    for part in reversed(found.parts):
        picture = await asyncio.to_thread(moment, part, at_us, exact=exact)
        if picture is not None:
            return picture
    raise Problem(
        "nothing-recorded", f"{key} has no picture within {LOOK_BACK_US // 1_000_000} s before that moment."
    )


def _asked(request: web.Request) -> tuple[int, bool, int]:
    """at, exact and width of the query; every fault in one Problem."""
    faults = []
    at_us, text = now_us(), request.query.get("at")
    if text is not None:
        try:
            at_us = parse_time(text)
        except ValueError as error:
            faults.append(("at", str(error)))
    exact = request.query.get("exact", "0")
    if exact not in ("0", "1"):
        faults.append(("exact", "must be 0 or 1"))
    width = request.query.get("width", "0")
    if not width.isascii() or not width.isdecimal() or int(width[:6]) > _MOST_WIDTH:
        faults.append(("width", f"must be 0 (as it is) to {_MOST_WIDTH} pixels"))
    if faults:
        raise Problem("malformed", "The picture asked for cannot be told.", errors=faults)
    return at_us, exact == "1", int(width)
