"""`python -m simpang.demo.tied PARENT COMMAND...`: becomes the command, which dies when PARENT dies.

The kernel keeps the promise, so it also holds after SIGKILL of the parent, which runs no code of ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; kept over execve


def main() -> None:
    """Raises OSError where the kernel refuses, or the command does not exist."""
    parent, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):
        sys.exit(1)  # it died before the kernel knew
    os.execvp(command[0], command)  # noqa: S606 - the command of the demo that started us


if __name__ == "__main__":
    main()
