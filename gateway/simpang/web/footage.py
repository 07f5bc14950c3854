"""What was recorded, read back: coverage, clips as MP4 and as a playlist. The buffer's clips() is the only
reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from urllib.parse import urlencode

from aiohttp import hdrs, web

from simpang.web import schemas
from simpang.web.context import Range, camera_of, gateway_of, json_answer, now_us, range_of, stream_of
from simpang.web.problems import Problem
from simpang.web.ranges import ByteRange, Unsatisfiable, parse_range
from simpang.web.times import format_time
from simpang_buffer.model import StreamKey
from simpang_buffer.reading.clips import Clip, Gap, Part, clips
from simpang_buffer.reading.coverage import coverage
from simpang_buffer.reading.errors import ReadingError
from simpang_buffer.reading.playlist import playlist
from simpang_buffer.reading.progressive import ProgressiveMp4

# A month, which is as much as a timeline ever shows.
MOST_COVERAGE_S = 32 * 86_400
# A day in one file: what a person may carry away, and what bounds the list of fragments in memory.
MOST_CLIP_S = 86_400
# A day's fragments take 50 MB while they are read; this is for all readers together.
MOST_READ_S = 3 * MOST_CLIP_S


class Readers:
    """How much footage is being read at this moment, however slowly."""

    def __init__(self) -> None:
        self._read_us = 0

    @contextlib.contextmanager
    def reading(self, asked: Range) -> Iterator[None]:
        """Raises Problem busy where it would be too much."""
        length_us = asked.end_us - asked.start_us
        if self._read_us + length_us > MOST_READ_S * 1_000_000:
            raise Problem(
                "busy", "Too much footage is read at once; ask for less.", headers={"Retry-After": "10"}
            )
        self._read_us += length_us
        try:
            yield
        finally:
            self._read_us -= length_us


READERS: web.AppKey[Readers] = web.AppKey("readers", Readers)


async def get_coverage(request: web.Request) -> web.Response:
    key, asked = stream_of(request), range_of(request, MOST_COVERAGE_S)
    gateway = gateway_of(request)
    found = await coverage(
        gateway.index,
        gateway.pool.tail,
        key,
        asked.start_us,
        asked.end_us,
        now_us(),
        gateway.gap_reason(camera_of(request)),
    )
    answer = schemas.Coverage(
        spans=[
            schemas.Span(
                start=format_time(span.start_us), end=format_time(span.end_us), run=span.run, bytes=span.bytes
            )
            for span in found.spans
        ],
        gaps=gap_answers(found.gaps),
    )
    return json_answer(answer)


async def get_clip(request: web.Request) -> web.StreamResponse:
    """The first part of what was recorded in the range; Simpang-Next says where the next one starts."""
    key, asked = stream_of(request), range_of(request, MOST_CLIP_S)
    with request.app[READERS].reading(asked):
        return await _send_clip(request, key, asked)


async def _send_clip(request: web.Request, key: StreamKey, asked: Range) -> web.StreamResponse:
    clip = await _clip(request, key, asked)
    # A start that is a part's own (Simpang-Next of the one before) means that part, even where the one before
    # overlaps it by a frame.
    first = next((at for at, part in enumerate(clip.parts) if part.start_us == asked.start_us), 0)
    part, following = clip.parts[first], clip.parts[first + 1 : first + 2]
    # A day's clip has 86,400 fragments to lay out, which would hold the loop for a fifth of a second.
    movie = await asyncio.to_thread(ProgressiveMp4.read, part)
    headers = {
        hdrs.CONTENT_TYPE: "video/mp4",
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.ETAG: _etag(part, movie.total_bytes),
        hdrs.CACHE_CONTROL: "private, no-cache",
        hdrs.CONTENT_DISPOSITION: f'inline; filename="{_file_name(key, part)}"',
        "Simpang-Start": format_time(part.start_us),
        "Simpang-End": format_time(part.end_us),
    }
    if following:
        headers["Simpang-Next"] = format_time(following[0].start_us)
    if request.headers.get(hdrs.IF_NONE_MATCH) == headers[hdrs.ETAG]:
        return web.Response(status=304, headers=headers)
    return await _send(request, movie, headers)


async def get_playlist(request: web.Request) -> web.Response:
    """HLS v7 over byte ranges of clip.mp4, one address per part."""
    key, asked = stream_of(request), range_of(request, MOST_CLIP_S)

    def uri(part: Part) -> str:
        query = {"start": format_time(part.start_us), "end": format_time(part.end_us)}
        return f"clip.mp4?{urlencode(query)}"

    with request.app[READERS].reading(asked):
        clip = await _clip(request, key, asked)
        text = await asyncio.to_thread(lambda: "".join(playlist(clip, uri)))
    return web.Response(body=text.encode(), content_type="application/vnd.apple.mpegurl")


def gap_answers(gaps: Iterable[Gap]) -> list[schemas.Gap]:
    return [
        schemas.Gap(start=format_time(gap.start_us), end=format_time(gap.end_us), reason=str(gap.reason))
        for gap in gaps
    ]


async def _clip(request: web.Request, key: StreamKey, asked: Range) -> Clip:
    """A clip with at least one part, else Problem nothing-recorded with the gaps."""
    gateway, now = gateway_of(request), now_us()
    clip = await clips(
        gateway.index,
        gateway.pool.tail,
        key,
        asked.start_us,
        min(asked.end_us, max(now, asked.start_us + 1)),
        current_reason=gateway.gap_reason(camera_of(request)),
        now_us=now,
    )
    if not clip.parts:
        raise Problem(
            "nothing-recorded",
            f"{key} has no footage from {format_time(asked.start_us)} to {format_time(asked.end_us)}.",
            extra={"gaps": [gap.model_dump() for gap in gap_answers(clip.gaps)]},
        )
    return clip


async def _send(request: web.Request, movie: ProgressiveMp4, headers: dict[str, str]) -> web.StreamResponse:
    total_bytes = movie.total_bytes
    wanted = None
    # If-Range with another ETag: the clip has grown since, a piece of the new one would not fit the old one.
    if request.headers.get(hdrs.IF_RANGE, headers[hdrs.ETAG]) == headers[hdrs.ETAG]:
        try:
            wanted = parse_range(request.headers.get(hdrs.RANGE), total_bytes)
        except Unsatisfiable:
            raise Problem(
                "range-not-satisfiable",
                f"The clip has {total_bytes} bytes.",
                headers={hdrs.CONTENT_RANGE: f"bytes */{total_bytes}"},
            ) from None
    sent = wanted or ByteRange(0, total_bytes)
    response = web.StreamResponse(status=206 if wanted else 200, headers=headers)
    response.content_length = sent.size_bytes
    if wanted:
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {sent.start}-{sent.end - 1}/{total_bytes}"
    if request.method == hdrs.METH_HEAD:
        await response.prepare(request)
        return response
    blocks = movie.write(sent.start, sent.end)
    # The first is read before anything is promised: what can no longer be read is said as a problem.
    try:
        first = await anext(blocks)
    except ReadingError as error:
        raise Problem("unavailable", str(error)) from error
    await response.prepare(request)
    try:
        await response.write(first)
        async for block in blocks:
            await response.write(block)
        await response.write_eof()
    except BaseException:
        # Short of its Content-Length, so that nobody takes half a clip for a whole one; and nothing else may
        # be written behind it.
        if request.transport is not None:
            request.transport.abort()
        raise
    return response


def _etag(part: Part, total_bytes: int) -> str:
    mark = f"{part.start_us} {part.end_us} {total_bytes}".encode()
    return f'"{hashlib.sha256(part.format.header_sha256 + mark).hexdigest()[:24]}"'


def _file_name(key: StreamKey, part: Part) -> str:
    """digulis-1_main_2026-11-24T02-00-00Z.mp4: sorts by time, and every file system takes it."""
    return f"{key.camera}_{key.stream}_{format_time(part.start_us)[:19].replace(':', '-')}Z.mp4"
