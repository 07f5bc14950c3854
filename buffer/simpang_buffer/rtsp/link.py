"""What a connection's bytes go through: a socket, or TLS on a socket (see tls.py).

Both are used in two ways: with waiting while a session opens, and without while it plays. Without waiting
they raise BlockingIOError where nothing can be read or sent now.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol


class Link(Protocol):
    """local_host: our address on the way to the camera."""

    @property
    def local_host(self) -> str: ...

    async def recv(self, at_most: int) -> bytes:
        """Waits for bytes; b"" when the camera closed. Raises OSError."""

    async def send_all(self, data: bytes) -> None:
        """Waits until all of it is sent. Raises OSError."""

    def recv_into(self, space: memoryview) -> int:
        """What is there now; 0 when the camera closed. Raises BlockingIOError, OSError."""

    def send(self, data: bytes | bytearray) -> int:
        """How much of it was taken. Raises BlockingIOError, OSError."""


class PlainLink:
    """The socket itself: the hot path of most cameras is one system call deep."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.recv_into = sock.recv_into
        self.send = sock.send

    @property
    def local_host(self) -> str:
        return str(self._sock.getsockname()[0])

    async def recv(self, at_most: int) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._sock, at_most)

    async def send_all(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)
