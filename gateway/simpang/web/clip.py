"""clip.mp4: the first part of what was recorded in a range, as one MP4 that can be asked for by byte ranges.

`exact=1` shows from the picture asked for to the picture asked for; else from the key frame at or before the
start, in whole fragments. `form=hls` is the file whose bytes a playlist counts. `audio=aac` is for browsers,
which play no G.711 in MP4; evidence carries the sound as it was sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from functools import partial

from aiohttp import hdrs, web

from simpang.web.context import Range, now_us, range_of, stream_of
from simpang.web.footage import MOST_CLIP_S, SETTLE_US, clip_of, footage_there
from simpang.web.problems import Problem
from simpang.web.ranges import ByteRange, Unsatisfiable, parse_range
from simpang.web.readers import READERS
from simpang.web.sender import SENDER
from simpang.web.sound import SOUND
from simpang.web.times import format_time
from simpang_buffer.model import StreamKey
from simpang_buffer.reading.clips import Part
from simpang_buffer.reading.errors import ReadingError
from simpang_buffer.reading.progressive import ProgressiveMp4

_log = logging.getLogger(__name__)

# Read before anything is promised: what cannot be read any more is then said as a problem.
_TRIED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Wish:
    """How a clip is to be."""

    exact: bool
    hls: bool
    aac: bool


def wish_of(request: web.Request) -> Wish:
    """Of the query; every fault in one Problem."""
    faults = []
    chosen = {}
    for name, allowed in (("exact", ("0", "1")), ("form", ("file", "hls")), ("audio", ("original", "aac"))):
        chosen[name] = request.query.get(name, allowed[0])
        if chosen[name] not in allowed:
            faults.append((name, f"must be {' or '.join(allowed)}"))
    if faults:
        raise Problem("malformed", "The clip's form cannot be used.", errors=faults)
    return Wish(exact=chosen["exact"] == "1", hls=chosen["form"] == "hls", aac=chosen["audio"] == "aac")


async def get_clip(request: web.Request) -> web.StreamResponse:
    """The first part of what was recorded in the range; Simpang-Next says where the next one starts."""
    key, asked, wish = stream_of(request), range_of(request, MOST_CLIP_S), wish_of(request)
    there = await footage_there(request, key, asked)
    with request.app[READERS].reading(there.end_us - there.start_us):
        return await _answer(request, key, there, wish, over=now_us() >= asked.end_us + SETTLE_US)


async def _answer(
    request: web.Request, key: StreamKey, asked: Range, wish: Wish, *, over: bool
) -> web.StreamResponse:
    # A player reads a playlist's file piece by piece, so only the files that a piece lies in are opened.
    clip = await clip_of(request, key, asked, detail=False if wish.hls else None)
    # A start that is a part's own (Simpang-Next of the one before) means that part, even where the one before
    # overlaps it by a frame.
    first = next((at for at, part in enumerate(clip.parts) if part.start_us == asked.start_us), 0)
    part, following = clip.parts[first], clip.parts[first + 1 : first + 2]
    between = (asked.start_us, asked.end_us) if wish.exact else None
    encode = request.app[SOUND].encode if wish.aac else None
    # Of a file that a playlist counts nothing may change while it grows, not even where its sound ends.
    lay_out = partial(
        ProgressiveMp4.read,
        part,
        between=between,
        indexed=not wish.hls,
        encode=encode,
        whole=over or not wish.hls or bool(following),
    )
    try:
        movie = await asyncio.to_thread(lay_out)
    except ReadingError as error:
        raise Problem("unavailable", str(error)) from error
    headers = {
        hdrs.CONTENT_TYPE: "video/mp4",
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.ETAG: _etag(part, movie, wish),
        hdrs.CACHE_CONTROL: "private, no-cache",
        hdrs.CONTENT_DISPOSITION: f'inline; filename="{_file_name(key, movie.start_us)}"',
        "Simpang-Start": format_time(movie.start_us),
        "Simpang-End": format_time(movie.end_us),
    }
    if following:
        headers["Simpang-Next"] = format_time(following[0].start_us)
    if request.headers.get(hdrs.IF_NONE_MATCH) == headers[hdrs.ETAG]:
        return web.Response(status=304, headers=headers)
    return await _send(request, key, movie, headers)


async def _send(
    request: web.Request, key: StreamKey, movie: ProgressiveMp4, headers: dict[str, str]
) -> web.StreamResponse:
    sent, ranged = _wanted(request, movie.total_bytes, headers[hdrs.ETAG])
    response = web.StreamResponse(status=206 if ranged else 200, headers=headers)
    response.content_length = sent.size_bytes
    if ranged:
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {sent.start}-{sent.end - 1}/{movie.total_bytes}"
    if request.method == hdrs.METH_HEAD:
        await response.prepare(request)
        return response
    try:
        await asyncio.to_thread(movie.block, sent.start, min(sent.start + _TRIED_BYTES, sent.end))
    except ReadingError as error:
        raise Problem("unavailable", str(error)) from error
    await response.prepare(request)
    try:
        await request.app[SENDER].send(request, response, movie, sent.start, sent.end)
        await response.write_eof()
    except BaseException as error:
        # Short of its Content-Length, so that nobody takes half a clip for a whole one; and nothing else may
        # be written behind it.
        if request.transport is not None:
            request.transport.abort()
        if not isinstance(error, ReadingError):
            raise
        _log.warning("a clip of %s was broken off, and its reader sees that it is short: %s", key, error)
    return response


def _wanted(request: web.Request, total_bytes: int, etag: str) -> tuple[ByteRange, bool]:
    """What to send, and whether that is the answer to a Range."""
    wanted = None
    # If-Range with another ETag: the clip has grown since, a piece of the new one would not fit the old one.
    if request.headers.get(hdrs.IF_RANGE, etag) == etag:
        try:
            wanted = parse_range(request.headers.get(hdrs.RANGE), total_bytes)
        except Unsatisfiable:
            raise Problem(
                "range-not-satisfiable",
                f"The clip has {total_bytes} bytes.",
                headers={hdrs.CONTENT_RANGE: f"bytes */{total_bytes}"},
            ) from None
    return wanted or ByteRange(0, total_bytes), wanted is not None


def _etag(part: Part, movie: ProgressiveMp4, wish: Wish) -> str:
    mark = f"{movie.start_us} {movie.end_us} {movie.total_bytes} {wish}".encode()
    return f'"{hashlib.sha256(part.format.header_sha256 + mark).hexdigest()[:24]}"'


def _file_name(key: StreamKey, start_us: int) -> str:
    """digulis-1_main_2026-11-24T02-00-00Z.mp4: sorts by time, and every file system takes it."""
    return f"{key.camera}_{key.stream}_{format_time(start_us)[:19].replace(':', '-')}Z.mp4"
