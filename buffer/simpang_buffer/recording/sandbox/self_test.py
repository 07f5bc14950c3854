"""Hostile actions, tried by a recorder on itself at its start: each must fail.

A sandbox that is only believed in is none: a library, a kernel option or a change of ours may have opened it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

# What a kernel says when it will not; anything else (a file that is not there) proves nothing.
_REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EAFNOSUPPORT, errno.EXDEV})
# By which the daemon knows a media folder: a file that is there before any recorder is.
_MARKER = "simpang-folder"
_TEMPORARY = Path("/tmp")  # noqa: S108 - the place that everybody may write to is what is tried


def escaped(folders: Sequence[Path]) -> list[str]:
    """The actions that were not stopped, in words. Undoes what they did."""
    return [name for name, attempt in actions(folders) if not _is_stopped(attempt)]


def actions(folders: Sequence[Path]) -> Iterator[tuple[str, Callable[[], object]]]:
    """(what, how): `how` raises OSError where it is stopped."""
    data = folders[0].parent
    parent = os.getppid()
    yield "read a file of the system", lambda: _read(Path("/etc/passwd"))
    yield "read the data folder", lambda: list(data.iterdir())
    yield "read the secrets", lambda: list((data / "secrets").iterdir())
    yield "read the index", lambda: _read(data / "index.db")
    yield "write into the data folder", lambda: _make(data / "escape")
    yield "write into the temporary folder", lambda: _make(_TEMPORARY / "simpang-escape")
    yield "read another process's environment", lambda: _read(Path(f"/proc/{parent}/environ"))
    yield "read another process's memory", lambda: _read(Path(f"/proc/{parent}/mem"))
    yield "write into a file that is there", lambda: _overwrite(folders[0] / _MARKER)
    # Of a folder it is refused in any case, but not as a sandbox refuses it.
    yield "delete a file", lambda: folders[0].unlink()
    yield "run a program", _execute
    yield "start a process", _fork
    yield "signal the daemon", lambda: os.kill(parent, 0)
    yield "limit the daemon", lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE)
    yield "open a Unix socket", lambda: _socket(socket.AF_UNIX, socket.SOCK_STREAM)
    yield "open a netlink socket", lambda: _socket(socket.AF_NETLINK, socket.SOCK_RAW)
    yield "open a packet socket", lambda: _socket(socket.AF_PACKET, socket.SOCK_RAW)
    yield "open a raw socket", lambda: _socket(socket.AF_INET, socket.SOCK_RAW)
    yield "let somebody connect", _listen
    yield "become somebody else", lambda: os.setuid(os.getuid())
    yield "change a file's rights", lambda: folders[0].chmod(0o750)
    yield "rename a folder", lambda: _rename(folders[0])
    yield "link a file into the media folder", lambda: _link(folders[0] / "escape")
    yield "enter another root", lambda: os.chroot("/")
    yield "set the clock", lambda: time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns())


def _is_stopped(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as error:
        # What is not there cannot be taken either; but a program is looked for only where running is allowed.
        return error.errno in _REFUSED or (error.errno == errno.ENOENT and attempt is not _execute)
    return False


def _read(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.read(1)


def _make(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(fd)
    with contextlib.suppress(OSError):
        path.unlink()


def _overwrite(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))


def _execute() -> None:
    """Of a program that is not there: a sandbox refuses before it looks, and without one we live on."""
    os.execv("/nonexistent/simpang-escape", ["escape"])  # noqa: S606 - that it fails is what is tested


def _rename(folder: Path) -> None:
    folder.rename(folder.with_name("escape")).rename(folder)


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")
    path.unlink()


def _fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _socket(family: int, kind: int) -> None:
    socket.socket(family, kind).close()


def _listen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.listen(1)
