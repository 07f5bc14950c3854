"""An RTSP camera whose every answer a test can write: for what real peers never do, and bad cameras always.

    async with scripted_camera(DESCRIBE=redirect) as camera:
        ...open_session(camera.source())...

Each keyword is a coroutine `(talk, request) -> None` that takes the place of the proper answer. A coroutine
`(talk) -> None` before them takes the place of the whole conversation. `playing` runs after the answer to
PLAY, once the test has set `camera.watched`, so that what it sends does not travel together with the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from simpang_buffer.rtsp.connection import Source
from simpang_buffer.rtsp.framing import InterleavedReader, Message
from simpang_buffer.rtsp.message import Headers, Request, Response, build_response, parse_request

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n"
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
    b"m=audio 0 RTP/AVP 8\r\na=control:trackID=1\r\n"
)
SESSION = "12345678"


def rtp(sequence: int, payload: bytes = b"picture", *, ssrc: int = 7, payload_type: int = 96) -> bytes:
    """An RTP packet."""
    return struct.pack(">BBHII", 0x80, payload_type, sequence & 0xFFFF, sequence * 3000, ssrc) + payload


def frame(channel: int, data: bytes) -> bytes:
    """An interleaved frame."""
    return b"$" + bytes((channel,)) + struct.pack(">H", len(data)) + data


@dataclass
class Talk:
    """One connection of the camera."""

    camera: ScriptedCamera
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(
        self,
        request: Request,
        status: int = 200,
        *fields: tuple[str, str],
        body: bytes = b"",
        reason: str = "x",
    ) -> None:
        number = request.headers.get("cseq") or "0"
        head = Headers([("CSeq", number), *fields])
        await self.send(build_response(Response(status, reason, head, body)))


Step = Callable[[Talk, Request], Awaitable[None]]


@dataclass
class ScriptedCamera:
    """What it saw and where it is."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    steps: dict[str, Step] = field(default_factory=dict)
    watched: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def source(self, **changes: Any) -> Source:
        return replace(Source(f"rtsp://127.0.0.1:{self.port}/live?c=1", "127.0.0.1", self.port), **changes)

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    async def proper(self, talk: Talk, request: Request) -> None:
        """The answer of a well-behaved camera."""
        session = ("Session", f"{SESSION};timeout=60")
        if request.method == "OPTIONS":
            await talk.reply(
                request, 200, ("Public", "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
            )
        elif request.method == "DESCRIBE":
            await talk.reply(request, 200, ("Content-Type", "application/sdp"), body=SDP)
        elif request.method == "SETUP":
            asked = request.headers.get("transport") or ""
            more = "" if "interleaved" in asked else ";server_port=9-10"
            await talk.reply(request, 200, session, ("Transport", f"{asked}{more};ssrc=00000007"))
        else:
            await talk.reply(request, 200, session)

    async def converse(self, talk: Talk) -> None:
        split = InterleavedReader()
        while data := await talk.reader.read(65_536):
            for found in split.feed(data):
                if isinstance(found, Message):
                    request = parse_request(found.head, found.body)
                    self.requests.append(request)
                    await self.steps.get(request.method, self.proper)(talk, request)
                    if request.method == "PLAY" and "playing" in self.steps:
                        await self.watched.wait()
                        await self.steps["playing"](talk, request)


@contextlib.asynccontextmanager
async def scripted_camera(
    connected: Callable[[Talk], Awaitable[None]] | None = None, /, **steps: Step
) -> AsyncIterator[ScriptedCamera]:
    """A camera on a free port of 127.0.0.1; see the module."""
    camera = ScriptedCamera(steps=steps)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        camera.connections += 1
        talk = Talk(camera, reader, writer)
        try:
            # The client may go at any moment, and the test end.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await (camera.converse(talk) if connected is None else connected(talk))
        finally:
            writer.close()
            camera.closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    camera.port = server.sockets[0].getsockname()[1]
    try:
        yield camera
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
