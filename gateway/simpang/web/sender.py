"""Sends a clip's bytes to a socket as the kernel does it best: recorded bytes go from the file to the network
without passing through here (sendfile), what must start at zero is sent between them.

A few threads send for all readers, each for a second or as long as its socket takes more. So a disk that
stalls stalls no loop; a reader that is slow, or has paused, waits in the loop and holds neither a thread nor
a file (an open one would keep the space of what is evicted). Over TLS nothing can be sent unread: there it is
one read in a thread and one write.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from simpang_buffer.reading.progressive import ProgressiveMp4

# A disk under them serves no more at once, and each is a stack.
THREADS = 4
# Then it is another reader's turn.
_BURST_S = 1.0
# How long a thread waits for a socket that is full: one that drains at 100 Mbit/s has room again by then.
_PATIENCE_MS = 20
# A paused player takes nothing for minutes; it comes back by a Range request if it was cut off.
STALL_S = 900.0
# The head of the answer is some hundred bytes; what may be before it is the rest of an answer of before.
_FLUSH_LOOK_S = 0.005

SENDER: web.AppKey[Sender] = web.AppKey("sender")


class Sender:
    """Opened with the application (`sender`)."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="clip")

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def send(
        self, request: web.Request, response: web.StreamResponse, movie: ProgressiveMp4, start: int, end: int
    ) -> None:
        """Bytes [start, end), behind a prepared response's head. Raises ReadingError, ConnectionError."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        if transport.get_extra_info("sslcontext") is not None:
            async for block in movie.write(start, end):
                await response.write(block)
            return
        async with asyncio.timeout(STALL_S):
            while transport.get_write_buffer_size():  # noqa: ASYNC110 - a transport tells nobody that it is empty
                await asyncio.sleep(_FLUSH_LOOK_S)
        # A descriptor of our own for the same connection, since the loop minds the transport's.
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as guest:
            guest.setblocking(False)
            await self._send(guest, transport, movie, start, end)

    async def _send(
        self,
        guest: socket.socket,
        transport: asyncio.Transport,
        movie: ProgressiveMp4,
        start: int,
        end: int,
    ) -> None:
        loop = asyncio.get_running_loop()
        stop = threading.Event()
        while start < end:
            burst = loop.run_in_executor(self._threads, _burst, guest, movie, start, end, stop)
            try:
                start = await asyncio.shield(burst)
            except asyncio.CancelledError:
                # The thread must be done with the descriptor before its number may be another's.
                stop.set()
                await asyncio.wait([burst])
                raise
            if start < end:
                await _room(loop, guest)
            if transport.is_closing():
                raise ConnectionResetError


async def sender(app: web.Application) -> AsyncIterator[None]:
    """cleanup_ctx."""
    app[SENDER] = Sender()
    yield
    await asyncio.to_thread(app[SENDER].close)


async def _room(loop: asyncio.AbstractEventLoop, guest: socket.socket) -> None:
    """Until the socket takes more. Raises ConnectionError where it does not for STALL_S."""
    room = asyncio.Event()
    loop.add_writer(guest.fileno(), room.set)
    try:
        async with asyncio.timeout(STALL_S):
            await room.wait()
    except TimeoutError as error:
        raise ConnectionAbortedError("the reader takes nothing any more") from error
    finally:
        loop.remove_writer(guest.fileno())


def _burst(guest: socket.socket, movie: ProgressiveMp4, start: int, end: int, stop: threading.Event) -> int:
    """Sends from `start` on; returns the first byte that was not sent. Called in a thread."""
    until = time.monotonic() + _BURST_S
    room = select.poll()
    room.register(guest, select.POLLOUT)
    with contextlib.closing(movie.extents(start, end)) as extents, _corked(guest):
        for extent in extents:
            size_bytes = len(extent) if isinstance(extent, bytes) else extent.size_bytes
            sent = 0
            while sent < size_bytes:
                try:
                    if isinstance(extent, bytes):
                        sent += guest.send(extent[sent:] if sent else extent)
                    else:
                        sent += extent.send(guest.fileno(), sent)
                except BlockingIOError:
                    if stop.is_set() or not room.poll(_PATIENCE_MS):
                        return start + sent
            start += size_bytes
            if time.monotonic() > until or stop.is_set():
                return start
    return start


@contextlib.contextmanager
def _corked(guest: socket.socket) -> Iterator[None]:
    """What is sent inside fills packets, however it is cut; a tenth less work for the kernel."""
    tcp = guest.family != socket.AF_UNIX
    if tcp:
        guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    try:
        yield
    finally:
        if tcp:
            # The connection may be gone by now, which sending has found out.
            with contextlib.suppress(OSError):
                guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
