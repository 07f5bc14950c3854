"""A recorder gives up what it does not need, and says what the kernel could not take from it.

Cameras are hostile: what one of them makes this process do must end here. Nothing of it ever stops recording:
where the kernel lacks a means, the process goes on without it and says so.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from simpang_buffer.recording.sandbox import kernel, landlock, seccomp
from simpang_buffer.recording.sandbox.confinement import Confinement
from simpang_buffer.recording.sandbox.self_test import escaped

# 32 streams with a TCP and two pairs of UDP sockets and a file each are 200.
_MAX_FILES = 1024
# All of a recorder's memory at 44 streams is under 200 MB, threads' stacks included.
_MAX_DATA_BYTES = 1 << 30


def harden() -> None:
    """What needs no kernel of this century: limits, no core (it would hold passwords), no new privileges.

    Ignores the signals that a terminal and systemd send to everybody: the daemon's end is the signal.
    """
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
    kernel.prctl(kernel.PR_SET_NAME, b"simpang-record")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_NOFILE, _MAX_FILES)
    _limit(resource.RLIMIT_DATA, _MAX_DATA_BYTES)
    # Beyond RLIMIT_FSIZE a write fails like any other, instead of killing all streams at once.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_IGN)


def confine(folders: Sequence[Path]) -> Confinement:
    """Before any thread is started and any byte has come from outside; `harden` has been called.

    folders: the media folders, the only place in which files are made from now on. They may be mounted later,
    but must exist.
    """
    lacks: list[str] = []
    try:
        kernel.drop_capabilities(_needed_capabilities(folders))
    except OSError as error:
        lacks.append(f"capabilities could not be dropped: {error.strerror}")
    abi = 0
    try:
        rules = [(folder, landlock.RECORD) for folder in folders]
        # Modules may yet be imported, and a fault of ours is shown with its lines.
        rules += [(Path(place), landlock.READ) for place in (*sys.path, sys.prefix, sys.base_prefix) if place]
        abi = landlock.restrict(rules)
    except OSError as error:
        lacks.append(f"Landlock: {error.strerror}")
    else:
        if abi == 0:
            lacks.append("Landlock: this kernel has none, so files are kept apart by their owner only")
        elif abi < 4:
            lacks.append(f"Landlock: version {abi} of this kernel keeps files apart, not network ports")
    filtered = False
    try:
        filtered = seccomp.install()
        if not filtered:
            lacks.append("seccomp: the system calls of this machine's architecture are not known")
    except OSError as error:
        lacks.append(f"seccomp: {error.strerror}")
    return Confinement(abi, filtered, tuple(lacks), tuple(escaped(folders)))


def _needed_capabilities(folders: Sequence[Path]) -> int:
    """None, but for a root whose media folder is somebody else's."""
    for folder in folders:
        if folder.exists() and folder.stat().st_uid != os.geteuid():
            return 1 << kernel.CAP_DAC_OVERRIDE
    return 0


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))
