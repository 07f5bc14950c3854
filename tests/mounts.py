"""Disks that come and go, for tests in a mount namespace of their own (own_network.py)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path


async def run(*command: object) -> None:
    """Raises AssertionError with what the program said."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, f"{command}: {said.decode()}"


async def plug(disk: Path, point: Path) -> None:
    """Mounts a folder at another; what is in it stays when it is pulled."""
    await run("mount", "--bind", disk, point)


async def pull(point: Path) -> None:
    """As when a disk is pulled: whoever has a file open keeps it, the path leads elsewhere at once."""
    await run("umount", "--lazy", point)


@contextlib.asynccontextmanager
async def memory_disk(point: Path, options: str) -> AsyncIterator[None]:
    """A file system of its own, with the size or the inodes that the options say."""
    await run("mount", "-t", "tmpfs", "-o", options, "tmpfs", point)
    try:
        yield
    finally:
        await run("umount", "--lazy", point)


def fill(path: Path) -> None:
    """Somebody's file takes all that is free, to the last block, whatever else is written meanwhile."""
    free = os.statvfs(path.parent)
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize * 9 // 10)
        file.seek(0, os.SEEK_END)
        while file.write(bytes(65_536)):
            continue
