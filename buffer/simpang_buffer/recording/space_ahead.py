"""Space that a file takes before it needs it, so that each commit changes less of the file system.

Allocating little by little costs a bitmap and an extent per commit and file (tests/bench/durability.py).
"""

from __future__ import annotations

import contextlib

from simpang_buffer.recording.file_calls import FileCalls

# The first step, and the greatest: 20 s of a 3.5 Mbit/s stream. Between them as much as the file holds, so
# that a slow stream's file never takes more than twice what it needs.
_FIRST_BYTES = 1 << 20
_MOST_BYTES = 8 << 20
# Taken only where so many steps would fit: with less room others need it more, and eviction counts on it.
_STEPS_FREE = 64


class SpaceAhead:
    """Of one file. It is only ever a saving: what goes wrong here is no fault of the write.

    taken_end: up to where the file has space.
    """

    def __init__(self, calls: FileCalls) -> None:
        self._calls = calls
        self.taken_end = 0
        self._tried_at = 0

    def before(self, fd: int, offset: int, size_bytes: int) -> None:
        """`size_bytes` are about to be written at `offset`, the file's end."""
        if offset + size_bytes <= self.taken_end or offset < self._tried_at:
            return
        step = min(max(_FIRST_BYTES, offset), _MOST_BYTES)
        # After a refusal the next try comes a step later.
        self._tried_at = offset + step
        step += size_bytes
        try:
            if self._calls.free_bytes(fd) < step * _STEPS_FREE:
                return
            self._calls.take_ahead(fd, offset, step)
            self.taken_end = offset + step
        except OSError:
            # Not possible on this file system, or no room: some of it may be taken, which others need now.
            with contextlib.suppress(OSError):
                self._calls.cut(fd, offset)
