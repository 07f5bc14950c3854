"""A camera as the page, the API and the command line see it. Frozen; times are microseconds UTC."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from simpang_buffer.index.rows import StreamTotals
from simpang_buffer.model import GapReason
from simpang_buffer.reading.tail import Tail
from simpang_buffer.recording.contents import Contents
from simpang_buffer.recording.view import StreamStatus


class CameraState(enum.StrEnum):
    """The worst of the camera's streams. A closed list, seen from outside."""

    RECORDING = "recording"
    CONNECTING = "connecting"
    AUTH = "auth"
    UNREACHABLE = "unreachable"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What the camera says it is; None where it does not say."""

    make: str | None = None
    model: str | None = None
    firmware: str | None = None
    serial: str | None = None
    epr: str | None = None
    mac: str | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream that is or should be recorded. codec, size and rates as measured, not as promised.

    bytes: of its footage on the disk, the open file included; oldest_us: where that begins. lag_s: how late
    its pictures come, beside the quickest; repairs: what was put right, how often (see repair_words).
    contents: what of its sound and metadata is recorded, and whether key frames are far apart.
    """

    name: str
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    bps: int | None = None
    recording_since_us: int | None = None
    last_fragment_us: int | None = None
    bytes: int = 0
    oldest_us: int | None = None
    lag_s: float | None = None
    repairs: Mapping[str, int] = field(default_factory=dict)
    contents: Contents = field(default_factory=Contents)


@dataclass(frozen=True, slots=True)
class Camera:
    """reason: of the closed list of camera reasons, None while it records. detail: the same in words.

    remedy: what a person can do; both are empty while it records. since_us: of the present state.
    clock_offset_s: the camera's clock minus ours. retry_us: when it is tried again, where it is not yet time.
    """

    id: str
    name: str
    address: str | None
    device: DeviceFacts
    state: CameraState
    reason: str | None
    detail: str
    remedy: str
    since_us: int
    retry_us: int | None
    clock_offset_s: float | None
    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """One device that discovery sees.

    problem: why it is not recorded, of the camera reasons; camera: the id under which it is.
    """

    address: str
    name: str
    hardware: str
    epr: str
    interface: str
    problem: str | None
    detail: str
    camera: str | None


# What a camera reason means on the timeline, whose list of reasons is another one.
_GAP_OF = {
    "unreachable": GapReason.UNREACHABLE,
    "moved": GapReason.UNREACHABLE,
    "timeout": GapReason.TIMEOUT,
    "auth": GapReason.AUTH,
    "locked": GapReason.AUTH,
    "clock": GapReason.AUTH,
    "disk-full": GapReason.DISK_FULL,
    "disk-error": GapReason.DISK_ERROR,
}


def stream_view(name: str, status: StreamStatus, kept: StreamTotals | None, tail: Tail | None) -> Stream:
    """How the recorder and the index see one stream. tail: its files that no row of the index knows yet."""
    growing = [fragment for file in (*tail.before, tail) for fragment in file.fragments] if tail else []
    oldest_us = kept.oldest_us if kept is not None else None
    if oldest_us is None and growing:
        oldest_us = growing[0].start_us
    return Stream(
        name=name,
        codec=status.codec,
        width=status.width or None,
        height=status.height or None,
        fps=status.fps or None,
        bps=status.bps or None,
        recording_since_us=status.recording_since_us,
        last_fragment_us=status.last_fragment_us,
        bytes=(kept.bytes if kept is not None else 0) + sum(fragment.size_bytes for fragment in growing),
        oldest_us=oldest_us,
        lag_s=round(status.lag_s, 1) if status.state == "recording" else None,
        repairs=status.repairs,
        contents=status.contents,
    )


def gap_reason(camera: Camera | None) -> GapReason:
    """Why the camera's footage ends where it does now. None: it is no longer one of ours."""
    if camera is None or camera.state is CameraState.DISABLED:
        return GapReason.DISABLED
    return _GAP_OF.get(camera.reason or "unreachable", GapReason.UNREACHABLE)
