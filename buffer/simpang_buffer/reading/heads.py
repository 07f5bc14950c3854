"""Opens recorded files for readers and reads fragment headers, by descriptor: nothing is buffered twice.

Everything blocks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from simpang_buffer.media.boxes import MAX_MOOF_BYTES
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import Fragment
from simpang_buffer.reading.errors import Altered, Vanished
from simpang_buffer.reading.moof import moof_size

# A second of pictures and sound is described in 500 to 1,500 bytes; the rest of the block is sent as it is.
HEAD_BYTES = 4096


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor. Raises Vanished where the file is gone, Altered where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise vanished(path) from error
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        yield fd
    finally:
        os.close(fd)


def read_head(fd: int, path: Path, fragment: Fragment, at_least: int = HEAD_BYTES) -> tuple[bytearray, int]:
    """The fragment's first bytes, its whole moof among them, and the moof's size. Raises Altered."""
    try:
        block = bytearray(os.pread(fd, min(at_least, fragment.size_bytes), fragment.offset))
        size = moof_size(block)
        if size > MAX_MOOF_BYTES or size > fragment.size_bytes:
            raise BadBox(f"moof of {size} bytes")
        if size > len(block):
            block += os.pread(fd, size - len(block), fragment.offset + len(block))
        if size > len(block):
            raise BadBox("the file ends within a moof")
    except BadBox as error:
        raise altered(path, error) from error
    except OSError as error:
        raise unreadable(path, error) from error
    return block, size


def vanished(path: Path) -> Vanished:
    return Vanished(f"{path} was deleted while it was read; ask for the range again")


def altered(path: Path, why: object) -> Altered:
    return Altered(f"{path} does not hold what its table says ({why}); `simpang buffer check` tells more")


def unreadable(path: Path, error: OSError) -> Altered:
    return Altered(
        f"{path} cannot be read ({error.strerror}); look at the disk, `simpang buffer check` tells more"
    )
