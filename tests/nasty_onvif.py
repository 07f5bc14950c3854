"""An ONVIF device for tests that is as good or as bad as it is told to be: its faults are data.

It checks signatures as cameras do (WS-Security digest with a window of 10 s of *its* clock, or HTTP
digest), keeps every request, and counts how often a credential was refused.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

Fault = Callable[["NastyCamera", asyncio.StreamWriter], Awaitable[None]]
SignIn = Literal["none", "wsse", "http", "refuse", "refuse-http", "locked"]

_SOAP = (
    '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl"'
    ' xmlns:tr2="http://www.onvif.org/ver20/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema"'
    ' xmlns:ter="http://www.onvif.org/ver10/error"><s:Body>{body}</s:Body></s:Envelope>'
)
_FAULT = (
    "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>{code}</s:Value></s:Subcode></s:Code>"
    '<s:Reason><s:Text xml:lang="en">{words}</s:Text></s:Reason></s:Fault>'
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came. operation: local name of what its SOAP body holds."""

    operation: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def signed(self) -> bool:
        return b"UsernameToken" in self.body or "authorization" in self.headers


@dataclass(slots=True)
class NastyCamera:
    """sign_in: what it wants for all but GetSystemDateAndTime, or for that too if clock_signed.

    bodies: per operation, the XML inside its SOAP body. faults: per operation, what it does instead of
    answering. {http} in a body stands for its own http://host:port.
    """

    host: str = "127.0.0.1"
    user: str = "admin"
    password: str = "pass & <word>"
    sign_in: SignIn = "wsse"
    clock_signed: bool = False
    clock_offset: timedelta = timedelta()
    bodies: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    refused: int = 0
    bytes_sent: int = 0
    port: int = 0
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def operations(self) -> list[str]:
        return [asked.operation for asked in self.asked]

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock_offset

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.operation in self.faults:
            await self.faults[asked.operation](self, writer)
            return
        open_to_all = asked.operation == "GetSystemDateAndTime" and not self.clock_signed
        if not open_to_all and not self._signed_well(asked):
            self.refused += asked.signed
            await self._deny(asked, writer)
            return
        body = self._body(asked.operation)
        if body is None:
            await self.send(writer, 400, _FAULT.format(code="ter:ActionNotSupported", words="no such action"))
        else:
            await self.send(writer, 200, body.replace("{http}", f"http://{self.host}:{self.port}"))

    async def send(self, writer: asyncio.StreamWriter, status: int, body: str, headers: str = "") -> None:
        await self.write(writer, http(status, _SOAP.format(body=body).encode(), headers))

    async def write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.bytes_sent += len(data)

    def _body(self, operation: str) -> str | None:
        if operation in self.bodies:
            return self.bodies[operation]
        if operation == "GetSystemDateAndTime":
            return date_and_time(self.now)
        return GOOD.get(operation)

    def _signed_well(self, asked: Asked) -> bool:
        if self.sign_in == "none":
            return True
        if self.sign_in == "wsse":
            return self._wsse_is_right(asked.body)
        if self.sign_in == "http":
            return self._digest_is_right(asked)
        return False

    async def _deny(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        words = "Account is locked" if self.sign_in == "locked" and asked.signed else "Sender not authorized"
        headers = ""
        if self.sign_in in ("http", "refuse-http"):
            challenge = f'realm="cam", nonce="{self.nonce}", qop="auth", algorithm=MD5'
            headers = f"WWW-Authenticate: Digest {challenge}\r\n"
        status = 401 if headers else 400
        await self.send(writer, status, _FAULT.format(code="ter:NotAuthorized", words=words), headers)

    def _wsse_is_right(self, body: bytes) -> bool:
        parts = {
            name: found.group(1).decode()
            for name in ("Username", "Password", "Nonce", "Created")
            if (found := re.search(rf"<ws(?:se|u):{name}\b[^>]*>([^<]*)<".encode(), body))
        }
        if len(parts) != 4 or parts["Username"] != self.user:
            return False
        created = datetime.fromisoformat(parts["Created"])
        if abs(created - self.now) > timedelta(seconds=10):  # Axis allows as much
            return False
        clear = base64.b64decode(parts["Nonce"]) + parts["Created"].encode() + self.password.encode()
        return hmac.compare_digest(base64.b64encode(hashlib.sha1(clear).digest()).decode(), parts["Password"])

    def _digest_is_right(self, asked: Asked) -> bool:
        """RFC 7616 section 3.4.1 with MD5 and qop=auth."""
        said = dict(re.findall(r'(\w+)="?([^",]*)"?', asked.headers.get("authorization", "")))
        if said.get("nonce") != self.nonce or said.get("uri") != asked.path:
            return False
        ha1 = _md5(f"{self.user}:cam:{self.password}")
        ha2 = _md5(f"POST:{asked.path}")
        wanted = _md5(f"{ha1}:{self.nonce}:{said.get('nc')}:{said.get('cnonce')}:auth:{ha2}")
        return hmac.compare_digest(wanted, said.get("response", ""))


@contextlib.asynccontextmanager
async def serving(camera: NastyCamera) -> AsyncIterator[NastyCamera]:
    """The camera on a free port of its host; its connections end with it."""
    writers: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            asked = await _read(reader)
            camera.asked.append(asked)
            await camera.answer(asked, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the gateway had enough
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(connected, camera.host, 0)
    camera.port = server.sockets[0].getsockname()[1]
    try:
        yield camera
    finally:
        server.close()
        for writer in tuple(writers):
            writer.transport.abort()
        # Each connection's task sees its transport gone and ends.
        async with asyncio.timeout(5):
            while writers:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def witness(host: str) -> AsyncIterator[tuple[int, list[str]]]:
    """A port at `host` that nobody may connect to, and the list of those who did."""
    visitors: list[str] = []

    def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append(str(writer.get_extra_info("peername")))
        writer.close()

    server = await asyncio.start_server(connected, host, 0)
    try:
        yield server.sockets[0].getsockname()[1], visitors
    finally:
        server.close()


async def silent(_camera: NastyCamera, writer: asyncio.StreamWriter) -> None:
    """Accepts, and never says a word."""
    while not writer.is_closing():
        await asyncio.sleep(0.02)


async def drip(camera: NastyCamera, writer: asyncio.StreamWriter) -> None:
    """A byte now and then, so that no idle timer ever fires."""
    await camera.write(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n")
    while not writer.is_closing():
        await camera.write(writer, b" ")
        await asyncio.sleep(0.02)


async def huge(camera: NastyCamera, writer: asyncio.StreamWriter) -> None:
    """50 MB of XML without a length."""
    await camera.write(writer, b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\n\r\n<a>")
    for _ in range(50):
        await camera.write(writer, b"<b>" + b"x" * 1_000_000)


async def endless_head(camera: NastyCamera, writer: asyncio.StreamWriter) -> None:
    """Header upon header, 50 MB of them."""
    await camera.write(writer, b"HTTP/1.1 200 OK\r\n")
    for number in range(50_000):
        await camera.write(writer, f"X-{number}: {'y' * 1_000}\r\n".encode())


async def hang_up(_camera: NastyCamera, _writer: asyncio.StreamWriter) -> None:
    """Closes without an answer."""


def instead(data: bytes) -> Fault:
    """Sends exactly these bytes."""

    async def fault(camera: NastyCamera, writer: asyncio.StreamWriter) -> None:
        await camera.write(writer, data)

    return fault


def slow(seconds: float, then: str) -> Fault:
    """A good answer after some time."""

    async def fault(camera: NastyCamera, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await camera.send(writer, 200, then)

    return fault


def http(status: int, body: bytes, headers: str = "") -> bytes:
    kind = "Content-Type: application/soap+xml\r\n"
    return f"HTTP/1.1 {status} X\r\n{kind}Content-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def soap(body: str) -> bytes:
    return _SOAP.format(body=body).encode()


def date_and_time(utc: datetime) -> str:
    return (
        "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType>"
        f"<tt:UTCDateTime><tt:Time><tt:Hour>{utc.hour}</tt:Hour><tt:Minute>{utc.minute}</tt:Minute>"
        f"<tt:Second>{utc.second}</tt:Second></tt:Time><tt:Date><tt:Year>{utc.year}</tt:Year>"
        f"<tt:Month>{utc.month}</tt:Month><tt:Day>{utc.day}</tt:Day></tt:Date></tt:UTCDateTime>"
        "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
    )


def services(media1: str = "{http}/onvif/media", media2: str = "{http}/onvif/media2") -> str:
    named = {
        "http://www.onvif.org/ver10/media/wsdl": media1,
        "http://www.onvif.org/ver20/media/wsdl": media2,
    }
    entries = (
        f"<tds:Service><tds:Namespace>{name}</tds:Namespace><tds:XAddr>{xaddr}</tds:XAddr></tds:Service>"
        for name, xaddr in named.items()
        if xaddr
    )
    return f"<tds:GetServicesResponse>{''.join(entries)}</tds:GetServicesResponse>"


def stream_uri(uri: str) -> str:
    """As Media2 answers."""
    return f"<tr2:GetStreamUriResponse><tr2:Uri>{uri}</tr2:Uri></tr2:GetStreamUriResponse>"


def profile2(
    token: str, encoding: str, width: int, height: int, source: str = "src0", fps: float = 25
) -> str:
    return (
        f'<tr2:Profiles token="{token}"><tr2:Name>{token}</tr2:Name><tr2:Configurations>'
        f'<tr2:VideoSource token="vs"><tt:SourceToken>{source}</tt:SourceToken></tr2:VideoSource>'
        f'<tr2:VideoEncoder token="ve" GovLength="50"><tt:Encoding>{encoding}</tt:Encoding>'
        f"<tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution>"
        f"<tt:RateControl><tt:FrameRateLimit>{fps}</tt:FrameRateLimit><tt:BitrateLimit>4096</tt:BitrateLimit>"
        "</tt:RateControl></tr2:VideoEncoder></tr2:Configurations></tr2:Profiles>"
    )


def profiles2(*profiles: str) -> str:
    return f"<tr2:GetProfilesResponse>{''.join(profiles)}</tr2:GetProfilesResponse>"


GOOD = {
    "GetDeviceInformation": (
        "<tds:GetDeviceInformationResponse><tds:Manufacturer>Bunga\u202e\u0007 Ltd</tds:Manufacturer>"
        "<tds:Model>X-1</tds:Model><tds:FirmwareVersion>1.2</tds:FirmwareVersion>"
        f"<tds:SerialNumber>{'S' * 200}</tds:SerialNumber></tds:GetDeviceInformationResponse>"
    ).replace("\u0007", "&#x9;"),
    "GetNetworkInterfaces": (
        "<tds:GetNetworkInterfacesResponse><tds:NetworkInterfaces><tt:Info><tt:HwAddress>00-00-00-00-00-00"
        "</tt:HwAddress></tt:Info></tds:NetworkInterfaces><tds:NetworkInterfaces><tt:Info><tt:HwAddress>"
        "AC-CC-8E-01-02-03</tt:HwAddress></tt:Info></tds:NetworkInterfaces></tds:GetNetworkInterfacesResponse>"
    ),
    "GetServices": services(),
    "GetProfiles": profiles2(profile2("main", "H265", 2560, 1440), profile2("sub", "H264", 640, 360)),
    "GetStreamUri": stream_uri("rtsp://127.0.0.1:8554/main?a=1&amp;b=2"),
}


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    lines = (line.partition(":") for line in head[1:] if line)
    headers = {key.lower(): value.strip() for key, _, value in lines}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    found = re.search(rb"Body>\s*<(?:\w+:)?(\w+)", body)
    return Asked(found.group(1).decode() if found else "", head[0].split(" ")[1], headers, body)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
