"""Runs for recording tests: real pictures as the access units that a segment writer takes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from media_samples import SoundTrack, Unit, VideoCodec, parameter_sets
from simpang_buffer.media.parameter_store import ParameterSetStore
from simpang_buffer.model import (
    AccessUnit,
    AnchorSource,
    AudioFormat,
    GapReason,
    Segment,
    StreamKey,
    VideoFormat,
)
from simpang_buffer.recording.file_calls import FileCalls
from simpang_buffer.recording.file_systems import FileSystems
from simpang_buffer.recording.group_sync import GroupSync
from simpang_buffer.recording.places import only
from simpang_buffer.recording.segment_file import SegmentFile
from simpang_buffer.recording.segment_writer import (
    FILE_LIMITS,
    AppendFragment,
    FileLimits,
    FinishFile,
    OpenFile,
    RunStart,
    SegmentWriter,
    Step,
)

KEY = StreamKey("gate", "main")
ANCHOR_US = 1_763_000_000_000_000
START = RunStart("site", KEY, 7, GapReason.TIMEOUT, None)


def anchor() -> tuple[int, AnchorSource]:
    return ANCHOR_US, AnchorSource.RTCP


def writer(
    media: Path,
    *,
    audio: AudioFormat | None = None,
    segment_s: float = 60.0,
    run: int = START.run,
    key: StreamKey = KEY,
    limits: FileLimits = FILE_LIMITS,
) -> SegmentWriter:
    start = replace(START, run=run, key=key)
    return SegmentWriter(start, only(media), audio, anchor, segment_s=segment_s, limits=limits)


def video_format(codec: VideoCodec, units: Sequence[Unit]) -> VideoFormat:
    store = ParameterSetStore("H264" if codec == "h264" else "H265", parameter_sets(codec, units))
    assert store.video_format is not None
    return store.video_format


def pictures(units: Sequence[Unit], *, from_ticks: int = 0) -> list[AccessUnit]:
    """Without B-frames, decode order is display order."""
    return [
        AccessUnit(True, from_ticks + unit.pts, 0, unit.key, unit.data, ANCHOR_US + unit.pts * 100 // 9)
        for unit in units
    ]


def sounds(track: SoundTrack) -> list[AccessUnit]:
    return [
        AccessUnit(False, frame.pts, 0, True, frame.data, ANCHOR_US + frame.pts * 1_000_000 // track.rate)
        for frame in track.frames
    ]


def perform(steps: Sequence[Step]) -> list[Any]:
    """What the disk thread would do; the rows of the files that were finished."""
    rows: list[Any] = []
    for step in steps:
        match step:
            case OpenFile(file):
                file.open()
            case AppendFragment(file, buffers, fragment, seal):
                file.append(buffers, fragment, seal)
            case FinishFile(file):
                rows.append(finished(file))
    return rows


def finished(file: SegmentFile) -> Segment | None:
    """The row of a file that is made durable by itself; None for one that held nothing and is gone."""
    if not file.fragments:
        file.close()
        file.path.unlink()
        return None
    file.close_up()
    with FileSystems() as file_systems:
        assert GroupSync(file_systems, FileCalls()).sync([file]) == {}
    file.close()
    return file.row()


def probe(path: Path) -> dict[str, Any]:
    """ffprobe's view of a file: streams and their packets; decoding it must give no error at all."""
    decode = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-f", "null", "-"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (decode.returncode, decode.stderr) == (0, "")
    entries = (
        "stream=codec_name,codec_type,width,height,nb_read_frames:packet=pts_time,dts_time,flags,stream_index"
    )
    output = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_entries", entries, "-of", "json", str(path)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(output.stdout)
    return found


def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """For tests of threads: polls with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
