"""Pictures that carry their number, so that a test knows which one a player shows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

import media_samples

# Not used by others: the samples are made once for each set of arguments.
WIDTH, HEIGHT = 176, 144
_BITS = 11
_BAR = WIDTH // _BITS
# Its bar is always lit: what has none is no picture of ours, or not painted yet.
_MARK = 1 << 10

# Reads the number from a canvas that the video was drawn on; -1 before anything was painted.
SHOWN_JS = f"""(video) => {{
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [{WIDTH}, {HEIGHT}];
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    let number = 0;
    for (let bit = 0; bit < {_BITS}; bit++) {{
        const [luma] = context.getImageData(bit * {_BAR} + {_BAR // 2}, {HEIGHT // 2}, 1, 1).data;
        if (luma > 128) number |= 1 << bit;
    }}
    return number & {_MARK} ? number ^ {_MARK} : -1;
}}"""


@pytest.fixture
def numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """`recordings.Take(width=WIDTH, height=HEIGHT)` then holds numbered pictures."""
    monkeypatch.setattr(media_samples, "_pictures", _pictures)


def decoded(path: Path) -> list[int]:
    """The numbers of the pictures that ffmpeg shows, in order."""
    command = ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "gray", "-"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    return _numbers(done.stdout)


def decoded_by_gstreamer(path: Path, into: Path) -> list[int]:
    pipeline = f"filesrc location={path} ! qtdemux ! decodebin ! videoconvert ! video/x-raw,format=GRAY8"
    command = f"gst-launch-1.0 -q {pipeline} ! filesink location={into}"
    subprocess.run(command.split(), capture_output=True, timeout=60, check=True)
    return _numbers(into.read_bytes())


def of_jpeg(picture: bytes) -> int:
    """The number of a picture that was made smaller or larger."""
    command = ["ffmpeg", "-v", "error", "-i", "-", "-vf", f"scale={WIDTH}:{HEIGHT}"]
    command += ["-f", "rawvideo", "-pix_fmt", "gray", "-"]
    done = subprocess.run(command, input=picture, capture_output=True, timeout=60, check=True)
    (number,) = _numbers(done.stdout)
    return number


def _numbers(grey: bytes) -> list[int]:
    middle = HEIGHT // 2 * WIDTH + _BAR // 2
    numbers = [
        sum(1 << bit for bit in range(_BITS) if grey[at + middle + bit * _BAR] > 128)
        for at in range(0, len(grey), WIDTH * HEIGHT)
    ]
    assert all(number & _MARK for number in numbers)
    return [number ^ _MARK for number in numbers]


def _pictures(count: int, width: int, height: int, fps: int, noise: int) -> Iterator[av.VideoFrame]:
    assert (width, height) == (WIDTH, HEIGHT)
    for number in range(count):
        frame = av.VideoFrame(width, height, "yuv420p")
        luma, *chroma = frame.planes
        bars = b"".join((b"\xeb" if (number | _MARK) >> bit & 1 else b"\x10") * _BAR for bit in range(_BITS))
        luma.update(bars.ljust(luma.line_size, b"\0") * height)
        for plane in chroma:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts, frame.time_base = number, Fraction(1, fps)
        yield frame
