"""A disk whose device fails under four streams: writes that are lost, a journal that aborts."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from mounts import fill, run
from peer_gst import gst_camera
from simpang_buffer.index.check import check
from simpang_buffer.model import GapReason
from test_buffer_recording_folders import KEYS, SECOND_US, eventually, site

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

IMAGE_BYTES = 1 << 30


async def test_a_device_that_fails_costs_a_flush_and_a_key_frame(tmp_path: Path) -> None:
    """No block that was not written before can be from one moment on: what the device lies in is full."""
    backing, point = tmp_path / "backing", tmp_path / "second"
    image = backing / "image"
    for folder in (backing, point):
        await asyncio.to_thread(folder.mkdir)
    await run("mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", backing)
    await asyncio.to_thread(image.touch)
    await asyncio.to_thread(os.truncate, image, IMAGE_BYTES)
    await run("mkfs.ext4", "-q", image)
    await run("mount", "-o", "loop", image, point)
    try:
        async with gst_camera(gop=10, shared=False) as camera, site(tmp_path, camera, segment_s=4) as at:
            await eventually(lambda: at.all_in(2))
            await asyncio.sleep(6)
            await asyncio.to_thread(fill, backing / "filler")
            failed_us = time.time_ns() // 1000
            took_s = await eventually(lambda: at.all_in(1), 60)
            state = at.state(2)
            await asyncio.sleep(3)
            found = {key: await at.covered(key, failed_us - 5 * SECOND_US) for key in KEYS}
            reasons = {key: tail.header.previous_end for key, tail in at.tails().items() if tail is not None}
            sound = at.media.folders.files()
            faults = await check(at.first, at.index, recording=True, folders=sound)
    finally:
        await run("umount", "--lazy", point)
        await run("umount", "--lazy", backing)

    assert state in ("failing", "missing")
    assert [files.folder for files in sound] == [1]
    assert faults == []
    # What was not flushed (0.5 s here) is lost, then a write has to fail and a key frame to come.
    assert took_s < 8
    assert set(reasons.values()) == {GapReason.DISK_ERROR}
    for key in KEYS:
        gaps = [gap for gap in found[key].gaps if gap.end_us > failed_us]
        assert {gap.reason for gap in gaps} == {GapReason.DISK_ERROR}
        assert sum(gap.end_us - max(gap.start_us, failed_us) for gap in gaps) < 5 * SECOND_US
