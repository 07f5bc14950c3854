"""Puts the gateway together from what has been opened. Nothing runs yet."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import simpang
from simpang import data_folder
from simpang.clock import Clock
from simpang.clock_health import clock_items
from simpang.clock_keeper import ClockKeeper
from simpang.config.boot import Boot
from simpang.config.faults import Fault
from simpang.config.secrets import Secrets
from simpang.confinement_health import confinement_items
from simpang.disks.flush import FlushChoice
from simpang.disks.wear import Wear
from simpang.disks.wear_health import wear_items
from simpang.folders_health import folder_items
from simpang.gateway import Gateway
from simpang.health import Disk, Health, Knowledge, health
from simpang.index_health import index_items
from simpang.jobs.footage import Plan
from simpang.jobs.gateway_key import GatewayKey
from simpang.jobs.jobs import Jobs
from simpang.jobs.manifest import Circumstances
from simpang.jobs.model import Job
from simpang.keeping import limits
from simpang.keeping import policy as keeping_policy
from simpang.logs.redaction import Redaction
from simpang.media_folders import MediaFolders
from simpang.roster.known import KnownCameras
from simpang.roster.plan import Wanted
from simpang.roster.roster import Roster
from simpang.roster.sign_in import credentials, own_listeners, uri_policy
from simpang.roster.trust import trust_of
from simpang.roster.view import Camera, gap_reason
from simpang.state.database import State
from simpang.storage import Storage
from simpang.storage_health import storage_items
from simpang.stream_health import stream_items
from simpang.supervise import Supervisor
from simpang.web.sessions import Sessions
from simpang_buffer.index.events import Events
from simpang_buffer.index.index import Index
from simpang_buffer.index.keeper import IndexKeeper
from simpang_buffer.index.recovery import Due
from simpang_buffer.index.retention import Retention
from simpang_buffer.model import GapReason
from simpang_buffer.recording.pool import RecorderPool
from simpang_onvif.device import Credentials
from simpang_onvif.discovery import Discovery
from simpang_onvif.uri_policy import UriPolicy

# A recorder process carries so many cameras with room to spare; larger sites get one process per core.
CAMERAS_PER_PROCESS = 16


@dataclass(frozen=True)
class Opened:
    """What assemble needs open. index_due: the rebuild of the index that is due. lock: inherited by the
    recorders. previous_end: why recording stopped. boot_id: of this boot of the machine."""

    index: Index
    folders: MediaFolders
    index_due: Due | None
    state: State
    lock: int
    secrets: Secrets
    secret_faults: Sequence[Fault]
    key: GatewayKey
    previous_end: GapReason
    flush: FlushChoice
    boot_id: str


@dataclass(frozen=True)
class Assembly:
    """The gateway, and the parts of it that only have to be kept running."""

    gateway: Gateway
    discovery: Discovery | None
    retention: Retention
    supervisor: Supervisor


def assemble(boot: Boot, opened: Opened, redaction: Redaction) -> Assembly:
    """Every part knows those it needs and no others."""
    config, data, index = boot.config, boot.data, opened.index
    supervisor = Supervisor()
    media = opened.folders
    folders = media.folders

    def ages_believed() -> bool:
        return clocks.clock().ages_believed

    retention = Retention(
        index,
        partial(limits, config),
        now_us=now_us,
        clock_trusted=ages_believed,
        policy=keeping_policy(config),
        folders=folders.files,
        spaces=folders.spaces,
        limits_of=folders.limits_of,
        open_bytes=media.open_bytes,
        booted_us=booted_us,
        oldest_first=lambda size_bytes, keys: keeper.oldest_first(size_bytes, keys),
    )
    storage = Storage(config, index, retention, Events(index.db), now_us=now_us, clock_trusted=ages_believed)
    pool = RecorderPool(
        media.media,
        config.site.id,
        index,
        processes=recorder_processes(len(config.camera), os.cpu_count() or 1),
        segment_s=config.buffer.segment_s,
        flush_s=opened.flush.flush_s,
        inherit_fds=(opened.lock,),
        previous_end=opened.previous_end,
        on_disk_full=retention.request_space,
        folders=folders.files,
        further=media.further,
        on_disk_failed=media.failed,
    )
    clocks = ClockKeeper(index, pool, opened.boot_id)
    discovery = None
    if config.discovery.enabled:
        discovery = Discovery(interfaces=config.discovery.interfaces, every_s=config.discovery.every_s)
    own = own_listeners((*config.web.listen, *config.web.plain_listen))

    def sign_in(wanted: Wanted) -> Credentials | None:
        return credentials(wanted, opened.secrets, redaction)

    def policy(wanted: Wanted) -> UriPolicy:
        return uri_policy(wanted, config, own)

    roster = Roster(
        config,
        known=KnownCameras(opened.state),
        pool=pool,
        index=index,
        finder=discovery,
        supervisor=supervisor,
        credentials=sign_in,
        policy=policy,
        trust=lambda wanted: trust_of(wanted, boot.file.absolute().parent),
        now_us=now_us,
    )

    def own_cameras() -> set[str]:
        return {*(camera.id for camera in config.camera), *(camera.id for camera in roster.cameras())}

    media.join(pool, own_cameras, retention.request_space)
    keeper = IndexKeeper(
        index,
        config.site.id,
        folders=folders.files,
        due=opened.index_due,
        now_us=now_us,
        own=own_cameras,
        is_free=pool.is_free,
        open_runs=lambda: [(tail.header, tail.width, tail.height) for tail in pool.open_files()],
    )

    def circumstances(job: Job, plan: Plan) -> Circumstances:
        camera = roster.camera(job.request.camera)
        return _circumstances(config.site.id, opened.key, camera, clocks.clock())

    def hold_bytes() -> int:
        footage_bytes = config.buffer.max_bytes.of(data_folder.total(data))
        return int(footage_bytes * config.buffer.hold_max_percent / 100)

    jobs = Jobs(
        config,
        boot.file.absolute().parent,
        state=opened.state,
        index=index,
        tails=pool.tail,
        secrets=opened.secrets,
        key=opened.key,
        circumstances=circumstances,
        current_reason=lambda camera: gap_reason(roster.camera(camera)),
        supervisor=supervisor,
        hold_bytes=hold_bytes,
    )
    wear = Wear(
        index,
        lambda: [one.path for one in folders.folders if one.readable],
        boot_id=opened.boot_id,
        now_us=now_us,
    )
    started_us = now_us()

    def judge(at_us: int) -> Health:
        known = Knowledge(
            cameras=roster.cameras(),
            devices=roster.devices(),
            where_looked=roster.where_looked(),
            discovery=config.discovery.enabled,
            disk=_disk(boot),
            config_file=boot.file,
            config_faults=boot.faults,
            secret_faults=opened.secret_faults,
            troubles=supervisor.troubles(),
            started_us=started_us,
            more=[
                *confinement_items(pool.confinements()),
                *stream_items(roster.cameras()),
                *wear_items(wear.disks),
                *clock_items(clocks.clock(), at_us),
                *index_items(keeper.condition(), str(index.db.path), at_us),
                *folder_items(folders.folders, media.mover.move, media.missing, data),
                *storage_items(storage.condition(), config.site.time_zone, at_us),
            ],
        )
        return health(known, at_us)

    gateway = Gateway(
        config=config,
        data=data,
        index=index,
        keeper=keeper,
        storage=storage,
        folders=media,
        state=opened.state,
        pool=pool,
        roster=roster,
        jobs=jobs,
        sessions=Sessions(),
        started_us=started_us,
        version=simpang.__version__,
        gateway_key=opened.key.public_text,
        hold_bytes=hold_bytes,
        flush=opened.flush,
        wear=wear,
        health=judge,
        clock=clocks.clock,
        clock_keeper=clocks,
    )
    return Assembly(gateway, discovery, retention, supervisor)


def recorder_processes(cameras: int, cores: int) -> int:
    """How many recorder processes a site needs: one, or more for many cameras, at most one per core."""
    return max(1, min(cores, -(-cameras // CAMERAS_PER_PROCESS)))


def now_us() -> int:
    """Wall time; everything below this level gets it as an argument."""
    return time.time_ns() // 1000


def booted_us() -> int:
    """When this machine booted, by its clock of now."""
    return now_us() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def _disk(boot: Boot) -> Disk:
    total_bytes = data_folder.total(boot.data)
    return Disk(
        path=boot.data,
        free_bytes=data_folder.free(boot.data),
        total_bytes=total_bytes,
        min_free_bytes=boot.config.buffer.min_free.of(total_bytes),
    )


def _circumstances(site: str, key: GatewayKey, camera: Camera | None, clock: Clock) -> Circumstances:
    """What a manifest says of the camera and of the time."""
    device: dict[str, str] = {}
    offset_us = None
    if camera is not None:
        facts = camera.device
        given = {"make": facts.make, "model": facts.model, "firmware": facts.firmware, "serial": facts.serial}
        device = {name: value for name, value in given.items() if value is not None}
        if camera.clock_offset_s is not None:
            offset_us = round(camera.clock_offset_s * 1_000_000)
    return Circumstances(
        site=site,
        gateway_key=key.public_text,
        device=device,
        clock_trusted=clock.trusted,
        clock_offset_us=offset_us,
        clock_source=clock.source,
    )
