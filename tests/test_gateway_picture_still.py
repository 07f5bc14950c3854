"""The picture process: it decodes and can do nothing else; its keeper survives whatever it does."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

import media_samples
from recorded_runs import video_format
from simpang.picture.studio import PictureFailed, Studio, StudioBusy
from simpang_buffer.media.fmp4 import VIDEO_TRACK, Sample, TrackRun, fragment, init_segment
from web_site import FRAME_TICKS

ATTEMPTS = """
import os, socket
from simpang.picture import aac, still
from simpang.picture.confinement import confine
still.rehearse()
confine()
for name, attempt in {
    "socket": lambda: socket.socket(),
    "file": lambda: open("/etc/hostname"),
    "process": lambda: os.pipe(),
    "memory": lambda: bytearray(4 << 30),
}.items():
    try:
        attempt()
        print(name, "worked")
    except (OSError, MemoryError):
        print(name, "refused")
"""


def movie(codec: media_samples.VideoCodec = "h264") -> bytes:
    units = media_samples.video(codec, frames=45)
    run = TrackRun(VIDEO_TRACK, 900_000, [Sample(units[0].data, FRAME_TICKS)])
    return init_segment(video_format(codec, units)) + b"".join(fragment(1, [run]))


async def test_key_frames_of_both_codecs_become_jpeg() -> None:
    async with Studio() as studio:
        for codec in ("h264", "h265"):
            picture = await studio.still(codec, lambda codec=codec: movie(codec))  # type: ignore[misc]  # bound now

            assert picture.startswith(b"\xff\xd8") and picture.endswith(b"\xff\xd9")


async def test_same_picture_is_decoded_once() -> None:
    calls: list[int] = []

    def made() -> bytes:
        calls.append(1)
        return movie()

    async with Studio() as studio:
        pictures = await asyncio.gather(*(studio.still("one", made) for _ in range(5)))

    assert len(set(pictures)) == 1 and len(calls) == 1


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"\0\0\0\x18ftypisom" + b"\xff" * 3000, b"x" * (25 << 20)]
)
async def test_what_is_no_movie_fails_alone(content: bytes) -> None:
    async with Studio() as studio:
        with pytest.raises(PictureFailed):
            await studio.still("bad", lambda: content)

        assert await studio.still("good", movie)


async def test_too_many_at_once_are_sent_away() -> None:
    async with Studio() as studio:
        answers = await asyncio.gather(
            *(studio.still(number, movie) for number in range(20)), return_exceptions=True
        )

    assert 0 < sum(isinstance(answer, StudioBusy) for answer in answers) < 20
    assert all(isinstance(answer, bytes | StudioBusy) for answer in answers)


async def test_process_goes_when_its_keeper_does() -> None:
    async with Studio() as studio:
        await studio.still("one", movie)
        process = studio.process
        assert process is not None

    assert process.returncode is not None


def test_process_cannot_open_anything() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split("\n")[:-1] == [
        f"{name} refused" for name in ("socket", "file", "process", "memory")
    ]
