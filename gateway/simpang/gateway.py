"""All that is open while the daemon runs: what the page, the API and the jobs work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simpang.clock import Clock
from simpang.config.model import Config
from simpang.health import Health
from simpang.jobs.jobs import Jobs
from simpang.roster.roster import Roster
from simpang.roster.view import Camera
from simpang.state.database import State
from simpang.web.sessions import Sessions
from simpang_buffer.index.index import Index
from simpang_buffer.model import GapReason
from simpang_buffer.recording.pool import RecorderPool

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


@dataclass(frozen=True)
class Gateway:
    """data: absolute. started_us: UTC. health(now_us) and clock() tell what is known and never wait.

    gateway_key: the gateway's public key, base64url Ed25519, by which its manifests are verified.
    """

    config: Config
    data: Path
    index: Index
    state: State
    pool: RecorderPool
    roster: Roster
    jobs: Jobs
    sessions: Sessions
    started_us: int
    version: str
    gateway_key: str | None
    health: Callable[[int], Health]
    clock: Callable[[], Clock]

    def gap_reason(self, camera: Camera) -> GapReason:
        """Why a camera's footage ends where it does now, for a gap that is still open."""
        if camera.state == "disabled":
            return GapReason.DISABLED
        return _GAP_OF.get(camera.reason or "unreachable", GapReason.UNREACHABLE)
