"""Whole media files for tests, made of `media_samples`, and ffprobe's and ffmpeg's word on them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from media_samples import SoundTrack, Unit, VideoCodec, parameter_sets
from simpang_buffer.media.fmp4 import AUDIO_TRACK, VIDEO_TRACK, Sample, TrackRun, fragment, init_segment
from simpang_buffer.media.parameter_store import ParameterSetStore
from simpang_buffer.media.seal import SEAL_BYTES, first_digest, run_box, seal_box, table_box
from simpang_buffer.model import (
    AnchorSource,
    AudioFormat,
    Fragment,
    FragmentFlags,
    RunHeader,
    VideoFormat,
)

ANCHOR_US = 1_700_000_000_000_000


@dataclass(frozen=True)
class Built:
    """A file's bytes, what should be read back from it, and where each fragment's seal ends."""

    data: bytes
    header: RunHeader
    init: bytes
    fragments: tuple[Fragment, ...]
    seal: bytes
    table_at: int


def video_format_of(codec: VideoCodec, units: Sequence[Unit]) -> VideoFormat:
    store = ParameterSetStore("H264" if codec == "h264" else "H265", parameter_sets(codec, units))
    found = store.video_format
    assert found is not None
    return found


def run_header(codec: str = "avc1.42c00c", **changes: object) -> RunHeader:
    fields: dict[str, object] = {
        "site": "digulis",
        "camera": "digulis-1",
        "stream": "main",
        "run": 3,
        "seq": 7,
        "codec": codec,
        "anchor_us": ANCHOR_US,
        "anchor_source": AnchorSource.ARRIVAL,
        "camera_offset_us": None,
        "previous_end": None,
        "first_chunk": 12,
    }
    return RunHeader(**{**fields, **changes})  # type: ignore[arg-type]  # a bag of the dataclass's own fields


def timed(units: Sequence[Unit], frame_ticks: int, first: int = 0) -> list[tuple[int, Sample]]:
    """(decode time, sample): frame_ticks apart, no picture shown before it is decoded."""
    late = max(number * frame_ticks - unit.pts for number, unit in enumerate(units))
    samples = []
    for number, unit in enumerate(units):
        dts = number * frame_ticks
        samples.append((first + dts, Sample(unit.data, frame_ticks, unit.pts + late - dts, unit.key)))
    return samples


def build_file(
    codec: VideoCodec,
    units: Sequence[Unit],
    *,
    sound: SoundTrack | None = None,
    audio: AudioFormat | None = None,
    per_fragment: int = 5,
    frame_ticks: int = 6000,
    first_tick: int = 0,
    closed: bool = True,
    header: RunHeader | None = None,
) -> Built:
    """ftyp moov uuid(run) {moof mdat uuid(seal)}* [table], fragments of a fixed number of pictures."""
    video = video_format_of(codec, units)
    header = header or run_header(video.codec)
    init = init_segment(video, audio)
    data = bytearray(init + run_box(header))
    seal = first_digest(data)
    samples = timed(units, frame_ticks, first_tick)
    fragments: list[Fragment] = []
    frames = list(sound.frames) if sound else []
    for start in range(0, len(samples), per_fragment):
        part = samples[start : start + per_fragment]
        decode_time, duration = part[0][0], frame_ticks * len(part)
        runs = [TrackRun(VIDEO_TRACK, decode_time, [sample for _, sample in part])]
        if sound and audio:
            until = (decode_time - first_tick + duration) * sound.rate // 90_000
            last = start + per_fragment >= len(samples)
            here = [frame for frame in frames if last or frame.pts < until]
            frames = frames[len(here) :]
            if here:
                base = here[0].pts + first_tick * sound.rate // 90_000
                runs.append(TrackRun(AUDIO_TRACK, base, [Sample(f.data, f.samples) for f in here]))
        buffers = fragment(len(fragments) + 1, runs)
        flags = FragmentFlags.KEY if part[0][1].key else FragmentFlags.NONE
        wall_us = ANCHOR_US + decode_time * 100 // 9
        size = sum(map(len, buffers))
        fragments.append(Fragment(len(data), size, decode_time, duration, wall_us, flags, len(part)))
        sealed, seal = seal_box(seal, buffers, wall_us, flags)
        data += b"".join(buffers) + sealed
    table_at = len(data)
    assert table_at == fragments[-1].offset + fragments[-1].size_bytes + SEAL_BYTES
    if closed:
        data += table_box(fragments, seal)
    return Built(bytes(data), header, init, tuple(fragments), seal, table_at)


@dataclass(frozen=True)
class Probed:
    """ffprobe's reading. pts and dts: 90 kHz ticks of the video packets."""

    codec: str
    width: int
    height: int
    packets: int
    frames: int
    pts: tuple[int, ...]
    dts: tuple[int, ...]
    keys: tuple[bool, ...]
    audio_codec: str | None
    audio_packets: int


def probe(path: Path) -> Probed:
    """Every packet and every decoded frame; any complaint fails."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-count_packets", "-show_streams", "-show_packets"]
    done = subprocess.run(
        [*command, "-of", "json", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    found = json.loads(done.stdout)
    streams = {stream["codec_type"]: stream for stream in found["streams"]}
    video, audio = streams["video"], streams.get("audio")
    packets = [packet for packet in found["packets"] if packet["stream_index"] == video["index"]]
    return Probed(
        codec=video["codec_name"],
        width=video["width"],
        height=video["height"],
        packets=int(video["nb_read_packets"]),
        frames=int(video["nb_read_frames"]),
        pts=tuple(packet["pts"] for packet in packets),
        dts=tuple(packet["dts"] for packet in packets),
        keys=tuple("K" in packet["flags"] for packet in packets),
        audio_codec=audio["codec_name"] if audio else None,
        audio_packets=int(audio["nb_read_packets"]) if audio else 0,
    )


def decode_errors(path: Path) -> str:
    """What ffmpeg says when it decodes everything and stops at the first error: nothing, if all is well."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stderr + (f"exit {done.returncode}" if done.returncode else "")
