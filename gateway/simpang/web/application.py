"""The aiohttp application: the route table, behind the guards."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aiohttp import web

from simpang.web import live, openapi, page, snapshot
from simpang.web.context import GATEWAY
from simpang.web.guards import add_headers, guards, require
from simpang.web.problems import problems_middleware
from simpang.web.readers import READERS, Readers
from simpang.web.routes import ROUTES
from simpang.web.sender import sender
from simpang.web.sound import sound_room

if TYPE_CHECKING:
    from simpang.gateway import Gateway

# The largest thing anybody sends is the wish for a job.
MOST_BODY_BYTES = 64 * 1024


def make_app(gateway: Gateway) -> web.Application:
    """The API and the page over this gateway. Serve it with `listening` (listeners.py)."""
    app = web.Application(
        middlewares=[problems_middleware, *guards(gateway.sessions, own_names(gateway.config.site.id))],
        client_max_size=MOST_BODY_BYTES,
    )
    app[GATEWAY] = gateway
    app[live.SOCKETS] = set()
    app[READERS] = Readers()
    app[openapi.DOCUMENT] = openapi.document(ROUTES, gateway.version)
    app[page.PAGE] = page.Page.load()
    for route in ROUTES:
        handler = require(route.role, route.handler)
        app.router.add_route(route.method, route.path, handler)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handler)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(live.close_all)
    app.cleanup_ctx.append(snapshot.studio)
    app.cleanup_ctx.append(sound_room)
    app.cleanup_ctx.append(sender)
    return app


def own_names(site: str) -> frozenset[str]:
    """Host names by which a browser may call us; any other could be somebody else's that resolves here."""
    host = socket.gethostname().lower()
    return frozenset(
        {"localhost", host, host.partition(".")[0], f"{host.partition('.')[0]}.local", f"{site}.local"}
    )
