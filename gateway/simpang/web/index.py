"""The index of the footage: how it is, rebuilding it, and which files are open."""

from __future__ import annotations

from aiohttp import web

from simpang.web import schemas
from simpang.web.context import gateway_of, json_answer
from simpang.web.times import format_time
from simpang_buffer.model import segment_path


async def get_index(request: web.Request) -> web.Response:
    return await _answer(request, 200)


async def post_rebuild(request: web.Request) -> web.Response:
    """Begins a rebuild beside recording; one that goes on goes on."""
    gateway_of(request).keeper.rebuild()
    return await _answer(request, 202)


async def get_open_files(request: web.Request) -> web.Response:
    """What is being written, or whose row is not committed, for a check beside the gateway."""
    tails = gateway_of(request).pool.open_files()
    paths = [segment_path(tail.header.key, tail.header.run, tail.header.seq) for tail in tails]
    return json_answer(schemas.OpenFiles(items=sorted(path.as_posix() for path in paths)))


async def _answer(request: web.Request, status: int) -> web.Response:
    gateway = gateway_of(request)
    found = gateway.keeper.condition()
    totals = await gateway.index.stream_totals()
    foreign = []
    await gateway.keeper.look_for_foreign()
    for key, site in sorted(gateway.keeper.foreign.items()):
        held = totals[key]
        foreign.append(
            schemas.ForeignStream(
                camera=key.camera,
                stream=key.stream,
                site=site,
                bytes=held.bytes,
                oldest=_time(held.oldest_us),
                newest=_time(held.newest_us),
            )
        )
    due = found.due
    answer = schemas.IndexState(
        state=found.state,
        cause=due.cause if due else None,
        detail=found.detail or None,
        since=_time(found.since_us),
        done=found.done,
        total=found.total,
        problems=found.problems,
        aside=due.aside if due else None,
        from_backup=due.from_backup if due else False,
        backup=_time(found.backup_us),
        backup_skipped=found.backup_skipped,
        foreign=foreign,
    )
    return json_answer(answer, status)


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else format_time(time_us)
