"""Space that a file takes before it needs it, so that each commit changes less of the file system.

Allocating little by little costs a bitmap and an extent per commit and file, and more than four extents a
block of their own, which is then written at every commit (tests/bench/durability.py).
"""

from __future__ import annotations

import contextlib

from simpang_buffer.recording.file_calls import FileCalls

# Of a stream's first file, as much again as it holds; later ones are expected to become as large as the last.
_FIRST_BYTES = 1 << 20
_MOST_BYTES = 64 << 20
# Taken only where so many steps would fit: with less room others need it more, and eviction counts on it.
_STEPS_FREE = 64


class SpaceAhead:
    """Of one file. It is only ever a saving: what goes wrong here is no fault of the write.

    expected_bytes: how large it may become, 0 if nobody knows. taken_end: up to where it has space.
    """

    def __init__(self, calls: FileCalls, expected_bytes: int = 0) -> None:
        self._calls = calls
        self._expected_bytes = min(expected_bytes, _MOST_BYTES)
        self.taken_end = 0
        self._tried_at = 0

    def before(self, fd: int, offset: int, size_bytes: int) -> None:
        """`size_bytes` are about to be written at `offset`, the file's end."""
        if offset + size_bytes <= self.taken_end or offset < self._tried_at:
            return
        step = self._expected_bytes - offset
        if step <= size_bytes:
            # A little more than the last file; a first one doubles.
            step = offset // 8 if self._expected_bytes else offset
            step = min(max(step, _FIRST_BYTES), _MOST_BYTES)
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
