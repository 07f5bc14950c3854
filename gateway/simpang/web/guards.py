"""What stands before every handler: which listener, which Host, which Origin, who calls; and the headers
behind it.

Host is checked against DNS rebinding (a foreign name that resolves to us), Origin against other sites' pages.
An IP literal cannot be rebound, so any is good. Browsers always send Origin with a change or a WebSocket;
programs send none and carry no ambient cookie.
"""

from __future__ import annotations

import enum
import ipaddress
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from simpang.web.problems import Problem
from simpang.web.roles import Role
from simpang.web.sessions import Sessions

CALLER: web.RequestKey[Role] = web.RequestKey("caller", Role)

# 'self' for everything: nothing is inline and nothing is foreign. blob: is MediaSource's address.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})


class Listener(enum.Enum):
    """How a request came in. SOCKET is the Unix socket; BARE is plain HTTP off loopback, which may say
    little.
    """

    SOCKET = "socket"
    LOOPBACK = "loopback"
    TLS = "tls"
    BARE = "bare"


def listener_of(request: web.Request) -> Listener:
    """Told from the connection itself, never from a header."""
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    if transport is None or sock is None:
        return Listener.BARE
    if sock.family == socket.AF_UNIX:
        return Listener.SOCKET
    if isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject):
        return Listener.TLS
    address = ipaddress.ip_address(str(sock.getsockname()[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    return Listener.LOOPBACK if mapped.is_loopback else Listener.BARE


def host_is_ours(host: str, names: frozenset[str]) -> bool:
    """True for an IP literal, and for a name (lower case, without port) that is one of ours."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    name = name.strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def origin_is_ours(origin: str | None, fetch_site: str | None, scheme: str, host: str) -> bool:
    """Whether a change or an upgrade was asked for by a page of this very gateway, or by no page at all."""
    if origin is None:
        return fetch_site in (None, "same-origin", "none")
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme == scheme and parts.netloc.lower() == host.lower()


def cookie_name(request: web.Request) -> str:
    """Cookies ignore ports, so two gateways on one host need two names; over TLS the browser pins it to the
    host.
    """
    if listener_of(request) is Listener.TLS:
        return "__Host-simpang"
    sock = request.transport.get_extra_info("sockname") if request.transport is not None else None
    port = sock[1] if isinstance(sock, tuple) else 0
    return f"simpang-{port}"


def guards(sessions: Sessions, names: frozenset[str]) -> list[Callable[..., Awaitable[web.StreamResponse]]]:
    """The middlewares, outermost first. names: host names by which this gateway may be called."""

    @web.middleware
    async def check_address(request: web.Request, handler: Handler) -> web.StreamResponse:
        listener = listener_of(request)
        if listener is not Listener.SOCKET:
            if not host_is_ours(request.host, names):
                raise Problem("wrong-host", "Call this gateway by its IP address, localhost or its own name.")
            upgrade = hdrs.UPGRADE in request.headers
            if (request.method not in _SAFE or upgrade) and not origin_is_ours(
                request.headers.get(hdrs.ORIGIN),
                request.headers.get("Sec-Fetch-Site"),
                request.scheme,
                request.host,
            ):
                raise Problem(
                    "wrong-origin", "Changes and live pictures are only for this gateway's own page."
                )
        request[CALLER] = _caller(request, listener, sessions)
        return await handler(request)

    return [cast("Callable[..., Awaitable[web.StreamResponse]]", check_address)]


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare: the same few headers on every answer, errors and WebSocket refusals included."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers.pop(hdrs.SERVER, None)


def require(role: Role, handler: Handler) -> Handler:
    """The handler, for callers of at least this role. Bare HTTP gets what is open, nothing else."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if request[CALLER] < role:
            if listener_of(request) is Listener.BARE:
                raise Problem(
                    "use-https", "Plain HTTP off this machine shows the state only; use the HTTPS address."
                )
            if request[CALLER] < Role.VIEWER:
                raise Problem("signed-out", "Get a new link with `simpang link` on the gateway.")
            raise Problem("forbidden", f"This takes the role {role.word}; you are {request[CALLER].word}.")
        return await handler(request)

    return guarded


def _caller(request: web.Request, listener: Listener, sessions: Sessions) -> Role:
    if listener is Listener.SOCKET:
        return Role.INSTALLER
    if listener is Listener.BARE:
        return Role.OPEN
    secret = request.cookies.get(cookie_name(request))
    role = sessions.role(secret, time.monotonic()) if secret else None
    return role or (Role.LOCAL if listener is Listener.LOOPBACK else Role.OPEN)
