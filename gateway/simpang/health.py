"""How the gateway feels: a pure function from what is known to a list of items with cause and remedy.

One root cause hides its consequences: those name it in `caused_by`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simpang import words
from simpang.config.faults import Fault
from simpang.roster.plan import MOST_CAMERAS
from simpang.roster.view import Camera, CameraState, FoundDevice
from simpang.supervise import Trouble
from simpang.web.times import format_time
from simpang.words import Advice, Words
from simpang_onvif.errors import Reason

OK, WARNING, CRITICAL = "ok", "warning", "critical"
_ORDER = (OK, WARNING, CRITICAL)

# A camera that starts up or reconnects needs some seconds; only then is it worth a line.
PATIENCE_US = 15_000_000
# Below this the databases themselves are in danger.
CRITICAL_FREE_BYTES = 200 * 10**6
# More of one kind are no more help, and a network can make up as many devices as it likes.
MOST_DEVICE_ITEMS = 16


@dataclass(frozen=True, slots=True)
class HealthItem:
    """code: stable, for programs. subject: what it is about ("camera/utara"). since: RFC 3339 or None."""

    code: str
    severity: str
    subject: str
    since: str | None
    evidence: Mapping[str, object]
    cause: Words
    remedy: Words
    caused_by: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """severity: of the worst item."""

    severity: str
    items: tuple[HealthItem, ...]


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system under the data folder. min_free_bytes: what [buffer].min_free asks for."""

    path: Path
    free_bytes: int
    total_bytes: int
    min_free_bytes: int


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that health is judged from."""

    cameras: Sequence[Camera]
    devices: Sequence[FoundDevice]
    where_looked: Sequence[str]
    discovery: bool
    disk: Disk | None
    config_file: Path
    config_faults: Sequence[Fault]
    secret_faults: Sequence[Fault]
    troubles: Sequence[Trouble]
    started_us: int
    # What modules beside this one have found (storage, clocks, the recorders' confinement).
    more: Sequence[HealthItem] = ()


def health(known: Knowledge, now_us: int) -> Health:
    """Every item, the worst first."""
    items = [
        *_disk(known.disk),
        *_configuration(known),
        *_no_cameras(known, now_us),
        *_troubles(known.troubles),
        *_devices(known.devices),
        *known.more,
    ]
    causes = {one.code for one in items}
    items += _cameras(known.cameras, now_us, causes)
    items.sort(key=lambda one: (-_ORDER.index(one.severity), one.code, one.subject))
    worst = max((_ORDER.index(one.severity) for one in items), default=0)
    return Health(_ORDER[worst], tuple(items))


def _cameras(cameras: Iterable[Camera], now_us: int, causes: set[str]) -> Iterator[HealthItem]:
    for camera in cameras:
        if camera.state in (CameraState.RECORDING, CameraState.DISABLED):
            continue
        if camera.reason is None and now_us - camera.since_us < PATIENCE_US:
            continue
        reason = camera.reason or "timeout"
        advice = words.CAMERA.get(reason, words.CAMERA["unreachable"])
        advice = advice.filled(name=camera.name, address=camera.address or "?")
        cause = {"disk-full": "disk-low", "secret": "secret-unusable"}.get(reason)
        evidence: dict[str, object] = {"reason": reason, "detail": camera.detail}
        if camera.retry_us is not None:
            evidence["retry"] = format_time(camera.retry_us)
        yield item(
            "camera-not-recording",
            CRITICAL,
            f"camera/{camera.id}",
            advice,
            since_us=camera.since_us,
            evidence=evidence,
            caused_by=cause if cause in causes else None,
        )


def _no_cameras(known: Knowledge, now_us: int) -> Iterator[HealthItem]:
    if known.cameras or (known.discovery and now_us - known.started_us < PATIENCE_US):
        return
    where = ", ".join(known.where_looked) or "nothing (discovery is off)"
    advice = words.NO_CAMERAS.filled(where=where, found=len(known.devices))
    evidence = {
        "where_looked": list(known.where_looked),
        "devices": [device.address for device in known.devices],
    }
    yield item("no-cameras", CRITICAL, "site", advice, since_us=known.started_us, evidence=evidence)


def _disk(disk: Disk | None) -> Iterator[HealthItem]:
    # Retention evicts down to min_free; at half of that it cannot keep up, or others fill the disk.
    if disk is None or disk.free_bytes >= disk.min_free_bytes // 2:
        return
    severity = CRITICAL if disk.free_bytes < CRITICAL_FREE_BYTES else WARNING
    advice = words.DISK_LOW.filled(free=f"{disk.free_bytes / 1e9:.1f} GB", path=disk.path)
    evidence = {"free_bytes": disk.free_bytes, "total_bytes": disk.total_bytes, "path": str(disk.path)}
    yield item("disk-low", severity, "disk", advice, evidence=evidence)


def _configuration(known: Knowledge) -> Iterator[HealthItem]:
    if known.config_faults:
        advice = words.CONFIG_FAULTY.filled(file=known.config_file, count=len(known.config_faults))
        evidence = {"faults": [str(fault) for fault in known.config_faults]}
        yield item("config-faulty", WARNING, "config", advice, since_us=known.started_us, evidence=evidence)
    for fault in known.secret_faults:
        advice = words.SECRET_UNUSABLE.filled(what=fault.what, try_this=fault.try_this)
        yield item("secret-unusable", CRITICAL, fault.key, advice, evidence={"fault": str(fault)})


def _troubles(troubles: Iterable[Trouble]) -> Iterator[HealthItem]:
    for trouble in troubles:
        advice = words.PART_FAILING.filled(part=trouble.part, last=trouble.last)
        evidence: dict[str, object] = {"times": trouble.times, "last": trouble.last}
        yield item(
            "part-failing", WARNING, trouble.part, advice, since_us=trouble.since_us, evidence=evidence
        )


def _devices(devices: Iterable[FoundDevice]) -> Iterator[HealthItem]:
    # One that is a camera already has its own item.
    others = [device for device in devices if device.problem is not None and device.camera is None]
    beyond = [device for device in others if device.problem == Reason.LIMIT]
    if beyond:
        advice = words.TOO_MANY_CAMERAS.filled(count=len(beyond), most=MOST_CAMERAS)
        listed = [device.address for device in beyond[:MOST_DEVICE_ITEMS]]
        evidence: dict[str, object] = {
            "devices": len(beyond),
            "addresses": listed,
            "detail": beyond[0].detail,
        }
        yield item("too-many-cameras", WARNING, "discovery", advice, evidence=evidence)
    for device in [one for one in others if one.problem != Reason.LIMIT][:MOST_DEVICE_ITEMS]:
        advice = words.DEVICE_UNUSABLE.filled(address=device.address, detail=device.detail or device.problem)
        evidence = {"problem": device.problem, "name": device.name, "epr": device.epr}
        yield item("device-unusable", WARNING, f"device/{device.address}", advice, evidence=evidence)


def item(
    code: str,
    severity: str,
    subject: str,
    advice: Advice,
    *,
    since_us: int | None = None,
    evidence: Mapping[str, object],
    caused_by: str | None = None,
) -> HealthItem:
    """The item of an advice whose blanks are filled in."""
    since = None if since_us is None else format_time(since_us)
    return HealthItem(code, severity, subject, since, evidence, advice.cause, advice.remedy, caused_by)
