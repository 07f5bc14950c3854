"""What is kept and why: holds, events, deletions, and how long it will last."""

from __future__ import annotations

import asyncio

from aiohttp import web

from simpang.config.values import ValueFault, parse_rate, parse_size
from simpang.storage import Proposal, Prospect
from simpang.web import retained_schemas as schemas
from simpang.web.context import body_of, gateway_of, json_answer, now_us, range_of, stream_of
from simpang.web.problems import Problem
from simpang.web.times import format_time, parse_time
from simpang_buffer.index.deletions import deletions
from simpang_buffer.index.errors import HoldsFull
from simpang_buffer.index.events import Event, EventKind, TooManyEvents
from simpang_buffer.index.forecast import Outlook
from simpang_buffer.index.holds import Hold, HoldWish, hold, holds, release, release_case
from simpang_buffer.model import StreamKey

# Ten years: no range of a hold or of a list is longer.
MOST_RANGE_S = 3660 * 86_400
_PAGE = 500
_DAY_US = 86_400_000_000


async def get_holds(request: web.Request) -> web.Response:
    ended = _flag(request, "ended")
    after = _number(request, "after")
    found = await holds(
        gateway_of(request).index.db,
        camera=request.query.get("camera"),
        ended=ended,
        after=after,
        limit=_PAGE + 1,
    )
    items = [hold_answer(one) for one in found[:_PAGE]]
    return json_answer(schemas.Holds(items=items, next=items[-1].id if len(found) > _PAGE else None))


async def post_hold(request: web.Request) -> web.Response:
    asked = await body_of(request, schemas.HoldAsked)
    gateway = gateway_of(request)
    start_us, end_us = _range((asked.start, asked.end))
    now = now_us()
    until_us = None
    if asked.until is not None:
        until_us = _time("until", asked.until)
        if until_us <= now:
            raise Problem(
                "malformed", "The hold would end at once.", errors=[("until", "must be later than now")]
            )
    known = {camera.id for camera in gateway.roster.cameras()}
    known |= {key.camera for key in await gateway.index.streams()}
    if asked.camera not in known:
        raise Problem("not-found", f"There is no camera {asked.camera!r} here.")
    wish = HoldWish(
        asked.camera,
        asked.stream,
        start_us,
        end_us,
        asked.reason,
        asked.who,
        asked.case,
        asked.legal,
        until_us,
    )
    try:
        made = await hold(gateway.index.db, wish, now, await asyncio.to_thread(gateway.hold_bytes))
    except HoldsFull as full:
        raise Problem("conflict", f"Not held: {full}.") from None
    return json_answer(hold_answer(made), 201)


async def delete_hold(request: web.Request) -> web.Response:
    """The record stays."""
    id_ = request.match_info["id"]
    if not id_.isascii() or not id_.isdigit() or len(id_) > 15:
        raise Problem("not-found", "There is no such hold.")
    found = await release(gateway_of(request).index.db, int(id_), _who(request), now_us(), _why(request))
    if found is None:
        raise Problem("not-found", "There is no such hold.")
    return json_answer(hold_answer(found))


async def delete_holds(request: web.Request) -> web.Response:
    case = request.query.get("case", "")
    if not case:
        raise Problem("malformed", "Which case?", errors=[("case", "is needed")])
    found = await release_case(gateway_of(request).index.db, case, _who(request), now_us(), _why(request))
    if not found:
        raise Problem("not-found", f"Nothing is held for case {case!r}.")
    return json_answer(schemas.Holds(items=[hold_answer(one) for one in found]))


async def get_events(request: web.Request) -> web.Response:
    asked = range_of(request, MOST_RANGE_S)
    kind = request.query.get("kind")
    if kind is not None and kind not in list(EventKind):
        raise Problem(
            "malformed", "No such kind.", errors=[("kind", f"must be one of {', '.join(EventKind)}")]
        )
    found = await gateway_of(request).storage.events.list(
        asked.start_us,
        asked.end_us,
        camera=request.query.get("camera"),
        kind=EventKind(kind) if kind else None,
        below=_number(request, "after") or None,
        limit=_PAGE + 1,
    )
    items = [event_answer(one) for one in found[:_PAGE]]
    return json_answer(schemas.Events(items=items, next=items[-1].id if len(found) > _PAGE else None))


async def post_event(request: web.Request) -> web.Response:
    """Marks a moment by hand."""
    asked = await body_of(request, schemas.EventAsked)
    gateway = gateway_of(request)
    if gateway.roster.camera(asked.camera) is None:
        raise Problem("not-found", f"There is no camera {asked.camera!r} here.")
    now = now_us()
    start_us = now if asked.start is None else _time("start", asked.start)
    end_us = start_us if asked.end is None else _time("end", asked.end)
    if not start_us <= end_us <= start_us + _DAY_US or start_us > now + 60_000_000:
        raise Problem(
            "malformed",
            "The times cannot be used.",
            errors=[("end", "from start up to a day later; start is not in the future")],
        )
    event = Event(
        asked.camera, EventKind(asked.kind), start_us, end_us, None, f"person: {asked.who}", asked.words
    )
    try:
        id_ = await gateway.storage.events.add(event)
    except TooManyEvents as many:
        raise Problem("conflict", f"{many}.") from None
    return json_answer(event_answer(event, id_), 201)


async def get_deletions(request: web.Request) -> web.Response:
    asked = range_of(request, MOST_RANGE_S)
    after = _number(request, "after")
    found = await deletions(
        gateway_of(request).index.db,
        request.query.get("camera"),
        asked.start_us,
        asked.end_us,
        after=after,
        limit=_PAGE + 1,
    )
    items = [
        schemas.Deletion(
            camera=one.key.camera,
            stream=one.key.stream,
            start=format_time(one.start_us),
            end=format_time(one.end_us),
            reason=one.reason.value,
            rule=one.rule,
            who=one.who or None,
            why=one.why or None,
            bytes=one.size_bytes,
            segments=one.segments,
            first_at=None if one.first_at_us is None else format_time(one.first_at_us),
            last_at=None if one.last_at_us is None else format_time(one.last_at_us),
        )
        for one in found[:_PAGE]
    ]
    return json_answer(
        schemas.Deletions(items=items, next=str(after + _PAGE) if len(found) > _PAGE else None)
    )


async def delete_footage(request: web.Request) -> web.Response:
    """Whole segments within the range; what is held stays, and a minute at each end may."""
    key, asked = stream_of(request), range_of(request, MOST_RANGE_S)
    who, why = _who(request), _why(request)
    if not why:
        raise Problem("malformed", "Why?", errors=[("reason", "is needed")])
    done = await gateway_of(request).storage.retention.delete(
        key, asked.start_us, asked.end_us, who=who, why=why
    )
    if not done.segments and done.held_segments:
        raise Problem(
            "conflict",
            f"Nothing was deleted: {done.held_segments} segments ({done.held_bytes} bytes) are held or "
            "needed by a job; release them first.",
        )
    if not done.segments:
        raise Problem("nothing-recorded", f"{key} has no whole segment in that time.")
    return json_answer(
        schemas.Deleted(
            segments=done.segments,
            bytes=done.size_bytes,
            held_segments=done.held_segments,
            held_bytes=done.held_bytes,
        )
    )


async def get_forecast(request: web.Request) -> web.Response:
    storage = gateway_of(request).storage
    proposal = _proposal(request)
    before, after = await storage.prospects(proposal)
    measured = {one.key: one for one in await storage.rates()}
    now_days = {one.key: one for one in before.outlooks}
    items = []
    for outlook in after.outlooks:
        rate, was = measured.get(outlook.key), now_days.get(outlook.key)
        items.append(
            schemas.StreamForecast(
                camera=outlook.key.camera,
                stream=outlook.key.stream,
                bytes=rate.stored_bytes if rate else 0,
                oldest=format_time(rate.oldest_us) if rate and rate.oldest_us is not None else None,
                bytes_last_day=rate.day_bytes if rate else None,
                bytes_a_day_last_week=rate.week_bytes if rate else None,
                before=None if was is None else _lasting(was),
                after=_lasting(outlook),
            )
        )
    return json_answer(schemas.Forecast(items=items, before=_summary(before), after=_summary(after)))


def hold_answer(one: Hold) -> schemas.Hold:
    wish = one.wish
    return schemas.Hold(
        id=str(one.id),
        camera=wish.camera,
        stream=wish.stream,
        start=format_time(wish.start_us),
        end=format_time(wish.end_us),
        reason=wish.reason,
        who=wish.who,
        case=wish.case or None,
        legal=wish.legal,
        until=None if wish.until_us is None else format_time(wish.until_us),
        made=format_time(one.made_us),
        released=None if one.released_us is None else format_time(one.released_us),
        released_by=one.released_by or None,
        released_why=one.released_why or None,
    )


def event_answer(event: Event, id_: int | None = None) -> schemas.Event:
    return schemas.Event(
        id=str(id_ or event.id),
        camera=event.camera,
        kind=event.kind.value,
        start=format_time(event.start_us),
        end=None if event.end_us is None else format_time(event.end_us),
        source=event.source,
        words=event.words,
    )


def _lasting(outlook: Outlook) -> schemas.Lasting:
    return schemas.Lasting(
        bytes_a_day=outlook.bytes_a_day,
        days=round(outlook.days, 2),
        event_days=round(outlook.event_days, 2),
        limited_by=outlook.limited_by,
    )


def _summary(prospect: Prospect) -> schemas.Capacity:
    return schemas.Capacity(
        capacity_bytes=prospect.capacity_bytes,
        held_bytes=prospect.held_bytes,
        promises_at_risk=[
            schemas.PromiseAtRisk(
                party=risk.promise.party,
                camera=risk.key.camera,
                stream=risk.key.stream,
                promised_days=risk.promise.days,
                days=round(risk.days, 2),
                since=format_time(risk.at_us),
            )
            for risk in prospect.risks
        ],
    )


def _proposal(request: web.Request) -> Proposal:
    query = request.query
    faults: list[tuple[str, str]] = []
    max_bytes = max_days = None
    rates: dict[StreamKey, int] = {}
    try:
        if "max_bytes" in query:
            max_bytes = parse_size(_plain(query["max_bytes"]))
    except ValueFault as fault:
        faults.append(("max_bytes", str(fault)))
    if "max_days" in query:
        try:
            max_days = float(query["max_days"])
        except ValueError:
            max_days = -1.0
        if not 0 < max_days <= 3650:
            faults.append(("max_days", "must be a number of days up to 3650"))
    if ("camera" in query) != ("bps" in query):
        faults.append(("bps", "goes with camera, and camera with bps"))
    elif "camera" in query:
        try:
            rates[StreamKey(query["camera"][:32], query.get("stream", "main")[:32])] = int(
                parse_rate(_plain(query["bps"]))
            )
        except ValueFault as fault:
            faults.append(("bps", str(fault)))
    if faults:
        raise Problem("malformed", "That change cannot be tried.", errors=faults)
    return Proposal(max_bytes, max_days, rates)


def _plain(text: str) -> object:
    """A whole number is one; anything else as people write it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text


def _range(texts: tuple[str, str]) -> tuple[int, int]:
    start_us, end_us = _time("start", texts[0]), _time("end", texts[1])
    if not 0 < end_us - start_us <= MOST_RANGE_S * 1_000_000:
        raise Problem(
            "malformed",
            "The times cannot be used.",
            errors=[("end", "must be later than start, by at most ten years")],
        )
    return start_us, end_us


def _time(name: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise Problem("malformed", "The times cannot be used.", errors=[(name, str(error))]) from None


def _who(request: web.Request) -> str:
    who = request.query.get("who", "")
    if not 0 < len(who) <= 64:
        raise Problem("malformed", "Who asks?", errors=[("who", "is needed, up to 64 characters")])
    return who


def _why(request: web.Request) -> str:
    why = request.query.get("reason", "")
    if len(why) > 500:
        raise Problem("malformed", "That is too long.", errors=[("reason", "up to 500 characters")])
    return why


def _flag(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        raise Problem("malformed", "That is not understood.", errors=[(name, "must be true or false")])
    return text == "true"


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "0")
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Problem("malformed", "That is no place in the list.", errors=[(name, "take it from `next`")])
    return int(text)
