"""Which cameras there should be: a pure function of configuration, what is known and what was discovered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from simpang.config.model import Camera as ConfigCamera
from simpang.config.model import Config
from simpang.config.values import make_id
from simpang.roster.known import Known
from simpang_onvif.device import Device
from simpang_onvif.discovery import service_url

Identity = tuple[str, str]

# What a gateway is made for (CONTRACT.md). Cameras that simpang.toml lists are recorded beyond it; devices
# that were only found are not: a network can make up as many as it likes.
MOST_CAMERAS = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """One camera that should be recorded (or stands there disabled).

    target: `host`, `host:port` or service address to ask by ONVIF; "" for one given by RTSP addresses.
    epr: of the discovered device that it is, where one was seen. trusted_address: a person wrote it down.
    """

    id: str
    name: str
    origin: Literal["config", "adopted", "candidate"]
    target: str
    url: str = field(default="", repr=False)
    sub_url: str = field(default="", repr=False)
    user: str = ""
    password_file: str = ""
    epr: str = ""
    enabled: bool = True
    record: tuple[str, ...] = ("main", "sub")
    audio: bool = False
    metadata: bool = True
    transport: Literal["tcp", "udp"] = "tcp"
    allow_basic: bool = False
    certificate_sha256: str = ""
    ca_file: str = ""
    old_tls: bool = False
    trusted_address: bool = False

    @property
    def host(self) -> str:
        return _host(self.target or self.url)

    def like(self, other: Wanted) -> bool:
        """Whether the two are recorded in the same way: names and origins do not count."""
        soft = {"name": "", "origin": "config", "epr": ""}
        return replace(self, **soft) == replace(other, **soft)  # type: ignore[arg-type]  # names of fields

    @property
    def address(self) -> str:
        """Host, and port where it is not the usual one, for people."""
        return display_address(self.target or self.url)


@dataclass(frozen=True, slots=True)
class Plan:
    """cameras: by id. device_ids: which discovered device is which camera. reserved: ids of candidates.

    waiting: candidates for which there is no room, or not yet. places: for how many there is.
    """

    cameras: Mapping[str, Wanted]
    device_ids: Mapping[Identity, str]
    reserved: Mapping[Identity, str]
    waiting: frozenset[Identity] = frozenset()
    places: int = MOST_CAMERAS


def plan(
    config: Config,
    known: Sequence[Known],
    devices: Sequence[Device],
    *,
    reserved: Mapping[Identity, str],
    not_these: frozenset[tuple[str, Identity]] = frozenset(),
    trying: Collection[Identity] = (),
    failed: Mapping[Identity, int] = MappingProxyType({}),
    rested_us: int = 0,
) -> Plan:
    """What to do about all that is known at this moment.

    not_these: (camera id, device) pairs that turned out to be different cameras. reserved: of the last plan,
    so that a candidate's id stays its own while it is not yet known. trying: candidates of the last plan.
    failed: when those that were tried in vain were; where room is short others go before them, and until
    rested_us they change places with none.
    """
    rows = {row.id: row for row in known}
    cameras: dict[str, Wanted] = {}
    device_ids: dict[Identity, str] = {}
    configured = {camera.id for camera in config.camera}
    for camera in config.camera:
        row = rows.get(camera.id)
        device = _configured_device(camera, row, devices)
        if device is not None:
            device_ids.setdefault(device.identity, camera.id)
        cameras[camera.id] = _from_config(config, camera, row, device)
    hosts = {_host(wanted.target or wanted.url) for wanted in cameras.values()}

    for row in known:
        if row.id in configured:
            continue
        device = _row_device(row, devices, not_these)
        if device is not None and device.identity in device_ids:
            continue
        # A camera that left simpang.toml comes back under its own id, if everything found is recorded.
        adopted = row.origin == "adopted" or (device is not None and config.discovery.adopt == "all")
        if not adopted or (device is None and _host(row.address) in hosts):
            continue
        if device is not None:
            device_ids[device.identity] = row.id
        cameras[row.id] = _adopted(config, row, device)

    candidates: dict[Identity, str] = {}
    possible: list[Device] = []
    if config.discovery.adopt == "all":
        taken = set(cameras) | set(rows) | configured
        for device in sorted(devices, key=lambda one: one.identity not in reserved):
            if device.identity in device_ids or device.problem is not None or device.address in hosts:
                continue
            id_ = _free_id(reserved.get(device.identity), device, taken)
            taken.add(id_)
            candidates[device.identity] = id_
            possible.append(device)
    places = max(0, MOST_CAMERAS - sum(wanted.enabled for wanted in cameras.values()))
    possible.sort(key=lambda one: _turn(one.identity in trying, failed.get(one.identity), rested_us))
    for device in possible[:places]:
        id_ = device_ids[device.identity] = candidates[device.identity]
        cameras[id_] = _candidate(config, id_, device)
    waiting = frozenset(device.identity for device in possible[places:])
    return Plan(cameras, device_ids, candidates, waiting, places)


def _turn(trying: bool, failed_us: int | None, rested_us: int) -> tuple[int, bool, int]:
    """Sorts candidates: not yet tried in vain, tried long ago, tried lately; those at it stay at it."""
    if failed_us is None:
        return (0, not trying, 0)
    return (1, False, failed_us) if failed_us <= rested_us else (2, not trying, failed_us)


def display_address(target: str) -> str:
    """`10.0.4.21`, or with its port where that is not the scheme's usual one. Never a user or password."""
    try:
        parts = urlsplit(target if "://" in target else f"//{target}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    usual = {"rtsp": 554, "rtsps": 322, "https": 443}.get(parts.scheme, 80)
    shown = f"[{host}]" if ":" in host else host
    return shown if port in (None, usual) else f"{shown}:{port}"


def _configured_device(camera: ConfigCamera, row: Known | None, devices: Sequence[Device]) -> Device | None:
    if camera.address is None:
        return None
    host = _host(camera.address)
    here = [device for device in devices if device.address == host]
    if row is None or not row.epr:
        return here[0] if here else None
    if same := [device for device in here if device.epr == row.epr]:
        return same[0]
    # It answers elsewhere and not where it was written down: it has moved, and its timeline goes with it.
    elsewhere = _usable(device for device in devices if device.epr == row.epr)
    if len(elsewhere) == 1:
        return elsewhere[0]
    return here[0] if here else None


def _row_device(
    row: Known, devices: Sequence[Device], not_these: frozenset[tuple[str, Identity]]
) -> Device | None:
    possible = [device for device in devices if (row.id, device.identity) not in not_these]
    host = _host(row.address)
    same = [device for device in possible if row.epr and device.epr == row.epr]
    here = [device for device in possible if device.address == host]
    if len(same) > 1:
        # Clones that share their endpoint reference: only the address tells them apart.
        same = [device for device in same if device.address == host]
    if same:
        return same[0]
    # A camera may change its endpoint reference at a reboot; who it is, onboarding asks.
    return here[0] if here else None


def _from_config(config: Config, camera: ConfigCamera, row: Known | None, device: Device | None) -> Wanted:
    target = camera.address or ""
    if device is not None and device.address != _host(target):
        target = service_url(device)
    elif device is not None and urlsplit(f"//{target}").port is None:
        # The port that the device itself names; many do not use 80.
        target = service_url(device)
    elif device is None and row is not None and camera.address and _host(row.address) == _host(target):
        target = row.address if urlsplit(f"//{target}").port is None else target
    user, password_file = camera.user or "", camera.password_file or ""
    if not user and config.credentials is not None and not _has_userinfo(camera.url):
        user, password_file = config.credentials.user, config.credentials.password_file
    return Wanted(
        id=camera.id,
        name=camera.title,
        origin="config",
        target=target,
        url=camera.url or "",
        sub_url=camera.sub_url or "",
        user=user,
        password_file=password_file,
        epr=device.epr if device is not None else row.epr if row is not None else "",
        enabled=camera.enabled,
        record=camera.record,
        audio=camera.audio,
        metadata=camera.metadata,
        transport=camera.transport,
        allow_basic=camera.allow_basic,
        certificate_sha256=camera.certificate_sha256 or "",
        ca_file=camera.ca_file or "",
        old_tls=camera.old_tls,
        trusted_address=True,
    )


def _adopted(config: Config, row: Known, device: Device | None) -> Wanted:
    user, password_file = _site_credentials(config)
    return Wanted(
        id=row.id,
        name=row.name or row.id,
        origin="adopted",
        target=service_url(device) if device is not None and device.problem is None else row.address,
        user=user,
        password_file=password_file,
        epr=row.epr,
    )


def _candidate(config: Config, id_: str, device: Device) -> Wanted:
    user, password_file = _site_credentials(config)
    return Wanted(
        id=id_,
        name=device.name or device.hardware or device.address,
        origin="candidate",
        target=service_url(device),
        user=user,
        password_file=password_file,
        epr=device.epr,
    )


def _site_credentials(config: Config) -> tuple[str, str]:
    given = config.credentials
    return (given.user, given.password_file) if given is not None else ("", "")


def _free_id(reserved: str | None, device: Device, taken: set[str]) -> str:
    if reserved is not None and reserved not in taken:
        return reserved
    base = make_id(device.name or device.hardware or f"camera-{device.address}")
    number, id_ = 1, base
    while id_ in taken:
        number += 1
        suffix = f"-{number}"
        id_ = base[: 32 - len(suffix)].rstrip("-") + suffix
    return id_


def _usable(devices: Iterable[Device]) -> list[Device]:
    return [device for device in devices if device.problem is None]


def _host(target: str) -> str:
    try:
        return urlsplit(target if "://" in target else f"//{target}").hostname or ""
    except ValueError:
        return ""


def _has_userinfo(url: str | None) -> bool:
    return url is not None and "@" in urlsplit(url).netloc
