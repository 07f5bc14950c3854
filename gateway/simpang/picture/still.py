"""`python -m simpang.picture.still`: movies in, JPEG out, over two pipes.

Asked: u32 length, u16 widest (pixels, 0: as it is), u16 quality (2 best to 31), i64 time (ticks of the
video track), then an MP4 that begins with a key frame. Answered: u32 length, then a JPEG of the picture shown
at that time, or of the first; a length of 0 for what does not decode. It ends when its input closes, after
MOST_PICTURES, or when one takes longer than its share of CPU time. A decoder is where hostile video bites, so
it is confined first.
"""

from __future__ import annotations

import io
import struct
import sys
from dataclasses import dataclass
from typing import BinaryIO

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from simpang.picture.confinement import allow_cpu, confine

# The process is replaced before anything that leaks has leaked much.
MOST_PICTURES = 500
MOST_MOVIE_BYTES = 24 << 20
# A 4K key frame takes half a second on a slow core; the picture asked for may be dozens behind it.
_CPU_S_PER_PICTURE = 5
_QUESTION = struct.Struct(">IHHq")


@dataclass(frozen=True, slots=True)
class Asked:
    movie: bytes
    most_width: int = 640
    quality: int = 5
    pts: int = -(1 << 62)


def main() -> None:
    rehearse()
    confine()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    for _ in range(MOST_PICTURES):
        asked = _read(source)
        if asked is None:
            return
        allow_cpu(_CPU_S_PER_PICTURE)
        try:
            picture = still(asked)
        except (av.FFmpegError, ValueError, MemoryError):
            picture = b""
        sink.write(struct.pack(">I", len(picture)) + picture)
        sink.flush()


def still(asked: Asked) -> bytes:
    """The picture as JPEG. Raises av.FFmpegError or ValueError."""
    with av.open(io.BytesIO(asked.movie), mode="r", format="mp4") as container:
        video = container.streams.video[0]
        video.thread_count = 1
        found: VideoFrame | None = None
        for frame in container.decode(video):
            # Pictures come in the order in which they are shown.
            if found is not None and (frame.pts is None or frame.pts > asked.pts):
                break
            found = frame
    if found is None:
        raise ValueError("no picture in it")
    return _jpeg(found, asked)


def _jpeg(frame: VideoFrame, asked: Asked) -> bytes:
    width = min(asked.most_width or frame.width, frame.width)
    # Chroma is halved, so both are even.
    height = max(2, round(frame.height * width / frame.width / 2) * 2)
    small = frame.reformat(width // 2 * 2, height, "yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = small.width, small.height, "yuvj420p"
    quality = str(min(max(asked.quality, 2), 31))
    encoder.options = {"qmin": quality, "qmax": quality, "strict": "unofficial"}
    small.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(small), *encoder.encode(None)))


def _read(source: BinaryIO) -> Asked | None:
    head = source.read(_QUESTION.size)
    if len(head) < _QUESTION.size:
        return None
    length, most_width, quality, pts = _QUESTION.unpack(head)
    if length > MOST_MOVIE_BYTES:
        return None
    movie = source.read(length)
    return Asked(movie, most_width, quality, pts) if len(movie) == length else None


def rehearse() -> None:
    """One picture of our own, all the way: PyAV imports some modules only when first needed."""
    movie = io.BytesIO()
    with av.open(movie, mode="w", format="mp4") as container:
        painter = container.add_stream("mjpeg", rate=1)
        painter.width, painter.height, painter.pix_fmt = 16, 16, "yuvj420p"
        for packet in (*painter.encode(VideoFrame(16, 16, "yuvj420p")), *painter.encode(None)):
            container.mux(packet)
    still(Asked(movie.getvalue()))


if __name__ == "__main__":
    main()
