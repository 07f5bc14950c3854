"""Cameras as a network delivers them: `relay.py PORT` prints a port that leads to PORT, packet by packet.

A camera on loopback hands over a whole picture at once; through a switch it arrives in packets, some
microseconds to milliseconds apart, and whoever sleeps on the socket is woken by each. The relay cuts the
interleaved stream (RFC 2326 section 10.12) into its packets and sends each by itself, spread over most of the
time until the next picture.
"""

from __future__ import annotations

import collections
import contextlib
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

TICK_S = 0.002
# A picture of 25 a second is spread over so much of its 40 ms.
SPREAD_S = 0.03


@dataclass
class Pair:
    """A viewer's connection and the camera's."""

    viewer: socket.socket
    camera: socket.socket
    rest: bytearray = field(default_factory=bytearray)
    # (when due, bytes): each becomes a packet of its own.
    due: collections.deque[tuple[float, bytes]] = field(default_factory=collections.deque)

    def take(self, data: bytes, now_s: float) -> None:
        self.rest += data
        pieces = list(self._pieces())
        step_s = SPREAD_S / max(len(pieces), 1)
        start_s = max(now_s, self.due[-1][0] if self.due else 0.0)
        if start_s - now_s > 0.1:
            start_s, step_s = now_s, 0.0  # behind: let it all go
        for number, piece in enumerate(pieces):
            self.due.append((start_s + number * step_s, piece))

    def _pieces(self) -> collections.abc.Iterator[bytes]:
        while self.rest:
            if self.rest[0] != 0x24:
                yield bytes(self.rest)
                self.rest.clear()
                return
            if len(self.rest) < 4:
                return
            end = 4 + int.from_bytes(self.rest[2:4], "big")
            if len(self.rest) < end:
                return
            yield bytes(self.rest[:end])
            del self.rest[:end]

    def send_due(self, now_s: float) -> None:
        while self.due and self.due[0][0] <= now_s:
            try:
                sent = self.viewer.send(self.due[0][1])
            except BlockingIOError:
                return
            if sent < len(self.due[0][1]):
                self.due[0] = (self.due[0][0], self.due[0][1][sent:])
                return
            self.due.popleft()


def main(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    watch = selectors.DefaultSelector()
    watch.register(listener, selectors.EVENT_READ)
    pairs: dict[socket.socket, Pair] = {}
    while True:
        for key, _ in watch.select(TICK_S):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock is listener:
                _accept(listener, port, watch, pairs)
            elif sock in pairs:
                _forward(sock, pairs[sock], watch, pairs)
        now_s = time.monotonic()
        for sock, pair in list(pairs.items()):
            if sock is pair.viewer:
                with contextlib.suppress(OSError):
                    pair.send_due(now_s)


def _accept(
    listener: socket.socket, port: int, watch: selectors.BaseSelector, pairs: dict[socket.socket, Pair]
) -> None:
    viewer, _ = listener.accept()
    camera = socket.create_connection(("127.0.0.1", port))
    pair = Pair(viewer, camera)
    for sock in (viewer, camera):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        watch.register(sock, selectors.EVENT_READ)
        pairs[sock] = pair


def _forward(
    sock: socket.socket, pair: Pair, watch: selectors.BaseSelector, pairs: dict[socket.socket, Pair]
) -> None:
    try:
        data = sock.recv(1 << 18)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    if not data:
        for one in (pair.viewer, pair.camera):
            with contextlib.suppress(KeyError, ValueError):
                watch.unregister(one)
            pairs.pop(one, None)
            one.close()
    elif sock is pair.camera:
        pair.take(data, time.monotonic())
    else:
        with contextlib.suppress(OSError):
            pair.camera.send(data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
