"""An RTSP camera whose every answer a test can write: for what real peers never do, and bad cameras always.

Faults are data (`Habits`): what each reply looks like, and what is sent when.

    async with scripted_camera(habits=Habits({"SETUP": [Reply(fields=(("Session", "other"),))]})) as camera:
        ...open_session(camera.source())...

Where data does not do, each keyword is a coroutine `(talk, request) -> None` that takes the place of the
proper answer, and a coroutine `(talk) -> None` before them that of the whole conversation. `playing` runs
after the answer to PLAY, once the test has set `camera.watched`, so that what it sends does not travel
together with the answer.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from simpang_buffer.rtsp.connection import Source
from simpang_buffer.rtsp.framing import InterleavedReader, Message
from simpang_buffer.rtsp.message import Headers, Request, Response, build_response, parse_request

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n"
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
    b"m=audio 0 RTP/AVP 8\r\na=control:trackID=1\r\n"
)
SESSION = "12345678"
PUBLIC = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"

Fields: TypeAlias = tuple[tuple[str, str], ...]


def rtp(sequence: int, payload: bytes = b"picture", *, ssrc: int = 7, payload_type: int = 96) -> bytes:
    """An RTP packet."""
    return struct.pack(">BBHII", 0x80, payload_type, sequence & 0xFFFF, sequence * 3000, ssrc) + payload


def frame(channel: int, data: bytes) -> bytes:
    """An interleaved frame."""
    return b"$" + bytes((channel,)) + struct.pack(">H", len(data)) + data


@dataclass(frozen=True)
class Reply:
    """One answer; what is not given is as a well-behaved camera has it.

    raw: these bytes are the whole answer. before and after: sent around it. after_s: when it comes. In texts,
    CSEQ, PORT, URL and TRANSPORT stand for the request's. silent: there is none. close: then it hangs up.
    """

    status: int = 200
    reason: str = "OK"
    fields: Fields | None = None
    body: bytes | None = None
    raw: bytes | None = None
    before: bytes = b""
    after: bytes = b""
    after_s: float = 0.0
    silent: bool = False
    close: bool = False


@dataclass(frozen=True)
class Datagram:
    """Over UDP, from the camera's port pair or from a stranger's address."""

    data: bytes
    rtcp: bool = False
    stranger: str | None = None


@dataclass(frozen=True)
class SignIn:
    """Which challenges are given (NONCE is a new one each time), and which answer is accepted: "SHA-256",
    "MD5", "basic" or "nothing". nonce_requests: so many requests, then the nonce's time is over."""

    challenges: tuple[str, ...]
    accepts: str
    user: str = "operator"
    password: str = "s3cret-pass"
    nonce_requests: int = 1_000_000


@dataclass(frozen=True)
class Habits:
    """What one camera does. replies: by method, one after the other, the last for all further requests.

    media: sent once it plays; numbers are pauses in seconds. needs: a header that every request must have.
    connect: the whole conversation instead, from the first moment. hangs_up: once all media is sent.
    """

    replies: Mapping[str, Sequence[Reply]] = field(default_factory=dict)
    media: Iterable[bytes | float | Datagram] = ()
    sdp: bytes = SDP
    public: str = PUBLIC
    session: str = f"{SESSION};timeout=60"
    sign_in: SignIn | None = None
    needs: str | None = None
    connect: Iterable[bytes | float | Datagram] | None = None
    hangs_up: bool = False


@dataclass
class Talk:
    """One connection of the camera. ports: the client's for RTP, by track; udp: our socket pair."""

    camera: ScriptedCamera
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    client_ports: list[int] = field(default_factory=list)
    udp: tuple[socket.socket, socket.socket] | None = None
    challenged: int = 0
    signed: int = 0

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
    host: str = "127.0.0.1"
    scheme: str = "rtsp"
    habits: Habits = field(default_factory=Habits)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    steps: dict[str, Step] = field(default_factory=dict)
    watched: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    # Requests that were let in, by method.
    answered: Counter[str] = field(default_factory=Counter)
    # What came over UDP to the RTCP port of the camera.
    reports: list[bytes] = field(default_factory=list)

    def source(self, **changes: Any) -> Source:
        url = f"{self.scheme}://{self.host}:{self.port}/live?c=1"
        return replace(Source(url, self.host, self.port), **changes)

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    async def proper(self, talk: Talk, request: Request) -> None:
        """The answer of this camera as its habits have it, else of a well-behaved one."""
        if not await self._let_in(talk, request):
            return
        written = self.habits.replies.get(request.method, ())
        self.answered[request.method] += 1
        number = self.answered[request.method]
        reply = written[min(number, len(written)) - 1] if written else Reply()
        fields, body = self._usual(talk, request)
        if reply.fields is not None:
            fields = reply.fields
        head = Headers([("CSeq", "CSEQ"), *fields])
        text = build_response(Response(reply.status, reply.reason, head, body if reply.body is None else b""))
        if reply.body is not None:
            text = build_response(Response(reply.status, reply.reason, head, reply.body))
        if reply.after_s:
            await asyncio.sleep(reply.after_s)
        if not reply.silent:
            filled = self._filled(request, text if reply.raw is None else reply.raw)
            await talk.send(reply.before + filled + reply.after)
        if reply.close:
            talk.writer.close()

    def _usual(self, talk: Talk, request: Request) -> tuple[Fields, bytes]:
        session = ("Session", self.habits.session)
        if request.method == "OPTIONS":
            return (("Public", self.habits.public),), b""
        if request.method == "DESCRIBE":
            return (("Content-Type", "application/sdp"),), self.habits.sdp
        if request.method != "SETUP":
            return (session,), b""
        asked = request.headers.get("transport") or ""
        more = ""
        if (ports := re.search(r"client_port=(\d+)", asked)) is not None:
            talk.client_ports.append(int(ports[1]))
            talk.udp = talk.udp or _udp_pair(self.host)
            port = talk.udp[0].getsockname()[1]
            more = f";server_port={port}-{port + 1}"
        return (session, ("Transport", f"{asked}{more};ssrc=00000007")), b""

    def _filled(self, request: Request, text: bytes) -> bytes:
        given = {
            b"CSEQ": (request.headers.get("cseq") or "0").encode(),
            b"PORT": str(self.port).encode(),
            b"TRANSPORT": (request.headers.get("transport") or "").encode(),
            b"URL": request.url.encode(),
        }
        head, blank, body = text.partition(b"\r\n\r\n")
        for name, value in given.items():
            head = re.sub(rb"\b" + name + rb"\b", lambda _, value=value: value, head)
        return head + blank + body

    async def _let_in(self, talk: Talk, request: Request) -> bool:
        if self.habits.needs is not None and not request.headers.get(self.habits.needs):
            await talk.reply(request, 400)
            return False
        wanted = self.habits.sign_in
        if wanted is None or request.method == "OPTIONS":
            return True
        if talk.signed < wanted.nonce_requests and _proves(wanted, talk.challenged, request):
            talk.signed += 1
            return True
        talk.challenged += 1
        talk.signed = 0
        nonce = f"nonce-{talk.challenged}"
        given = [("WWW-Authenticate", text.replace("NONCE", nonce)) for text in wanted.challenges]
        await talk.reply(request, 401, *given)
        return False

    async def converse(self, talk: Talk) -> None:
        if self.habits.connect is not None:
            await self._send_media(talk, self.habits.connect)
            return
        split = InterleavedReader()
        while data := await talk.reader.read(65_536):
            for found in split.feed(data):
                if isinstance(found, Message):
                    request = parse_request(found.head, found.body)
                    self.requests.append(request)
                    await self.steps.get(request.method, type(self).proper.__get__(self))(talk, request)
                    if request.method == "PLAY" and "playing" in self.steps:
                        await self.watched.wait()
                        await self.steps["playing"](talk, request)
                    if request.method == "PLAY" and self.habits.media:
                        await self._send_media(talk, self.habits.media)

    async def _send_media(self, talk: Talk, media: Iterable[bytes | float | Datagram]) -> None:
        for item in media:
            if isinstance(item, bytes):
                await talk.send(item)
            elif isinstance(item, Datagram):
                self._send_datagram(talk, item)
                # The kernel's queue holds some hundred; the reader comes every few milliseconds.
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(item)
        if self.habits.hangs_up:
            talk.writer.close()

    def _send_datagram(self, talk: Talk, item: Datagram) -> None:
        to = (self.host, talk.client_ports[0] + item.rtcp)
        if item.stranger is None:
            assert talk.udp is not None
            talk.udp[item.rtcp].sendto(item.data, to)
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((item.stranger, 0))
            sender.sendto(item.data, to)


@contextlib.asynccontextmanager
async def scripted_camera(
    connected: Callable[[Talk], Awaitable[None]] | None = None,
    /,
    *,
    habits: Habits | None = None,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    **steps: Step,
) -> AsyncIterator[ScriptedCamera]:
    """A camera on a free port of 127.0.0.1; see the module. tls: it is an rtsps:// one."""
    camera = ScriptedCamera(
        host=host, scheme="rtsps" if tls else "rtsp", habits=habits or Habits(), steps=steps
    )
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        camera.connections += 1
        writers.append(writer)
        talk = Talk(camera, reader, writer)
        try:
            # The client may go at any moment, and the test end.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await (camera.converse(talk) if connected is None else connected(talk))
        finally:
            if talk.udp is not None:
                camera.reports += _waiting(talk.udp[1])
                for sock in talk.udp:
                    sock.close()
            writer.close()
            camera.closed.set()

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    camera.port = server.sockets[0].getsockname()[1]
    try:
        yield camera
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await abort(writers)


async def abort(writers: Sequence[asyncio.StreamWriter]) -> None:
    """TLS would wait for the other side's farewell, which no longer comes."""
    for writer in writers:
        # Python 3.11 minds a TLS transport that was aborted before.
        with contextlib.suppress(AttributeError):
            writer.transport.abort()
    for _ in range(3):
        await asyncio.sleep(0)


def _proves(wanted: SignIn, challenged: int, request: Request) -> bool:
    """RFC 7616 section 3.4.1, written once more so that the client is not judged by its own code."""
    said = request.headers.get("authorization") or ""
    if wanted.accepts == "basic":
        pair = f"{wanted.user}:{wanted.password}".encode()
        return said == "Basic " + base64.b64encode(pair).decode()
    if not said.startswith("Digest ") or wanted.accepts == "nothing":
        return False
    given = {
        name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', said)
    }
    if given.get("nonce") != f"nonce-{challenged}" or given.get("algorithm", "MD5") != wanted.accepts:
        return False

    def hashed(*parts: str) -> str:
        name = "sha256" if wanted.accepts == "SHA-256" else "md5"
        return hashlib.new(name, ":".join(parts).encode("utf-8"), usedforsecurity=False).hexdigest()

    secret = hashed(wanted.user, given["realm"], wanted.password)
    request_hash = hashed(request.method, given["uri"])
    middle = [given["nonce"]]
    if "qop" in given:
        middle += [given["nc"], given["cnonce"], given["qop"]]
    return given["uri"] == request.url and given["response"] == hashed(secret, *middle, request_hash)


def _udp_pair(host: str) -> tuple[socket.socket, socket.socket]:
    """Two neighbouring ports, the even one first."""
    for _ in range(100):
        rtp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtcp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp_socket.bind((host, 0))
        port = rtp_socket.getsockname()[1]
        with contextlib.suppress(OSError):
            if port % 2 == 0:
                rtcp_socket.bind((host, port + 1))
                rtcp_socket.setblocking(False)
                return rtp_socket, rtcp_socket
        rtp_socket.close()
        rtcp_socket.close()
    raise AssertionError("no pair of ports")


def _waiting(sock: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(sock.recv(65_536))
    return found
