"""`python tests/bench/accuracy.py [--seconds 60] [--codec h264]`: how right the time of recorded pictures is.

A demo camera burns the time at which it paints each picture into the picture, for machines to read. It is
recorded over RTSP as any camera is, read back through `clips()` and decoded; every picture's time by the
index is laid beside the one it shows. Once the camera's sender reports anchor the run, once its arrivals do
(the recorder is made deaf to the reports). Camera and recorder are on one machine and share its clock, so
what is measured is the recorder; a camera's own clock error comes on top where reports anchor a run, its and
the network's delay where arrivals do.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame

sys.path.insert(0, str(Path(__file__).parent.parent))

from demo_identity import PASSWORD, USER, identity
from recorder_bench import KEY, bench, eventually, running
from simpang.demo.identity import STREAMS, Codec
from simpang.picture.strip import read_strip
from simpang_buffer.index.index import open_index
from simpang_buffer.media.stream_time import RunClock
from simpang_buffer.model import GapReason
from simpang_buffer.reading.clips import Part, clips
from simpang_buffer.reading.tail import no_tail
from simpang_buffer.recording import protocol
from simpang_buffer.recording.clock_word import ClockWord
from simpang_buffer.recording.recorder import Recorder
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.session import Source
from test_gateway_demo_camera import camera_process

_HOUR_US = 3_600_000_000


async def measured(folder: Path, codec: Codec, seconds: float, *, reports: bool) -> tuple[str, list[float]]:
    """What the run was anchored by, and each picture's time by the index minus the one it shows, in ms."""
    who = identity(codec=codec)
    (media := folder / "media").mkdir(parents=True)
    report = RunClock.report
    if not reports:
        RunClock.report = _deaf  # type: ignore[method-assign]  # a recorder that hears none, nothing else
    try:
        async with camera_process(who), bench(media) as at, open_index(folder / "index.db", media) as index:
            boot_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
            at.around.clock.word = ClockWord(True, time.time_ns() // 1000 - boot_us, "boot")
            source = Source(who.stream_url(STREAMS[0]), who.host, who.rtsp_port, Credentials(USER, PASSWORD))
            spec = StreamSpec(KEY, source)
            async with running(Recorder(spec, at.around, first_run=1, previous_end=None)):
                await asyncio.sleep(seconds)
            at.around.reporter.leave(KEY, GapReason.DISABLED)
            await eventually(lambda: at.count("idle"))
            for message in at.said:
                fields = message.fields
                if message.kind == "opened":
                    header = protocol.run_header(KEY, fields)
                    await index.add_run(header, fields["width"], fields["height"])
                elif message.kind == "closed" and fields["segment"] is not None:
                    await index.add_segment(protocol.segment(KEY, fields["segment"]))
            now_us = time.time_ns() // 1000
            clip = await clips(index, no_tail, KEY, now_us - _HOUR_US, now_us + _HOUR_US)
            off = [ms for part in clip.parts for ms in await asyncio.to_thread(list, _off_ms(part))]
            return header.anchor_source.value, off
    finally:
        RunClock.report = report  # type: ignore[method-assign]  # as it was


def _deaf(self: RunClock, **_: Any) -> None:
    """A report that is not heard."""


def _off_ms(part: Part) -> Iterator[float]:
    pieces = list(part.pieces())
    for path in sorted({piece.path for piece in pieces}):
        fragments = [piece.fragment for piece in pieces if piece.path == path]
        begins = [fragment.decode_time for fragment in fragments]
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            for frame in container.decode(stream):
                assert frame.pts is not None
                ticks = round(frame.pts * stream.time_base * 90_000)
                fragment = fragments[bisect_right(begins, ticks) - 1]
                at_us = fragment.start_us + (ticks - fragment.decode_time) * 100 / 9
                yield at_us / 1000 - _shown_ms(frame)


def _shown_ms(frame: VideoFrame) -> int:
    luma = frame.reformat(format="gray").planes[0]
    rows = bytes(luma)
    return read_strip(lambda x, y: rows[y * luma.line_size + x], frame.width, frame.height)


def say(what: str, off: list[float]) -> None:
    size = sorted(map(abs, off))
    print(
        f"{what:8} {len(off):5} pictures  median {statistics.median(off):+7.1f}  "
        f"95 % within {size[int(len(size) * 0.95)]:6.1f}  at most {size[-1]:6.1f} ms"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--codec", choices=("h264", "h265"), default="h264")
    options = parser.parse_args()
    print("index minus picture:")
    for reports in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            source, off = await measured(Path(folder), options.codec, options.seconds, reports=reports)
        say(source, off)


if __name__ == "__main__":
    asyncio.run(main())
