"""One client's connection and the session in it: RFC 2326 as clients use it, for playing only.

A session lives and dies with its connection, as with most cameras. It ends after SESSION_S without a sign of
life: over TCP taking our packets is one, over UDP only requests and receiver reports are.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from simpang_buffer.model import AccessUnit
from simpang_buffer.rtsp.auth import ServerAuth, Verdict
from simpang_buffer.rtsp.errors import Malformed
from simpang_buffer.rtsp.message import Headers, Request, Response, build_response, cseq
from simpang_buffer.rtsp.mount import Feed, Mount, MountClosed
from simpang_buffer.rtsp.packetize import RtpSender
from simpang_buffer.rtsp.rtcp import build_sender_report
from simpang_buffer.rtsp.sdp import Sdp, build_sdp
from simpang_buffer.rtsp.server_request import read_request
from simpang_buffer.rtsp.server_transport import STUCK_S, Interleaved, Udp, choose_transport

_log = logging.getLogger(__name__)

SESSION_S = 60.0
# Until it has signed in, or begun a session where no password is asked for, a client holds a place this long.
_STRANGER_S = 10.0
_REPORT_EVERY_S = 5.0
# Wrong passwords on one connection; guessing on costs a new connection each time.
_MOST_REFUSALS = 4

# No mount's path is nearly as long.
_LONGEST_PATH = 512

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    451: "Parameter Not Understood",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
    551: "Option not supported",
}
PUBLIC = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
_KNOWN_ELSEWHERE = ("ANNOUNCE", "RECORD", "REDIRECT")


class _Ended(Exception):
    """The connection is over, as it should be."""


@dataclass(slots=True)
class _Channel:
    """A track that was set up."""

    sender: RtpSender
    carrier: Interleaved | Udp
    url: str
    last_report_s: float | None = None


class ServerSession:
    """Serves one connection until it ends. local and peer: the IP addresses of its two ends."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        mounts: Mapping[str, Mount],
        auth: ServerAuth | None,
        *,
        local: str,
        peer: str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._mounts = mounts
        self._auth = auth
        self._local = local
        self._peer = peer
        self._now = now
        self._id = secrets.token_hex(8)
        self._path = ""
        self._channels: dict[int, _Channel] = {}
        self._playing: asyncio.Task[None] | None = None
        self._connected_s = self._alive_s = now()
        self._known = False
        self._refusals = 0

    async def run(self) -> None:
        """Answer requests until the client closes, fails or goes silent. Raises nothing but cancellation."""
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._answer_requests(tasks)
                raise _Ended
        except* (_Ended, MountClosed, Malformed, ConnectionError, TimeoutError, EOFError) as group:
            # Each is how a connection ends; there is nobody left to tell.
            _log.debug("RTSP client %s: %s", self._peer, group.exceptions[0])
        finally:
            for channel in self._channels.values():
                channel.carrier.close()

    async def _answer_requests(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                request = await read_request(self._reader, self._deadline_s() - self._now())
            except TimeoutError:
                if self._deadline_s() > self._now():
                    continue
                raise
            except Malformed as error:
                await self._reply(_response(400, None, body=f"{error.detail}\r\n".encode()))
                raise _Ended from error
            self._alive_s = self._now()
            if request is not None:
                await self._reply(await self._answer(request, tasks))
                if request.method == "TEARDOWN" and not self._channels:
                    raise _Ended
                if self._refusals >= _MOST_REFUSALS:
                    raise _Ended

    def _deadline_s(self) -> float:
        """When the client has been silent for too long, on our clock."""
        if not self._known:
            return self._connected_s + _STRANGER_S
        over_tcp = any(isinstance(channel.carrier, Interleaved) for channel in self._channels.values())
        if self._is_playing() and over_tcp:
            return self._now() + SESSION_S
        return self._alive_s + SESSION_S

    async def _reply(self, response: Response) -> None:
        self._writer.write(build_response(response))
        async with asyncio.timeout(STUCK_S):
            await self._writer.drain()

    async def _answer(self, request: Request, tasks: asyncio.TaskGroup) -> Response:
        if cseq(request.headers) is None:
            return _response(400, request, body=b"a request without a CSeq\r\n")
        if "require" in request.headers:
            wanted = request.headers.get("require") or ""
            return _response(551, request, ("Unsupported", wanted))
        if request.method == "OPTIONS":
            return _response(200, request, ("Public", PUBLIC))
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        self._known = True
        handlers: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PAUSE": self._pause,
            "TEARDOWN": self._teardown,
            "GET_PARAMETER": self._get_parameter,
            "SET_PARAMETER": self._set_parameter,
        }
        if request.method == "PLAY":
            return await self._play(request, tasks)
        handler = handlers.get(request.method)
        if handler is None:
            status = 405 if request.method in _KNOWN_ELSEWHERE else 501
            return _response(status, request, ("Allow", PUBLIC))
        return await handler(request)

    def _refuse(self, request: Request) -> Response | None:
        """The 401 for whoever has not signed this request, None if it is signed."""
        if self._auth is None:
            return None
        authorization = request.headers.get("authorization")
        verdict = Verdict.REFUSED
        if authorization is not None:
            verdict = self._auth.check(request.method, request.url, authorization, self._peer)
            if verdict is Verdict.ACCEPTED:
                return None
            self._refusals += verdict is Verdict.REFUSED
        challenges = self._auth.challenges(self._peer, stale=verdict is Verdict.STALE)
        return _response(401, request, *(("WWW-Authenticate", challenge) for challenge in challenges))

    async def _describe(self, request: Request) -> Response:
        _, mount = self._find(request.url)
        if mount is None:
            return _response(404, request)
        accepted = request.headers.get("accept") or "application/sdp"
        if "application/sdp" not in accepted and "*/*" not in accepted:
            return _response(406, request)
        body = build_sdp(Sdp(mount.tracks), address=self._local, session_id=mount.description_id)
        base = f"{_without_user(request.url.partition('?')[0]).rstrip('/')}/"
        return _response(200, request, ("Content-Base", base), ("Content-Type", "application/sdp"), body=body)

    async def _setup(self, request: Request) -> Response:
        if self._is_playing():
            return _response(455, request)
        if not self._names_this_session(request, may_be_absent=not self._channels):
            return _response(454, request)
        path, mount = self._find(request.url)
        if mount is None or (self._channels and path != self._path):
            return _response(404, request)
        index = _track_index(mount, request.url, path)
        if index is None:
            return _response(459 if len(mount.tracks) > 1 else 404, request)
        carrier = await self._carrier(request, index)
        if carrier is None:
            return _response(461, request)
        old = self._channels.pop(index, None)
        if old is not None:
            old.carrier.close()
        sender = RtpSender(
            mount.tracks[index],
            ssrc=secrets.randbits(32),
            sequence=secrets.randbits(16),
            time_offset=secrets.randbits(32),
        )
        self._path = path
        self._channels[index] = _Channel(sender, carrier, request.url)
        return _response(
            200,
            request,
            ("Transport", carrier.answer(sender.ssrc)),
            ("Session", f"{self._id};timeout={SESSION_S:.0f}"),
        )

    async def _carrier(self, request: Request, index: int) -> Interleaved | Udp | None:
        transport = choose_transport(request.headers.get("transport") or "")
        others = [channel.carrier for i, channel in self._channels.items() if i != index]
        if transport is None or any(isinstance(other, Interleaved) != transport.tcp for other in others):
            return None
        if transport.tcp:
            channels = transport.interleaved or (2 * index, 2 * index + 1)
            taken = {
                number for other in others if isinstance(other, Interleaved) for number in other.channels
            }
            return None if taken & set(channels) else Interleaved(self._writer, channels)
        assert transport.client_port is not None
        udp = Udp(self._peer, transport.client_port, self._sign_of_life)
        try:
            await udp.open(self._local)
        except OSError:
            # Out of ports or descriptors: the client may try TCP.
            return None
        return udp

    async def _play(self, request: Request, tasks: asyncio.TaskGroup) -> Response:
        if not self._channels:
            return _response(455, request)
        if not self._names_this_session(request):
            return _response(454, request)
        session = ("Session", f"{self._id};timeout={SESSION_S:.0f}")
        if self._is_playing():
            return _response(200, request, session)
        info = ",".join(
            f"url={channel.url};seq={channel.sender.sequence}" for channel in self._channels.values()
        )
        # Begins to send only after the reply: some clients are not ready before.
        reply = _response(200, request, session, ("Range", "npt=now-"), ("RTP-Info", info))
        mount = self._mounts.get(self._path)
        if mount is None:
            return _response(404, request)
        self._playing = tasks.create_task(self._send(mount), name=f"rtsp-play:{self._peer}{self._path}")
        return reply

    async def _pause(self, request: Request) -> Response:
        if not self._names_this_session(request):
            return _response(454, request)
        await self._stop()
        return _response(200, request, ("Session", self._id))

    async def _teardown(self, request: Request) -> Response:
        if not self._names_this_session(request):
            return _response(454, request)
        await self._stop()
        for channel in self._channels.values():
            channel.carrier.close()
        self._channels.clear()
        return _response(200, request)

    async def _get_parameter(self, request: Request) -> Response:
        # Without a body this is how clients say that they live; we have no parameters.
        session = [("Session", self._id)] if self._channels else []
        return _response(451 if request.body.strip() else 200, request, *session)

    async def _set_parameter(self, request: Request) -> Response:
        return await self._get_parameter(request)

    async def _send(self, mount: Mount) -> None:
        """Send what the mount publishes. Raises MountClosed, TimeoutError, ConnectionError."""
        video = next((c for c in self._channels.values() if c.sender.track.kind == "video"), None)
        audio = next((c for c in self._channels.values() if c.sender.track.kind == "audio"), None)
        with mount.subscribe() as feed:
            while True:
                unit = await feed.get()
                channel = video if unit.video else audio
                if channel is not None:
                    await self._send_unit(channel, unit, feed)

    async def _send_unit(self, channel: _Channel, unit: AccessUnit, feed: Feed) -> None:
        ticks = unit.dts + unit.pts_offset
        report = None
        now = self._now()
        if channel.last_report_s is None or now - channel.last_report_s >= _REPORT_EVERY_S:
            channel.last_report_s = now
            sender = channel.sender
            report = build_sender_report(
                sender.ssrc, unit.arrival_us, sender.rtp_time(ticks), sender.packets, sender.octets
            )
        packets = channel.sender.send(unit.data, ticks)
        if not await channel.carrier.send(packets, report):
            feed.skip_to_key()

    async def _stop(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            await asyncio.wait([self._playing])
            self._playing = None

    def _is_playing(self) -> bool:
        return self._playing is not None and not self._playing.done()

    def _names_this_session(self, request: Request, *, may_be_absent: bool = False) -> bool:
        named = (request.headers.get("session") or "").partition(";")[0].strip()
        return may_be_absent if not named else bool(self._channels) and named == self._id

    def _sign_of_life(self) -> None:
        self._alive_s = self._now()

    def _find(self, url: str) -> tuple[str, Mount | None]:
        """The mount whose path the URL names or lies under."""
        path = _path(url)
        if len(path) > _LONGEST_PATH:
            return "", None
        while path:
            if path in self._mounts:
                return path, self._mounts[path]
            path = path.rpartition("/")[0]
        return "", None


def _track_index(mount: Mount, url: str, path: str) -> int | None:
    """Which track a SETUP means; the mount itself means the only one."""
    control = _path(url).removeprefix(path).strip("/")
    if not control and len(mount.tracks) == 1:
        return 0
    return next((i for i, track in enumerate(mount.tracks) if track.control == control), None)


def _without_user(url: str) -> str:
    """Some clients put the password into the address; it does not come back from us."""
    scheme, slashes, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}"


def _path(url: str) -> str:
    try:
        return unquote(urlsplit(url).path).rstrip("/")
    except ValueError:
        return ""


def _response(status: int, request: Request | None, *fields: tuple[str, str], body: bytes = b"") -> Response:
    number = cseq(request.headers) if request is not None else None
    head = [] if number is None else [("CSeq", str(number))]
    return Response(status, _REASONS[status], Headers((*head, ("Server", "simpang"), *fields)), body)
