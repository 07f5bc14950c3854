"""Landlock (landlock(7)): which files this process may ever touch again, and what it may do to others.

Rights are taken from the calling thread and from what it starts later, so this comes before any thread.
"""

from __future__ import annotations

import ctypes
import enum
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from simpang_buffer.recording.sandbox.kernel import syscall

# The same numbers on every architecture.
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_VERSION = 1
_PATH_BENEATH = 1


class Access(enum.IntFlag):
    """include/uapi/linux/landlock.h, with the version that brought each."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13  # 2
    TRUNCATE = 1 << 14  # 3
    IOCTL_DEV = 1 << 15  # 5


# What a recorder does in a media folder: it creates, appends and cuts back. It never reads a recording, nor
# deletes one; that it cannot write to one that is there is seccomp's (seccomp.py).
RECORD = Access.WRITE_FILE | Access.READ_DIR | Access.MAKE_DIR | Access.MAKE_REG | Access.TRUNCATE
READ = Access.READ_FILE | Access.READ_DIR
# What a rule on a single file may grant.
_OF_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
_BIND_TCP = 1 << 0  # 4
_SCOPES = 1 << 0 | 1 << 1  # 6: abstract Unix sockets, signals


def version() -> int:
    """What the kernel has: 0 for nothing, 6 for all that is used here."""
    try:
        return syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    except OSError:
        return 0


def restrict(rules: Iterable[tuple[Path, Access]]) -> int:
    """From now on only what the rules grant beneath their paths; paths that do not exist are passed over.

    Needs no_new_privs. Returns the version in force, 0 if the kernel has none. Raises OSError.
    """
    abi = version()
    if abi < 1:
        return 0
    handled = _known(abi)
    # No TCP port is bound, so none can be listened on; where cameras are is not known beforehand.
    attribute = struct.pack("=QQQ", handled, _BIND_TCP, _SCOPES)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = syscall(_CREATE_RULESET, attribute, ctypes.c_size_t(len(attribute)), ctypes.c_uint32(0))
    try:
        for path, access in rules:
            _grant(ruleset, path, access & handled)
        syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return abi


def _known(abi: int) -> Access:
    """Every right that this kernel can take away."""
    known = Access(0)
    for access in Access:
        since = {Access.REFER: 2, Access.TRUNCATE: 3, Access.IOCTL_DEV: 5}.get(access, 1)
        if abi >= since:
            known |= access
    return known


def _grant(ruleset: int, path: Path, access: Access) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not path.is_dir():
            access &= _OF_FILES
        rule = struct.pack("=Qi", access, fd)
        syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(fd)
