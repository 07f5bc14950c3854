"""When a stream that failed is tried again, and what the gap is called. Pure."""

from __future__ import annotations

from simpang_buffer.model import GapReason
from simpang_buffer.rtsp.errors import (
    AuthRefused,
    Limit,
    NothingPlayed,
    RefusedByPolicy,
    StreamError,
    Timeout,
    Unreachable,
    Unsupported,
)

# Cameras lock an account after 5 to 7 refused tries, for everybody at our address: three in the first hour
# (at 0, 10 and 30 minutes), then one an hour.
AUTH_DELAYS_S = (600.0, 1200.0, 3600.0)
_SOON_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# Sessions of ours that broke may count as clients until the camera forgets them, mostly after a minute.
_LIMIT_S = (10.0, 20.0, 40.0, 60.0)
# A camera in privacy mode stays so for hours; one that stumbled plays at the second try.
_NOTHING_PLAYED_S = (2.0, 5.0, 15.0, 60.0)
# Eviction makes room within a second; a disk that fails again and again is not helped by trying.
_DISK_S = (1.0, 2.0, 5.0, 10.0, 30.0)
# A run this long was healthy: what fails after it is a first failure.
HEALTHY_S = 60.0
# Only a person or a new firmware changes these.
_SLOWLY_S = (30.0, 60.0, 120.0, 300.0)
# A reboot takes a camera away for about so long; one that comes back later was switched off.
_REBOOT_WITHIN_S = 300.0
_REBOOT_TAKES_S = 5.0


def delay_s(error: Exception, failures: int) -> float:
    """How long to wait after this many failures in a row (from 1), none of them followed by health."""
    match error:
        case AuthRefused():
            return auth_delay_s(failures)
        case Limit():
            delays: tuple[float, ...] = _LIMIT_S
        case NothingPlayed():
            delays = _NOTHING_PLAYED_S
        case Unsupported() | RefusedByPolicy():
            delays = _SLOWLY_S
        case _:
            delays = _SOON_S
    return delays[min(failures, len(delays)) - 1]


def auth_delay_s(refused: int) -> float:
    """How long a password rests after so many refusals in a row (from 1)."""
    return AUTH_DELAYS_S[min(refused, len(AUTH_DELAYS_S)) - 1]


def gap_reason(ended: GapReason | None, error: StreamError, since_end_s: float) -> GapReason | None:
    """What to call the gap that `ended` began, now that a try since_end_s after it failed as well.

    A refused sign-in explains a gap better than whatever ended the run. A camera that hung up, is away for
    some seconds and comes back within minutes was restarted; one that stays away is unreachable.
    """
    if isinstance(error, AuthRefused):
        return GapReason.AUTH
    if ended is GapReason.CAMERA_REBOOT and since_end_s > _REBOOT_WITHIN_S:
        return GapReason.UNREACHABLE
    if (
        ended is GapReason.UNREACHABLE
        and isinstance(error, Unreachable | Timeout)
        and _REBOOT_TAKES_S <= since_end_s <= _REBOOT_WITHIN_S
    ):
        return GapReason.CAMERA_REBOOT
    return ended


class DiskRetry:
    """When a stream whose disk failed is recorded again. not_before: on the clock of `now_s`."""

    def __init__(self) -> None:
        self.not_before = 0.0
        self._failures = 0
        self._began: float | None = None

    def began(self, now_s: float) -> None:
        """It is being recorded."""
        self._began = now_s

    def failed(self, now_s: float, *, full: bool = False) -> None:
        """full: there was no room, which may be there the next moment; a disk at fault is given time."""
        if full:
            self._began = None
            self.not_before = now_s + _DISK_S[0]
            return
        if self._began is not None and now_s - self._began > HEALTHY_S:
            self._failures = 0
        self._began = None
        self.not_before = now_s + _DISK_S[min(self._failures, len(_DISK_S) - 1)]
        self._failures += 1
