"""How packets reach one client: interleaved in its connection, or by UDP to its own address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simpang_buffer.rtsp.transport import Transport, parse_transport
from simpang_buffer.rtsp.udp import bind_pair

# What waits in our process for one slow client: a large key frame.
_BUFFER_BYTES = 256 * 1024
# Datagrams in a row before a pause: an unpaced key frame overruns the receive buffers of common clients.
_BURST = 24
_BURST_PAUSE_S = 0.001
# Between the pauses the kernel takes all of it.
_SEND_BUFFER_BYTES = 512 * 1024


@dataclass(slots=True)
class Interleaved:
    """Two channels of the RTSP connection (RFC 2326 section 10.12)."""

    writer: asyncio.StreamWriter
    channels: tuple[int, int]
    stuck_s: float

    def answer(self, ssrc: int) -> str:
        """The Transport field of the reply to SETUP."""
        first, second = self.channels
        return f"RTP/AVP/TCP;unicast;interleaved={first}-{second};ssrc={ssrc:08X}"

    async def send(self, packets: Sequence[bytes], report: bytes | None = None) -> bool:
        """Write packets and a report. Raises TimeoutError where the client takes nothing for stuck_s."""
        frames = [] if report is None else [_frame_head(self.channels[1], report), report]
        for packet in packets:
            frames += (_frame_head(self.channels[0], packet), packet)
        self.writer.write(b"".join(frames))
        async with asyncio.timeout(self.stuck_s):
            await self.writer.drain()
        return True

    def close(self) -> None:
        """The connection belongs to the session, which closes it."""


class Udp(asyncio.DatagramProtocol):
    """A pair of local ports that sends to the client's address and listens for its receiver reports."""

    def __init__(self, peer: str, client_ports: tuple[int, int], alive: Callable[[], None]) -> None:
        self._peer = peer
        self._client_ports = client_ports
        self._alive = alive
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._transports: list[asyncio.DatagramTransport] = []
        self._full = False

    async def open(self, local: str) -> None:
        """Bind the ports. Raises Unreachable if there are none."""
        loop = asyncio.get_running_loop()
        self._sockets = bind_pair(local)
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        try:
            for sock in self._sockets:
                transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)
                self._transports.append(transport)
        except BaseException:
            self.close()
            raise

    def answer(self, ssrc: int) -> str:
        """The Transport field of the reply to SETUP."""
        assert self._sockets is not None
        client = f"{self._client_ports[0]}-{self._client_ports[1]}"
        port = self._sockets[0].getsockname()[1]
        return f"RTP/AVP;unicast;client_port={client};server_port={port}-{port + 1};ssrc={ssrc:08X}"

    async def send(self, packets: Sequence[bytes], report: bytes | None = None) -> bool:
        """Send datagrams; False if the kernel took no more, and the picture is incomplete."""
        rtp, rtcp = self._transports
        if report is not None:
            rtcp.sendto(report, (self._peer, self._client_ports[1]))
        for i, packet in enumerate(packets):
            if self._full:
                return False
            if i and i % _BURST == 0:
                await asyncio.sleep(_BURST_PAUSE_S)
            rtp.sendto(packet, (self._peer, self._client_ports[0]))
        return True

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if addr[0] == self._peer:
            self._alive()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False

    def error_received(self, exc: Exception) -> None:
        """A port that nobody listens on: the client may still open it. Its silence is judged elsewhere."""

    def close(self) -> None:
        for transport in self._transports:
            transport.abort()
        for sock in (self._sockets or ())[len(self._transports) :]:
            sock.close()


def choose_transport(header: str) -> Transport | None:
    """The first of a client's proposals that is served: unicast, by TCP or to unprivileged ports."""
    for proposal in header.split(",")[:8]:
        transport = parse_transport(proposal)
        profile = proposal.partition(";")[0].strip().upper()
        if transport.multicast or profile not in ("RTP/AVP", "RTP/AVP/UDP", "RTP/AVP/TCP"):
            continue
        if transport.tcp or (transport.client_port and min(transport.client_port) >= 1024):
            return transport
    return None


def prepare(writer: asyncio.StreamWriter) -> None:
    """Bound what a slow client keeps in memory: in our process and in the kernel."""
    writer.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    # A client that vanishes while nothing is published is noticed by the kernel.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _frame_head(channel: int, data: bytes) -> bytes:
    return b"$" + bytes((channel,)) + len(data).to_bytes(2)
