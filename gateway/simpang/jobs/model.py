"""The nouns of sending: a job, its states, its priority. Times are integer microseconds UTC."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from simpang_buffer.model import StreamKey
from simpang_buffer.reading.gaps import Gap


class JobState(enum.StrEnum):
    """received -> authorised -> planned -> queued -> sending -> verifying -> done; the others stand aside."""

    RECEIVED = "received"
    AUTHORISED = "authorised"
    REFUSED = "refused"
    PLANNED = "planned"
    QUEUED = "queued"
    SENDING = "sending"
    VERIFYING = "verifying"
    DONE = "done"
    WAITING = "waiting"
    PARTIAL = "partial"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = frozenset(
    {
        JobState.REFUSED,
        JobState.DONE,
        JobState.PARTIAL,
        JobState.EXPIRED,
        JobState.CANCELLED,
        JobState.FAILED,
    }
)


class WaitingFor(enum.StrEnum):
    """What holds a job up: its hours, the month's cap, the link or store, or a job that goes first."""

    WINDOW = "window"
    CAP = "cap"
    LINK = "link"
    YIELD = "yield"


class Priority(enum.IntEnum):
    """Lower goes first. 0 and 1 are control and live; backfill and bulk keep to the allowed hours."""

    URGENT = 2
    CLIP = 3
    BACKFILL = 4
    BULK = 5

    @property
    def word(self) -> str:
        return self.name.lower()

    @property
    def scavenger(self) -> bool:
        return self >= Priority.BACKFILL


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is asked for: [start_us, end_us) of one stream, sent to one centre.

    idempotency_key: the same key never makes a second job. ref: the asker's reference number.
    """

    camera: str
    stream: str
    start_us: int
    end_us: int
    central: str
    priority: Priority = Priority.CLIP
    ref: str = ""
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `job`. bytes and chunks: done, and in all as far as planned. reason: what went wrong."""

    id: str
    request: JobRequest
    party: str
    state: JobState
    waiting_for: WaitingFor | None
    reason: str
    created_us: int
    changed_us: int
    bytes_done: int
    bytes_total: int
    chunks_done: int
    chunks_total: int
    gaps: tuple[Gap, ...]

    @property
    def key(self) -> StreamKey:
        return StreamKey(self.request.camera, self.request.stream)


@dataclass(frozen=True, slots=True)
class SentChunk:
    """A chunk that the store has confirmed.

    object_key: without the store's own prefix. init_bytes: ftyp and moov, at the object's start.
    """

    run: int
    number: int
    object_key: str
    start_us: int
    duration_us: int
    codec: str
    init_sha256: bytes
    init_bytes: int
    size_bytes: int
    sha256: bytes
    seal: bytes

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration_us


class JobRefused(Exception):
    """A request that cannot become a job. code: of the refusal codes; `str()` is for people."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code
