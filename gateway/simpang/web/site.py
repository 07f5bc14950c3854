"""The gateway itself: who it is, how it feels, and signing in and out."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from simpang.web import schemas
from simpang.web.clock import clock_answer
from simpang.web.context import body_of, gateway_of, json_answer, now_us
from simpang.web.guards import Listener, cookie_name, listener_of
from simpang.web.links import page_link
from simpang.web.problems import Problem
from simpang.web.roles import Role
from simpang.web.sessions import LINK_S, LONGEST_S
from simpang.web.times import format_time

if TYPE_CHECKING:
    from simpang.gateway import Gateway

# A camera has written lately when its last fragment is younger than this (the contract of /readyz).
READY_US = 10_000_000


async def get_site(request: web.Request) -> web.Response:
    return json_answer(site_answer(gateway_of(request)))


def site_answer(gateway: Gateway) -> schemas.Site:
    site = gateway.config.site
    return schemas.Site(
        id=site.id,
        name=site.name or site.id,
        time_zone=site.time_zone,
        version=gateway.version,
        gateway_key=gateway.gateway_key,
        clock=clock_answer(gateway.clock()),
    )


async def get_health(request: web.Request) -> web.Response:
    return json_answer(health_answer(gateway_of(request)))


def health_answer(gateway: Gateway) -> schemas.Health:
    health = gateway.health(now_us())
    return schemas.Health.model_validate(dataclasses.asdict(health))


async def get_healthz(request: web.Request) -> web.Response:
    """The process serves: whoever reads this has the proof. What it records is /readyz's matter."""
    return web.json_response({"status": "ok"})


async def get_readyz(request: web.Request) -> web.Response:
    answer = schemas.Ready(not_recording=not_recording(gateway_of(request), now_us()))
    return json_answer(answer, 503 if answer.not_recording else 200)


def not_recording(gateway: Gateway, now_us: int) -> list[str]:
    """Ids of the enabled cameras of which some wished-for stream has not been written within READY_US."""
    return [
        camera.id
        for camera in gateway.roster.cameras()
        if camera.state != "disabled"
        and not (
            camera.streams
            and all(
                stream.last_fragment_us is not None and now_us - stream.last_fragment_us <= READY_US
                for stream in camera.streams
            )
        )
    ]


async def post_session(request: web.Request) -> web.Response:
    asked = await body_of(request, schemas.SignIn)
    response = web.Response(status=204)
    if asked.token is None or not sign_in(request, response, asked.token):
        raise Problem(
            "signed-out", "That token is unknown, used or too old; get a new link with `simpang link`."
        )
    return response


async def delete_session(request: web.Request) -> web.Response:
    name = cookie_name(request)
    gateway_of(request).sessions.end(request.cookies.get(name, ""))
    response = web.Response(status=204)
    response.del_cookie(name, path="/", secure=request.secure, httponly=True, samesite="Strict")
    return response


def sign_in(request: web.Request, response: web.StreamResponse, token: str) -> bool:
    """Spends a token for a cookie on the response. Never over plain HTTP that leaves this machine."""
    if listener_of(request) is Listener.BARE:
        raise Problem("use-https", "Sign in over the HTTPS address.")
    secret = gateway_of(request).sessions.exchange(token, time.monotonic())
    if secret is None:
        return False
    response.set_cookie(
        cookie_name(request),
        secret,
        path="/",
        max_age=LONGEST_S,
        secure=request.secure,
        httponly=True,
        samesite="Strict",
    )
    return True


async def post_login_link(request: web.Request) -> web.Response:
    asked = await body_of(request, schemas.LinkAsked)
    gateway = gateway_of(request)
    token = gateway.sessions.mint(Role[asked.role.upper()], time.monotonic())
    link = schemas.Link(
        url=page_link(gateway.config.web, token), expires=format_time(now_us() + LINK_S * 1_000_000)
    )
    response = json_answer(link, 201)
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    return response
