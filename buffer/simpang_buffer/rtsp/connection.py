"""The one TCP connection of a session: questions and answers while opening, no waiting while playing.

Only the pinned address of the source is ever connected to.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Literal
from urllib.parse import urlsplit

from simpang_buffer.rtsp.auth import ClientAuth, Credentials, SignInMemory
from simpang_buffer.rtsp.errors import Malformed, StreamError, Timeout, Unreachable
from simpang_buffer.rtsp.framing import InterleavedReader, Message, Packet
from simpang_buffer.rtsp.link import Link, PlainLink
from simpang_buffer.rtsp.message import (
    Headers,
    Request,
    Response,
    build_request,
    build_response,
    cseq,
    is_response,
    parse_request,
    parse_response,
)
from simpang_buffer.rtsp.tls import Trust, check_pin, encrypt, words_of

# Some cameras answer nobody without a name (EasyDarwin 117).
_USER_AGENT = "simpang"
_READ_BYTES = 65_536
# While opening, a camera that drips bytes wakes us no more often than this.
_DRIP_S = 0.005
# Answers to nothing we asked, and requests of the camera's own, before the one that is waited for.
_MOST_STRAYS = 16
# A key frame and what follows while the answer is on its way.
_MOST_EARLY_BYTES = 1024 * 1024
# Reports and keepalives that the camera does not read; then it reads nothing any more.
_MOST_UNSENT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """One stream of a camera.

    url: rtsp:// or rtsps://, without credentials, as requests name it. host: the pinned IP address, the only
    one ever connected to, whatever the URL or the camera says. allow_basic: the installer accepts that the
    password crosses the network readably. audio, metadata: record it too. trust: whose certificate is
    believed.
    """

    url: str
    host: str
    port: int = 554
    credentials: Credentials | None = dataclass_field(default=None, repr=False)
    allow_basic: bool = False
    transport: Literal["tcp", "udp"] = "tcp"
    audio: bool = False
    metadata: bool = False
    trust: Trust = dataclass_field(default_factory=Trust)

    @property
    def encrypted(self) -> bool:
        return self.url[:8].lower() == "rtsps://"

    def __post_init__(self) -> None:
        """Raises ValueError: a host that is a name would be resolved, and could then be any address."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            raise ValueError("the host of a source is an IP address, never a name") from None
        if "@" in urlsplit(self.url).netloc:
            raise ValueError("an RTSP URL with credentials inside; they belong into the field of that name")


class Connection:
    """See connect(). counts: what was odd and repaired, by name."""

    def __init__(
        self, link: Link, source: Source, reader: InterleavedReader, sign_in: SignInMemory | None = None
    ) -> None:
        self.counts: Counter[str] = reader.counts
        self.reader = reader
        self.auth = ClientAuth(source.credentials, source.allow_basic, sign_in)
        # Packets that came since the last request: some cameras send before they answer PLAY (Reolink), and
        # the first picture is a key frame that is worth keeping.
        self.early: list[Packet] = []
        self._link = link
        self._sequence = 0
        self._unsent = bytearray()

    @property
    def local_host(self) -> str:
        """Our address on the way to the camera."""
        return self._link.local_host

    async def request(self, method: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> Response:
        """Ask and wait for the answer, signing in where asked. The caller sets the time limit.

        Raises AuthRefused, Malformed, Unreachable.
        """
        fields = tuple(fields)
        while True:
            self.early = []
            await self._send_all(self._signed(method, url, fields))
            response = await self._answer()
            if response.status != 401:
                self.auth.accepted()
                return response
            self.auth.challenge(response.headers)

    def post(self, method: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> int:
        """Ask without waiting (while playing); returns the sequence number that the answer will carry."""
        self.send(self._signed(method, url, tuple(fields)))
        return self._sequence

    def send(self, data: bytes) -> None:
        """Send without waiting (while playing); what the socket does not take now goes out later."""
        self._unsent += data
        if len(self._unsent) > _MOST_UNSENT_BYTES:
            raise Timeout("the camera reads nothing any more")
        self._flush()

    def receive(self, budget_bytes: int) -> tuple[list[Packet | Message], bool]:
        """What the socket holds now, at most so many bytes (while playing), and whether it held no more.

        Views hold good until the buffer's next use. Raises Unreachable when the connection ended, Malformed.
        """
        if self._unsent:
            self._flush()
        space = self.reader.space(budget_bytes)
        try:
            count = self._link.recv_into(space)
        except BlockingIOError:
            return [], True
        except OSError as error:
            raise _broken(error) from error
        if count == 0:
            raise Unreachable("the camera closed the connection")
        return self.reader.received(count), count < len(space)

    def answer(self, message: Message) -> Response | None:
        """A message as a response; a request of the camera's own is answered here (Longse sends them)."""
        if is_response(message.head):
            return parse_response(message.head, message.body)
        request = parse_request(message.head, message.body)
        self.counts["camera_requests"] += 1
        known = request.method in ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER")
        status, reason = (200, "OK") if known else (501, "Not Implemented")
        number = cseq(request.headers)
        fields = [] if number is None else [("CSeq", str(number))]
        self.send(build_response(Response(status, reason, Headers(fields))))
        return None

    def _signed(self, method: str, url: str, fields: tuple[tuple[str, str], ...]) -> bytes:
        self._sequence += 1
        head = [("CSeq", str(self._sequence)), ("User-Agent", _USER_AGENT), *fields]
        authorization = self.auth.authorization(method, url)
        if authorization is not None:
            head.append(("Authorization", authorization))
        return build_request(Request(method, url, Headers(head)))

    async def _send_all(self, data: bytes) -> None:
        data = bytes(self._unsent) + data
        self._unsent.clear()
        try:
            await self._link.send_all(data)
        except OSError as error:
            raise _broken(error) from error

    async def _answer(self) -> Response:
        strays = early_bytes = 0
        while True:
            try:
                # Not into the shared buffer: others may use it while this waits.
                data = await self._link.recv(_READ_BYTES)
            except OSError as error:
                raise _broken(error) from error
            if not data:
                raise Unreachable("the camera closed the connection")
            response: Response | None = None
            for frame in self.reader.feed(data):
                if isinstance(frame, Packet):
                    early_bytes += len(frame.data)
                    if early_bytes <= _MOST_EARLY_BYTES:
                        self.early.append(frame._replace(data=memoryview(bytes(frame.data))))
                    else:
                        self.counts["early_packets"] += 1
                    continue
                found = self.answer(frame)
                if found is not None and self._is_ours(found):
                    response = response or found
                    continue
                strays += 1
                if strays > _MOST_STRAYS:
                    raise Malformed("the camera sends messages that answer nothing")
            if response is not None:
                return response
            await asyncio.sleep(_DRIP_S)

    def _is_ours(self, response: Response) -> bool:
        # Only one request is ever open, so an answer that is not numbered, or numbered 0, is to that one.
        number = cseq(response.headers)
        return not number or number == self._sequence

    def _flush(self) -> None:
        try:
            del self._unsent[: self._link.send(self._unsent)]
        except BlockingIOError:
            self.counts["late_sends"] += 1
        except OSError as error:
            raise _broken(error) from error


@contextlib.asynccontextmanager
async def connect(
    source: Source,
    buffer: bytearray | None,
    within_s: float,
    *,
    pin_of: Callable[[str], str] = lambda found: found,
    sign_in: SignInMemory | None = None,
) -> AsyncIterator[Connection]:
    """Connect to the source's pinned address, and encrypt where its URL says so.

    pin_of: given the certificate's SHA-256, says which it should be; asked where the source pins none.
    Raises Unreachable, also when there is no answer in time; RefusedByPolicy for a wrong certificate;
    Timeout, Malformed and Unsupported for TLS that comes to nothing.
    """
    family = socket.AF_INET6 if ":" in source.host else socket.AF_INET
    place = f"{source.host}:{source.port}"
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected = False
        try:
            async with asyncio.timeout(within_s):
                await asyncio.get_running_loop().sock_connect(sock, (source.host, source.port))
                connected = True
                link = await _link(sock, source, pin_of)
        except TimeoutError:
            if connected:
                raise Timeout("the camera took the connection but did not finish the TLS handshake") from None
            raise Unreachable(f"{place} does not answer") from None
        except OSError as error:
            raise Unreachable(f"{place}: {_words(error)}") from error
        yield Connection(link, source, InterleavedReader(buffer), sign_in)


async def _link(sock: socket.socket, source: Source, pin_of: Callable[[str], str]) -> Link:
    if not source.encrypted:
        return PlainLink(sock)
    link = await encrypt(sock, source.trust, urlsplit(source.url).hostname or source.host)
    if source.trust.pin is not None:
        check_pin(link.fingerprint, source.trust.pin)
    elif source.trust.ca is None:
        check_pin(link.fingerprint, pin_of(link.fingerprint))
    return link


def _broken(error: OSError) -> StreamError:
    if isinstance(error, ssl.SSLError):
        return Malformed(f"the encrypted connection broke: {words_of(error)}")
    return Unreachable(f"the connection broke: {_words(error)}")


def _words(error: OSError) -> str:
    return (error.strerror or errno.errorcode.get(error.errno or 0, "failed")).lower()
