"""An RTSP server: accepts clients, within a limit, and gives each a session of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Mapping

from simpang_buffer.rtsp.auth import ServerAuth
from simpang_buffer.rtsp.mount import Mount
from simpang_buffer.rtsp.server_limits import DEFAULT_LIMITS, ServerLimits
from simpang_buffer.rtsp.server_request import READ_LIMIT_BYTES
from simpang_buffer.rtsp.server_session import ServerSession
from simpang_buffer.rtsp.server_transport import prepare

# Out of descriptors: try again when some clients may have gone.
_PAUSE_S = 0.5
_REFUSAL = b"RTSP/1.0 503 Service Unavailable\r\nRetry-After: 10\r\n\r\n"

_log = logging.getLogger(__name__)


class RtspServer:
    """Serves mounts by their path ("/main"). auth: None lets everybody in.

    Binds when made, raising OSError where the address is taken; `port` is the one bound. What is in mounts
    may change while it runs.
    """

    def __init__(
        self,
        host: str,
        port: int,
        mounts: Mapping[str, Mount],
        auth: ServerAuth | None = None,
        *,
        limits: ServerLimits = DEFAULT_LIMITS,
    ) -> None:
        self._mounts = mounts
        self._auth = auth
        self._limits = limits
        self._clients = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=64)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]

    @property
    def clients(self) -> int:
        """Connections that are open."""
        return self._clients

    async def run(self) -> None:
        """Serve until cancelled; then every connection is closed and the port is free."""
        loop = asyncio.get_running_loop()
        with self._listener:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    try:
                        connection, address = await loop.sock_accept(self._listener)
                    except ConnectionError:
                        continue
                    except OSError as error:
                        _log.warning("no further RTSP client can be accepted: %s", error.strerror)
                        await asyncio.sleep(_PAUSE_S)
                        continue
                    if self._clients >= self._limits.clients:
                        _refuse(connection)
                        continue
                    self._clients += 1
                    tasks.create_task(self._serve(connection, address[0]), name=f"rtsp-client:{address[0]}")

    async def _serve(self, connection: socket.socket, peer: str) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=READ_LIMIT_BYTES)
            try:
                prepare(writer)
                local = connection.getsockname()[0]
                session = ServerSession(
                    reader, writer, self._mounts, self._auth, self._limits, local=local, peer=peer
                )
                await session.run()
            finally:
                # What a slow client has not taken yet is not worth waiting for.
                writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()
        except OSError as error:
            # Gone before it began.
            _log.debug("RTSP client %s: %s", peer, error)
        except Exception:  # noqa: BLE001 - this is where a client's task is supervised: it ends no other's
            _log.exception("RTSP client %s: its session failed", peer)
        finally:
            self._clients -= 1


def _refuse(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.setblocking(False)
        connection.send(_REFUSAL)
