from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simpang import data_folder
from simpang.data_folder import FolderUnusable, prepare
from simpang.lock import LockHeld, hold_lock

# A gateway that takes the lock, leaves it to a recorder, and is gone.
_DIES = """
import fcntl, json, os, subprocess, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
os.pwrite(lock, json.dumps({"pid": os.getpid(), "began": "1"}).encode(), 0)
recorder = subprocess.Popen(["sleep", "60"], pass_fds=(lock,), stdout=subprocess.DEVNULL)
print(recorder.pid, flush=True)
"""


def orphan(path: Path) -> int:
    """Process id of a recorder that holds the lock though its gateway is dead."""
    done = subprocess.run(
        [sys.executable, "-c", _DIES, str(path)], stdout=subprocess.PIPE, text=True, check=True, timeout=20
    )
    return int(done.stdout)


async def test_lock_is_held_while_open_and_free_afterwards(tmp_path: Path) -> None:
    async with hold_lock(tmp_path / "lock") as descriptor:
        assert not os.get_inheritable(descriptor)
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
        begun = time.monotonic()
        with pytest.raises(LockHeld, match=rf"process id {os.getpid()}.*--data"):
            async with hold_lock(tmp_path / "lock"):
                pass
        assert time.monotonic() - begun < 1

    async with hold_lock(tmp_path / "lock", wait_s=0):
        pass


async def test_new_gateway_waits_until_orphans_are_gone(tmp_path: Path) -> None:
    recorder = await asyncio.to_thread(orphan, tmp_path / "lock")
    waiting = asyncio.create_task(_take(tmp_path / "lock", 5), name="new gateway")
    await asyncio.sleep(0.2)
    assert not waiting.done()

    os.kill(recorder, 9)

    async with asyncio.timeout(4):
        await waiting


async def test_orphans_that_do_not_end_are_named(tmp_path: Path) -> None:
    recorder = await asyncio.to_thread(orphan, tmp_path / "lock")
    try:
        with pytest.raises(LockHeld, match=r"recorders of a gateway that died.*fuser"):
            await _take(tmp_path / "lock", 0.1)
    finally:
        os.kill(recorder, 9)


@pytest.mark.parametrize("said", [b"", b"garbage", b"[1]", b'{"pid": "x"}', b'{"pid": 1}', b"\xff" * 300])
async def test_lock_file_with_anything_in_it_is_taken(tmp_path: Path, said: bytes) -> None:
    (tmp_path / "lock").write_bytes(said)

    async with hold_lock(tmp_path / "lock", wait_s=0):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


async def _take(path: Path, wait_s: float) -> None:
    async with hold_lock(path, wait_s=wait_s):
        pass


def test_folder_is_made_with_its_parts(tmp_path: Path) -> None:
    prepare(tmp_path / "a" / "data")
    prepare(tmp_path / "a" / "data")

    assert sorted(path.name for path in (tmp_path / "a" / "data").iterdir()) == ["media", "secrets"]
    assert stat.S_IMODE((tmp_path / "a" / "data" / "secrets").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "not writable by uid"),
        (errno.EROFS, "read-only file system"),
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.ENOTDIR, "in the way"),
        (errno.EIO, "--data"),
    ],
)
def test_every_reason_says_what_to_do(number: int, words: str) -> None:
    said = data_folder.why(OSError(number, os.strerror(number)))

    assert words in said


def test_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(FolderUnusable, match=f"{tmp_path}/data: is in the way"):
        prepare(tmp_path / "data")


def test_full_disk_is_refused_only_where_nothing_can_be_evicted(tmp_path: Path) -> None:
    with pytest.raises(FolderUnusable, match=r"its disk is full .*free at least"):
        prepare(tmp_path, least_free_bytes=1 << 60)

    (tmp_path / "index.db").write_text("")
    (tmp_path / "reserve").write_bytes(b"0" * 100)
    prepare(tmp_path, least_free_bytes=1 << 60)
    assert not (tmp_path / "reserve").exists()
