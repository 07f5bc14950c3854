"""One recorder process as the daemon sees it: started, told what to record, listened to, and buried.

Order that makes a crash between any two steps safe: a file's data is synced by the recorder before it says
`closed`; only then is the row committed. A stream whose recorder died or left a broken file is recorded again
under a run number above all that were used; what it left is adopted beside that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simpang_buffer.index import certificates
from simpang_buffer.index.errors import StorageError, StorageFull
from simpang_buffer.index.foreign import make_way
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.recording.clock_word import ClockWord, word_fields
from simpang_buffer.recording.hearing import SILENCE_S, Hearing
from simpang_buffer.recording.offers import Offers
from simpang_buffer.recording.places import Place
from simpang_buffer.recording.protocol import Message, encode
from simpang_buffer.recording.retry import DiskRetry
from simpang_buffer.recording.sandbox.confinement import Confinement
from simpang_buffer.recording.sign_in_ledger import SignInLedger
from simpang_buffer.recording.spec import StreamSpec, spec_fields
from simpang_buffer.recording.view import StreamView

logger = logging.getLogger(__name__)

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


@dataclass(slots=True)
class _Order:
    """What is wanted of the process for one stream, and what it was told."""

    wanted: StreamSpec | None
    previous_end: GapReason | None
    told: StreamSpec | None = None
    stopping: bool = False
    # The first run that it was told to record in, and whether files may lie about there that no row knows.
    since: int = 0
    unsettled: bool = False
    disk: DiskRetry = field(default_factory=DiskRetry)


class Worker:
    """`want` and `watch` may be called at any time; they take effect while `run_once` runs.

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
        self._sign_ins = sign_ins
        self._adopt = adopt
        # Of each camera's certificates, as the index last said.
        self._pins: dict[str, dict[int, str]] = {}
        self._monotonic = monotonic
        self._offers = Offers()
        self._clock = ClockWord()
        self._orders: dict[StreamKey, _Order] = {}
        self._changed = asyncio.Event()
        self._link: asyncio.StreamWriter | None = None

    @property
    def streams(self) -> int:
        return sum(order.wanted is not None for order in self._orders.values())

    def want(self, spec: StreamSpec, previous_end: GapReason | None) -> None:
        """Records the stream from now on. previous_end: why it was not recorded until now."""
        order = self._orders.get(spec.key)
        if order is None:
            self._orders[spec.key] = _Order(spec, previous_end)
            self._views[spec.key].told_state("connecting", None, "", None)
        elif order.wanted is None or order.wanted.source != spec.source:
            order.wanted = spec
            self._views[spec.key].told_state("connecting", None, "", None)
        else:
            order.wanted = spec
        self._changed.set()

    def forget(self, key: StreamKey) -> None:
        if key in self._orders:
            self._orders[key].wanted = None
            self._changed.set()

    def holds(self, key: StreamKey) -> bool:
        """Whether the stream is this process's, if only until it has stopped."""
        return key in self._orders

    def holds_camera(self, camera: str) -> bool:
        return any(key.camera == camera for key in self._orders)

    def watch(self, key: StreamKey, watched: bool) -> None:
        order = self._orders.get(key)
        if self._link and order and order.told and not order.stopping:
            self._send(Message("watch" if watched else "unwatch", key))

    def distrust(self, camera: str) -> None:
        """The camera's next certificate is believed; its streams are connected to anew."""
        for key, order in self._orders.items():
            if key.camera == camera and self._link and order.told is not None and not order.stopping:
                self._send(Message("distrust", key))
                self._stop(key, order, GapReason.RESTART)

    def use(self, places: Sequence[Place]) -> None:
        """New files begin in these folders, the best first."""
        if self._offers.use(places):
            # What failed in another folder need not wait for that one.
            for order in self._orders.values():
                order.disk = DiskRetry()
        self._changed.set()

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
            self._note_idle,
            self._settings.on_disk_full,
            self._note_confined,
            sign_in=self._note_sign_in,
            failed=self._settings.on_disk_failed,
            left=lambda key, run: self._adopt(key, run, run + 1),
            holds=self.holds,
            silence_s=self._settings.silence_s,
        )
        try:
            async with asyncio.TaskGroup() as group:
                listen = group.create_task(hearing.listen(reader), name=f"{self.name}: listen")
                group.create_task(hearing.commit(), name=f"{self.name}: commit")
                reconcile = group.create_task(self._reconcile(), name=f"{self.name}: reconcile")
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
            self._lost()

    async def _start(self, theirs: socket.socket) -> Process:
        settings = self._settings
        self._offers.begins()
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

    def _lost(self) -> None:
        """The process is gone: each of its streams may have files without rows."""
        for order in self._orders.values():
            if order.told is not None:
                source = order.told.source
                self._sign_ins.died((source.host, source.port), source.credentials)
                order.told, order.stopping, order.unsettled = None, False, True
                order.previous_end = GapReason.RESTART
        for key in self._orders:
            view = self._views[key]
            view.told_state("connecting", None, "the recorder is being restarted", None)
            view.forget_live()

    def _note_pulse(self, cpu_s: float, rss_bytes: int) -> None:
        self.cpu_s, self.rss_bytes = cpu_s, rss_bytes

    def _note_confined(self, confinement: Confinement) -> None:
        self.confinement = confinement
        self._offers.narrow(confinement)

    def _note_sign_in(self, key: StreamKey, step: str, tries: int, basic: bool) -> None:
        told = self._orders[key].told
        if told is not None:
            address = (told.source.host, told.source.port)
            self._sign_ins.note(address, told.source.credentials, step, tries, basic)

    def _note_idle(self, key: StreamKey, reason: str, broken: bool) -> None:
        """The process has stopped recording the stream; its files are closed, or broken."""
        order = self._orders[key]
        order.told, order.stopping = None, False
        order.unsettled = order.unsettled or broken
        order.previous_end = GapReason(reason)
        if order.previous_end in (GapReason.DISK_FULL, GapReason.DISK_ERROR):
            if order.previous_end is GapReason.DISK_FULL:
                self._settings.on_disk_full()
            order.disk.failed(self._monotonic(), full=order.previous_end is GapReason.DISK_FULL)
        self._changed.set()

    # What it is told

    async def _reconcile(self) -> None:
        while True:
            self._changed.clear()
            self._offer()
            for key in list(self._orders):
                try:
                    await self._reconcile_stream(key, self._orders[key])
                except (StorageError, OSError) as error:
                    self._put_off(key, self._orders[key], error)
            later = [o.disk.not_before - self._monotonic() for o in self._orders.values() if o.told is None]
            wait_s = min((max(wait_s, 0.01) for wait_s in later if wait_s > 0), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    def _offer(self) -> None:
        """Raises RecorderDied where the process cannot reach the folder that is best now."""
        if (path := self._offers.out_of_reach()) is not None:
            raise RecorderDied(f"{path} was mounted after it confined itself")
        if (message := self._offers.message()) is not None:
            self._send(message)

    def _put_off(self, key: StreamKey, order: _Order, error: StorageError | OSError) -> None:
        """What the index or a file of this stream refuses now stops no other stream."""
        reason = GapReason.DISK_ERROR
        if isinstance(error, StorageFull):
            reason = GapReason.DISK_FULL
            self._settings.on_disk_full()
        order.disk.failed(self._monotonic(), full=reason is GapReason.DISK_FULL)
        view = self._views[key]
        level = logging.DEBUG if view.status.reason == reason else logging.WARNING
        logger.log(level, "%s: not recorded yet: %s", key, error)
        view.told_state("connecting", reason, str(error), None)

    async def _reconcile_stream(self, key: StreamKey, order: _Order) -> None:
        view = self._views[key]
        if order.told is not None:
            changed = order.wanted is None or order.wanted.source != order.told.source
            if changed and not order.stopping:
                self._stop(key, order, GapReason.RESTART if order.wanted else GapReason.DISABLED)
            return
        if order.unsettled:
            self._adopt(key, order.since, await self._next_run(key, view))
            order.unsettled = False
        if order.wanted is None:
            view.told_state("disabled", None, "", None)
            if self._orders[key].wanted is None:
                del self._orders[key]
        elif self._offers.nowhere:
            words = "no media folder is there; see `simpang buffer folders`"
            view.told_state("connecting", GapReason.DISK_ERROR, words, None)
        elif self._offers.full:
            # Trying would make a run of nothing each time. It is looked at each second, and we are told.
            order.previous_end = order.previous_end and GapReason.DISK_FULL
            self._settings.on_disk_full()
            words = "no media folder has room; free space on its disk, or see why (inodes, a quota)"
            view.told_state("connecting", GapReason.DISK_FULL, words, None)
        elif self._monotonic() >= order.disk.not_before:
            await self._record(order, order.wanted, view)

    def _stop(self, key: StreamKey, order: _Order, reason: GapReason) -> None:
        order.stopping = True
        self._send(Message("forget", key, {"reason": reason.value}))

    async def _record(self, order: _Order, spec: StreamSpec, view: StreamView) -> None:
        first_run = await self._next_run(spec.key, view)
        # The run before may lie in its folder only, and be adopted in a moment.
        recorded_before = first_run > 1
        pins = self._pins.get(spec.key.camera)
        try:
            await make_way(self._index.db, self._settings.folders(), spec.key)
            pins = await certificates.pinned(self._index, spec.key.camera)
        except StorageError as error:
            # A stream that was recorded before goes on without the index; its files are taken in later.
            if pins is None:
                raise
            logger.warning("%s: recorded while the index fails: %s", spec.key, error)
        self._pins[spec.key.camera] = pins
        previous_end = order.previous_end.value if order.previous_end and recorded_before else None
        order.since = first_run
        view.recorded_from(first_run)
        order.told = spec
        order.disk.began(self._monotonic())
        view.new_recorder()
        source = spec.source
        told = {
            **spec_fields(spec),
            "first_run": first_run,
            "previous_end": previous_end,
            "sign_in": self._sign_ins.handed_over((source.host, source.port), source.credentials),
            "pins": pins,
        }
        self._send(Message("record", spec.key, told))
        if view.watched:
            self._send(Message("watch", spec.key))

    async def _next_run(self, key: StreamKey, view: StreamView) -> int:
        """A run number above all that were used, whether the index knows of them or not."""
        listed = [await asyncio.to_thread(files.runs, key) for files in self._settings.folders()]
        used = max([view.newest_run, *(runs[-1] for runs in listed if runs)])
        try:
            known = await self._index.next_run(key)
            if used >= known:
                await self._index.keep_run_number(key, used)
            return max(known, used + 1)
        except StorageError:
            if view.newest_run < 0:
                raise
            return used + 1

    def _send(self, message: Message) -> None:
        assert self._link is not None  # reconciling and watching happen while a process runs
        self._link.write(encode(message))
