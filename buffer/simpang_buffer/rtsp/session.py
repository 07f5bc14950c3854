"""One camera's stream as it plays: the client side of an RTSP session.

    async with open_session(source, buffer=buffer) as session:
        task = group.create_task(session.maintain())
        every 30 ms: for item in session.read_available(budget): ...

While it plays the socket is not known to the event loop: a loop that wakes for each packet costs five times
what one read per tick does.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from simpang_buffer.rtsp.auth import SignInMemory
from simpang_buffer.rtsp.connection import Connection, Source, connect
from simpang_buffer.rtsp.errors import (
    NothingPlayed,
    Redirected,
    RefusedByPolicy,
    StreamError,
    Timeout,
    TransportRefused,
    Unsupported,
)
from simpang_buffer.rtsp.framing import BUFFER_BYTES, Message, Packet
from simpang_buffer.rtsp.handshake import (
    Agreement,
    SetUpTrack,
    choose_tracks,
    describe,
    play,
    set_up,
)
from simpang_buffer.rtsp.keepalive import Keepalive
from simpang_buffer.rtsp.reception import Reception
from simpang_buffer.rtsp.redirect import redirected
from simpang_buffer.rtsp.rtcp import SenderReport, build_receiver_report, parse_sender_reports
from simpang_buffer.rtsp.udp import DATAGRAM_BYTES, Reorder

__all__ = ["BUFFER_BYTES", "RtpPacket", "Session", "SetUpTrack", "Source", "TrackReport", "open_session"]

# With the second that TEARDOWN may take, a reason is there within 10 s.
OPEN_WITHIN_S = 9.0
_CONNECT_WITHIN_S = 5.0
_TEARDOWN_WITHIN_S = 1.0
# Datagrams taken per read; of usual size they are a megabyte.
_MOST_DATAGRAMS = 1024
# RTCP datagrams taken per track and tick; one every few seconds is usual.
_MOST_REPORTS = 8
# Nothing at all for so long, on any track: the session is dead. (Video alone is judged by the recorder.)
SILENCE_S = 10.0
# Dahua IPC-T12D-V2 wants a sign of life every 5 s; with half a second for the way.
_REPORT_EVERY_S = 4.5
NOTHING_PLAYED = (
    "the camera agreed to play and sends no picture: its privacy mode (lens cover) may be on, "
    "or it has more viewers than it can serve"
)
# A camera that redirects farther sends us in a circle.
_MOST_REDIRECTS = 3


class RtpPacket(NamedTuple):
    """An RTP packet of a track.

    data: a view into the receive buffer, good until that is used again: by the next read_available, or while
    opening, of any session that shares it. So packets are used up before the next read and before any await;
    who keeps one longer copies it.
    """

    track_index: int
    data: memoryview | bytes


class TrackReport(NamedTuple):
    """A sender report of a track."""

    track_index: int
    report: SenderReport


class Session:
    """See open_session(). tracks: video first. offered: all that the camera describes. counts: what was odd
    and repaired or dropped, by name.

    drained: whether the last read left nothing behind; if not, another read finds more at once.
    """

    def __init__(
        self,
        connection: Connection,
        agreement: Agreement,
        buffer: bytearray,
        now: Callable[[], float],
    ) -> None:
        self.tracks: tuple[SetUpTrack, ...] = tuple(agreement.tracks)
        self.offered = agreement.offered
        self.counts: Counter[str] = connection.counts
        self.drained = True
        self._connection = connection
        self._agreement = agreement
        self._writable = memoryview(buffer)
        self._now = now
        self._ssrc = secrets.randbits(32)
        self._last_media_s = now()
        self._heard = False
        self._receptions = [
            Reception(t.index, t.track.payload_type, t.ssrc, self.counts, in_order=not agreement.ports)
            for t in agreement.tracks
        ]
        pairs = list(zip(agreement.channels, self._receptions, strict=False))
        self._media = {rtp: reception for (rtp, _), reception in pairs}
        self._control = {rtcp: reception for (_, rtcp), reception in pairs}
        self._reorders = [Reorder(self.counts) for _ in agreement.ports]
        self._keepalive = Keepalive(agreement.methods, agreement.timeout_s)
        self._early: list[Packet | Message] = [*connection.early]

    def read_available(self, budget_bytes: int = BUFFER_BYTES) -> list[RtpPacket | TrackReport]:
        """What has come since the last call, at most about budget_bytes of it; never waits.

        Data of the items are views that hold good until the buffer's next use (see RtpPacket). Raises
        Unreachable when the connection ended, Timeout after 10 s without any packet, Malformed, AuthRefused
        when a keepalive's sign-in is refused.
        """
        items: list[RtpPacket | TrackReport] = []
        frames, self.drained = self._connection.receive(budget_bytes)
        if self._early:
            frames, self._early = [*self._early, *frames], []
        media = self._media
        append, packet = items.append, tuple.__new__
        for frame in frames:
            if type(frame) is Packet:
                channel, data = frame
                reception = media.get(channel)
                if reception is None:
                    self._take_control(channel, data, items)
                elif reception.admit(data):
                    append(packet(RtpPacket, (reception.index, data)))
            elif type(frame) is Message:
                self._take_message(frame)
        if self._reorders:
            self._take_datagrams(budget_bytes, items)
        now_s = self._now()
        if items:
            self._last_media_s, self._heard = now_s, True
            for reception in self._receptions:
                reception.settle()
                if (early := reception.early_report(now_s)) is not None:
                    items.append(TrackReport(reception.index, early))
        elif now_s - self._last_media_s > SILENCE_S:
            if not self._heard:
                raise NothingPlayed(NOTHING_PLAYED)
            raise Timeout(f"the camera has sent nothing for {SILENCE_S:.0f} s")
        return items

    async def maintain(self) -> None:
        """Keep the session alive until cancelled: receiver reports, and the request that the camera wants.

        The answers come in through read_available. Raises StreamError when nothing can be sent any more.
        """
        next_keepalive_s = self._now() + self._keepalive.every_s
        while True:
            self._send_reports()
            await asyncio.sleep(min(_REPORT_EVERY_S, self._keepalive.every_s))
            if self._now() >= next_keepalive_s:
                next_keepalive_s = self._now() + self._keepalive.every_s
                if self._keepalive.due():
                    self.counts["unanswered_keepalives"] += 1
                self._post_keepalive()

    def _take_control(self, channel: int, data: memoryview, items: list[RtpPacket | TrackReport]) -> None:
        reception = self._control.get(channel)
        if reception is None:
            self.counts["foreign_channels"] += 1
            return
        self._take_reports(reception, data, items)

    def _take_reports(
        self, reception: Reception, data: memoryview, items: list[RtpPacket | TrackReport]
    ) -> None:
        now_s = self._now()
        heard = (report for report in parse_sender_reports(data) if reception.heard(report, now_s))
        items.extend(TrackReport(reception.index, report) for report in heard)

    def _take_datagrams(self, budget_bytes: int, items: list[RtpPacket | TrackReport]) -> None:
        """Read the UDP sockets into the buffer, one datagram behind the other."""
        now_s = self._now()
        at = 0
        budget = min(budget_bytes, len(self._writable) - DATAGRAM_BYTES)
        for ports, reception, reorder in zip(
            self._agreement.ports, self._receptions, self._reorders, strict=True
        ):
            for _ in range(_MOST_DATAGRAMS):
                if at >= budget or not (count := ports.receive_rtp(self._writable[at : at + DATAGRAM_BYTES])):
                    break
                data = self._writable[at : at + count].toreadonly()
                at += count
                if reception.admit(data):
                    items += [RtpPacket(reception.index, ready) for ready in reorder.push(data, now_s)]
            items += [RtpPacket(reception.index, ready) for ready in reorder.overdue(now_s)]
            # After the packets: a report is believed of the source that they come from.
            for _ in range(_MOST_REPORTS):
                count = ports.receive_rtcp(self._writable[at : at + DATAGRAM_BYTES])
                self._take_reports(reception, self._writable[at : at + count].toreadonly(), items)
                if count == 0:
                    break
        self.drained = self.drained and at < budget

    def _take_message(self, message: Message) -> None:
        response = self._connection.answer(message)
        if response is None:
            return
        if response.status == 401:
            # A nonce has its time (Axis M5525 at 150 s): sign again; a second refusal raises.
            self._connection.auth.challenge(response.headers)
            self.counts["signed_again"] += 1
            self._post_keepalive()
            return
        self._connection.auth.accepted()
        if response.status >= 400:
            self.counts["refused_keepalives"] += 1
        self._keepalive.answered(response.status)

    def _post_keepalive(self) -> None:
        self._connection.post(self._keepalive.method, self._agreement.url, self._agreement.session_field())

    def _send_reports(self) -> None:
        now_s = self._now()
        for reception in self._receptions:
            block = reception.block(now_s)
            report = build_receiver_report(self._ssrc, [] if block is None else [block])
            if self._agreement.ports:
                self._agreement.ports[reception.index].send_rtcp(report)
            else:
                channel = self._agreement.channels[reception.index][1]
                self._connection.send(b"$" + bytes((channel,)) + len(report).to_bytes(2, "big") + report)


@contextlib.asynccontextmanager
async def open_session(
    source: Source,
    *,
    buffer: bytearray | None = None,
    now: Callable[[], float] = time.monotonic,
    within_s: float = OPEN_WITHIN_S,
    pin_of: Callable[[int, str], str] = lambda port, found: found,
    sign_in: SignInMemory | None = None,
) -> AsyncIterator[Session]:
    """Connect, sign in, describe, set up and play, in within_s; TEARDOWN at the end, at most 1 s more.

    buffer: at least BUFFER_BYTES; one for all sessions of a process that are read in turn saves memory and
    stays in the cache. If the camera refuses the source's transport the other one is tried, but what is
    encrypted stays on TCP; redirects to the camera itself are followed. now: a monotonic clock. pin_of: given
    a TLS port of the camera and its certificate's SHA-256, says which it should be, where the source pins
    none. Raises StreamError.
    """
    if not source.url.lower().startswith(("rtsp://", "rtsps://")):
        raise Unsupported("only rtsp:// and rtsps:// addresses can be recorded")
    buffer = bytearray(BUFFER_BYTES) if buffer is None else buffer
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(within_s):
                session = await _find(_Opening(stack, buffer, now, pin_of, sign_in), source)
        except TimeoutError:
            raise Timeout(
                f"the camera took the connection but did not play within {within_s:.0f} s"
            ) from None
        yield session


class _Opening(NamedTuple):
    """What each try to open has in common."""

    stack: contextlib.AsyncExitStack
    buffer: bytearray
    now: Callable[[], float]
    pin_of: Callable[[int, str], str]
    sign_in: SignInMemory | None


async def _find(opening: _Opening, source: Source) -> Session:
    """Try the transports, and follow redirects: each on a connection of its own."""
    transports = [False] if source.encrypted else [source.transport == "udp", source.transport != "udp"]
    redirects = 0
    while True:
        try:
            session = await _play(opening, source, udp=transports[0])
        except TransportRefused:
            await opening.stack.aclose()
            del transports[0]
            if not transports:
                raise
        except Redirected as redirect:
            await opening.stack.aclose()
            redirects += 1
            if redirects > _MOST_REDIRECTS:
                raise RefusedByPolicy("the camera redirects again and again") from None
            source = redirected(source, redirect.location)
            if source.encrypted:
                transports = [False]
        else:
            if redirects:
                session.counts["redirects"] += redirects
            if transports[0] != (source.transport == "udp" and not source.encrypted):
                session.counts["other_transport"] += 1
            return session


async def _play(opening: _Opening, source: Source, *, udp: bool) -> Session:
    connection = await opening.stack.enter_async_context(
        connect(
            source,
            opening.buffer,
            _CONNECT_WITHIN_S,
            pin_of=lambda found: opening.pin_of(source.port, found),
            sign_in=opening.sign_in,
        )
    )
    agreement = Agreement()
    sdp, base = await describe(connection, source, agreement)
    tracks = choose_tracks(sdp, source.audio, source.metadata)
    opening.stack.push_async_callback(_teardown, connection, agreement)
    await set_up(connection, source, agreement, tracks, base, udp=udp)
    await play(connection, agreement)
    return Session(connection, agreement, opening.buffer, opening.now)


async def _teardown(connection: Connection, agreement: Agreement) -> None:
    for ports in agreement.ports:
        ports.close()
    if not agreement.session_id:
        return
    # Whatever it says, and if it says nothing (DS-2CD2032 answers 500): we are leaving.
    with contextlib.suppress(StreamError, TimeoutError):
        async with asyncio.timeout(_TEARDOWN_WITHIN_S):
            await connection.request("TEARDOWN", agreement.url, agreement.session_field())
