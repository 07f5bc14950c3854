"""A recorder process: `python -m simpang_buffer.recording.process --fd N --media DIR --site ID ...`.

Records the streams that the daemon names over the socket pair N, and ends when that socket does: files are
closed properly first, within 2 s. Signals meant for the daemon are ignored, since a terminal and systemd send
them to all processes at once: the daemon's end, however it comes, is the signal. Secrets come over the socket
only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from simpang_buffer.model import FIRST_FOLDER, GapReason, StreamKey
from simpang_buffer.recording import protocol
from simpang_buffer.recording.clock_word import clock_word
from simpang_buffer.recording.disks import Disks
from simpang_buffer.recording.file_systems import FileSystems
from simpang_buffer.recording.outbox import Outbox
from simpang_buffer.recording.pins import Pins
from simpang_buffer.recording.places import Place, Places, place_from
from simpang_buffer.recording.protocol import Message, ProtocolError
from simpang_buffer.recording.recorder import Recorder, Surroundings
from simpang_buffer.recording.reports import Reporter
from simpang_buffer.recording.sandbox.confine import confine, harden
from simpang_buffer.recording.sandbox.confinement import confinement_fields
from simpang_buffer.recording.sign_in import SignIns
from simpang_buffer.recording.spec import stream_spec
from simpang_buffer.recording.sync import Disk, Report
from simpang_buffer.recording.tick import Tick
from simpang_buffer.rtsp.session import BUFFER_BYTES

logger = logging.getLogger(__name__)

_PULSE_S = 2.0
# Of the 2 s that a process has to end: what it gives cameras to hear that we leave, and the daemon to listen.
_TEARDOWN_S = 1.0
_LAST_WORDS_S = 0.5


class RecorderProcess:
    """Everything of one process that lives as long as it does."""

    def __init__(self, surroundings: Surroundings, outbox: Outbox, memory: Callable[[], int]) -> None:
        self._surroundings = surroundings
        self._outbox = outbox
        self._memory = memory
        self._recorders: dict[StreamKey, Recorder] = {}
        self._tasks: dict[StreamKey, asyncio.Task[None]] = {}

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Does as it is told until the daemon closes the socket or says stop; then every run is ended."""
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(self._surroundings.tick.run(), name="tick"),
                group.create_task(self._pulse(), name="pulse"),
            ]
            try:
                while (message := await protocol.receive(reader)) is not None and message.kind != "stop":
                    self._obey(group, message)
            finally:
                for task in self._tasks.values():
                    task.cancel()
                if self._tasks:
                    await asyncio.wait(self._tasks.values(), timeout=_TEARDOWN_S)
                for helper in helpers:
                    helper.cancel()

    def _obey(self, group: asyncio.TaskGroup, message: Message) -> None:
        if message.kind == "clock":
            self._surroundings.clock.word = clock_word(message.fields)
            return
        if message.kind == "folders":
            self._surroundings.places.offer(map(place_from, message.fields["folders"]))
            return
        key = message.stream
        if key is None:
            raise ProtocolError(f"{message.kind} without a stream")
        match message.kind:
            case "record":
                self._record(group, key, message)
            case "forget":
                if key in self._tasks:
                    self._recorders[key].forgotten = GapReason(message.fields["reason"])
                    self._tasks[key].cancel()
            case "watch":
                if key in self._recorders:
                    self._recorders[key].broadcast.watch()
            case "unwatch":
                if key in self._recorders:
                    self._recorders[key].broadcast.unwatch()
            case "distrust":
                self._surroundings.pins.forget(key.camera)
            case _:
                raise ProtocolError(f"{message.kind} is not for a recorder")

    def _record(self, group: asyncio.TaskGroup, key: StreamKey, message: Message) -> None:
        if key in self._tasks:
            raise ProtocolError(f"{key} is recorded already")
        fields = message.fields
        previous_end = fields["previous_end"]
        spec = stream_spec(key, fields)
        source = spec.source
        address = (source.host, source.port)
        self._surroundings.sign_ins.carry_on(address, source.credentials, fields["sign_in"])
        self._surroundings.pins.learn(key.camera, fields["pins"])
        recorder = Recorder(
            spec,
            self._surroundings,
            first_run=fields["first_run"],
            previous_end=GapReason(previous_end) if previous_end else None,
        )
        task = group.create_task(recorder.keep_running(), name=f"recorder:{key}")
        self._recorders[key], self._tasks[key] = recorder, task
        task.add_done_callback(lambda _: self._done(key))

    def _done(self, key: StreamKey) -> None:
        """However it ended: the daemon hears so when the disk thread has closed its files."""
        recorder = self._recorders.pop(key)
        del self._tasks[key]
        self._surroundings.reporter.leave(key, recorder.last_end)
        # It may be wanted again with another source, which waits until these files are closed.
        self._surroundings.disk.hurry()

    async def _pulse(self) -> None:
        while True:
            if not self._surroundings.disk.alive:
                # Nothing is recorded any more: the daemon starts a process that can.
                raise RuntimeError("the disk thread has died")
            fields = {"cpu_s": round(time.process_time(), 3), "rss_bytes": self._memory()}
            self._outbox.tell(Message("pulse", fields=fields))
            for recorder in self._recorders.values():
                recorder.tell_condition()
            await asyncio.sleep(_PULSE_S)


async def run(
    connection: socket.socket, folders: Sequence[Path], site: str, segment_s: float, flush_s: float
) -> None:
    """The life of a recorder process on an open socket. folders: all that it may ever write to; the first is
    used until the daemon says which."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 20)
    outbox = Outbox(writer)
    reporter = Reporter(outbox)
    memory = _memory()
    file_systems = [FileSystems() for _ in folders]
    # The loop stands, and neither a thread nor a camera has been spoken to.
    outbox.tell(Message("confined", fields=confinement_fields(confine(folders))))

    def first_certificate(key: StreamKey, port: int, sha256: str) -> None:
        outbox.tell(Message("certificate", key, {"port": port, "sha256": sha256}))

    def report(reports: Sequence[Report]) -> None:
        loop.call_soon_threadsafe(reporter.take, reports)

    with contextlib.ExitStack() as stack:
        threads = {
            folder: Disk(report, flush_s=flush_s, file_systems=known)
            for folder, known in zip(folders, file_systems, strict=True)
        }
        disk = stack.enter_context(Disks(threads))
        surroundings = Surroundings(
            site=site,
            places=Places([Place(FIRST_FOLDER, folders[0])], disk.stuck_s),
            segment_s=segment_s,
            tick=Tick(),
            disk=disk,
            reporter=reporter,
            outbox=outbox,
            sign_ins=SignIns(),
            pins=Pins(first_certificate),
            buffer=bytearray(BUFFER_BYTES),
        )
        try:
            await RecorderProcess(surroundings, outbox, memory).serve(reader)
        finally:
            # The thread's last reports come through the loop, so the loop must not be the one that joins it.
            await asyncio.to_thread(stack.close)
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await asyncio.sleep(0)
                    await outbox.drain()
            writer.close()


def _memory() -> Callable[[], int]:
    """Gives the resident bytes of this process (proc(5), statm), which no file can be opened for later."""
    fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return lambda: int(os.pread(fd, 200, 0).split()[1]) * page_bytes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="simpang-record", description="Started by `simpang run`.")
    parser.add_argument("--fd", type=int, required=True, help="the socket to the daemon")
    parser.add_argument(
        "--media", type=Path, required=True, action="append", help="a media folder; may be given again"
    )
    parser.add_argument("--site", required=True, help="the site's id")
    parser.add_argument("--segment-s", type=float, default=60.0, help="how long a media file is")
    parser.add_argument("--flush-s", type=float, default=2.0, help="how much video a power cut costs")
    options = parser.parse_args(arguments)
    harden()
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    connection = socket.socket(fileno=options.fd)
    folders = list(dict.fromkeys(options.media))
    asyncio.run(run(connection, folders, options.site, options.segment_s, options.flush_s))


if __name__ == "__main__":
    main()
