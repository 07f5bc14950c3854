"""Demo cameras for tests: addresses on loopback and ports that are free."""

from __future__ import annotations

import socket

from simpang.demo.identity import Audio, Codec, Identity

USER, PASSWORD = "petugas", "rahasia & <sekali>"


def free_port(host: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(type=kind) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def identity(
    host: str = "127.0.1.77", codec: Codec = "h264", audio: Audio = "none", name: str = "Utara & <Timur>"
) -> Identity:
    return Identity(name, host, free_port(host), free_port(host), codec, audio, USER, PASSWORD)
