"""Still pictures: the key frame of a moment as JPEG, decoded in a picture process.

For browsers that cannot play H.265, for the command line, and for a glance. The same key frame is decoded
once however many look at it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import hdrs, web

from simpang.picture.studio import PictureFailed, Studio, StudioBusy
from simpang.web.context import camera_of, gateway_of, now_us
from simpang.web.problems import Problem
from simpang.web.times import format_time, parse_time
from simpang_buffer.model import FragmentFlags, StreamKey
from simpang_buffer.reading.clips import Piece, clips

STUDIO: web.AppKey[Studio] = web.AppKey("studio")

# Cameras with "smart" codecs send a key frame as rarely as every ten seconds; a still older than this is no
# still of that moment.
LOOK_BACK_US = 15_000_000
# A picture of an 8 MB fragment is none that a camera sends.
MOST_FRAGMENT_BYTES = 8 << 20


async def studio(app: web.Application) -> AsyncIterator[None]:
    """cleanup_ctx: the picture process, which runs only while stills are asked for."""
    async with Studio() as opened:
        app[STUDIO] = opened
        yield


async def get_snapshot(request: web.Request) -> web.Response:
    camera = camera_of(request)
    at_us = _at(request)
    names = [stream.name for stream in camera.streams]
    # The smallest: quick to decode, and large enough to see who is there.
    name = request.query.get("stream", "sub" if "sub" in names else names[0] if names else "main")
    if name not in names:
        raise Problem("not-found", f"Camera {camera.id} has no stream {name!r}.")
    key = StreamKey(camera.id, name)
    gateway = gateway_of(request)
    clip = await clips(gateway.index, gateway.pool.tail, key, at_us - LOOK_BACK_US, at_us)
    found = next(
        (
            (part.format.init, piece)
            for part in reversed(clip.parts)
            for piece in reversed(list(part.pieces()))
            if piece.fragment.flags & FragmentFlags.KEY and piece.fragment.start_us <= at_us
        ),
        None,
    )
    if found is None:
        raise Problem(
            "nothing-recorded", f"{key} has no picture within {LOOK_BACK_US // 1_000_000} s of that moment."
        )
    header, piece = found
    etag = f'"{piece.run}-{piece.seq}-{piece.fragment.offset}"'
    headers = {
        hdrs.ETAG: etag,
        hdrs.CACHE_CONTROL: "private, no-cache",
        "Simpang-Start": format_time(piece.fragment.start_us),
    }
    if request.headers.get(hdrs.IF_NONE_MATCH) == etag:
        return web.Response(status=304, headers=headers)
    picture = await _picture(request.app[STUDIO], key, header, piece)
    return web.Response(body=picture, content_type="image/jpeg", headers=headers)


async def _picture(opened: Studio, key: StreamKey, header: bytes, piece: Piece) -> bytes:
    try:
        return await opened.still(
            (str(key), piece.run, piece.seq, piece.fragment.offset), lambda: _movie(header, piece)
        )
    except StudioBusy:
        raise Problem(
            "busy", "Too many pictures are asked for at once.", headers={"Retry-After": "2"}
        ) from None
    except PictureFailed as failed:
        raise Problem("unavailable", f"The picture cannot be decoded: {failed}.") from None


def _movie(header: bytes, piece: Piece) -> bytes:
    """A file with that one fragment. Called in a thread."""
    if piece.fragment.size_bytes > MOST_FRAGMENT_BYTES:
        raise PictureFailed("it is too large")
    with Path(piece.path).open("rb") as file:
        file.seek(piece.fragment.offset)
        return header + file.read(piece.fragment.size_bytes)


def _at(request: web.Request) -> int:
    text = request.query.get("at")
    if text is None:
        return now_us()
    try:
        return parse_time(text)
    except ValueError as error:
        raise Problem("malformed", "The time cannot be used.", errors=[("at", str(error))]) from None
