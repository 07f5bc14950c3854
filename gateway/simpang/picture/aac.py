"""`python -m simpang.picture.aac`: G.711 in, AAC out, over two pipes.

Asked: u8 law (0 A, 1 mu), u32 samples a second, u32 length, then the samples. Answered: u16 how many frames,
then u16 length and AAC-LC of each: one for every 1,024 samples, and before them the one with which an encoder
begins; 0 for what cannot be encoded. It ends when its input closes, or after MOST_BLOCKS.
"""

from __future__ import annotations

import struct
import sys
from typing import BinaryIO

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler

from simpang.picture.confinement import allow_cpu, confine

# The process is replaced before anything that leaks has leaked much.
MOST_BLOCKS = 20_000
# Half a minute at 48 kHz; a block is a second or two.
MOST_BYTES = 2 << 20
FRAME_SAMPLES = 1024
_CPU_S_PER_BLOCK = 5
_HEAD = struct.Struct(">BII")
_LAWS = ("pcm_alaw", "pcm_mulaw")
# Speech of a telephone's width; what is left of a frame's fixed size is fill.
_BITS_PER_SAMPLE = 4


def main() -> None:
    encode("pcm_alaw", 8_000, bytes(4 * FRAME_SAMPLES))
    confine()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    for _ in range(MOST_BLOCKS):
        asked = _read(source)
        if asked is None:
            return
        allow_cpu(_CPU_S_PER_BLOCK)
        try:
            frames = encode(*asked)
        except (av.FFmpegError, ValueError, MemoryError):
            frames = []
        sink.write(struct.pack(">H", len(frames)))
        for frame in frames:
            sink.write(struct.pack(">H", len(frame)) + frame)
        sink.flush()


def encode(law: str, rate: int, samples: bytes) -> list[bytes]:
    """AAC-LC frames of one channel. Raises av.FFmpegError or ValueError."""
    decoder = av.CodecContext.create(law, "r")
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(decoder, AudioCodecContext) and isinstance(encoder, AudioCodecContext)
    decoder.sample_rate, decoder.layout = rate, "mono"
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", "fltp"
    encoder.bit_rate = rate * _BITS_PER_SAMPLE
    resampler = AudioResampler("fltp", "mono", rate)
    frames: list[bytes] = []
    for at in range(0, len(samples), FRAME_SAMPLES):
        for heard in decoder.decode(av.Packet(samples[at : at + FRAME_SAMPLES])):
            for plain in resampler.resample(heard):
                plain.pts = None
                frames += map(bytes, encoder.encode(plain))
    frames += map(bytes, encoder.encode(None))
    return frames


def _read(source: BinaryIO) -> tuple[str, int, bytes] | None:
    head = source.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    law, rate, length = _HEAD.unpack(head)
    if law >= len(_LAWS) or length > MOST_BYTES:
        return None
    samples = source.read(length)
    return (_LAWS[law], rate, samples) if len(samples) == length else None


if __name__ == "__main__":
    main()
