"""The least that recording can cost: `pump.py PORT N FOLDER HOW` copies N cameras' sockets to files.

Nothing is understood: no packets, no pictures, no index, no sync. HOW is `woken`, by whatever arrives, or
`beat`: then it reads every 90 ms, as the recorder does.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import time
from pathlib import Path

BEAT_S = 0.09


def play(port: int, number: int) -> socket.socket:
    """A camera that plays, by the shortest handshake that ours takes."""
    sock = socket.create_connection(("127.0.0.1", port))
    url = f"rtsp://127.0.0.1:{port}/{number}"
    session = ""
    for cseq, (method, target, more) in enumerate(
        (
            ("DESCRIBE", url, "Accept: application/sdp\r\n"),
            ("SETUP", f"{url}/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"),
            ("PLAY", url, ""),
        ),
        1,
    ):
        sock.sendall(f"{method} {target} RTSP/1.0\r\nCSeq: {cseq}\r\n{more}{session}\r\n".encode())
        reply = sock.recv(1 << 16).decode("latin-1")
        assert reply.startswith("RTSP/1.0 200"), reply
        for line in reply.splitlines():
            if line.lower().startswith("session:"):
                session = f"Session: {line.split(':', 1)[1].split(';')[0].strip()}\r\n"
    sock.setblocking(False)
    return sock


def main(port: int, count: int, folder: Path, how: str) -> None:
    pairs = [
        (play(port, number), os.open(folder / f"p{number}", os.O_WRONLY | os.O_CREAT, 0o640))
        for number in range(count)
    ]
    buffer = bytearray(1 << 18)
    view = memoryview(buffer)
    print("ready", flush=True)
    watch = selectors.DefaultSelector()
    for sock, fd in pairs:
        watch.register(sock, selectors.EVENT_READ, fd)
    while True:
        if how == "beat":
            time.sleep(BEAT_S)
        for key, _ in watch.select(0 if how == "beat" else None):
            assert isinstance(key.fileobj, socket.socket)
            size = key.fileobj.recv_into(buffer)
            os.write(key.data, view[:size])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
