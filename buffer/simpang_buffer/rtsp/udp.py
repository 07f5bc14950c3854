"""RTP over UDP: a pair of ports for one track, and a short buffer that puts its packets in order."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import Counter

from simpang_buffer.rtsp.errors import Unreachable

# A key frame of 400 kB arrives at once and waits for the next tick; the kernel gives what it allows.
_RECEIVE_BUFFER_BYTES = 1024 * 1024
# The largest datagram; Tapo sends 10 kB ones.
DATAGRAM_BYTES = 65_536
# Networks reorder within a few packets; what is longer away is lost.
_MOST_WAITING = 64
_LONGEST_WAIT_S = 0.2
# RFC 3550 appendix A.1: beyond these the sender has started over.
_MAX_AHEAD = 3000
_MAX_BEHIND = 100
_PAIR_TRIES = 50
_SEQUENCE = struct.Struct(">H4xI")


class PortPair:
    """Two neighbouring ports on a local address, the even one for RTP. Only the pinned host is heard."""

    def __init__(self, local: str, host: str, counts: Counter[str]) -> None:
        self._host = host
        self._counts = counts
        self._rtp, self._rtcp = bind_pair(local)
        self._rtcp_to: int | None = None

    @property
    def port(self) -> int:
        """The RTP port."""
        return int(self._rtp.getsockname()[1])

    def sends_from(self, server_port: tuple[int, int] | None) -> None:
        """Learn the camera's ports, and open the way for its packets through a firewall on our side."""
        if server_port is None or 0 in server_port:
            return
        self._rtcp_to = server_port[1]
        # The smallest RTP packet; receivers of RTP ignore it, and cameras only send.
        self._send(self._rtp, b"\x80" + bytes(11), server_port[0])

    def receive_rtp(self, space: memoryview) -> int:
        """One datagram of the camera into space (at least DATAGRAM_BYTES); its length, 0 if none waits."""
        return self._receive(self._rtp, space)

    def receive_rtcp(self, space: memoryview) -> int:
        """As receive_rtp, for RTCP."""
        return self._receive(self._rtcp, space)

    def send_rtcp(self, data: bytes) -> None:
        """To the camera's RTCP port, if it is known."""
        if self._rtcp_to is not None:
            self._send(self._rtcp, data, self._rtcp_to)

    def close(self) -> None:
        self._rtp.close()
        self._rtcp.close()

    def _receive(self, sock: socket.socket, space: memoryview) -> int:
        # Strangers' datagrams are skipped, but no more than these in a row: they must not hold up the tick.
        for _ in range(_MOST_WAITING):
            try:
                count, sender = sock.recvfrom_into(space)
            except BlockingIOError:
                return 0
            except OSError:
                # A port unreachable that an earlier datagram of ours met.
                self._counts["udp_errors"] += 1
                continue
            if sender[0] != self._host:
                self._counts["foreign_senders"] += 1
            elif count:
                if self._rtcp_to is None and sock is self._rtcp:
                    self._rtcp_to = sender[1]
                return count
        return 0

    def _send(self, sock: socket.socket, data: bytes, port: int) -> None:
        # Datagrams may be lost anyway.
        with contextlib.suppress(OSError):
            sock.sendto(data, (self._host, port))


class Reorder:
    """Hands packets on in the order of their sequence numbers, waiting a little for those that are late."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._next: int | None = None
        self._ssrc = 0
        self._waiting: dict[int, tuple[bytes, float]] = {}
        self._restart_at: int | None = None

    def push(self, data: memoryview, now_s: float) -> list[memoryview | bytes]:
        """Take a packet; return those whose turn it is. What waits is copied."""
        sequence, ssrc = _SEQUENCE.unpack_from(data, 2)
        if ssrc != self._ssrc or self._next is None:
            # The old source has ended: what waits of it will not become whole.
            ready: list[memoryview | bytes] = self._drain()
            self._ssrc = ssrc
            self._next = (sequence + 1) & 0xFFFF
            return [*ready, data]
        ahead = (sequence - self._next) & 0xFFFF
        if ahead == 0:
            self._next = (sequence + 1) & 0xFFFF
            return [data, *self._in_turn()] if self._waiting else [data]
        if ahead >= 0x10000 - _MAX_BEHIND or sequence in self._waiting:
            self._counts["late_packets"] += 1
            return []
        if ahead > _MAX_AHEAD:
            if sequence != self._restart_at:
                self._restart_at = (sequence + 1) & 0xFFFF
                self._counts["far_packets"] += 1
                return []
            ready = self._drain()
            self._next = (sequence + 1) & 0xFFFF
            return [*ready, data]
        self._waiting[sequence] = (bytes(data), now_s)
        return self._give_up() if len(self._waiting) > _MOST_WAITING else []

    def overdue(self, now_s: float) -> list[memoryview | bytes]:
        """Those that have waited long enough; called once per tick."""
        if self._waiting and now_s - min(since for _, since in self._waiting.values()) > _LONGEST_WAIT_S:
            return self._give_up()
        return []

    def _give_up(self) -> list[memoryview | bytes]:
        """Go on behind the gap."""
        assert self._next is not None
        begin = self._next
        self._next = min(self._waiting, key=lambda sequence: (sequence - begin) & 0xFFFF)
        self._counts["lost_packets"] += (self._next - begin) & 0xFFFF
        return self._in_turn()

    def _in_turn(self) -> list[memoryview | bytes]:
        assert self._next is not None
        ready: list[memoryview | bytes] = []
        while (found := self._waiting.pop(self._next, None)) is not None:
            ready.append(found[0])
            self._next = (self._next + 1) & 0xFFFF
        return ready

    def _drain(self) -> list[memoryview | bytes]:
        ready: list[memoryview | bytes] = []
        while self._waiting:
            ready += self._give_up()
        self._restart_at = None
        return ready


def bind_pair(local: str) -> tuple[socket.socket, socket.socket]:
    """RFC 3550 section 11: an even port and the next. Raises Unreachable if there are none."""
    family = socket.AF_INET6 if ":" in local else socket.AF_INET
    for _ in range(_PAIR_TRIES):
        rtp = socket.socket(family, socket.SOCK_DGRAM)
        rtcp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            for sock in (rtp, rtcp):
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            rtp.bind((local, 0))
            if rtp.getsockname()[1] % 2 == 0:
                rtcp.bind((local, rtp.getsockname()[1] + 1))
                return rtp, rtcp
        except OSError:
            # The neighbour is taken; another pair.
            rtcp.close()
        rtp.close()
        rtcp.close()
    raise Unreachable("no pair of neighbouring UDP ports is free on this gateway")
