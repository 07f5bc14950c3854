"""The keys of simpang.toml. Each description is the setting's consequence; `None` means "not set".

Every model is frozen and refuses unknown keys. Secrets are named here and never held.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from simpang.config.values import (
    Listen,
    Size,
    ValueFault,
    Window,
    make_id,
    parse_bytes,
    parse_fingerprint,
    parse_id,
    parse_listen,
    parse_rate,
    parse_size,
    parse_time_zone,
    parse_window,
)

Id = Annotated[str, BeforeValidator(parse_id)]
TimeZone = Annotated[str, BeforeValidator(parse_time_zone)]
Amount = Annotated[Size, BeforeValidator(parse_size)]
Bytes = Annotated[int, BeforeValidator(parse_bytes)]
# Below, a store that hears nothing for 20 s drops the upload before its next 16 kB are due.
LEAST_CEILING_BPS = 64_000


def _ceiling(rate_bps: int) -> int:
    if rate_bps < LEAST_CEILING_BPS:
        raise ValueFault("is so slow that stores give an upload up", 'write "64 kbit/s" or more')
    return rate_bps


def _endpoint(url: str) -> str:
    try:
        exists = urlsplit(url).port != 0
    except ValueError:
        exists = False
    if not exists:
        raise ValueFault("names a port that does not exist", "use a port from 1 to 65535")
    return url


Bps = Annotated[int, BeforeValidator(parse_rate), AfterValidator(_ceiling)]
ListenOn = Annotated[Listen, BeforeValidator(parse_listen)]
Hours = Annotated[Window, BeforeValidator(parse_window)]
# A name in a secrets folder: no path that could lead out of it.
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Fingerprint = Annotated[str, BeforeValidator(parse_fingerprint)]
StreamName = Literal["main", "sub"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Site(Section):
    id: Id = Field(description="this place, in every path, object name and topic")
    name: Name | None = Field(default=None, description="for people; the id where not set")
    time_zone: TimeZone = Field(description="local time of the page, the windows and the billing day")


class Keep(Section):
    """How long streams are kept, where that is not as for all."""

    max_days: float | None = Field(
        default=None, gt=0, le=3650, description="older footage goes even if space suffices"
    )
    min_days: float | None = Field(
        default=None, ge=0, le=3650, description="younger footage goes only when nothing else is left to go"
    )
    quota: Amount | None = Field(
        default=None, description="these streams together never take more; % is of the file system"
    )
    weight: float | None = Field(
        default=None, gt=0, le=100, description="where space is short, 2 is kept twice as long as 1"
    )


class CameraKeep(Keep):
    """The same for one camera, and for its streams one by one."""

    main: Keep | None = Field(default=None, description="what differs for its main stream")
    sub: Keep | None = Field(default=None, description="what differs for its sub stream")


class Promise(Section):
    """Days of footage that somebody was promised: a minimum age with an alarm 72 hours before it breaks."""

    party: Id = Field(description="to whom")
    cameras: Annotated[tuple[Id, ...], Field(strict=False)] = Field(
        default=(), description="which cameras; none named means all"
    )
    streams: Annotated[tuple[StreamName, ...], Field(strict=False)] = Field(
        default=("main",), description="which of their streams"
    )
    days: float = Field(
        gt=0, le=3650, description="footage so young goes only when nothing else is left to go"
    )


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueFault(f"{str(path)!r} is not an absolute path", 'write "/mnt/disk2"')
    return path


Absolute = Annotated[Path, Field(strict=False), AfterValidator(_absolute)]


class BufferFolder(Section):
    """A further disk that footage is kept on."""

    path: Absolute = Field(description="where its footage lies, as a rule where its disk is mounted")
    max_bytes: Amount = Field(
        default=Size(percent=90), description="footage there never takes more; % is of its file system"
    )
    min_free: Amount = Field(
        default=Size(size_bytes=2 * 10**9),
        description="the oldest footage there goes so that this much stays free",
    )
    drain: bool = Field(
        default=False, description="true: nothing new is written there; it empties as footage ages"
    )
    mount: bool = Field(
        default=True,
        description="false: may lie on a disk that is also used for something else; true: while no disk is "
        "mounted there nothing is written, so that the system's disk is not filled",
    )


class Buffer(Section):
    path: Annotated[Path, Field(strict=False)] = Field(
        default=Path("/var/lib/simpang"), description="where footage and databases lie; --data overrides"
    )
    mount: Absolute | None = Field(
        default=None,
        description="a disk has to be mounted here, else nothing is written under path and the system's disk "
        "is not filled",
    )
    drain: bool = Field(
        default=False, description="true: no new footage under path; it goes to the other folders"
    )
    folder: Annotated[tuple[BufferFolder, ...], Field(strict=False, max_length=8)] = ()
    max_bytes: Amount = Field(
        default=Size(percent=90), description="footage never takes more; % is of the file system"
    )
    min_free: Amount = Field(
        default=Size(size_bytes=2 * 10**9), description="the oldest footage goes so that this much stays free"
    )
    max_days: float = Field(
        default=30, gt=0, le=3650, description="older footage goes even if space suffices"
    )
    min_days: float = Field(
        default=0, ge=0, le=3650, description="younger footage goes only when nothing else is left to go"
    )
    main: Keep | None = Field(default=None, description="what differs for main streams")
    sub: Keep | None = Field(default=None, description="what differs for sub streams")
    event_days: float | None = Field(
        default=None, gt=0, le=3650, description="footage of events is kept so long, if that is longer"
    )
    event_margin_s: float = Field(
        default=10, ge=0, le=600, description="so much before and after an event belongs to it"
    )
    flush_s: float | None = Field(
        default=None,
        ge=0.2,
        le=30,
        description="how much video a power cut costs; where not set 2 s, on SD cards and eMMC 5 s",
    )
    segment_s: float = Field(default=60, ge=10, le=600, description="length of one media file")
    hold_max_percent: float = Field(
        default=30, ge=0, le=100, description="holds, legal ones apart, never take more of max_bytes"
    )


class Web(Section):
    listen: Annotated[tuple[ListenOn, ...], Field(strict=False)] = Field(
        default=(Listen("0.0.0.0", 8443),),  # noqa: S104 - the service network; TLS and a sign-in guard it
        description="page and API over TLS",
    )
    plain_listen: Annotated[tuple[ListenOn, ...], Field(strict=False)] = Field(
        default=(Listen("127.0.0.1", 8080),),
        description="without TLS; off loopback only status and the fingerprint",
    )


class Discovery(Section):
    enabled: bool = Field(default=True, description="whether to look for cameras at all")
    adopt: Literal["ask", "all"] = Field(
        default="ask", description='"all" records every camera that accepts them'
    )
    interfaces: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="network interfaces to look on; none named means all but loopback"
    )
    every_s: float = Field(default=60, ge=5, le=3600, description="how long a new camera may go unseen")


class Credentials(Section):
    user: str = Field(min_length=1, max_length=128, description="for cameras without a user of their own")
    password_file: SecretName = Field(description="name of a file in a secrets folder, mode 0600")


class Camera(Section):
    """One camera, by its ONVIF address or by its RTSP URL."""

    id: Id = Field(description="made from name or address where not set")
    name: Name | None = Field(default=None, description="for people; the id where not set")
    address: str | None = Field(default=None, max_length=255, description="ONVIF host[:port]")
    url: str | None = Field(
        default=None, max_length=1024, repr=False, description="main stream's rtsp://, instead of address"
    )
    sub_url: str | None = Field(
        default=None, max_length=1024, repr=False, description="rtsp:// of the sub stream"
    )
    user: str | None = Field(default=None, min_length=1, max_length=128, description="instead of the site's")
    password_file: SecretName | None = Field(default=None, description="its own password")
    enabled: bool = Field(default=True, description="false: known, not recorded")
    record: Annotated[tuple[StreamName, ...], Field(strict=False, min_length=1)] = Field(
        default=("main", "sub"), description="which streams to record"
    )
    audio: bool = Field(default=False, description="record sound too")
    metadata: bool = Field(
        default=True, description="keep what the camera says it sees (ONVIF metadata) with the main stream"
    )
    events: bool = Field(default=True, description="listen to the camera's events")
    transport: Literal["tcp", "udp"] = Field(default="tcp", description="udp loses packets on a busy link")
    allow_basic: bool = Field(default=False, description="sign in though it shows the password")
    certificate_sha256: Fingerprint | None = Field(
        default=None, description="of an rtsps:// camera; without it the first certificate seen is the one"
    )
    ca_file: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="PEM beside this file; its CA has to vouch for the name in an rtsps:// address",
    )
    old_tls: bool = Field(
        default=False, description="also the ciphers of old cameras, which others on the wire may break"
    )
    keep: CameraKeep = Field(default=CameraKeep(), description="what differs for its footage")

    @model_validator(mode="before")
    @classmethod
    def _make_id(cls, given: object) -> object:
        if not isinstance(given, dict) or "id" in given:
            return given
        return {**given, "id": make_id(_title(given))}

    @property
    def title(self) -> str:
        return self.name or self.id


class Store(Section):
    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        pattern=r"^https?://[^/@?#\s]+/?$", description="the S3 service, https://HOST[:PORT]"
    )
    bucket: str = Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]+$")
    prefix: str = Field(default="", max_length=256, description="before every object name")
    access_key_file: SecretName = Field(description="name of a file in a secrets folder, mode 0600")
    secret_key_file: SecretName = Field(description="name of a file in a secrets folder, mode 0600")
    region: str = Field(default="us-east-1", max_length=64, description="part of the signature")


class Central(Section):
    """One operations centre: where footage may be sent."""

    id: Id
    party: Id = Field(description="whose it is")
    mqtt: str | None = Field(default=None, pattern=r"^mqtts?://[^/@\s]+$", description="control channel")
    ca_file: str | None = Field(default=None, max_length=255)
    client_cert_file: str | None = Field(default=None, max_length=255)
    client_key_file: str | None = Field(default=None, max_length=255)
    store: Store | None = Field(default=None, description="where its footage goes")


class Uplink(Section):
    ceiling: Bps | None = Field(default=None, description="never send faster, in bits per second")
    windows: Annotated[tuple[Hours, ...], Field(strict=False)] = Field(
        default=(), description="when backfill and bulk may be sent, local time; none means always"
    )
    month_cap: Bytes | None = Field(default=None, description="bytes on the wire in a billing month")
    billing_day: int = Field(default=1, ge=1, le=28, description="the month begins on this day")
    metered: bool = Field(default=False, description="every byte costs")


class Config(Section):
    site: Site
    buffer: Buffer = Buffer()
    web: Web = Web()
    discovery: Discovery = Discovery()
    credentials: Credentials | None = None
    camera: Annotated[tuple[Camera, ...], Field(strict=False, max_length=64)] = ()
    promise: Annotated[tuple[Promise, ...], Field(strict=False, max_length=64)] = ()
    central: Annotated[tuple[Central, ...], Field(strict=False, max_length=8)] = ()
    uplink: Uplink = Uplink()

    def central_by_id(self, id_: str) -> Central | None:
        return next((central for central in self.central if central.id == id_), None)


def _title(camera: dict[str, object]) -> str:
    """What names a camera that has no id: its name, else its address, else its URL's host."""
    for key in ("name", "address"):
        if isinstance(camera.get(key), str):
            return str(camera[key])
    return urlsplit(str(camera.get("url", ""))).hostname or "camera"
