"""How a camera is, from how its streams are and what it last refused. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simpang import words
from simpang.roster.view import CameraState
from simpang_buffer.recording.view import StreamStatus
from simpang_onvif.errors import OnvifError, Reason

# Reasons that are about who signs in, and not about whether anybody is there.
SIGN_IN = (Reason.AUTH, Reason.LOCKED)

_DISK = ("disk-full", "disk-error")
_ORDER = ("recording", "disabled", "connecting", "unreachable", "auth")


@dataclass(frozen=True, slots=True)
class Condition:
    """reason: a camera reason, or one of the disk; None with empty words where nothing is wrong."""

    state: CameraState
    reason: str | None = None
    detail: str = ""
    remedy: str = ""


def condition(
    *, enabled: bool, statuses: Sequence[StreamStatus], trouble: OnvifError | None, before: Condition | None
) -> Condition:
    """statuses: of the streams that the recorder was asked for. trouble: why none was, or why the camera
    could not be asked. before: its last failure, which it keeps while the recorder only tries anew."""
    if not enabled:
        return Condition(CameraState.DISABLED)
    status = worst(statuses)
    if statuses and status.state == "recording":
        return Condition(CameraState.RECORDING)
    if status.state == "connecting" and status.reason in _DISK:
        # Whatever the camera says meanwhile, it is not what keeps it from being recorded.
        remedy = words.CAMERA[status.reason].remedy.en
        return Condition(CameraState.CONNECTING, status.reason, status.detail, remedy)
    well = any(one.state == "recording" for one in statuses)
    if trouble is not None and not well:
        state = CameraState.AUTH if trouble.reason in SIGN_IN else CameraState.UNREACHABLE
        return Condition(state, str(trouble.reason), trouble.detail, trouble.remedy)
    if status.state in ("unreachable", "auth"):
        reason = status.reason or str(Reason.UNREACHABLE)
        remedy = words.CAMERA.get(reason, words.CAMERA["unreachable"]).remedy.en
        return Condition(CameraState(status.state), reason, status.detail, remedy)
    return before or Condition(CameraState.CONNECTING)


def worst(statuses: Iterable[StreamStatus]) -> StreamStatus:
    """The stream that needs most attention; connecting where there is none yet."""
    return max(statuses, key=lambda one: _ORDER.index(one.state), default=StreamStatus("connecting"))


def camera_reason(word: str | None) -> Reason:
    """A stream's reason as one of a camera. The disk's are no fault of it; asking it again does no harm."""
    try:
        return Reason(word or "unreachable")
    except ValueError:
        return Reason.UNREACHABLE
