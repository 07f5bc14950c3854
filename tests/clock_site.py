"""A site whose clocks are the test's: one camera, the recorder, the index, the clock's keeper and retention.

Time is virtual: pictures come one after the other as fast as the test can deal them out, while the clocks
that everything is given show what the scenario says. Files, index and messages are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

import media_samples
from media_samples import Unit, video_packets
from recorded_streams import track_samples
from recorder_bench import KEY, Bench, bench, eventually
from simpang.clock import Reading
from simpang.clock_keeper import ClockKeeper
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.insertion import insert_run
from simpang_buffer.index.retention import Limits, Retention, Space
from simpang_buffer.media.fmp4 import VIDEO_TRACK
from simpang_buffer.model import AnchorSource, GapReason, RunHeader, Segment, StreamKey
from simpang_buffer.recording import protocol, recorder
from simpang_buffer.recording.clock_word import ClockWord
from simpang_buffer.recording.recorder import Recorder
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.recording.tick import Tick
from simpang_buffer.rtsp.sdp import Track
from simpang_buffer.rtsp.session import RtpPacket, SetUpTrack, Source

BOOT_ID = "3b1f8a52-0000-4000-8000-000000000001"
# When the machine really booted.
TRUE_BOOT_US = 1_795_000_000_000_000
DAY_US = 86_400_000_000
# Long before anything of the scenario, and not too old to keep.
ARCHIVE_DAYS = 29
ARCHIVE = StreamKey("archive", "main")
FPS = 15
_KEY_EVERY = 15


@dataclass
class Clocks:
    """boot_us: since the machine booted. asleep_us: of that it was suspended so long. wall_us: what the wall
    clock shows. synchronised: what the kernel says of it."""

    boot_us: int = 30_000_000
    asleep_us: int = 0
    wall_us: int = TRUE_BOOT_US + 30_000_000
    synchronised: bool = True
    slew_ppm: int = 0

    @property
    def true_us(self) -> int:
        return TRUE_BOOT_US + self.boot_us

    def go_on(self, us: int) -> None:
        self.boot_us += us
        self.wall_us += us + us * self.slew_ppm // 1_000_000

    def reading(self) -> Reading:
        return Reading(self.wall_us, self.boot_us, self.synchronised, 0.0 if self.synchronised else None)


class PlayedSession:
    """What the recorder takes for its session: packets that were put in by hand."""

    def __init__(self) -> None:
        self.tracks = [SetUpTrack(0, Track("video", 96, "H264", 90_000), None)]
        self.offered: list[Track] = []
        self.counts: dict[str, int] = {}
        self.drained = True
        self._waiting: list[RtpPacket] = []

    def put(self, packets: Sequence[bytes]) -> None:
        self._waiting += [RtpPacket(0, memoryview(packet)) for packet in packets]

    def read_available(self, budget_bytes: int) -> list[RtpPacket]:
        found, self._waiting = self._waiting, []
        return found

    async def maintain(self) -> None:
        await asyncio.Event().wait()


@dataclass
class ClockSite:
    """`play` some seconds, turn `clocks` in between, `end` it, and look at what is left."""

    clocks: Clocks
    at: Bench
    index: Index
    keeper: ClockKeeper
    retention: Retention
    tick: Tick
    session: PlayedSession
    packets: Iterator[tuple[Unit, list[bytes]]]
    sent: list[bytes] = field(default_factory=list)
    # When each picture was really taken.
    taken_us: list[int] = field(default_factory=list)
    # What the wall clock showed then.
    shown_us: list[int] = field(default_factory=list)
    evicted: int = 0
    _heard: int = 0
    _looks: int = 0
    _opened: set[tuple[int, int]] = field(default_factory=set)

    async def play(self, seconds: float) -> None:
        """The camera sends, the clocks go on, and each second everybody looks at them."""
        for number in range(int(seconds * FPS)):
            unit, packets = next(self.packets)
            self.sent.append(unit.data)
            self.taken_us.append(self.clocks.true_us)
            self.shown_us.append(self.clocks.wall_us)
            self.session.put(packets)
            self.clocks.go_on(1_000_000 // FPS)
            self.tick.turn(self.at.around.monotonic())
            if number % FPS == 0:
                await self.look()

    async def look(self) -> None:
        await asyncio.sleep(0)
        await self._hear()
        await self.keeper.look()
        if self._looks % 5 == 0:
            self.evicted += await self.retention.run_once()
        self._looks += 1

    async def settle(self) -> None:
        """Files that were finished are closed and known, and what follows from that is done."""
        finished = max((place for place in self._opened), default=None)
        async with asyncio.timeout(15):
            while any(place != finished for place in self._opened):
                await asyncio.sleep(0.02)
                await self._hear()
        await self.look()

    def tell_clock(self, word: ClockWord) -> None:
        self.at.around.clock.word = word

    def is_open(self, key: StreamKey, run: int) -> bool:
        return any(of == run for of, _ in self._opened)

    def samples(self) -> list[bytes]:
        """Each picture that was recorded, in the order of runs and files."""
        media = self.at.around.places.now().path
        return [data for path in sorted(media.rglob("*.mp4")) for _, data in track_samples(path, VIDEO_TRACK)]

    async def rows(self) -> list[Segment]:
        return await rows_of(self.index)

    async def _hear(self) -> None:
        """As the daemon does it."""
        while self._heard < len(self.at.said):
            message = self.at.said[self._heard]
            self._heard += 1
            fields = message.fields
            if message.kind == "opened":
                self._opened.add((fields["run"], fields["seq"]))
                header = protocol.run_header(KEY, fields)
                async with self.index.db.transaction() as tx:
                    await insert_run(tx, KEY, header, fields["width"], fields["height"])
            elif message.kind == "closed":
                self._opened.discard((fields["run"], fields["seq"]))
                if fields["segment"] is not None:
                    await self.index.add_segment(protocol.segment(KEY, fields["segment"]))


@contextlib.asynccontextmanager
async def clock_site(
    folder: Path, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, *, max_days: float = ARCHIVE_DAYS + 1
) -> AsyncIterator[tuple[ClockSite, Any]]:
    """The site, and what ends the camera's session: afterwards every file is closed and known."""
    (media := folder / "media").mkdir()
    units = media_samples.video("h264", frames=60, width=64, height=48, key_every=_KEY_EVERY)
    session = PlayedSession()

    @contextlib.asynccontextmanager
    async def opened(*_: object, **__: object) -> AsyncIterator[PlayedSession]:
        yield session

    monkeypatch.setattr(recorder, "open_session", opened)
    tick = Tick(monotonic=lambda: (clocks.boot_us - clocks.asleep_us) / 1e6)
    made: list[ClockSite] = []
    async with open_index(folder / "index.db", media) as index, bench(media, segment_s=10.0) as at:
        at.around = dataclasses.replace(
            at.around,
            tick=tick,
            now_us=lambda: clocks.wall_us,
            monotonic=lambda: (clocks.boot_us - clocks.asleep_us) / 1e6,
            boot_us=lambda: clocks.boot_us,
        )
        keeper = ClockKeeper(
            index,
            cast(Any, _Late(made)),
            BOOT_ID,
            read=clocks.reading,
            set_us=lambda us: setattr(clocks, "wall_us", us),
        )
        await _archive(index, clocks)
        retention = Retention(
            index,
            lambda total: Limits(max_bytes=10**12, min_free_bytes=0, max_days=max_days),
            now_us=lambda: clocks.wall_us,
            clock_trusted=lambda: keeper.clock().ages_believed,
            spaces=lambda: {1: Space(10**13, 10**13)},
        )
        site = ClockSite(clocks, at, index, keeper, retention, tick, session, _numbered(units))
        made.append(site)
        await keeper.prepare()
        source = Source("rtsp://127.0.0.1/", "127.0.0.1", 554)
        one = Recorder(StreamSpec(KEY, source), at.around, first_run=1, previous_end=None)
        task = asyncio.create_task(one.run_once())
        await eventually(lambda: tick._members)

        async def end() -> None:
            # What was put last is read on the next beat.
            clocks.go_on(200_000)
            tick.turn(at.around.monotonic())
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            at.around.reporter.leave(KEY, GapReason.DISABLED)
            await eventually(lambda: at.count("idle"))
            await site.settle()

        try:
            yield site, end
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def rows_of(index: Index) -> list[Segment]:
    """The camera's, in the order of recording."""
    rows = await index.segments(KEY, -(1 << 60), 1 << 60)
    return sorted(rows, key=lambda row: (row.run, row.seq))


class _Late:
    """Stands for the recorders until the site is made."""

    def __init__(self, made: list[ClockSite]) -> None:
        self._made = made

    def tell_clock(self, word: ClockWord) -> None:
        self._made[0].tell_clock(word)

    def is_open(self, key: StreamKey, run: int) -> bool:
        return self._made[0].is_open(key, run)


def _numbered(units: Sequence[Unit]) -> Iterator[tuple[Unit, list[bytes]]]:
    """The pictures again and again, their stamps going on; each tells which it is."""
    seq, number = 65_000, 0
    while True:
        for unit in units:
            mark = b"\x06\x05\x12" + bytes(range(16)) + (number % 10_000 + 256).to_bytes(2, "big") + b"\x80"
            made = Unit((*unit.nals[:-1], mark, unit.nals[-1]), 0, unit.key)
            packets = video_packets("h264", [made], first_seq=seq, first_time=0xFFFF_0000 + 6000 * number)
            seq, number = seq + len(packets), number + 1
            yield made, packets


async def _archive(index: Index, clocks: Clocks) -> None:
    """What was recorded before: a file a day."""
    header = RunHeader(
        "site", ARCHIVE.camera, ARCHIVE.stream, 1, 0, "avc1", 0, AnchorSource.RTCP, None, None, 0
    )
    await index.add_run(header, 64, 48)
    for day in range(ARCHIVE_DAYS):
        start_us = TRUE_BOOT_US - (ARCHIVE_DAYS - day) * DAY_US
        await index.add_segment(
            Segment(ARCHIVE, 1, day, start_us, start_us + 60_000_000, 1000, 1, 1, day, 1, "avc1", 64, 48,
                    b"h" * 32, b"s" * 16)
        )  # fmt: skip
