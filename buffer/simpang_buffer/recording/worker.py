"""One recorder process as the daemon sees it: started, told what to record, listened to, and buried.

Order that makes a crash between any two steps safe: a file's data is synced by the recorder before it says
`closed`; only then is the row committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.recording.clock_word import ClockWord, word_fields
from simpang_buffer.recording.hearing import SILENCE_S, Hearing
from simpang_buffer.recording.orders import Orders, OutOfReach
from simpang_buffer.recording.protocol import Message, encode
from simpang_buffer.recording.sandbox.confinement import Confinement
from simpang_buffer.recording.sign_in_ledger import SignInLedger
from simpang_buffer.recording.view import StreamView

# What a recorder is given to close its files; it needs 2 s at most.
_STOP_S = 3.0


class RecorderDied(Exception):
    """The process ended, or had to be ended; the next one records its streams. `__cause__`: the fault."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    site: str
    segment_s: float
    flush_s: float
    # Descriptors that live as long as any recorder does: the lock of the data folder.
    inherit_fds: tuple[int, ...]
    # Called when there is no room, so that some is made at once.
    on_disk_full: Callable[[], None]
    # The media folders that are there now.
    folders: Callable[[], Sequence[MediaFiles]]
    # Where every folder is, also one that is not there now: a process that confines itself learns no others.
    paths: tuple[Path, ...]
    # Called with the folder in which a file could not be written, why, and the same in words.
    on_disk_failed: Callable[[int, GapReason, str], None]
    # A process that says nothing for so long hangs.
    silence_s: float = SILENCE_S


class Worker:
    """orders: what is wanted of the process; it is told while `run_once` runs.

    adopt: called with a stream and the runs (from the one, below the other) whose files no row may know.
    """

    def __init__(
        self,
        name: str,
        settings: WorkerSettings,
        index: Index,
        views: Mapping[StreamKey, StreamView],
        sign_ins: SignInLedger,
        adopt: Callable[[StreamKey, int, int], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.pid: int | None = None
        self.cpu_s = 0.0
        self.rss_bytes = 0
        self.confinement: Confinement | None = None
        self._settings = settings
        self._index = index
        self._views = views
        self._adopt = adopt
        self._clock = ClockWord()
        self.orders = Orders(
            index,
            views,
            sign_ins,
            adopt,
            folders=settings.folders,
            on_disk_full=settings.on_disk_full,
            monotonic=monotonic,
        )
        self._link: asyncio.StreamWriter | None = None

    def tell_clock(self, word: ClockWord) -> None:
        """Whether the gateway's clock is right; a process hears of it before anything else."""
        self._clock = word
        if self._link is not None:
            self._send(Message("clock", fields=word_fields(word)))

    async def run_once(self) -> None:
        """Starts a process and works with it until it ends, which raises RecorderDied.

        When cancelled it lets the process close its files, and commits their rows.
        """
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as stack:
            stack.enter_context(ours)
            with theirs:
                process = await self._start(theirs)
            reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
            stack.pop_all()  # the writer closes it now
        self._link, self.pid = writer, process.pid
        self.tell_clock(self._clock)
        hearing = Hearing(
            self._views,
            self._index,
            self._note_pulse,
            self.orders.note_idle,
            self._settings.on_disk_full,
            self._note_confined,
            sign_in=self.orders.note_sign_in,
            failed=self._settings.on_disk_failed,
            left=lambda key, run: self._adopt(key, run, run + 1),
            holds=self.orders.holds,
            silence_s=self._settings.silence_s,
        )
        try:
            async with asyncio.TaskGroup() as group:
                listen = group.create_task(hearing.listen(reader), name=f"{self.name}: listen")
                group.create_task(hearing.commit(), name=f"{self.name}: commit")
                reconcile = group.create_task(self._keep_telling(), name=f"{self.name}: reconcile")
                try:
                    await asyncio.shield(listen)
                finally:
                    # Nothing more is asked of a process that ends.
                    reconcile.cancel()
                    self._link = None
                    await self._end(process, writer, listen, hearing)
                raise RecorderDied(f"the recorder process ended with code {process.returncode}")
        except ExceptionGroup as group_error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError from group_error
            first = group_error.exceptions[0]
            if isinstance(first, RecorderDied):
                raise first from None
            raise RecorderDied(str(first) or repr(first)) from first
        finally:
            self._link = self.pid = None
            writer.close()
            if process.returncode is None:
                process.kill()
                await process.wait()
            self.orders.lost()

    async def _start(self, theirs: socket.socket) -> Process:
        settings = self._settings
        self.orders.offers.begins()
        # -P: nothing is imported from the folder that the daemon happens to be started in.
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "simpang_buffer.recording.process",
            "--fd", str(theirs.fileno()),
            *(word for path in settings.paths for word in ("--media", str(path))),
            "--site", settings.site,
            "--segment-s", str(settings.segment_s),
            "--flush-s", str(settings.flush_s),
            stdin=DEVNULL,
            pass_fds=(theirs.fileno(), *settings.inherit_fds),
        )  # fmt: skip

    async def _end(
        self,
        process: Process,
        writer: asyncio.StreamWriter,
        listen: asyncio.Task[None],
        hearing: Hearing,
    ) -> None:
        """Whatever the end's reason: the process closes its files, and what it says is committed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                if writer.can_write_eof():
                    writer.write_eof()
                await asyncio.wait([listen])
                await process.wait()
                await hearing.committed()

    def _note_pulse(self, cpu_s: float, rss_bytes: int) -> None:
        self.cpu_s, self.rss_bytes = cpu_s, rss_bytes

    def _note_confined(self, confinement: Confinement) -> None:
        self.confinement = confinement
        self.orders.offers.narrow(confinement)

    async def _keep_telling(self) -> None:
        try:
            await self.orders.keep_telling(self._send)
        except OutOfReach as error:
            raise RecorderDied(str(error)) from None

    def _send(self, message: Message) -> None:
        if self._link is None:
            return  # the process ends: nothing more is asked of it
        self._link.write(encode(message))
