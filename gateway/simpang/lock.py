"""One gateway per data folder: a flock on DATA/lock that the recorder processes inherit.

The lock belongs to the open file and not to a process, so after a SIGKILL of the daemon it is held until its last
recorder has closed its files and gone; only then may another daemon adopt them.
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
    """Another gateway works in this folder, or the recorders of one that died do not end. str() says which."""


@contextlib.asynccontextmanager
async def hold_lock(path: Path, *, wait_s: float = WAIT_S) -> AsyncIterator[int]:
    """The lock's descriptor, to be passed on to the recorders. Waits for orphans; raises LockHeld, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await _acquire(descriptor, path, wait_s)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid()}).encode(), 0)
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
            alive = holder is not None and _alive(holder)
            if alive and holder != os.getpid():
                raise LockHeld(
                    f"{path.parent} is in use by the gateway with process id {holder}; stop that one "
                    "(systemctl stop simpang, or Ctrl-C where it runs) or name another folder with --data"
                ) from None
            if time.monotonic() >= deadline_s:
                raise LockHeld(
                    f"{path} is still locked by recorders of a gateway that died "
                    f"(process {holder or 'unknown'}); `fuser {path}` names them, kill those"
                ) from None
            await asyncio.sleep(_POLL_S)
        else:
            return


def _holder(descriptor: int) -> int | None:
    try:
        pid = json.loads(os.pread(descriptor, 256, 0))["pid"]
    except (ValueError, KeyError, TypeError):
        return None
    return pid if isinstance(pid, int) else None


def _alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie that only waits for its parent to look."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[:1] not in ([b"Z"], [b"X"])
