"""The streams of one recorder process: what is wanted of it, what it was told, and what follows from either.

A stream whose recorder died or left a broken file is recorded again under a run number above all that were
used; what it left is adopted beside that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from simpang_buffer.index import certificates
from simpang_buffer.index.errors import StorageError, StorageFull
from simpang_buffer.index.foreign import make_way
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.recording.offers import Offers
from simpang_buffer.recording.places import Place
from simpang_buffer.recording.protocol import Message
from simpang_buffer.recording.retry import DiskRetry
from simpang_buffer.recording.sign_in_ledger import SignInLedger
from simpang_buffer.recording.spec import StreamSpec, spec_fields
from simpang_buffer.recording.view import StreamView

logger = logging.getLogger(__name__)


class OutOfReach(Exception):
    """The process cannot write where it should; another one can."""


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


class Orders:
    """`want` and the like may be called at any time; they take effect while `keep_telling` runs.

    adopt: called with a stream and the runs (from the one, below the other) whose files no row may know.
    folders: the media folders that are there. on_disk_full: called when there is no room.
    """

    def __init__(
        self,
        index: Index,
        views: Mapping[StreamKey, StreamView],
        sign_ins: SignInLedger,
        adopt: Callable[[StreamKey, int, int], None],
        *,
        folders: Callable[[], Sequence[MediaFiles]],
        on_disk_full: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.offers = Offers()
        self._index = index
        self._views = views
        self._sign_ins = sign_ins
        self._adopt = adopt
        self._folders = folders
        self._on_disk_full = on_disk_full
        self._monotonic = monotonic
        # Of each camera's certificates, as the index last said.
        self._pins: dict[str, dict[int, str]] = {}
        self._orders: dict[StreamKey, _Order] = {}
        self._changed = asyncio.Event()
        # To the process that runs, None while there is none.
        self._tell: Callable[[Message], None] | None = None

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
        if self._tell and order and order.told and not order.stopping:
            self._say(Message("watch" if watched else "unwatch", key))

    def distrust(self, camera: str) -> None:
        """The camera's next certificate is believed; its streams are connected to anew."""
        if camera in self._pins:
            self._pins[camera] = {}
        if self._tell is None:
            return  # the next process knows what the index does
        # Whether or not it records the camera now: it may have before, and remembers.
        self._say(Message("distrust", StreamKey(camera, "main")))
        for key, order in self._orders.items():
            if key.camera == camera and order.told is not None and not order.stopping:
                self._stop(key, order, GapReason.RESTART)

    def use(self, places: Sequence[Place]) -> None:
        """New files begin in these folders, the best first."""
        if self.offers.use(places):
            # What failed in another folder need not wait for that one.
            for order in self._orders.values():
                order.disk = DiskRetry()
        self._changed.set()

    # What it says

    def lost(self) -> None:
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

    def note_sign_in(self, key: StreamKey, step: str, tries: int, basic: bool) -> None:
        """A step of the stream's sign-in; basic: whether Basic had to be used."""
        told = self._orders[key].told
        if told is not None:
            address = (told.source.host, told.source.port)
            self._sign_ins.note(address, told.source.credentials, step, tries, basic)

    def note_idle(self, key: StreamKey, reason: str, broken: bool) -> None:
        """The process has stopped recording the stream; its files are closed, or broken."""
        order = self._orders[key]
        order.told, order.stopping = None, False
        order.unsettled = order.unsettled or broken
        order.previous_end = GapReason(reason)
        if order.previous_end in (GapReason.DISK_FULL, GapReason.DISK_ERROR):
            if order.previous_end is GapReason.DISK_FULL:
                self._on_disk_full()
            order.disk.failed(self._monotonic(), full=order.previous_end is GapReason.DISK_FULL)
        self._changed.set()

    # What it is told

    async def keep_telling(self, tell: Callable[[Message], None]) -> None:
        """Until cancelled; nothing more is told then. Raises OutOfReach where another process is needed."""
        self._tell = tell
        try:
            await self._reconcile()
        finally:
            self._tell = None

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
        """Raises OutOfReach where the process cannot reach the folder that is best now."""
        if (path := self.offers.out_of_reach()) is not None:
            raise OutOfReach(f"{path} was mounted after it confined itself")
        if (message := self.offers.message()) is not None:
            self._say(message)

    def _put_off(self, key: StreamKey, order: _Order, error: StorageError | OSError) -> None:
        """What the index or a file of this stream refuses now stops no other stream."""
        reason = GapReason.DISK_ERROR
        if isinstance(error, StorageFull):
            reason = GapReason.DISK_FULL
            self._on_disk_full()
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
        elif self.offers.nowhere:
            words = "no media folder is there; see `simpang buffer folders`"
            view.told_state("connecting", GapReason.DISK_ERROR, words, None)
        elif self.offers.full:
            # Trying would make a run of nothing each time. It is looked at each second, and we are told.
            order.previous_end = order.previous_end and GapReason.DISK_FULL
            self._on_disk_full()
            words = "no media folder has room; free space on its disk, or see why (inodes, a quota)"
            view.told_state("connecting", GapReason.DISK_FULL, words, None)
        elif self._monotonic() >= order.disk.not_before:
            await self._record(order, order.wanted, view)

    def _stop(self, key: StreamKey, order: _Order, reason: GapReason) -> None:
        order.stopping = True
        self._say(Message("forget", key, {"reason": reason.value}))

    async def _record(self, order: _Order, spec: StreamSpec, view: StreamView) -> None:
        first_run = await self._next_run(spec.key, view)
        # The run before may lie in its folder only, and be adopted in a moment.
        recorded_before = first_run > 1
        pins = self._pins.get(spec.key.camera)
        try:
            await make_way(self._index.db, self._folders(), spec.key)
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
        self._say(Message("record", spec.key, told))
        if view.watched:
            self._say(Message("watch", spec.key))

    async def _next_run(self, key: StreamKey, view: StreamView) -> int:
        """A run number above all that were used, whether the index knows of them or not."""
        listed: list[int] = []
        for files in self._folders():
            # What a disk that fails will not list, the index knows.
            with contextlib.suppress(OSError):
                listed += (await asyncio.to_thread(files.runs, key))[-1:]
        used = max([view.newest_run, *listed])
        try:
            known = await self._index.next_run(key)
            if used >= known:
                await self._index.keep_run_number(key, used)
            return max(known, used + 1)
        except StorageError:
            if view.newest_run < 0:
                raise
            return used + 1

    def _say(self, message: Message) -> None:
        assert self._tell is not None  # reconciling and watching happen while a process runs
        self._tell(message)
