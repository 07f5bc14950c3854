"""One gateway per data folder: a flock on DATA/lock that the recorder processes inherit.

The lock belongs to the open file and not to a process, so after a SIGKILL of the daemon it is held until its
last recorder has closed its files and gone; only then may another daemon adopt them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

# A recorder whose daemon died closes its files within 2 s; a loaded machine may take twice that.
WAIT_S = 5.0
_POLL_S = 0.05


class LockHeld(Exception):
    """Another gateway works in this folder, or the recorders of one that died do not end. str() says it."""


@contextlib.asynccontextmanager
async def hold_lock(path: Path, *, wait_s: float = WAIT_S) -> AsyncIterator[int]:
    """The lock's descriptor, to be passed on to recorders. Waits for orphans; raises LockHeld, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await _acquire(descriptor, path, wait_s)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "began": _began(os.getpid())}).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


async def _acquire(descriptor: int, path: Path, wait_s: float) -> None:
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            if holder.get("began") is not None and holder["began"] == _began(holder.get("pid")):
                raise LockHeld(
                    f"{path.parent} is in use by the gateway with process id {holder['pid']}; stop that one "
                    "(systemctl stop simpang, or Ctrl-C where it runs) or name another folder with --data"
                ) from None
            if time.monotonic() >= deadline_s:
                raise LockHeld(
                    f"{path} is still held by recorders of a gateway that died "
                    f"(process id {holder.get('pid', 'unknown')}); `fuser -v {path}` names them: kill those"
                ) from None
            await asyncio.sleep(_POLL_S)
        else:
            return


def _holder(descriptor: int) -> dict[str, object]:
    """What the last holder wrote; empty where it is not readable."""
    try:
        said = json.loads(os.pread(descriptor, 256, 0))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _began(pid: object) -> str | None:
    """When the process began, in ticks since boot: process ids are used again, pairs of the two are not.

    None where there is no such process, or only a zombie whose parent has not looked yet. proc(5), field 22.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()
