"""`python -m simpang.picture.still`: key frames in, JPEG out, over two pipes.

Asked: u32 length, then an MP4 with one fragment. Answered: u32 length, then a JPEG; a length of 0 for what
does not decode. It ends when its input closes, after MOST_PICTURES, or when one takes longer than its share
of CPU time. A decoder is where hostile video bites, so it can do nothing else: no new file, socket or
process, little memory, low priority.
"""

from __future__ import annotations

import ctypes
import io
import os
import resource
import struct
import sys
from typing import BinaryIO

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

# The process is replaced before anything that leaks has leaked much.
MOST_PICTURES = 500
MOST_MOVIE_BYTES = 12 << 20
# 4K H.265 takes some 150 MB; the libraries themselves a few hundred of address space.
_MEMORY_BYTES = 1 << 30
# A 4K key frame takes half a second on a slow core.
_CPU_S_PER_PICTURE = 5
_WIDTH = 640
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
# MJPEG quantizer, 2 (best) to 31.
_QUALITY = 5


def main() -> None:
    _rehearse()
    _confine()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    for _ in range(MOST_PICTURES):
        movie = _read(source)
        if movie is None:
            return
        spent_s = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (spent_s + _CPU_S_PER_PICTURE, resource.RLIM_INFINITY))
        try:
            picture = still(movie)
        except (av.FFmpegError, ValueError, MemoryError):
            picture = b""
        sink.write(struct.pack(">I", len(picture)) + picture)
        sink.flush()


def still(movie: bytes) -> bytes:
    """The first picture of an MP4 as JPEG, at most 640 wide. Raises av.FFmpegError or ValueError."""
    with av.open(io.BytesIO(movie), mode="r", format="mp4") as container:
        video = container.streams.video[0]
        video.thread_count = 1
        frame = next(iter(container.decode(video)), None)
    if frame is None:
        raise ValueError("no picture in it")
    return _jpeg(frame)


def _jpeg(frame: VideoFrame) -> bytes:
    width = min(_WIDTH, frame.width)
    # Chroma is halved, so both are even.
    height = max(2, round(frame.height * width / frame.width / 2) * 2)
    small = frame.reformat(width // 2 * 2, height, "yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = small.width, small.height, "yuvj420p"
    encoder.options = {"qmin": str(_QUALITY), "qmax": str(_QUALITY), "strict": "unofficial"}
    small.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(small), *encoder.encode(None)))


def _read(source: BinaryIO) -> bytes | None:
    head = source.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    if length > MOST_MOVIE_BYTES:
        return None
    movie = source.read(length)
    return movie if len(movie) == length else None


def _rehearse() -> None:
    """One picture of our own, all the way: PyAV imports some modules only when first needed."""
    movie = io.BytesIO()
    with av.open(movie, mode="w", format="mp4") as container:
        painter = container.add_stream("mjpeg", rate=1)
        painter.width, painter.height, painter.pix_fmt = 16, 16, "yuvj420p"
        for packet in (*painter.encode(VideoFrame(16, 16, "yuvj420p")), *painter.encode(None)):
            container.mux(packet)
    still(movie.getvalue())


def _confine() -> None:
    """After the imports: nothing needs to be opened any more."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.nice(10)
    av.logging.set_level(None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    # Descriptors 0 to 2 stay; a number above them can no longer be given out, so no file and no socket opens.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


if __name__ == "__main__":
    main()
