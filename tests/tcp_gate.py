"""A switch in a cable: forwards TCP connections to a camera, and cuts, holds or refuses them when told."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator


class TcpGate:
    """host, port: where to connect. carried: connections so far. heard: all that the camera said."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.carried = 0
        self.heard = bytearray()
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Hangs up on everybody, and on whoever comes until `mend`."""
        self._open.clear()
        for connection in self._connections:
            connection.cancel()

    def mend(self) -> None:
        self._open.set()

    def lead_to(self, host: str, port: int) -> None:
        """From now on to another camera."""
        self._target = (host, port)

    def hold(self) -> None:
        """Connections stay, and nothing passes any more."""
        self._flowing.clear()

    def flow(self) -> None:
        """What was held passes, all at once."""
        self._flowing.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                if self._open.is_set():
                    self.carried += 1
                    inner, outer = await asyncio.open_connection(*self._target)
                    with contextlib.closing(outer):
                        async with asyncio.TaskGroup() as group:
                            group.create_task(self._pass_on(reader, outer))
                            group.create_task(self._pass_on(inner, writer, self.heard))
        except* ConnectionError:
            self._connections.discard(task)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray | None = None
    ) -> None:
        while data := await reader.read(65_536):
            await self._flowing.wait()
            if heard is not None:
                heard += data
            writer.write(data)
            await writer.drain()
        raise ConnectionError("one side has hung up")


@contextlib.asynccontextmanager
async def tcp_gate(host: str, port: int) -> AsyncIterator[TcpGate]:
    gate = TcpGate((host, port))
    server = await asyncio.start_server(gate._carry, gate.host, 0)
    gate.port = server.sockets[0].getsockname()[1]
    async with server:
        yield gate
        server.close()
        gate.cut()
        while gate._connections:
            await asyncio.sleep(0.01)


def pictures_sent(heard: bytearray, channel: int = 0) -> int:
    """How many different stamps the RTP packets of an interleaved channel carry: one a picture.

    Plain and strict, for cameras that keep to RFC 2326 section 10.12: our client is not to be its own judge.
    """
    stamps: set[bytes] = set()
    at = 0
    while at < len(heard):
        if heard[at] == ord("$"):
            end = at + 4 + int.from_bytes(heard[at + 2 : at + 4], "big")
            if heard[at + 1] == channel:
                stamps.add(bytes(heard[at + 8 : at + 12]))
            at = end
        else:
            assert heard[at : at + 5] == b"RTSP/", bytes(heard[at : at + 20])
            head, separator, _ = heard[at:].partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            at += len(head) + len(separator) + (int(length[1]) if length else 0)
    return len(stamps)
