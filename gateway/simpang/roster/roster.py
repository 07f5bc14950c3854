"""Which cameras are recorded: plans again whenever discovery has news, and keeps one keeper for each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from simpang.config.model import Config
from simpang.roster.keeper import Keeper
from simpang.roster.known import Known, KnownCameras
from simpang.roster.onboard import onboard
from simpang.roster.plan import MOST_CAMERAS, Identity, Plan, Wanted, plan
from simpang.roster.view import Camera, FoundDevice
from simpang.roster.world import Onboard, Recorder, World
from simpang.supervise import Supervisor
from simpang_buffer.index.rows import StreamTotals
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.rtsp.tls import Trust
from simpang_onvif.device import Credentials, Device
from simpang_onvif.errors import Reason
from simpang_onvif.uri_policy import UriPolicy

# How old the figures of the index may be on the page.
REFRESH_S = 5.0
# Where more devices answer than there is room for, one that was tried in vain waits this long for its next
# turn.
NEXT_TURN_US = 600_000_000


class Finder(Protocol):
    """What the roster needs of discovery. changed: set whenever devices() differs from before."""

    changed: asyncio.Event

    def devices(self) -> Sequence[Device]: ...
    def where_looked(self) -> Sequence[str]: ...


class Pool(Recorder, Protocol):
    """What the roster needs of the recorder pool. want: the full set, each time."""

    def want(self, specs: Sequence[StreamSpec]) -> None: ...


class Totals(Protocol):
    """What the roster needs of the index."""

    async def stream_totals(self) -> dict[StreamKey, StreamTotals]: ...


class Roster:
    """The cameras of this gateway. `run` keeps them recorded; the rest only looks and never waits."""

    def __init__(
        self,
        config: Config,
        *,
        known: KnownCameras,
        pool: Pool,
        index: Totals,
        finder: Finder | None,
        supervisor: Supervisor,
        credentials: Callable[[Wanted], Credentials | None],
        policy: Callable[[Wanted], UriPolicy],
        trust: Callable[[Wanted], Trust],
        now_us: Callable[[], int],
        onboard: Onboard = onboard,
    ) -> None:
        self._config = config
        self._known = known
        self._pool = pool
        self._index = index
        self._finder = finder
        self._supervisor = supervisor
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._plan = Plan({}, {}, {})
        self._totals: Mapping[StreamKey, StreamTotals] = {}
        self._not_these: set[tuple[str, Identity]] = set()
        # Candidates that were tried in vain, and when.
        self._failed: dict[Identity, int] = {}
        self._now_us = now_us
        self._news = finder.changed if finder is not None else asyncio.Event()
        self._world = World(
            known=known,
            recorder=pool,
            onboard=onboard,
            credentials=credentials,
            policy=policy,
            changed=self._want,
            not_this=self._not_this,
            trust=trust,
            now_us=now_us,
        )

    async def run(self) -> None:
        """Runs until cancelled. Keepers outlive a failure of this loop, and so does the recording."""
        async with asyncio.TaskGroup() as group:
            self._tasks.clear()
            while True:
                self._news.clear()
                await self.run_once(group)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_S):
                        await self._news.wait()

    async def run_once(self, group: asyncio.TaskGroup) -> None:
        """Plans, and makes the keepers what the plan says."""
        rows = await self._known.all()
        self._totals = await self._index.stream_totals()
        devices = list(self._finder.devices()) if self._finder is not None else []
        heard_before = set(self._plan.device_ids)
        trying = {identity for identity in self._plan.reserved if identity in heard_before}
        self._note_failed(trying, {device.identity for device in devices})
        self._plan = plan(
            self._config,
            rows,
            devices,
            reserved=self._plan.reserved,
            not_these=frozenset(self._not_these),
            trying=trying,
            failed=self._failed,
            rested_us=self._now_us() - NEXT_TURN_US,
        )
        by_id = {row.id: row for row in rows}
        # First, so that at no moment more are tried than the plan allows.
        for id_ in set(self._keepers) - set(self._plan.cameras):
            await self._drop(id_)
        for id_, wanted in self._plan.cameras.items():
            await self._keep(group, wanted, by_id.get(id_))
        for identity in self._plan.device_ids.keys() - trying:
            self._failed.pop(identity, None)  # its turn begins
        for identity, id_ in self._plan.device_ids.items():
            if identity not in heard_before and id_ in self._keepers:
                self._keepers[id_].poke()

    def _note_failed(self, trying: set[Identity], there: set[Identity]) -> None:
        self._failed = {identity: at_us for identity, at_us in self._failed.items() if identity in there}
        for identity in trying - self._failed.keys():
            keeper = self._keepers.get(self._plan.reserved[identity])
            if keeper is not None and keeper.failing:
                self._failed[identity] = self._now_us()

    def cameras(self) -> list[Camera]:
        """Every camera, in the order of the configuration, then by id."""
        order = {camera.id: at for at, camera in enumerate(self._config.camera)}
        ids = sorted(self._keepers, key=lambda id_: (order.get(id_, len(order)), id_))
        return [self._keepers[id_].camera(self._totals) for id_ in ids]

    def camera(self, id_: str) -> Camera | None:
        keeper = self._keepers.get(id_)
        return keeper.camera(self._totals) if keeper is not None else None

    def devices(self) -> list[FoundDevice]:
        """What discovery sees, and which camera each device is."""
        if self._finder is None:
            return []
        return [self._found(device) for device in self._finder.devices()]

    def where_looked(self) -> list[str]:
        """Interfaces and addresses on which cameras were looked for; none where discovery is off."""
        return list(self._finder.where_looked()) if self._finder is not None else []

    async def _keep(self, group: asyncio.TaskGroup, wanted: Wanted, row: Known | None) -> None:
        keeper = self._keepers.get(wanted.id)
        if row is not None and wanted.epr and row.epr != wanted.epr and keeper is not None and keeper.well:
            await self._known.note_epr(wanted.id, wanted.epr)
        if keeper is not None and not keeper.wanted.like(wanted):
            if keeper.well:
                # A camera that is recorded is where it is, whatever claims to be it elsewhere.
                return
            await self._drop(wanted.id)
            keeper = None
        if keeper is None:
            warned = (wanted.epr, wanted.host) in self._failed
            keeper = self._keepers[wanted.id] = Keeper(wanted, row, self._world, warned=warned)
        keeper.update(wanted)
        if wanted.enabled and wanted.id not in self._tasks:
            part = f"camera:{wanted.id}"
            running = self._supervisor.keep_running(part, keeper.keep_running)
            self._tasks[wanted.id] = group.create_task(running, name=part)

    async def _drop(self, id_: str) -> None:
        del self._keepers[id_]
        if (task := self._tasks.pop(id_, None)) is not None:
            task.cancel()
            await asyncio.wait([task])
        self._want()

    def _want(self) -> None:
        self._pool.want([spec for keeper in self._keepers.values() for spec in keeper.streams])

    def _not_this(self, wanted: Wanted) -> None:
        for identity, id_ in self._plan.device_ids.items():
            if id_ == wanted.id:
                self._not_these.add((id_, identity))
        self._news.set()

    def _found(self, device: Device) -> FoundDevice:
        id_ = self._plan.device_ids.get(device.identity)
        problem, detail = device.problem, device.detail
        if device.identity in self._plan.waiting:
            problem = Reason.LIMIT
            detail = (
                f"{self._plan.places} devices are tried at a time; it waits for its turn"
                if self._plan.places
                else f"this gateway records {MOST_CAMERAS} cameras and adopts no more; "
                "list it as [[camera]] in simpang.toml to record it all the same"
            )
        return FoundDevice(
            address=device.address,
            name=device.name,
            hardware=device.hardware,
            epr=device.epr,
            interface=device.interface,
            problem=str(problem) if problem is not None else None,
            detail=detail,
            camera=id_,
        )
