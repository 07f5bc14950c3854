"""All that is open while the daemon runs: what the page, the API and the jobs work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simpang.clock import Clock
from simpang.clock_keeper import ClockKeeper
from simpang.config.model import Config
from simpang.disks.flush import FlushChoice
from simpang.disks.wear import Wear
from simpang.health import Health
from simpang.jobs.jobs import Jobs
from simpang.media_folders import MediaFolders
from simpang.roster.roster import Roster
from simpang.roster.view import Camera, gap_reason
from simpang.state.database import State
from simpang.storage import Storage
from simpang.web.sessions import Sessions
from simpang_buffer.index.index import Index
from simpang_buffer.index.keeper import IndexKeeper
from simpang_buffer.model import GapReason
from simpang_buffer.recording.pool import RecorderPool


@dataclass(frozen=True)
class Gateway:
    """data: absolute. started_us: UTC. health(now_us) and clock() tell what is known and never wait.
    hold_bytes(): what holds may take; blocks for a moment.

    gateway_key: the gateway's public key, base64url Ed25519, by which its manifests are verified.
    """

    config: Config
    data: Path
    index: Index
    storage: Storage
    folders: MediaFolders
    state: State
    keeper: IndexKeeper
    pool: RecorderPool
    roster: Roster
    jobs: Jobs
    sessions: Sessions
    started_us: int
    version: str
    gateway_key: str | None
    hold_bytes: Callable[[], int]
    flush: FlushChoice
    wear: Wear
    health: Callable[[int], Health]
    clock: Callable[[], Clock]
    clock_keeper: ClockKeeper

    def gap_reason(self, camera: Camera) -> GapReason:
        """Why a camera's footage ends where it does now, for a gap that is still open."""
        return gap_reason(camera)
