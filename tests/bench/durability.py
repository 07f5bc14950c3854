"""What durability costs: disk flushes and bytes written, on a block device, by file system and `flush_s`.

    durability.py [--systems ext4,xfs,btrfs] [--streams 16,44] [--flush 0.5,1,2,5] [--seconds 90] [--old]

N streams of 3.5 Mbit/s go through the real segment writer, disk thread, reports and index, whose database
lies on the same device, as it does on most gateways: a file of this machine as a loop device, in a mount
namespace of its own (needs root). Counted is what the kernel counts of the device
(Documentation/admin-guide/iostats): flush requests and sectors written. A loop device has no FUA, as many
disks have none, so a commit of a journal is two flushes. --old: beside it, one fdatasync per file and no
space ahead. One line for each, as JSON with --json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from simpang_buffer.index.index import Index, open_index
from simpang_buffer.media.boxes import scan
from simpang_buffer.model import AccessUnit, AnchorSource, StreamKey, VideoFormat
from simpang_buffer.recording.file_calls import FileCalls
from simpang_buffer.recording.file_systems import Choice, FileSystems, Method
from simpang_buffer.recording.places import only
from simpang_buffer.recording.protocol import Message, run_fields, segment_fields
from simpang_buffer.recording.row_writer import RowWriter
from simpang_buffer.recording.segment_writer import RunStart, SegmentWriter
from simpang_buffer.recording.sync import Disk, FileClosed, FileFailed, FileOpened, Report

IMAGE_BYTES = 6 << 30
SECTOR = 512
FPS = 25
TICKS = 90_000 // FPS
KEY_EVERY = 2 * FPS
KEY_BYTES, OTHER_BYTES = 91_000, 16_000
SEGMENT_S = 60
# Until each stream has had its first file, before which nobody knows how large they become.
WARM_S = 70.0
_PICTURES = os.urandom(1 << 20)
# ISO/IEC 14496-12 section 12.1.3 and 14496-15 section 5.4.2.1, without parameter sets: nobody decodes this.
_CONFIGURATION = b"\0\0\0\x0favcC\x01\x64\0\x28\xff\xe0\0"
_ENTRY = (86 + len(_CONFIGURATION)).to_bytes(4, "big") + b"avc1" + bytes(78) + _CONFIGURATION
_INSIDE = "SIMPANG_BENCH_INSIDE"


@dataclass(frozen=True)
class Device:
    """The counters of a block device since boot."""

    flushes: int
    written_bytes: int

    @staticmethod
    def now(stat: Path) -> Device:
        fields = [int(word) for word in stat.read_text().split()]
        return Device(fields[15], fields[6] * SECTOR)


@dataclass
class Measured:
    """flushes: per flush_s, and at most between two commits of media, the index's in between. bytes_ratio:
    written to the device per byte of media, index included."""

    system: str
    way: str
    streams: int
    flush_s: float
    flushes: float
    flushes_at_most: int
    bytes_ratio: float
    media_mb: float
    lost_frames: int
    seconds: float


@dataclass(frozen=True)
class Sample:
    """After a commit. media_bytes: written to media files until then."""

    at_s: float
    device: Device
    media_bytes: int


class WatchedCalls(FileCalls):
    """Looks at the device after each commit of the group, when nothing waits to be written."""

    def __init__(self, stat: Path) -> None:
        self._stat = stat
        self._media_bytes = 0
        self.samples: list[Sample] = []

    def groups(self, from_s: float, flush_s: float) -> list[Sample]:
        """The last sample of each group: with one sync for each file there are many."""
        after = [one for one in self.samples if one.at_s >= from_s]
        return [one for one, next_one in pairwise(after) if next_one.at_s - one.at_s > flush_s / 3]

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        done = super().write(fd, buffers)
        self._media_bytes += done
        return done

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self._look()

    def commit_journal(self, fd: int) -> None:
        super().commit_journal(fd)
        self._look()

    def sync_file_system(self, fd: int) -> None:
        super().sync_file_system(fd)
        self._look()

    def _look(self) -> None:
        self.samples.append(Sample(time.monotonic(), Device.now(self._stat), self._media_bytes))


class OneByOne(FileSystems):
    """As before there were group commits."""

    def choice(self, folder: Path) -> Choice:
        return Choice(Method.EACH, False, "asked for")


@dataclass
class Stream:
    """A camera that sends as it should, from a moment of its own."""

    key: StreamKey
    writer: SegmentWriter
    begins_s: float
    sent: int = 0


async def measure(
    folder: Path, stat: Path, system: str, *, streams: int, flush_s: float, seconds: float, old: bool
) -> Measured:
    """Records into an empty file system."""
    calls = WatchedCalls(stat)
    media = folder / "media"
    media.mkdir()
    loop = asyncio.get_running_loop()
    said: asyncio.Queue[Message] = asyncio.Queue()
    failed: list[FileFailed] = []

    def take(reports: Sequence[Report]) -> None:
        for report in reports:
            if isinstance(report, FileFailed):
                failed.append(report)
            elif (message := _message(report)) is not None:
                said.put_nowait(message)

    def report(reports: Sequence[Report]) -> None:
        loop.call_soon_threadsafe(take, reports)

    async with open_index(folder / "index.db") as index:
        rows = RowWriter(index, _nothing_more, lambda: None)
        writing = asyncio.create_task(rows.run(), name="rows")
        hearing = asyncio.create_task(_hear(said, rows), name="hearing")
        disk = Disk(report, flush_s=flush_s, calls=calls, file_systems=OneByOne() if old else FileSystems())
        with disk:
            sources = [_stream(number, media, streams) for number in range(streams)]
            began = time.monotonic()
            await _send(sources, disk, began, WARM_S)
            measured_from = time.monotonic()
            await _send(sources, disk, began, WARM_S + seconds)
            samples = calls.groups(measured_from, flush_s)
            for one in sources:
                disk.submit(one.writer.finish())
        await asyncio.sleep(0)
        while not said.empty():
            await asyncio.sleep(0.01)
        await rows.flushed()
        lost = sum(one.sent for one in sources) - await _frames(index, media, sources)
        for task in (writing, hearing):
            task.cancel()
        await asyncio.wait([writing, hearing])
    assert not failed, failed
    first, last = samples[0], samples[-1]
    lasted_s = last.at_s - first.at_s
    media_bytes = last.media_bytes - first.media_bytes
    written_bytes = last.device.written_bytes - first.device.written_bytes
    return Measured(
        system=system,
        way="each file" if old else "group",
        streams=streams,
        flush_s=flush_s,
        flushes=round((last.device.flushes - first.device.flushes) * flush_s / lasted_s, 2),
        flushes_at_most=max(b.device.flushes - a.device.flushes for a, b in pairwise(samples)),
        bytes_ratio=round(written_bytes / media_bytes, 4),
        media_mb=round(media_bytes / 1e6, 1),
        lost_frames=lost,
        seconds=round(lasted_s, 1),
    )


async def _send(sources: Sequence[Stream], disk: Disk, began: float, until_s: float) -> None:
    """In real time, on the recorders' beat."""
    video = VideoFormat("avc1.640028", 1920, 1080, _ENTRY)
    while (now_s := time.monotonic() - began) < until_s:
        for one in sources:
            steps = []
            while one.begins_s + one.sent / FPS <= now_s:
                steps += one.writer.add_picture(_picture(one.sent), video)
                one.sent += 1
            if steps:
                disk.submit(steps)
        await asyncio.sleep(0.09)


def _picture(number: int) -> AccessUnit:
    key = number % KEY_EVERY == 0
    size = KEY_BYTES if key else OTHER_BYTES
    at = number * 7919 % (len(_PICTURES) - size)
    return AccessUnit(True, number * TICKS, 0, key, _PICTURES[at : at + size], number * 40_000)


def _stream(number: int, media: Path, streams: int) -> Stream:
    key = StreamKey(f"camera-{number:02}", "main")
    anchor_us = time.time_ns() // 1000
    writer = SegmentWriter(
        RunStart("bench", key, 1, None, None),
        only(media),
        None,
        lambda: (anchor_us, AnchorSource.ARRIVAL),
        segment_s=SEGMENT_S,
    )
    # Their files begin spread over half a minute, as cameras do that were adopted one by one.
    return Stream(key, writer, begins_s=number * SEGMENT_S / 2 / streams)


def _message(report: Report) -> Message | None:
    header = report.file.head.header
    if isinstance(report, FileOpened):
        return Message("opened", header.key, run_fields(header) | {"width": 1920, "height": 1080})
    if isinstance(report, FileClosed) and report.segment is not None:
        place = {"run": header.run, "seq": header.seq}
        return Message("closed", header.key, place | {"segment": segment_fields(report.segment)})
    return None


async def _hear(said: asyncio.Queue[Message], rows: RowWriter) -> None:
    while True:
        await rows.put(await said.get())


async def _nothing_more(_: Message) -> None:
    return


async def _frames(index: Index, media: Path, sources: Sequence[Stream]) -> int:
    """What the rows say, and the files hold."""
    frames = 0
    for one in sources:
        for segment in await index.segments_of_run(one.key, 1):
            frames += segment.frames
            with (media / segment.path).open("rb") as file:
                found = scan(file)
                assert found.closed and sum(f.frames for f in found.fragments) == segment.frames
    return frames


@contextlib.contextmanager
def file_system(system: str, scratch: Path) -> Iterator[tuple[Path, Path]]:
    """(where it is mounted, the device's `stat`): empty, on a loop device."""
    image, point = scratch / "image", scratch / "mounted"
    point.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    made = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True)
    device = made.stdout.strip()
    try:
        # ext4 would else zero its tables in the first minutes of its life, which is no cost of ours.
        whole = ["-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
        options = {"ext4": whole, "xfs": ["-f"], "btrfs": ["-f"]}[system]
        subprocess.run([f"mkfs.{system}", "-q", *options, device], check=True)
        subprocess.run(["mount", device, point], check=True)
        try:
            yield point, Path("/sys/block", Path(device).name, "stat")
        finally:
            subprocess.run(["umount", point], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
        image.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--systems", default="ext4")
    parser.add_argument("--streams", default="16,44")
    parser.add_argument("--flush", default="0.5,1,2,5")
    parser.add_argument("--seconds", type=float, default=90, help="measured, after 70 s of warming up")
    parser.add_argument("--old", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--scratch", type=Path, help="a folder on a real disk; by default a temporary one")
    options = parser.parse_args()
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "yes"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    if not options.json:
        print("system  way        streams  flush_s  flushes (most)  bytes/byte  lost frames")
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        for system in options.systems.split(","):
            for streams in map(int, options.streams.split(",")):
                for flush_s in map(float, options.flush.split(",")):
                    for old in (False, True) if options.old else (False,):
                        with file_system(system, Path(scratch)) as (folder, stat):
                            found = asyncio.run(
                                measure(
                                    folder,
                                    stat,
                                    system,
                                    streams=streams,
                                    flush_s=flush_s,
                                    seconds=options.seconds,
                                    old=old,
                                )
                            )
                        _say(found, as_json=options.json)


def _say(found: Measured, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(found)), flush=True)
        return
    print(
        f"{found.system:<7} {found.way:<10} {found.streams:>7} {found.flush_s:>8} {found.flushes:>8} "
        f"({found.flushes_at_most:>3}) {found.bytes_ratio:>12} {found.lost_frames:>12}",
        flush=True,
    )


if __name__ == "__main__":
    main()
