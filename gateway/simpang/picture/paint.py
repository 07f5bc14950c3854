"""`python -m simpang.picture.paint`: paints and encodes a demo camera's streams, writes them to its output.

What it writes is described in wire.py. On standard input it takes single bytes: "0" or "1" asks for a key
frame of the main or the sub stream. It ends when either pipe closes, so it never outlives the camera that
started it.
"""

from __future__ import annotations

import argparse
import os
import select
import time
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simpang.picture.encode import TICKS_PER_SECOND, VideoEncoder
from simpang.picture.scene import Scene
from simpang.picture.sound import Microphone
from simpang.picture.traffic import Traffic
from simpang.picture.wire import Kind, Painted, pack

# Behind by more than this, pictures are left out instead of painted late.
_MAX_LATE_S = 0.25
# Key frames on request come at most this often: each costs as much as ten other pictures.
_KEY_PAUSE_S = 0.5
# The gateway that is being shown goes first.
_NICENESS = 5
_SIZES = ((1280, 720, 15, 2_000_000), (640, 360, 10, 500_000))
_SOUND = 2
_INPUT, _OUTPUT = 0, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Paint until the pipes close."""
    parser = argparse.ArgumentParser(prog="python -m simpang.picture.paint", description=__doc__)
    parser.add_argument("--name", default="Demo")
    parser.add_argument("--codec", choices=("h264", "h265"), default="h264")
    parser.add_argument("--audio", choices=("none", "aac", "pcma"), default="none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--time-zone", default="UTC")
    args = parser.parse_args(argv)
    os.nice(_NICENESS)
    zone = zoneinfo.ZoneInfo(args.time_zone)
    videos = [
        Video(
            track,
            Scene(args.name, width, height, args.seed, zone),
            VideoEncoder(args.codec, width, height, fps, rate),
            fps,
        )
        for track, (width, height, fps, rate) in enumerate(_SIZES)
    ]
    sound = Sound(Microphone(args.audio, args.seed)) if args.audio != "none" else None
    try:
        for painted in _perform(videos, sound, Traffic(args.seed)):
            _write(_OUTPUT, pack(painted))
    except BrokenPipeError:
        return 0
    return 0


@dataclass(slots=True)
class Video:
    """A stream and how far it is. number: of the next picture since the start."""

    track: int
    scene: Scene
    encoder: VideoEncoder
    fps: int
    number: int = 0
    key_wanted: bool = False
    last_key_s: float = 0.0

    def due_s(self) -> float:
        return self.number / self.fps

    def work(self, traffic: Traffic, wall_us: int) -> Iterator[Painted]:
        pts = self.number * TICKS_PER_SECOND // self.fps
        key = self.key_wanted and self.due_s() - self.last_key_s >= _KEY_PAUSE_S
        for out_pts, is_key, data in self.encoder.encode(self.scene.paint(traffic, wall_us), pts, key=key):
            if is_key:
                self.key_wanted = False
                self.last_key_s = self.due_s()
            kind = Kind.KEY_PICTURE if is_key else Kind.PICTURE
            yield Painted(kind, self.track, out_pts, TICKS_PER_SECOND // self.fps, wall_us, data)
        self.number += 1

    def skip(self, now_s: float) -> None:
        """Leave out what is late beyond repair."""
        if now_s - self.due_s() > _MAX_LATE_S:
            self.number = int(now_s * self.fps) + 1


@dataclass(slots=True)
class Sound:
    """The sound track and how far it is. phase: samples since a full second when the track began."""

    microphone: Microphone
    number: int = 0
    phase: int = 0

    def due_s(self) -> float:
        return (self.number + 1) * self.microphone.samples / self.microphone.rate

    def work(self, wall_us: int) -> Iterator[Painted]:
        samples = self.microphone.samples
        pts = self.number * samples
        if self.number == 0:
            yield Painted(Kind.CONFIG, _SOUND, 0, 0, wall_us, self.microphone.config)
        for data in self.microphone.record(pts, self.phase):
            # Due when its last sample is heard, stamped with when its first one was.
            first_us = wall_us - samples * 1_000_000 // self.microphone.rate
            yield Painted(Kind.SOUND, _SOUND, pts, samples, first_us, data)
        self.number += 1


def _perform(videos: Sequence[Video], sound: Sound | None, traffic: Traffic) -> Iterator[Painted]:
    start = time.monotonic()
    if sound is not None:
        sound.phase = int(time.time() % 1 * sound.microphone.rate)
    moved_s = 0.0
    while True:
        video = min(videos, key=Video.due_s)
        due_s = video.due_s()
        if sound is not None and sound.due_s() < due_s:
            if not _wait(start + sound.due_s(), videos):
                return
            yield from sound.work(_wall_us(start + sound.due_s()))
            continue
        if not _wait(start + due_s, videos):
            return
        video.skip(time.monotonic() - start)
        due_s = video.due_s()
        traffic.step(max(0.0, due_s - moved_s))
        moved_s = max(moved_s, due_s)
        yield from video.work(traffic, _wall_us(start + due_s))


def _wall_us(monotonic_s: float) -> int:
    """The wall clock at an instant of the monotonic clock: pictures are stamped when due, like a sensor's."""
    return time.time_ns() // 1000 - round((time.monotonic() - monotonic_s) * 1_000_000)


def _wait(until_s: float, videos: Sequence[Video]) -> bool:
    """Sleep until an instant and take requests for key frames; False once our camera is gone."""
    while True:
        ready, _, _ = select.select([_INPUT], [], [], max(0.0, until_s - time.monotonic()))
        if not ready:
            return True
        asked = os.read(_INPUT, 64)
        if not asked:
            return False
        for video in videos:
            if str(video.track).encode() in asked:
                video.key_wanted = True


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


if __name__ == "__main__":
    raise SystemExit(main())
