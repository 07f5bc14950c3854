"""Real H.264, H.265, AAC and G.711, made in memory with PyAV, and RTP packets of them.

The packetizer here is the tests' own, plain and slow, so that product code is not judged by product code.
"""

from __future__ import annotations

import functools
import itertools
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import av.logging

VideoCodec = Literal["h264", "h265"]
CLOCK = 90_000


@dataclass(frozen=True)
class Unit:
    """One encoded picture, in decode order: its NAL units as the encoder made them. pts: 90 kHz, from 0."""

    nals: tuple[bytes, ...]
    pts: int
    key: bool

    @property
    def data(self) -> bytes:
        """As MP4 stores it: each NAL unit behind its length in 4 bytes."""
        return b"".join(struct.pack(">I", len(nal)) + nal for nal in self.nals)


@dataclass(frozen=True)
class Sound:
    """One encoded audio frame. pts and samples: at the sample rate."""

    data: bytes
    pts: int
    samples: int


@dataclass(frozen=True)
class SoundTrack:
    """encoding: "MPEG4-GENERIC", "PCMA" or "PCMU". config: AudioSpecificConfig, empty for G.711."""

    encoding: str
    rate: int
    channels: int
    config: bytes
    frames: tuple[Sound, ...]


@functools.cache
def video(
    codec: VideoCodec,
    *,
    frames: int = 30,
    width: int = 320,
    height: int = 240,
    fps: int = 15,
    key_every: int = 15,
    b_frames: int = 0,
    slices: int = 1,
    noise: int = 0,
    more: str = "",
) -> tuple[Unit, ...]:
    """Pictures with parameter sets before each key frame. noise: bytes of each that do not compress. more: of
    the encoder's own settings ("aud=1").
    """
    av.logging.set_level(av.logging.PANIC)
    context = av.CodecContext.create("libx264" if codec == "h264" else "libx265", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, fps), Fraction(fps, 1)
    context.thread_count = 1
    settings = (
        f"keyint={key_every}:min-keyint={key_every}:scenecut=0:bframes={b_frames}:b-adapt=0:slices={slices}"
    )
    settings += f":{more}" if more else ""
    if codec == "h264":
        context.options = {"preset": "ultrafast", "x264-params": f"{settings}:threads=1"}
    else:
        quiet = "pools=1:frame-threads=1:log-level=none:repeat-headers=1:open-gop=0:info=0"
        context.options = {"preset": "ultrafast", "x265-params": f"{settings}:{quiet}"}
    units = []
    pictures = itertools.chain(_pictures(frames, width, height, fps, noise), [None])
    for packet in itertools.chain.from_iterable(map(context.encode, pictures)):
        assert packet.pts is not None
        nals = tuple(split(bytes(packet)))
        units.append(Unit(nals, packet.pts * CLOCK // fps, packet.is_keyframe))
    assert len(units) == frames
    return tuple(units)


@functools.cache
def mjpeg(*, frames: int = 15, width: int = 320, height: int = 240) -> tuple[bytes, ...]:
    """Whole JPEG pictures, as a file keeps them."""
    context = av.CodecContext.create("mjpeg", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
    context.time_base, context.thread_count = Fraction(1, 15), 1
    plain = _pictures(frames, width, height, 15, 0)
    jpegs = (frame.reformat(format="yuvj420p") for frame in plain)
    packets = itertools.chain.from_iterable(map(context.encode, itertools.chain(jpegs, [None])))
    return tuple(bytes(packet) for packet in packets)


@functools.cache
def aac(*, seconds: float = 2.0, rate: int = 16_000, channels: int = 1) -> SoundTrack:
    """AAC-LC, frames of 1024 samples."""
    context = _sound_encoder("aac", rate, channels, "fltp")
    sounds: list[Sound] = []
    tone = itertools.chain(_tone(seconds, rate, channels, "fltp", 1024), [None])
    for packet in itertools.chain.from_iterable(map(context.encode, tone)):
        sounds.append(Sound(bytes(packet), 1024 * len(sounds), 1024))
    config = context.extradata
    assert config
    # The encoder may add its own extension bytes; the first two are the whole AAC-LC configuration.
    return SoundTrack("MPEG4-GENERIC", rate, channels, bytes(config[:2]), tuple(sounds))


@functools.cache
def g711(encoding: Literal["PCMA", "PCMU"], *, seconds: float = 2.0, rate: int = 8_000) -> SoundTrack:
    """A-law or mu-law, frames of 20 ms."""
    samples = rate // 50
    context = _sound_encoder("pcm_alaw" if encoding == "PCMA" else "pcm_mulaw", rate, 1, "s16")
    sounds: list[Sound] = []
    tone = itertools.chain(_tone(seconds, rate, 1, "s16", samples), [None])
    for packet in itertools.chain.from_iterable(map(context.encode, tone)):
        sounds.append(Sound(bytes(packet), samples * len(sounds), samples))
    return SoundTrack(encoding, rate, 1, b"", tuple(sounds))


def split(annex_b: bytes) -> Iterator[bytes]:
    """NAL units between start codes."""
    for piece in annex_b.split(b"\0\0\1"):
        nal = piece.rstrip(b"\0")
        if nal:
            yield nal


def parameter_sets(codec: VideoCodec, units: Sequence[Unit]) -> list[bytes]:
    """VPS, SPS and PPS of the first key frame, as an SDP would list them."""
    kinds = (7, 8) if codec == "h264" else (32, 33, 34)
    return [nal for nal in units[0].nals if nal_kind(codec, nal) in kinds]


def without_parameter_sets(codec: VideoCodec, units: Sequence[Unit]) -> list[Unit]:
    """The same pictures from a camera that sends its parameter sets in the SDP only."""
    sets = parameter_sets(codec, units)
    return [Unit(tuple(n for n in unit.nals if n not in sets), unit.pts, unit.key) for unit in units]


def nal_kind(codec: VideoCodec, nal: bytes) -> int:
    return nal[0] & 31 if codec == "h264" else nal[0] >> 1 & 63


def rtp_packet(
    payload: bytes,
    *,
    seq: int,
    time: int,
    marker: bool = False,
    payload_type: int = 96,
    ssrc: int = 0x5151_5151,
) -> bytes:
    """RFC 3550 section 5.1, no extension."""
    second = 0x80 * marker | payload_type
    return struct.pack(">BBHII", 0x80, second, seq & 0xFFFF, time & 0xFFFF_FFFF, ssrc) + payload


def video_packets(
    codec: VideoCodec,
    units: Sequence[Unit],
    *,
    first_seq: int = 65_530,
    first_time: int = 0xFFFF_F000,
    mtu: int = 1400,
) -> list[bytes]:
    """RTP packets of pictures: single NAL units and FU (RFC 6184, RFC 7798). Both counters wrap early."""
    packets: list[bytes] = []
    for unit in units:
        payloads = [p for nal in unit.nals for p in fragmented(codec, nal, mtu)]
        for number, payload in enumerate(payloads):
            packets.append(
                rtp_packet(
                    payload,
                    seq=first_seq + len(packets),
                    time=first_time + unit.pts,
                    marker=number == len(payloads) - 1,
                )
            )
    return packets


def fragmented(codec: VideoCodec, nal: bytes, mtu: int = 1400) -> list[bytes]:
    """One NAL unit as payloads of at most mtu bytes: FU-A of RFC 6184, FU of RFC 7798."""
    if len(nal) <= mtu:
        return [nal]
    if codec == "h264":
        kind, header, body = nal[0] & 31, bytes((nal[0] & 0xE0 | 28,)), nal[1:]
    else:
        kind, header, body = nal[0] >> 1 & 63, bytes((nal[0] & 0x81 | 49 << 1, nal[1])), nal[2:]
    room = mtu - len(header) - 1
    pieces = [body[at : at + room] for at in range(0, len(body), room)]
    last = len(pieces) - 1
    return [
        header + bytes((0x80 * (number == 0) | 0x40 * (number == last) | kind,)) + piece
        for number, piece in enumerate(pieces)
    ]


def _pictures(count: int, width: int, height: int, fps: int, noise: int) -> Iterator[av.VideoFrame]:
    grain = random.Random(1)
    for number in range(count):
        frame = av.VideoFrame(width, height, "yuv420p")
        for index, plane in enumerate(frame.planes):
            row = bytes((x * (1 + index) + 7 * number) & 0xFF for x in range(plane.line_size))
            body = bytearray(row * plane.height)
            if index == 0 and noise:
                body[:noise] = grain.randbytes(noise)
            plane.update(bytes(body))
        frame.pts, frame.time_base = number, Fraction(1, fps)
        yield frame


def _sound_encoder(name: str, rate: int, channels: int, sample_format: str) -> av.AudioCodecContext:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.layout = rate, "mono" if channels == 1 else "stereo"
    context.format = sample_format
    context.time_base = Fraction(1, rate)
    context.open()
    return context


def _tone(
    seconds: float, rate: int, channels: int, sample_format: str, samples: int
) -> Iterator[av.AudioFrame]:
    layout = "mono" if channels == 1 else "stereo"
    for number in range(int(seconds * rate) // samples):
        frame = av.AudioFrame(sample_format, layout, samples)
        values = [((number * samples + i) * 37 % 200 - 100) / 400 for i in range(samples)]
        if sample_format == "fltp":
            block = struct.pack(f"<{samples}f", *values)
        else:
            block = struct.pack(f"<{samples}h", *(int(v * 30_000) for v in values))
        for plane in frame.planes:
            plane.update(block.ljust(plane.buffer_size, b"\0"))
        frame.pts, frame.time_base, frame.sample_rate = number * samples, Fraction(1, rate), rate
        yield frame
