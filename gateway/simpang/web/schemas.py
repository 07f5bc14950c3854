"""What the API says and accepts: the models behind the answers and behind OpenAPI. Times are RFC 3339."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


Severity = Literal["ok", "warning", "critical", "unknown"]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Asked(BaseModel):
    """A request's body: an unknown member is a mistake somewhere, so it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Clock(Answer):
    """ages_believed: it may decide that footage is too old. leapt_s: so far, and nobody has confirmed it."""

    now: Time
    trusted: bool
    source: str
    offset_s: float | None
    ages_believed: bool
    leapt_s: float | None


class ClockAsked(Asked):
    """trust: it is right as it is. now: set it to that. although_earlier: than footage that is there."""

    trust: bool = False
    now: Time | None = None
    although_earlier: bool = False


class Site(Answer):
    id: str
    name: str
    time_zone: str
    version: str
    gateway_key: str | None
    clock: Clock


class Words(Answer):
    en: str
    id: str


class HealthItem(Answer):
    code: str
    severity: str
    subject: str
    since: Time | None
    evidence: dict[str, Any]
    cause: Words
    remedy: Words
    caused_by: str | None


class Health(Answer):
    severity: Severity
    items: list[HealthItem]


class Device(Answer):
    make: str | None = None
    model: str | None = None
    firmware: str | None = None
    serial: str | None = None
    epr: str | None = None
    mac: str | None = None


class Repair(Answer):
    kind: str
    count: int
    words: Words


class Stream(Answer):
    name: str
    codec: str | None
    width: int | None
    height: int | None
    fps: float | None
    bps: int | None
    recording_since: Time | None
    last_fragment: Time | None
    bytes: int
    oldest: Time | None
    audio: str | None = Field(description="what sound is recorded, or why none is though it was asked for")
    metadata: str | None = Field(description="how the camera's metadata is kept, or that it is not")
    key_frames_s: float | None = Field(description="how far apart key frames are, where it is more than 10 s")
    lag_s: float | None = Field(description="how late its pictures come, beside the quickest of the session")
    repairs: list[Repair] = Field(description="what the camera did wrong and was put right, since the start")


class Camera(Answer):
    id: str
    name: str
    address: str | None
    device: Device
    state: Literal["recording", "connecting", "auth", "unreachable", "disabled"]
    reason: str | None
    detail: str | None = Field(description="the reason in words")
    remedy: str | None = Field(description="what a person can do about it")
    since: Time = Field(description="since when it is in this state")
    retry: Time | None = Field(description="when it is tried again, where that is not at once")
    clock_offset_s: float | None
    streams: list[Stream]


class Cameras(Answer):
    items: list[Camera]
    next: str | None = None


class Found(Answer):
    address: str
    name: str | None
    hardware: str | None
    epr: str | None
    interface: str | None
    problem: str | None = Field(description="why it is not recorded, of the camera reasons")
    detail: str | None = Field(description="the same in words")
    camera: str | None = Field(description="the id under which it is recorded, if it is")


class Discovery(Answer):
    items: list[Found]
    next: str | None = None
    where_looked: list[str]


class Span(Answer):
    """trusted: dated by a trusted clock, at once or later."""

    start: Time
    end: Time
    run: int
    bytes: int
    trusted: bool


class RunTime(Answer):
    """How a run is dated. anchor: of its first picture. moved_s: how far it was moved when the clock was set
    right. camera_offset_s: the camera's clock minus ours. drift_ppm: how much faster it runs."""

    run: int
    anchor: Time
    anchor_source: str
    trusted: bool
    moved_s: float
    camera_offset_s: float | None
    drift_ppm: float | None


class Gap(Answer):
    start: Time
    end: Time
    reason: str


class Coverage(Answer):
    spans: list[Span]
    gaps: list[Gap]
    runs: list[RunTime]


class JobAsked(Asked):
    camera: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    stream: str = Field("main", pattern=r"^[a-z0-9-]{1,32}$")
    start: Time
    end: Time
    central: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    priority: Literal["urgent", "clip", "backfill", "bulk"] = "clip"


class Job(Answer):
    id: str
    state: str
    waiting_for: str | None
    reason: str | None
    central: str
    party: str
    camera: str
    stream: str
    start: Time
    end: Time
    priority: str
    bytes_done: int
    bytes_total: int
    chunks_done: int
    chunks_total: int
    manifest: str | None = Field(description="the object that lists what is there, from the first chunk on")
    gaps: list[Gap]
    created: Time


class Jobs(Answer):
    items: list[Job]
    next: str | None = None


class Uplink(Answer):
    central: str
    party: str
    store: bool = Field(description="whether footage can be sent there")


class Uplinks(Answer):
    items: list[Uplink]
    next: str | None = None


class SignIn(Asked):
    """Either a token from a link, or (once there are accounts) a user and a password."""

    token: str | None = Field(None, max_length=128)
    user: str | None = Field(None, max_length=128)
    password: str | None = Field(None, max_length=1024, repr=False)


class LinkAsked(Asked):
    role: Literal["viewer", "technician", "installer"] = "installer"


class Link(Answer):
    url: str = Field(description="works once")
    expires: Time


class ForeignStream(Answer):
    camera: str
    stream: str
    site: str = Field(description="the site that recorded it; its disk was moved here")
    bytes: int
    oldest: Time | None
    newest: Time | None


class IndexState(Answer):
    state: Literal["ok", "adopting", "rebuilding", "failing"]
    cause: str | None = Field(description="why it is rebuilt: missing, damaged, foreign or by-hand")
    detail: str | None = Field(description="the fault in words")
    since: Time | None
    done: int = Field(description="media files that a rebuild has read")
    total: int | None = Field(description="of so many; null until they are listed")
    problems: int = Field(description="media files that could not be taken in; they are kept")
    aside: str | None = Field(description="the name under which the old index is kept")
    from_backup: bool = Field(description="whether it began with the rows of a backup")
    backup: Time | None = Field(description="when it was last backed up")
    backup_skipped: str | None = Field(description="why there is no newer backup")
    foreign: list[ForeignStream] = Field(description="footage of other sites")


class OpenFiles(Answer):
    items: list[str] = Field(description="relative to their media folder")
    next: str | None = None


class Ready(Answer):
    not_recording: list[str]
