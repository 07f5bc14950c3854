"""This machine's clock: what is thought of it, and an installer's word on it."""

from __future__ import annotations

from aiohttp import web

from simpang.clock import Clock
from simpang.clock_keeper import ClockRefused
from simpang.web import schemas
from simpang.web.context import body_of, gateway_of, json_answer, now_us
from simpang.web.problems import Problem
from simpang.web.times import format_time, parse_time


async def post_clock(request: web.Request) -> web.Response:
    """Confirms the clock as it is, or sets it."""
    asked = await body_of(request, schemas.ClockAsked)
    keeper = gateway_of(request).clock_keeper
    if asked.trust == (asked.now is not None):
        raise Problem(
            "malformed", "Either confirm the clock or set it.", errors=[("trust", "or else `now` is needed")]
        )
    try:
        if asked.now is None:
            clock = await keeper.trust(although_earlier=asked.although_earlier)
        else:
            clock = await keeper.set(_time(asked.now), although_earlier=asked.although_earlier)
    except ClockRefused as refused:
        raise Problem("conflict", f"Not done: {refused}.") from None
    return json_answer(clock_answer(clock))


def clock_answer(clock: Clock) -> schemas.Clock:
    return schemas.Clock(
        now=format_time(now_us()),
        trusted=clock.trusted,
        source=clock.source,
        offset_s=clock.offset_s,
        ages_believed=clock.ages_believed,
        leapt_s=clock.jumped_s,
    )


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise Problem("malformed", "The time cannot be used.", errors=[("now", str(error))]) from None
