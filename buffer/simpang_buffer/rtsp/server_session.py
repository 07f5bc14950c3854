"""One client's connection and the session in it: RFC 2326 as clients use it, for playing only.

A session lives and dies with its connection, as with most cameras. It ends after a minute without a sign of
life: over TCP taking our packets is one, over UDP only requests and receiver reports are.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping

from simpang_buffer.rtsp.auth import ServerAuth, Verdict
from simpang_buffer.rtsp.errors import Malformed, Unreachable
from simpang_buffer.rtsp.message import Request, Response, build_response, cseq
from simpang_buffer.rtsp.mount import Mount, MountClosed
from simpang_buffer.rtsp.packetize import RtpSender
from simpang_buffer.rtsp.sdp import Sdp, build_sdp
from simpang_buffer.rtsp.served_path import content_base, find_mount, find_track
from simpang_buffer.rtsp.server_limits import ServerLimits
from simpang_buffer.rtsp.server_player import Channel, play
from simpang_buffer.rtsp.server_request import read_request
from simpang_buffer.rtsp.server_response import PUBLIC, respond
from simpang_buffer.rtsp.server_transport import Interleaved, Udp, choose_transport

_log = logging.getLogger(__name__)

# Methods of RTSP that no player needs.
_KNOWN_ELSEWHERE = ("ANNOUNCE", "RECORD", "REDIRECT")


class _Ended(Exception):
    """The connection is over, as it should be."""


class ServerSession:
    """Serves one connection until it ends. local and peer: the IP addresses of its two ends."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        mounts: Mapping[str, Mount],
        auth: ServerAuth | None,
        limits: ServerLimits,
        *,
        local: str,
        peer: str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._mounts = mounts
        self._auth = auth
        self._limits = limits
        self._local = local
        self._peer = peer
        self._now = now
        self._id = secrets.token_hex(8)
        self._path = ""
        self._channels: dict[int, Channel] = {}
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
                request = await read_request(
                    self._reader, self._deadline_s() - self._now(), self._limits.request_s
                )
            except TimeoutError:
                if self._deadline_s() > self._now():
                    continue
                raise
            except Malformed as error:
                await self._reply(respond(400, None, body=f"{error.detail}\r\n".encode()))
                raise _Ended from error
            self._alive_s = self._now()
            if request is not None:
                await self._reply(await self._answer(request, tasks))
                if self._refusals >= self._limits.refusals:
                    raise _Ended

    def _deadline_s(self) -> float:
        """When the client has been silent for too long, on our clock."""
        if not self._known:
            return self._connected_s + self._limits.stranger_s
        over_tcp = any(isinstance(channel.carrier, Interleaved) for channel in self._channels.values())
        if self._is_playing() and over_tcp:
            return self._now() + self._limits.session_s
        return self._alive_s + self._limits.session_s

    async def _reply(self, response: Response) -> None:
        self._writer.write(build_response(response))
        async with asyncio.timeout(self._limits.stuck_s):
            await self._writer.drain()

    async def _answer(self, request: Request, tasks: asyncio.TaskGroup) -> Response:
        if cseq(request.headers) is None:
            return respond(400, request, body=b"a request without a CSeq\r\n")
        if "require" in request.headers:
            wanted = request.headers.get("require") or ""
            return respond(551, request, ("Unsupported", wanted))
        if request.method == "OPTIONS":
            return respond(200, request, ("Public", PUBLIC))
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
            return respond(status, request, ("Allow", PUBLIC))
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
        return respond(401, request, *(("WWW-Authenticate", challenge) for challenge in challenges))

    async def _describe(self, request: Request) -> Response:
        _, mount = find_mount(self._mounts, request.url)
        if mount is None:
            return respond(404, request)
        accepted = request.headers.get("accept") or "application/sdp"
        if "application/sdp" not in accepted and "*/*" not in accepted:
            return respond(406, request)
        body = build_sdp(Sdp(mount.tracks), address=self._local, session_id=mount.description_id)
        base = content_base(request.url)
        return respond(200, request, ("Content-Base", base), ("Content-Type", "application/sdp"), body=body)

    async def _setup(self, request: Request) -> Response:
        if self._is_playing():
            return respond(455, request)
        if not self._names_this_session(request, may_be_absent=not self._channels):
            return respond(454, request)
        path, mount = find_mount(self._mounts, request.url)
        if mount is None or (self._channels and path != self._path):
            return respond(404, request)
        index = find_track(mount, path, request.url)
        if index is None:
            return respond(459 if len(mount.tracks) > 1 else 404, request)
        carrier = await self._carrier(request, index)
        if carrier is None:
            return respond(461, request)
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
        self._channels[index] = Channel(sender, carrier, request.url)
        return respond(
            200,
            request,
            ("Transport", carrier.answer(sender.ssrc)),
            self._session_field(),
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
            return (
                None if taken & set(channels) else Interleaved(self._writer, channels, self._limits.stuck_s)
            )
        assert transport.client_port is not None
        udp = Udp(self._peer, transport.client_port, self._sign_of_life)
        try:
            await udp.open(self._local)
        except Unreachable:
            # Out of ports or descriptors: the client may try TCP.
            return None
        return udp

    async def _play(self, request: Request, tasks: asyncio.TaskGroup) -> Response:
        if not self._channels:
            return respond(455, request)
        if not self._names_this_session(request):
            return respond(454, request)
        session = self._session_field()
        if self._is_playing():
            return respond(200, request, session)
        info = ",".join(
            f"url={channel.url};seq={channel.sender.sequence}" for channel in self._channels.values()
        )
        # Begins to send only after the reply: some clients are not ready before.
        reply = respond(200, request, session, ("Range", "npt=now-"), ("RTP-Info", info))
        mount = self._mounts.get(self._path)
        if mount is None:
            return respond(404, request)
        self._playing = tasks.create_task(
            play(mount, list(self._channels.values()), self._now), name=f"rtsp-play:{self._peer}{self._path}"
        )
        return reply

    async def _pause(self, request: Request) -> Response:
        if not self._names_this_session(request):
            return respond(454, request)
        await self._stop()
        return respond(200, request, ("Session", self._id))

    async def _teardown(self, request: Request) -> Response:
        if not self._names_this_session(request):
            return respond(454, request)
        await self._stop()
        for channel in self._channels.values():
            channel.carrier.close()
        self._channels.clear()
        # GStreamer has more to say after it; a client that has not is a stranger again.
        self._id = secrets.token_hex(8)
        self._known, self._connected_s = False, self._now()
        return respond(200, request)

    async def _get_parameter(self, request: Request) -> Response:
        # Without a body this is how clients say that they live; we have no parameters.
        session = [("Session", self._id)] if self._channels else []
        return respond(451 if request.body.strip() else 200, request, *session)

    async def _set_parameter(self, request: Request) -> Response:
        return await self._get_parameter(request)

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

    def _session_field(self) -> tuple[str, str]:
        return "Session", f"{self._id};timeout={self._limits.session_s:.0f}"

    def _sign_of_life(self) -> None:
        self._alive_s = self._now()
