"""The demo camera's microphone: distant traffic, and a tone at every full second."""

from __future__ import annotations

import array
import math
import random
from collections.abc import Iterator

import av

AAC_RATE = 16_000
AAC_SAMPLES = 1024
PCMA_RATE = 8_000
PCMA_SAMPLES = 320

_TONE_S = 0.08
_TONE_HZ = 880


class Microphone:
    """One sound track. codec: "aac" or "pcma". A frame is `samples` samples at `rate` a second, one channel.

    config: the AudioSpecificConfig of AAC, empty for G.711.
    """

    def __init__(self, codec: str, seed: int) -> None:
        self.rate, self.samples = (AAC_RATE, AAC_SAMPLES) if codec == "aac" else (PCMA_RATE, PCMA_SAMPLES)
        self._loop = _one_second(self.rate, seed)
        context = av.CodecContext.create("aac" if codec == "aac" else "pcm_alaw", "w")
        assert isinstance(context, av.AudioCodecContext)
        self._format = "fltp" if codec == "aac" else "s16"
        context.sample_rate = self.rate
        context.layout = "mono"
        context.format = self._format
        if codec == "aac":
            context.bit_rate = 48_000
        context.open()
        self._context = context
        self.config = bytes(context.extradata or b"")

    def record(self, pts: int, phase: int) -> Iterator[bytes]:
        """The coded frames for the samples from pts on. phase: samples since a full second at pts 0."""
        at = (pts + phase) % self.rate
        wave = self._loop[at : at + self.samples]
        while len(wave) < self.samples:
            wave += self._loop[: self.samples - len(wave)]
        frame = av.AudioFrame(self._format, "mono", self.samples)
        frame.sample_rate = self.rate
        frame.pts = pts
        if self._format == "s16":
            data = array.array("h", [round(level * 32_767) for level in wave]).tobytes()
        else:
            data = array.array("f", wave).tobytes()
        plane = frame.planes[0]
        plane.update(data + bytes(plane.buffer_size - len(data)))
        for packet in self._context.encode(frame):
            yield bytes(packet)


def _one_second(rate: int, seed: int) -> list[float]:
    """A second of low noise that can be repeated, with the tone at its beginning. Levels from -1 to 1."""
    rng = random.Random(seed)  # noqa: S311 - a sound for a demo
    wave: list[float] = []
    rumble = 0.0
    for i in range(rate):
        rumble = 0.97 * rumble + 0.03 * rng.uniform(-1, 1)
        fade = min(1.0, i / 200, (rate - i) / 200)
        tone_left = _TONE_S - i / rate
        tone = (
            math.sin(2 * math.pi * _TONE_HZ * i / rate) * min(1.0, tone_left * 50) if tone_left > 0 else 0.0
        )
        wave.append(0.25 * rumble * fade + 0.2 * tone)
    return wave
