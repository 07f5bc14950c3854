"""A gateway for tests of the web part: real index, media files, sessions, state and jobs; cameras as told.

The recorder pool is a stand-in that holds the recorder's own live feeds, so that a test decides what a camera
sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import aiohttp

from media_samples import Unit, VideoCodec, video
from recorded_runs import perform, pictures, video_format
from simpang.clock import Clock
from simpang.clock_keeper import ClockKeeper
from simpang.config.model import Config
from simpang.disks.flush import FlushChoice
from simpang.disks.wear import Wear
from simpang.gateway import Gateway
from simpang.health import Health, HealthItem
from simpang.jobs.model import Job, JobRefused, JobRequest, JobState
from simpang.keeping import limits, policy
from simpang.media_folders import MediaFolders
from simpang.roster.view import Camera, CameraState, DeviceFacts, FoundDevice, Stream
from simpang.storage import Storage
from simpang.web.listeners import Listening, listening
from simpang.web.roles import Role
from simpang.web.sessions import Sessions
from simpang.words import Words
from simpang_buffer.index.events import Events
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.keeper import IndexKeeper
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.retention import Retention, Space
from simpang_buffer.media.fmp4 import init_segment
from simpang_buffer.model import (
    FIRST_FOLDER,
    VIDEO_TIMESCALE,
    AnchorSource,
    GapReason,
    RunHeader,
    Segment,
    StreamKey,
)
from simpang_buffer.reading.tail import Tail
from simpang_buffer.recording.live import LiveFeed, LiveFrame, LiveInit, LiveItem
from simpang_buffer.recording.places import only
from simpang_buffer.recording.pool import NotRecorded
from simpang_buffer.recording.segment_writer import RunStart, SegmentWriter

FPS = 15
FRAME_TICKS = VIDEO_TIMESCALE // FPS
TOML = {
    "site": {"id": "digulis", "name": "Bundaran Digulis", "time_zone": "Asia/Pontianak"},
    "web": {"listen": ["127.0.0.1:0"], "plain_listen": ["127.0.0.1:0"]},
}


class BreakableFeed(LiveFeed):
    """A live feed whose connection a test can break."""

    broken = False

    async def get(self) -> LiveItem:
        item = await super().get()
        if self.broken:
            raise ConnectionResetError
        return item


class FedPool:
    """Live feeds that a test feeds; no recorder."""

    def __init__(self) -> None:
        self.feeds: dict[StreamKey, list[BreakableFeed]] = {}
        self.inits: dict[StreamKey, LiveInit] = {}
        self.tails: dict[StreamKey, Tail] = {}
        self.trusted: list[str] = []

    async def trust_anew(self, camera: str) -> None:
        self.trusted.append(camera)

    def tail(self, key: StreamKey) -> Tail | None:
        return self.tails.get(key)

    def open_files(self) -> list[Tail]:
        return list(self.tails.values())

    @contextlib.asynccontextmanager
    async def live(self, key: StreamKey) -> AsyncIterator[LiveFeed]:
        if key not in self.inits:
            raise NotRecorded(str(key))
        feed = BreakableFeed(self.inits[key], ())
        self.feeds.setdefault(key, []).append(feed)
        try:
            yield feed
        finally:
            self.feeds[key].remove(feed)

    def offer(self, key: StreamKey, item: LiveInit | LiveFrame) -> None:
        for feed in self.feeds.get(key, ()):
            feed.offer(item)


@dataclass
class ToldRoster:
    """Cameras and devices as a test says."""

    told: list[Camera] = field(default_factory=list)
    found: list[FoundDevice] = field(default_factory=list)

    def cameras(self) -> list[Camera]:
        return self.told

    def camera(self, id_: str) -> Camera | None:
        return next((camera for camera in self.told if camera.id == id_), None)

    def devices(self) -> list[FoundDevice]:
        return self.found

    def where_looked(self) -> list[str]:
        return ["eth0 (192.168.7.2)", "lo (127.0.0.1)"]


@dataclass
class ListedJobs:
    """Jobs in a list: what the API asks of Jobs, without a store to send to."""

    jobs: list[Job] = field(default_factory=list)

    async def add(self, request: JobRequest) -> tuple[Job, bool]:
        if request.central != "pontive":
            raise JobRefused("malformed", f"no centre {request.central!r}")
        for job in self.jobs:
            if request.idempotency_key and job.request.idempotency_key == request.idempotency_key:
                return job, False
        job = Job(
            id=f"job-{len(self.jobs)}", request=request, party="pemkot", state=JobState.SENDING,
            waiting_for=None, reason="", created_us=now_us(), changed_us=now_us(),
            bytes_done=4_200_000, bytes_total=12_000_000, chunks_done=3, chunks_total=9, gaps=(),
        )  # fmt: skip
        self.jobs.insert(0, job)
        return job, True

    async def list(self, state: JobState | None = None) -> list[Job]:
        return [job for job in self.jobs if state in (None, job.state)]

    async def get(self, job_id: str) -> Job | None:
        return next((job for job in self.jobs if job.id == job_id), None)

    async def cancel(self, job_id: str) -> Job | None:
        job = await self.get(job_id)
        if job is not None:
            self.jobs[self.jobs.index(job)] = job = replace(job, state=JobState.CANCELLED)
        return job


@dataclass
class Site:
    """An open gateway and how to reach it."""

    gateway: Gateway
    opened: Listening
    pool: FedPool
    roster: ToldRoster
    jobs: ListedJobs

    @property
    def address(self) -> str:
        host, port = self.opened.plain[0]
        return f"http://{host}:{port}"

    def token(self, role: Role = Role.INSTALLER) -> str:
        return self.gateway.sessions.mint(role, time.monotonic())

    @contextlib.asynccontextmanager
    async def client(self, role: Role | None = Role.INSTALLER) -> AsyncIterator[aiohttp.ClientSession]:
        """A client with a cookie of that role, or none; over the loopback listener."""
        jar = aiohttp.CookieJar(unsafe=True)  # loopback is an IP address
        async with aiohttp.ClientSession(self.address, cookie_jar=jar) as client:
            if role is not None:
                async with client.post("/api/v1/session", json={"token": self.token(role)}) as response:
                    assert response.status == 204
            yield client


@contextlib.asynccontextmanager
async def open_site(
    data: Path,
    *,
    head_s: float = 10.0,
    change: Callable[[Gateway], Gateway] = lambda gateway: gateway,
    **config: Any,
) -> AsyncIterator[Site]:
    """A gateway in `data` with listeners on free ports. change: puts other parts into it first."""
    pool, roster, jobs = FedPool(), ToldRoster(), ListedJobs()
    (data / "media").mkdir(exist_ok=True)
    async with open_index(data / "index.db") as index:
        gateway = Gateway(
            config=Config.model_validate({**TOML, **config}),
            data=data,
            index=index,
            state=cast(Any, None),  # nothing in the web part reads it
            keeper=IndexKeeper(
                index,
                "digulis",
                folders=lambda: [MediaFiles(index.media)],
                due=None,
                now_us=now_us,
            ),
            pool=cast(Any, pool),
            roster=cast(Any, roster),
            jobs=cast(Any, jobs),
            sessions=Sessions(),
            started_us=now_us(),
            version="0.1.0",
            gateway_key=None,
            storage=site_storage(index, Config.model_validate({**TOML, **config})),
            folders=MediaFolders(
                Config.model_validate({**TOML, **config}), index, index.media, now_us=now_us
            ),
            hold_bytes=lambda: 10**9,
            flush=FlushChoice(2.0, "set"),
            wear=Wear(index, list, boot_id="boot", now_us=now_us),
            health=lambda _: told_health(roster.told),
            clock=lambda: Clock(trusted=True, source="ntp", offset_s=0.0),
            clock_keeper=ClockKeeper(index, cast(Any, pool), "boot"),
        )
        gateway = change(gateway)
        async with listening(gateway, head_s=head_s) as opened:
            yield Site(gateway, opened, pool, roster, jobs)


def site_storage(index: Index, config: Config) -> Storage:
    """As the gateway has it, on a disk that has room."""
    retention = Retention(
        index,
        lambda total_bytes: limits(config, total_bytes),
        now_us=now_us,
        clock_trusted=lambda: True,
        policy=policy(config),
        spaces=lambda: {FIRST_FOLDER: Space(10**12, 9 * 10**11)},
    )
    return Storage(config, index, retention, Events(index.db), now_us=now_us, clock_trusted=lambda: True)


def told_health(cameras: Sequence[Camera]) -> Health:
    items = tuple(
        HealthItem(
            "camera-not-recording", "critical", f"camera/{camera.id}", "2026-11-24T02:00:00.000000Z", {},
            Words(f"{camera.name} does not answer.", ""), Words(camera.remedy, ""),
        )
        for camera in cameras if camera.state is not CameraState.RECORDING
    )  # fmt: skip
    return Health("critical" if items else "ok", items)


def camera(id_: str = "utara", **changes: Any) -> Camera:
    fields: dict[str, Any] = {
        "id": id_,
        "name": id_.capitalize(),
        "address": "127.0.1.1:8000",
        "device": DeviceFacts(make="Simpang", model="Demo camera", epr=f"urn:uuid:{id_}"),
        "state": CameraState.RECORDING,
        "reason": None,
        "detail": "",
        "remedy": "",
        "since_us": now_us() - 600_000_000,
        "retry_us": None,
        "clock_offset_s": 0.01,
        "streams": (stream(),),
    }
    return Camera(**{**fields, **changes})


def stream(name: str = "main", **changes: Any) -> Stream:
    fields: dict[str, Any] = {
        "name": name, "codec": "avc1.42C00C", "width": 320, "height": 240, "fps": 15.0, "bps": 400_000,
        "recording_since_us": now_us() - 600_000_000, "last_fragment_us": now_us() - 500_000,
        "bytes": 30_000_000, "oldest_us": now_us() - 600_000_000,
    }  # fmt: skip
    return Stream(**{**fields, **changes})


async def record(
    index: Index,
    key: StreamKey,
    start_us: int,
    *,
    run: int = 1,
    codec: VideoCodec = "h264",
    frames: int = 60,
    previous_end: GapReason | None = None,
    dated_by: AnchorSource = AnchorSource.RTCP,
    **shape: int,
) -> Segment:
    """One closed file of real pictures (15 a second, a key frame each second) that begins at start_us."""
    units = video(codec, frames=frames, key_every=FPS, **shape)
    format_ = video_format(codec, units)
    cutter = SegmentWriter(
        RunStart("digulis", key, run, previous_end, 0),
        only(index.media),
        None,
        lambda: (start_us, dated_by),
        segment_s=600,
    )
    steps = [step for unit in pictures(units) for step in cutter.add_picture(unit, format_)]
    (segment,) = await asyncio.to_thread(perform, [*steps, *cutter.finish()])
    header = RunHeader(
        "digulis",
        key.camera,
        key.stream,
        run,
        0,
        format_.codec,
        start_us,
        dated_by,
        0,
        previous_end,
        0,
    )
    await index.add_run(header, format_.width, format_.height)
    await index.add_segment(segment)
    assert isinstance(segment, Segment)
    return segment


def live_init(units: Sequence[Unit], *, run: int = 1, codec: VideoCodec = "h264") -> LiveInit:
    format_ = video_format(codec, units)
    mime = f'video/mp4; codecs="{format_.codec}"'
    return LiveInit(run, mime, init_segment(format_), VIDEO_TIMESCALE, None, None)


def live_frames(units: Sequence[Unit], first_dts: int = 0) -> Iterator[LiveFrame]:
    for number, unit in enumerate(units):
        yield LiveFrame(True, first_dts + number * FRAME_TICKS, 0, unit.key, FRAME_TICKS, unit.data)


def now_us() -> int:
    return time.time_ns() // 1000
