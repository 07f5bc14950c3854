"""seccomp (seccomp(2)): system calls that a recorder never needs, and that break out of everything else.

A list of what is forbidden, not of what is allowed: which calls the C library makes changes with every
release, and a recorder that dies of one records nothing. Forbidden calls fail with EPERM.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

from simpang_buffer.recording.sandbox.kernel import PR_SET_SECCOMP, prctl
from simpang_buffer.recording.sandbox.syscalls import AUDIT_ARCH, CALLS

_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_EPERM = 1
_ENOSYS = 38
# struct seccomp_data: the call's number, the architecture, and six arguments (little-endian: low half first).
_NUMBER = 0
_ARCH = 4
_ARGUMENT = (16, 24, 32)

_CLONE_THREAD = 0x00010000
_X32 = 0x40000000
# AF_INET and AF_INET6, SOCK_STREAM and SOCK_DGRAM: what cameras are spoken to by.
_FAMILIES = (2, 10)
_TYPES = (1, 2)
_TYPE_MASK = 0xF
# Whether a file may be written, must be new, or is cut: the same numbers on both architectures.
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NEW = os.O_CREAT | os.O_EXCL
# F_SETOWN, F_SETSIG, F_SETOWN_EX; FIOSETOWN, SIOCSPGRP: a signal of our choice to a process of our choice.
# TIOCSTI, TIOCLINUX: words put into the mouth of whoever started us from a terminal.
_FCNTL = (8, 10, 15)
_IOCTL = (0x8901, 0x8902, 0x5412, 0x541C)

# include/uapi/linux/bpf_common.h: load a word, compare, return.
_LD = 0x20
_AND = 0x54
_JEQ = 0x15
_JGE = 0x35
_JSET = 0x45
_RET = 0x06

Instruction = tuple[int, int, int, int]

_DENIED: Instruction = (_RET, 0, 0, _ERRNO | _EPERM)
_ALLOWED: Instruction = (_RET, 0, 0, _ALLOW)


def machine() -> str | None:
    """The name of this machine's architecture, if its calls are known."""
    name = platform.machine()
    return name if name in CALLS else None


def program(architecture: str, pid: int) -> list[Instruction]:
    """The filter, as (code, jump if true, jump if false, constant). pid: whom we may signal. Pure."""
    calls = CALLS[architecture]
    argument: Instruction = (_LD, 0, 0, _ARGUMENT[0])
    denied, absent, allowed = _DENIED, (_RET, 0, 0, _ERRNO | _ENOSYS), _ALLOWED
    code: list[Instruction] = [
        (_LD, 0, 0, _ARCH),
        (_JEQ, 1, 0, AUDIT_ARCH[architecture]),
        denied,
        (_LD, 0, 0, _NUMBER),
        (_JGE, 0, 1, _X32),
        denied,
    ]
    # What hides its flags behind a pointer; told that it is absent, the C library uses the older call.
    for name in ("clone3", "openat2"):
        code += [(_JEQ, 0, 1, calls[name]), absent]
    partly: dict[str, list[Instruction]] = {
        "clone": [argument, (_JSET, 0, 1, _CLONE_THREAD), allowed, denied],
        "tgkill": [argument, (_JEQ, 0, 1, pid), allowed, denied],
        # Of ourselves only: the daemon's limits are none of our business.
        "prlimit64": [argument, (_JEQ, 0, 1, 0), allowed, denied],
        "fcntl": _unless(_ARGUMENT[1], _FCNTL),
        "ioctl": _unless(_ARGUMENT[1], _IOCTL),
        "open": _reads_or_makes(_ARGUMENT[1]),
        "openat": _reads_or_makes(_ARGUMENT[2]),
        "socket": [
            argument,
            (_JEQ, 2, 0, _FAMILIES[0]),
            (_JEQ, 1, 0, _FAMILIES[1]),
            denied,
            (_LD, 0, 0, _ARGUMENT[1]),
            (_AND, 0, 0, _TYPE_MASK),
            (_JEQ, 2, 0, _TYPES[0]),
            (_JEQ, 1, 0, _TYPES[1]),
            denied,
            allowed,
        ],
    }
    for name, number in sorted(calls.items()):
        if name in partly:
            code += _only_if(number, partly[name])
        elif name not in ("clone3", "openat2"):
            code += [(_JEQ, 0, 1, number), denied]
    return [*code, allowed]


def install() -> bool:
    """In force for this thread and what it starts, for good; False where the architecture is not known.

    Needs no_new_privs. Raises OSError where the kernel has no filters.
    """
    name = machine()
    if name is None:
        return False
    code = program(name, os.getpid())
    packed = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in code))
    fprog = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(packed)))
    prctl(PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), fprog)
    return True


def _only_if(number: int, then: Sequence[Instruction]) -> list[Instruction]:
    """`then` for this call, which ends in a return; else on behind it."""
    return [(_JEQ, 0, len(then), number), *then]


def _unless(argument: int, forbidden: Sequence[int]) -> list[Instruction]:
    compared: list[Instruction] = [
        (_JEQ, len(forbidden) - at, 0, value) for at, value in enumerate(forbidden)
    ]
    return [(_LD, 0, 0, argument), *compared, _ALLOWED, _DENIED]


def _reads_or_makes(flags: int) -> list[Instruction]:
    """What is there is never opened for writing, not even a recording of our own: only a new file is."""
    return [
        (_LD, 0, 0, flags),
        (_JSET, 1, 0, _WRITING),
        _ALLOWED,
        (_AND, 0, 0, _NEW),
        (_JEQ, 0, 1, _NEW),
        _ALLOWED,
        _DENIED,
    ]
