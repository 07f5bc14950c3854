"""What a picture process gives up before the first byte from outside: it can do nothing but think.

After the imports: nothing needs to be opened any more. No new file, socket or process, little memory, low
priority, and it dies with its parent.
"""

from __future__ import annotations

import ctypes
import os
import resource

import av
import av.logging

# 4K H.265 takes some 150 MB; the libraries themselves a few hundred of address space.
_MEMORY_BYTES = 1 << 30
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def confine() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.nice(10)
    av.logging.set_level(None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    # Descriptors 0 to 2 stay; a number above them can no longer be given out, so no file and no socket opens.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def allow_cpu(seconds: int) -> None:
    """From now on; then the process is ended, with what it is stuck in."""
    spent_s = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent_s + seconds, resource.RLIM_INFINITY))
