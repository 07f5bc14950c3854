"""What was recorded: coverage, and what there is of a range for those who play it. The buffer's clips() is
the only reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from urllib.parse import urlencode

from aiohttp import web

from simpang.web import schemas
from simpang.web.context import Range, gateway_of, json_answer, now_us, range_of, reason_of, stream_of
from simpang.web.problems import Problem
from simpang.web.readers import READERS
from simpang.web.run_times import run_times
from simpang.web.times import format_time
from simpang_buffer.model import StreamKey
from simpang_buffer.reading.clips import Clip, Gap, Part, clips
from simpang_buffer.reading.coverage import coverage
from simpang_buffer.reading.playlist import playlist

# A month, which is as much as a timeline ever shows.
MOST_COVERAGE_S = 32 * 86_400
# Longer than anything is kept: a clip's length has no bound of its own.
MOST_CLIP_S = 10 * 366 * 86_400
# A fragment takes a second to be written and its file's row a flush to be committed.
SETTLE_US = 5_000_000
# So long a player that read a playlist while it grew may come back for it.
_LATELY_US = 300_000_000


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
        reason_of(request),
    )
    numbers = {span.run for span in found.spans}
    runs = await run_times(gateway.index, key, numbers, asked.start_us, asked.end_us)
    untrusted = {run.run for run in runs if not run.trusted}
    answer = schemas.Coverage(
        spans=[
            schemas.Span(
                start=format_time(span.start_us),
                end=format_time(span.end_us),
                run=span.run,
                bytes=span.bytes,
                trusted=span.run not in untrusted,
            )
            for span in found.spans
        ],
        gaps=gap_answers(found.gaps),
        runs=runs,
    )
    return json_answer(answer)


async def get_playlist(request: web.Request) -> web.Response:
    """HLS over byte ranges of clip.mp4, one address per part. It grows while the range reaches into now."""
    key, asked = stream_of(request), range_of(request, MOST_CLIP_S)
    now = now_us()
    audio = {"audio": "aac"} if request.query.get("audio") == "aac" else {}

    def address(part: Part) -> str:
        # The end as it was asked for: the address of what grows stays the same.
        query = {"start": format_time(part.start_us), "end": format_time(asked.end_us), "form": "hls"}
        return f"clip.mp4?{urlencode(query | audio)}"

    there = await footage_there(request, key, asked)
    with request.app[READERS].reading(there.end_us - there.start_us):
        found = await clip_of(request, key, there)
        event, over = now < asked.end_us + _LATELY_US, now >= asked.end_us + SETTLE_US
        text = await asyncio.to_thread(
            lambda: "".join(playlist(found, address, event=event, over=over, aac=bool(audio)))
        )
    return web.Response(
        body=text.encode(),
        content_type="application/vnd.apple.mpegurl",
        headers={"Cache-Control": "private, no-cache"},
    )


async def footage_there(request: web.Request, key: StreamKey, asked: Range) -> Range:
    """The range without the time before anything was recorded, and without the future: what reading it takes
    depends on what there is, and not on what somebody wrote."""
    end_us = min(asked.end_us, max(now_us(), asked.start_us + 1))
    oldest = await gateway_of(request).index.oldest(key)
    if oldest is None or oldest.start_us >= end_us:
        return Range(asked.start_us, end_us)
    return Range(max(asked.start_us, oldest.start_us), end_us)


async def clip_of(request: web.Request, key: StreamKey, asked: Range, *, detail: bool | None = None) -> Clip:
    """A clip with at least one part, else Problem nothing-recorded with the gaps."""
    gateway = gateway_of(request)
    found = await clips(
        gateway.index,
        gateway.pool.tail,
        key,
        asked.start_us,
        asked.end_us,
        current_reason=reason_of(request),
        now_us=now_us(),
        detail=detail,
    )
    if not found.parts:
        raise Problem(
            "nothing-recorded",
            f"{key} has no footage from {format_time(asked.start_us)} to {format_time(asked.end_us)}.",
            extra={"gaps": [gap.model_dump() for gap in gap_answers(found.gaps)]},
        )
    return found


def gap_answers(gaps: Iterable[Gap]) -> list[schemas.Gap]:
    return [
        schemas.Gap(start=format_time(gap.start_us), end=format_time(gap.end_us), reason=str(gap.reason))
        for gap in gaps
    ]
