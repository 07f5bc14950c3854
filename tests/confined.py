"""A process of its own, for what cannot be undone: `confined.py MEDIA how` confines itself, and says how it
went.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simpang_buffer.recording.sandbox import landlock, seccomp
from simpang_buffer.recording.sandbox.confine import confine, harden
from simpang_buffer.recording.sandbox.confinement import confinement_fields
from simpang_buffer.recording.sandbox.self_test import escaped


def main(media: Path, how: str) -> None:
    if how == "not at all":
        print(json.dumps({"escaped": escaped([media])}))
        return
    if how == "by an old kernel":
        landlock.version = lambda: 0
        seccomp.machine = lambda: None
    harden()
    said = confinement_fields(confine([media]))
    print(json.dumps({**said, **_records(media)}))


def _records(media: Path) -> dict[str, Any]:
    """What a recorder does all day."""
    folder = media / "gate"
    folder.mkdir()
    fd = os.open(folder / "000000.mp4", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    os.writev(fd, [b"head", b"torn"])
    os.ftruncate(fd, 4)
    os.fdatasync(fd)
    os.close(fd)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            if kind == socket.SOCK_DGRAM:
                sock.bind(("127.0.0.1", 0))
    ran: list[bool] = []
    thread = threading.Thread(target=lambda: ran.append(True))
    thread.start()
    thread.join()
    footage = str(folder / "000000.mp4")
    attempts: dict[str, Callable[[], object]] = {
        "read": lambda: os.open(footage, os.O_RDONLY),
        "overwrite": lambda: os.open(footage, os.O_WRONLY),
        "append to": lambda: os.open(footage, os.O_RDWR | os.O_APPEND | os.O_CREAT),
        "empty": lambda: os.open(footage, os.O_RDONLY | os.O_TRUNC),
        "cut": lambda: os.truncate(footage, 0),
        "delete": lambda: os.unlink(footage),
    }
    done = [name for name, attempt in attempts.items() if _works(attempt)]
    return {"thread": ran == [True], "does_to_footage": done}


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except PermissionError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
