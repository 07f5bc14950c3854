"""The recorder processes of a gateway, and what each stream is doing. The daemon's side.

`run` keeps the processes running; `want` says what is to be recorded; the rest looks. A stream stays with its
process, so that one process's death stops only its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

from simpang_buffer.index import certificates
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.reading.tail import Tail
from simpang_buffer.recording.adopter import Adopter
from simpang_buffer.recording.clock_word import ClockWord
from simpang_buffer.recording.hearing import SILENCE_S
from simpang_buffer.recording.live import LiveDropped, LiveFeed, LiveFrame, LiveInit
from simpang_buffer.recording.places import Place
from simpang_buffer.recording.sandbox.confinement import Confinement
from simpang_buffer.recording.sign_in_ledger import SignInLedger
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.recording.view import StreamStatus, StreamView
from simpang_buffer.recording.worker import RecorderDied, Worker, WorkerSettings

__all__ = [
    "LiveDropped",
    "LiveFeed",
    "LiveFrame",
    "LiveInit",
    "NotRecorded",
    "RecorderPool",
    "StreamSpec",
    "StreamStatus",
]

logger = logging.getLogger(__name__)

# The first death is followed by a restart at once: every second counts. Then a process that cannot live is
# given time, and no more than lets footage be back within 5 s of any death: 2 s, a start, and a key frame.
_BACK_OFF_S = (0.0, 0.5, 1.0, 2.0)
# By then it has recorded, so that what ended it may be anything: it starts over.
_HEALTHY_S = 3.0


class NotRecorded(Exception):
    """Nobody wants this stream recorded, so there is nothing live to see."""


class RecorderPool:
    """previous_end: why the last runs in the index ended, for streams recorded before: restart, or power
    after a boot. on_disk_full: called when a write found no room; make some. Processes inherit
    inherit_fds; one that says nothing for silence_s is replaced. folders: the media folders that are there
    now. further: where others than `media` are or may be. on_disk_failed: called with the folder in which a
    file could not be written, why, and the same in words."""

    def __init__(
        self,
        media: Path,
        site: str,
        index: Index,
        *,
        segment_s: float,
        flush_s: float,
        processes: int = 1,
        inherit_fds: tuple[int, ...] = (),
        previous_end: GapReason = GapReason.RESTART,
        on_disk_full: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
        silence_s: float = SILENCE_S,
        folders: Callable[[], Sequence[MediaFiles]] | None = None,
        further: Sequence[Path] = (),
        on_disk_failed: Callable[[int, GapReason, str], None] = lambda folder, reason, words: None,
    ) -> None:
        folders = folders or (lambda: [MediaFiles(media.absolute())])
        settings = WorkerSettings(
            site,
            segment_s,
            flush_s,
            inherit_fds,
            on_disk_full,
            folders,
            tuple(path.absolute() for path in (media, *further)),
            on_disk_failed,
            silence_s,
        )
        sign_ins = SignInLedger(monotonic=monotonic)
        self._views: dict[StreamKey, StreamView] = {}
        self._wanted: dict[StreamKey, StreamSpec] = {}
        self._ended: dict[StreamKey, GapReason] = {}
        self._index = index
        self._adopter = Adopter(index, folders, lambda key, run: self._views[key].settled_below(run))
        self._previous_end = previous_end
        self._monotonic = monotonic
        self._workers = [
            Worker(
                f"recorder-{number}",
                settings,
                index,
                self._views,
                sign_ins,
                self._adopter.put,
                monotonic=monotonic,
            )
            for number in range(processes)
        ]

    async def run(self) -> None:
        """Until cancelled; then every process closes its files first (3 s at most)."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._adopter.run(), name="adopter")
            for worker in self._workers:
                group.create_task(self._keep_running(worker), name=worker.name)

    def want(self, specs: Iterable[StreamSpec]) -> None:
        """The whole set of what is to be recorded from now on. A stream whose source changed gets a new
        run.
        """
        wanted = {spec.key: spec for spec in specs}
        for key in self._wanted.keys() - wanted.keys():
            self._worker_of(key).orders.forget(key)
            self._ended[key] = _unwanted_because(self._views[key].status)
        for key, spec in wanted.items():
            if key not in self._views:
                self._views[key] = StreamView(key, self._index.places)
            previous_end = self._ended.pop(key, self._previous_end)
            self._worker_of(key).orders.want(spec, previous_end)
        self._wanted = wanted

    def use(self, places: Sequence[Place]) -> None:
        """New files begin in these folders, the best first; where there is none, nothing is recorded. Before
        the first call they begin in `media`."""
        for worker in self._workers:
            worker.orders.use(places)

    def tell_clock(self, word: ClockWord) -> None:
        """Before the first call no time is trusted. To be called again at every change, and now and then."""
        for worker in self._workers:
            worker.tell_clock(word)

    async def trust_anew(self, camera: str) -> None:
        """A person says that the camera's certificate has changed rightly: the next that it shows is pinned.

        Raises StorageError.
        """
        await certificates.unpin(self._index, camera)
        for worker in self._workers:
            worker.orders.distrust(camera)

    def status(self, key: StreamKey) -> StreamStatus:
        """Of a stream that nobody wants recorded: disabled."""
        view = self._views.get(key)
        return view.status if view and key in self._wanted else StreamStatus()

    def tail(self, key: StreamKey) -> Tail | None:
        """The stream's files that no row knows yet, the open one among them."""
        view = self._views.get(key)
        return view.tail() if view else None

    def is_free(self, key: StreamKey, run: int, seq: int) -> bool:
        """Whether nobody of ours may be writing the file."""
        view = self._views.get(key)
        return view is None or view.is_free(run, seq)

    def is_open(self, key: StreamKey, run: int) -> bool:
        """Whether files of the run may still be written, or wait for their rows."""
        view = self._views.get(key)
        return view is not None and view.is_open(run)

    def open_files(self) -> list[Tail]:
        """Files of all streams whose rows are not committed."""
        return [tail for view in self._views.values() for tail in view.open_files()]

    @contextlib.asynccontextmanager
    async def live(self, key: StreamKey) -> AsyncIterator[LiveFeed]:
        """Watches a stream. However many watch, a recorder sends it once. Raises NotRecorded."""
        view = self._views.get(key)
        if view is None or key not in self._wanted:
            raise NotRecorded(f"{key} is not recorded")
        first = not view.watched
        feed = view.add_feed()
        if first:
            self._worker_of(key).orders.watch(key, True)
        try:
            yield feed
        finally:
            view.drop_feed(feed)
            if not view.watched:
                self._worker_of(key).orders.watch(key, False)

    @property
    def bps(self) -> int:
        """Of all that is recorded now, as measured; 0 while nothing is."""
        return sum(view.status.bps for view in self._views.values())

    def processes(self) -> list[tuple[int, float, int]]:
        """(pid, CPU seconds, resident bytes) of the running recorders, as they last said."""
        return [(w.pid, w.cpu_s, w.rss_bytes) for w in self._workers if w.pid is not None]

    def confinements(self) -> list[Confinement]:
        """What the running recorders have taken from themselves."""
        return [w.confinement for w in self._workers if w.pid is not None and w.confinement is not None]

    def _worker_of(self, key: StreamKey) -> Worker:
        """A camera's streams share a process, and so what a refused sign-in has cost."""
        for worker in self._workers:
            if worker.orders.holds(key):
                return worker
        return min(
            self._workers,
            key=lambda worker: (not worker.orders.holds_camera(key.camera), worker.orders.streams),
        )

    async def _keep_running(self, worker: Worker) -> None:
        failures = 0
        while True:
            started = self._monotonic()
            try:
                await worker.run_once()
            except (RecorderDied, OSError) as error:
                # A fault of ours in there is as bad as any other death, and shown with its trace.
                level = logging.DEBUG if failures else logging.WARNING
                logger.log(level, "%s: %s; restarting it", worker.name, error, exc_info=error.__cause__)
            if self._monotonic() - started > _HEALTHY_S:
                failures = 0
            await asyncio.sleep(_BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)])
            failures += 1


def _unwanted_because(status: StreamStatus) -> GapReason:
    """What the gap is put down to: a stream that failed is taken away for that, one that records for good."""
    if status.state not in ("auth", "unreachable"):
        return GapReason.DISABLED
    return next((reason for reason in GapReason if reason == status.reason), GapReason.UNREACHABLE)
