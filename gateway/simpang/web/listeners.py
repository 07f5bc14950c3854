"""Where the gateway is reached: a Unix socket, plain HTTP, HTTPS.

ListenFailed: an address cannot be had. Says which, why, and what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from aiohttp import web
from aiohttp.typedefs import Handler

from simpang.web.application import make_app
from simpang.web.certificate import own_certificate, tls_context
from simpang.web.page import FINGERPRINT

if TYPE_CHECKING:
    from simpang.app import Gateway
    from simpang.config.values import Listen

_log = logging.getLogger(__name__)

# A browser sends its request head at once; whoever drips it is not one.
HEAD_S = 10.0
# Sixteen live pictures on several screens, each with a few requests beside it. What bounds memory and
# descriptors.
MOST_CONNECTIONS = 256
# SIGTERM to exit is 5 s for the whole daemon.
SHUTDOWN_S = 1.0


class ListenFailed(Exception):
    """str() is for the person who starts the gateway."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What was opened, with the real ports where 0 was asked for."""

    socket_path: Path
    plain: tuple[tuple[str, int], ...]
    tls: tuple[tuple[str, int], ...]
    fingerprint: str | None


async def serve(gateway: Gateway, ready: Callable[[Listening], None] | None = None) -> None:
    """Serves until cancelled; calls ready once everything is open. Raises ListenFailed."""
    async with listening(gateway) as opened:
        if ready is not None:
            ready(opened)
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def listening(gateway: Gateway) -> AsyncIterator[Listening]:
    """Opens every listener, or none. Leaving closes them; requests get SHUTDOWN_S to end."""
    web_config = gateway.config.web
    app = make_app(gateway)
    doorman = _Doorman()
    app.middlewares.insert(0, doorman.middleware)
    tls: ssl.SSLContext | None = None
    fingerprint = None
    if web_config.listen:
        certificate = await asyncio.to_thread(
            own_certificate,
            gateway.data / "secrets",
            gateway.config.site.id,
            ["127.0.0.1", *(listen.host for listen in web_config.listen)],
        )
        tls = await asyncio.to_thread(tls_context, certificate)
        fingerprint = certificate.fingerprint
    app[FINGERPRINT] = fingerprint
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    assert runner.server is not None
    doorman.server = runner.server
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        sockets = contextlib.ExitStack()
        with sockets:
            unix = sockets.enter_context(_unix_socket(gateway.data / "api.sock"))
            plain = [sockets.enter_context(_tcp_socket(listen)) for listen in web_config.plain_listen]
            secure = [sockets.enter_context(_tcp_socket(listen)) for listen in web_config.listen]
            loop = asyncio.get_running_loop()
            servers: list[asyncio.AbstractServer] = [await loop.create_unix_server(doorman.admit, sock=unix)]
            servers += [await loop.create_server(doorman.admit, sock=sock) for sock in plain]
            servers += [
                await loop.create_server(doorman.admit, sock=sock, ssl=tls, ssl_handshake_timeout=HEAD_S)
                for sock in secure
            ]
            for server in servers:
                stack.callback(server.close)
            sockets.pop_all()  # the servers own them now
        yield Listening(
            gateway.data / "api.sock",
            tuple(sock.getsockname()[:2] for sock in plain),
            tuple(sock.getsockname()[:2] for sock in secure),
            fingerprint,
        )


class _Doorman:
    """Admits connections: not too many, and none that stays silent. aiohttp limits neither by itself."""

    def __init__(self) -> None:
        self.server: web.Server | None = None
        self._heard: WeakSet[asyncio.BaseProtocol] = WeakSet()

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._heard.add(request.protocol)
            return await handler(request)

        self.middleware = note

    def admit(self) -> asyncio.Protocol:
        assert self.server is not None
        protocol = self.server()
        loop = asyncio.get_running_loop()
        if len(self.server.connections) >= MOST_CONNECTIONS:
            loop.call_soon(_abort, protocol)
        else:
            loop.call_later(HEAD_S, self._expel, protocol)
        return protocol

    def _expel(self, protocol: web.RequestHandler) -> None:
        if protocol not in self._heard:
            _abort(protocol)


def _abort(protocol: web.RequestHandler) -> None:
    if protocol.transport is not None:
        protocol.transport.abort()


def _tcp_socket(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((listen.host, listen.port))
        sock.listen(128)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenFailed(f"cannot listen on {listen}: {_why(error)}") from error
    return sock


def _unix_socket(path: Path) -> socket.socket:
    """Whoever may open it is installer, so it is 0600 from the moment it exists. A dead one is replaced.

    Called under the data folder's lock: a socket that lies there belongs to nobody who runs.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        # Linux gives the file the mode of the socket's inode, less the umask.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(str(path))
        sock.listen(64)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenFailed(f"cannot make the socket {path}: {_why(error)}") from error
    return sock


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program uses it; stop that one (`ss -tlnp` names it) or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address; check web.listen and web.plain_listen"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not permitted; ports below 1024 and this folder need rights that this user lacks"
    if "AF_UNIX path too long" in str(error):
        return "its path is longer than 107 bytes; choose a shorter data folder"
    return error.strerror or str(error)
