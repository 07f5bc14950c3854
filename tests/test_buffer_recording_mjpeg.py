"""MJPEG through the whole recorder: a real camera's stream in, files out that ffmpeg decodes."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from media_files import decode_errors, probe
from peer_gst import gst_camera
from recorded_streams import track_samples
from recorder_bench import bench, eventually, running
from simpang_buffer.media.boxes import read_header, scan
from simpang_buffer.media.fmp4 import VIDEO_TRACK
from simpang_buffer.model import VIDEO_TIMESCALE, FragmentFlags


@pytest.mark.parametrize(
    ("video", "width", "height"),
    [("jpeg", 320, 240), ("jpeg422", 320, 240), ("jpeg", 2560, 1440)],
    ids=["4:2:0", "4:2:2", "too large for the header"],
)
async def test_a_real_cameras_pictures_are_recorded_and_decoded(
    tmp_path: Path, video: Literal["jpeg", "jpeg422"], width: int, height: int
) -> None:
    """8.14, and beyond 2040 pixels, where GStreamer states the size in its SDP."""
    async with gst_camera(video, fps=10, width=width, height=height) as camera, bench(tmp_path) as at:
        async with running(at.recorder(camera)):
            await eventually(lambda: at.count("fragment") >= 2)
        await eventually(lambda: at.count("closed"))
    (path,) = tmp_path.rglob("*.mp4")
    found = await asyncio.to_thread(probe, path)
    with path.open("rb") as file:
        header, read = read_header(file), scan(file)
    (opened,) = [message for message in at.said if message.kind == "opened"]

    assert (found.codec, found.width, found.height) == ("mjpeg", width, height)
    assert found.frames == found.packets == sum(fragment.frames for fragment in read.fragments) >= 10
    assert all(found.keys)
    assert await asyncio.to_thread(decode_errors, path) == ""
    assert (header.codec, header.width, header.height) == ("mp4v.6C", width, height)
    assert (opened.fields["codec"], opened.fields["width"], opened.fields["height"]) == (
        "mp4v.6C",
        width,
        height,
    )
    # Every picture is a key frame, and yet a fragment is not smaller than half a second.
    assert all(FragmentFlags.KEY in fragment.flags for fragment in read.fragments)
    assert all(fragment.duration >= VIDEO_TIMESCALE * 0.45 for fragment in read.fragments[:-1])
    # Each sample is a JPEG that another program opens by itself.
    _, first = track_samples(path, VIDEO_TRACK)[0]
    assert (first[:2], first[-2:]) == (b"\xff\xd8", b"\xff\xd9")
    done = await asyncio.to_thread(
        subprocess.run,
        ["ffmpeg", "-v", "error", "-xerror", "-f", "mjpeg", "-i", "-", "-f", "null", "-"],
        input=first,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
