"""The few system calls that neither Python nor the C library offers."""

from __future__ import annotations

import ctypes
import os
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

# include/uapi/linux/prctl.h
PR_SET_NAME = 15
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# include/uapi/linux/capability.h
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63
CAP_DAC_OVERRIDE = 1


def syscall(number: int, *arguments: object) -> int:
    """Raises OSError."""
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise _error()
    return result


def prctl(option: int, *arguments: object) -> None:
    """prctl(2). Raises OSError."""
    given = (*arguments, *(ctypes.c_ulong(0) for _ in range(4 - len(arguments))))
    if _LIBC.prctl(ctypes.c_int(option), *given) < 0:
        raise _error()


def drop_capabilities(keep: int = 0) -> None:
    """All of capabilities(7) but those in the mask `keep`, for good. Raises OSError."""
    for number in range(_LAST_CAPABILITY + 1):
        if not keep >> number & 1:
            try:
                prctl(PR_CAPBSET_DROP, ctypes.c_ulong(number))
            except OSError:
                break  # the kernel knows no more, or we are nobody and have none to drop
    prctl(PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL))
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    had = ctypes.create_string_buffer(24)
    if _LIBC.capget(header, had) < 0:
        raise _error()
    # Twice effective, permitted, inheritable: the lower 32 capabilities, then the upper ones.
    effective, permitted, _, effective_high, permitted_high, _ = struct.unpack("=6I", had.raw)
    low, high = keep & 0xFFFFFFFF, keep >> 32
    left = (effective & low, permitted & low, 0, effective_high & high, permitted_high & high, 0)
    if _LIBC.capset(header, ctypes.create_string_buffer(struct.pack("=6I", *left))) < 0:
        raise _error()


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
