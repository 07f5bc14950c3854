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

# A second of pictures and sound is described in 500 to 1,500 bytes. What of the block is behind that is sent
# as it is; the block ends with a page of the file, since the kernel sends whole pages more cheaply.
_LEAST_BYTES = 2048
_PAGE_BYTES = 4096


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


def read_head(fd: int, path: Path, fragment: Fragment, *, whole: bool = False) -> tuple[bytearray, int]:
    """The fragment's first bytes, its whole moof among them, and the moof's size. whole: all its bytes.

    Raises Altered.
    """
    offset, size_bytes = fragment.offset, fragment.size_bytes
    wanted = -(-(offset + _LEAST_BYTES) // _PAGE_BYTES) * _PAGE_BYTES - offset
    try:
        block = bytearray(os.pread(fd, size_bytes if whole else min(wanted, size_bytes), offset))
        size = moof_size(block)
        if size > MAX_MOOF_BYTES or size > size_bytes:
            raise BadBox(f"moof of {size} bytes")
        if size > len(block):
            block += os.pread(fd, size - len(block), offset + len(block))
        if size > len(block) or (whole and len(block) < size_bytes):
            raise BadBox("the file ends within a fragment")
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
