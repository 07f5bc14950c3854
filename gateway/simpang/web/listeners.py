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
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from aiohttp import web
from aiohttp.typedefs import Handler

from simpang.web.application import make_app
from simpang.web.certificate import Certificate, own_certificate, tls_context
from simpang.web.page import HTTPS, Https

if TYPE_CHECKING:
    from simpang.config.values import Listen
    from simpang.gateway import Gateway

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
async def listening(gateway: Gateway, *, head_s: float = HEAD_S) -> AsyncIterator[Listening]:
    """Opens every listener, or none. Leaving closes them; requests get SHUTDOWN_S to end."""
    async with contextlib.AsyncExitStack() as stack:
        unix = stack.enter_context(await asyncio.to_thread(_unix_socket, gateway.data / "api.sock"))
        crowd: WeakSet[socket.socket] = WeakSet()
        plain = [stack.enter_context(_tcp_socket(one, crowd)) for one in gateway.config.web.plain_listen]
        secure = [stack.enter_context(_tcp_socket(one, crowd)) for one in gateway.config.web.listen]
        # In a thread, as all of this that reads files: the daemon's loop records already.
        app = await asyncio.to_thread(make_app, gateway)
        certificate = tls = None
        if secure:
            certificate, tls = await _certificate(gateway)
            app[HTTPS] = Https(secure[0].getsockname()[1], certificate.fingerprint)
        doorman = _Doorman(head_s)
        app.middlewares.insert(0, doorman.middleware)
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.callback(doorman.close)
        assert runner.server is not None
        doorman.server = runner.server
        loop = asyncio.get_running_loop()
        servers: list[asyncio.AbstractServer] = [await loop.create_unix_server(doorman.welcome, sock=unix)]
        servers += [await loop.create_server(doorman.admit, sock=sock) for sock in plain]
        servers += [
            await loop.create_server(doorman.admit, sock=sock, ssl=tls, ssl_handshake_timeout=head_s)
            for sock in secure
        ]
        for server in servers:
            stack.callback(server.close)
        yield Listening(
            gateway.data / "api.sock",
            tuple(sock.getsockname()[:2] for sock in plain),
            tuple(sock.getsockname()[:2] for sock in secure),
            certificate.fingerprint if certificate else None,
        )


async def _certificate(gateway: Gateway) -> tuple[Certificate, ssl.SSLContext]:
    """Raises ListenFailed where it can be neither read nor made."""
    secrets = gateway.data / "secrets"
    addresses = ["127.0.0.1", *(listen.host for listen in gateway.config.web.listen)]
    try:
        made = await asyncio.to_thread(own_certificate, secrets, gateway.config.site.id, addresses)
        return made, await asyncio.to_thread(tls_context, made)
    except (OSError, ValueError) as error:
        raise ListenFailed(
            f"cannot use the certificate in {secrets}: {error}; "
            "remove web.pem and web.key there to have new ones made"
        ) from error


class _Door(socket.socket):
    """A TCP listener that takes no connection while MOST_CONNECTIONS are open, those whose TLS handshake is
    still to come included: only here is each of them seen. crowd: shared by all doors.
    """

    crowd: WeakSet[socket.socket]

    def accept(self) -> tuple[socket.socket, Any]:
        guest, address = super().accept()
        if sum(other.fileno() >= 0 for other in self.crowd) >= MOST_CONNECTIONS:
            guest.close()
            raise ConnectionAbortedError
        self.crowd.add(guest)
        return guest, address


class _Doorman:
    """Lets nobody stay who says nothing. aiohttp does not limit that by itself."""

    def __init__(self, head_s: float) -> None:
        self.server: web.Server | None = None
        self._head_s = head_s
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            timer = self._silent.pop(request.protocol, None)
            if timer is not None:
                timer.cancel()
            return await handler(request)

        self.middleware = note

    def welcome(self) -> asyncio.Protocol:
        """For the Unix socket: the installer gets in however crowded the ports are."""
        assert self.server is not None
        return self.server()

    def admit(self) -> asyncio.Protocol:
        assert self.server is not None
        protocol = self.server()
        timer = asyncio.get_running_loop().call_later(self._head_s, self._expel, protocol)
        self._silent[protocol] = timer
        return protocol

    def close(self) -> None:
        for timer in self._silent.values():
            timer.cancel()

    def _expel(self, protocol: web.RequestHandler) -> None:
        del self._silent[protocol]
        if protocol.transport is not None:
            protocol.transport.abort()


def _tcp_socket(listen: Listen, crowd: WeakSet[socket.socket]) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    sock = _Door(family, socket.SOCK_STREAM)
    sock.crowd = crowd
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
