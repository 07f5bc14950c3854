"""One stream's recorder in the test's own loop, where its clocks can be turned, and what it says is kept."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peer_gst import GstCamera
from simpang_buffer.media.boxes import read_header
from simpang_buffer.model import GapReason, RunHeader, StreamKey
from simpang_buffer.recording.disks import Disks
from simpang_buffer.recording.outbox import Outbox
from simpang_buffer.recording.pins import Pins
from simpang_buffer.recording.places import only
from simpang_buffer.recording.protocol import Message, receive
from simpang_buffer.recording.recorder import Recorder, Surroundings
from simpang_buffer.recording.reports import Reporter
from simpang_buffer.recording.sign_in import SignIns
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.recording.sync import Disk, Report
from simpang_buffer.recording.tick import Tick
from simpang_buffer.rtsp.errors import StreamError
from simpang_buffer.rtsp.session import BUFFER_BYTES, Source

KEY = StreamKey("gate", "main")


@dataclass
class Bench:
    """Surroundings with clocks that can be turned, and what was said to the daemon."""

    around: Surroundings
    wall_skew_us: int = 0
    monotonic_skew_s: float = 0.0
    said: list[Message] = field(default_factory=list)

    def recorder(self, camera: GstCamera, *, audio: bool = False) -> Recorder:
        source = Source(camera.url, camera.host, camera.port, camera.credentials, audio=audio)
        return Recorder(StreamSpec(KEY, source), self.around, first_run=5, previous_end=GapReason.POWER)

    def reasons(self) -> list[str | None]:
        return [message.fields["reason"] for message in self.said if message.kind == "state"]

    def count(self, kind: str) -> int:
        return sum(message.kind == kind for message in self.said)

    def runs(self) -> list[RunHeader]:
        files = sorted(self.around.places.now().path.rglob("*.mp4"))
        headers = []
        for path in files:
            with path.open("rb") as file:
                headers.append(read_header(file).run)
        return headers


@contextlib.asynccontextmanager
async def bench(media: Path, *, segment_s: float = 60.0, flush_s: float = 0.2) -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    reader, unused = await asyncio.open_connection(sock=ours)
    _, writer = await asyncio.open_connection(sock=theirs)
    outbox = Outbox(writer)
    reporter = Reporter(outbox)

    def report(reports: Sequence[Report]) -> None:
        loop.call_soon_threadsafe(reporter.take, reports)

    disk = Disks({media: Disk(report, flush_s=flush_s)})
    made: list[Bench] = []
    around = Surroundings(
        site="site",
        places=only(media),
        segment_s=segment_s,
        tick=Tick(),
        disk=disk,
        reporter=reporter,
        outbox=outbox,
        sign_ins=SignIns(),
        pins=Pins(lambda key, port, sha256: None),
        buffer=bytearray(BUFFER_BYTES),
        now_us=lambda: time.time_ns() // 1000 + made[0].wall_skew_us,
        monotonic=lambda: time.monotonic() + made[0].monotonic_skew_s,
    )
    made.append(Bench(around))

    async def listen() -> None:
        while (message := await receive(reader)) is not None:
            made[0].said.append(message)

    async with asyncio.TaskGroup() as group:
        helpers = [group.create_task(around.tick.run()), group.create_task(listen())]
        disk.__enter__()
        try:
            yield made[0]
        finally:
            await asyncio.to_thread(disk.__exit__)
            for helper in helpers:
                helper.cancel()
            writer.transport.abort()
            unused.close()


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(recorder: Recorder) -> AsyncIterator[asyncio.Task[None]]:
    """One session, as long as the block lasts."""
    task = asyncio.create_task(recorder.run_once())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, StreamError):
            await task
