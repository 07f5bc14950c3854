"""What the index hands out beside segments, and how rows become them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from simpang_buffer.index.database import Row
from simpang_buffer.model import AnchorSource, GapReason, Segment, StreamKey, segment_path

# A row of `segment`: (stream_id, start_us, run, seq).
Place: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Run:
    """One uninterrupted recording.

    start_us and end_us: of all segments ever added to it, None before the first; last_seq: -1 before it.
    recorded_anchor_us: what its files say, where the clock was found wrong later and the rows were moved.
    """

    key: StreamKey
    run: int
    anchor_us: int
    anchor_source: AnchorSource
    camera_offset_us: int | None
    previous_end: GapReason | None
    codec: str
    width: int
    height: int
    start_us: int | None
    end_us: int | None
    last_seq: int
    boot_id: str | None = None
    anchor_boot_us: int | None = None
    recorded_anchor_us: int | None = None
    drift_ppm: float | None = None

    @property
    def moved_us(self) -> int:
        """What to add to a time in its files."""
        return 0 if self.recorded_anchor_us is None else self.anchor_us - self.recorded_anchor_us


@dataclass(frozen=True, slots=True)
class Gone:
    """A stretch that was recorded and is no more."""

    start_us: int
    end_us: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class Pin:
    """A range that nobody evicts while the job needs it."""

    job: str
    key: StreamKey
    start_us: int
    end_us: int


class Doomed(NamedTuple):
    """A file on the garbage list of some folder."""

    key: StreamKey
    run: int
    seq: int

    @property
    def path(self) -> Path:
        return segment_path(self.key, self.run, self.seq)


@dataclass(frozen=True, slots=True)
class StreamTotals:
    """What the index holds of one stream; oldest_us and newest_us are None where it holds nothing."""

    bytes: int
    segments: int
    oldest_us: int | None
    newest_us: int | None


SEGMENT_COLUMNS = (
    "s.run, s.seq, s.start_us, s.end_us, s.size_bytes, s.fragments, s.frames, s.first_chunk, s.chunks, "
    "f.codec, f.width, f.height, f.header_sha256, s.seal, s.folder_id"
)
RUN_COLUMNS = (
    "run, anchor_us, anchor_source, camera_offset_us, previous_end, "
    "codec, width, height, start_us, end_us, last_seq, boot_id, anchor_boot_us, recorded_anchor_us, drift_ppm"
)


def segment_of(key: StreamKey, row: Row) -> Segment:
    """row: SEGMENT_COLUMNS."""
    return Segment(key, *row)


def run_of(key: StreamKey, row: Row) -> Run:
    """row: RUN_COLUMNS."""
    run, anchor_us, source, offset_us, previous_end, *rest = row
    reason = GapReason(previous_end) if previous_end is not None else None
    return Run(key, run, anchor_us, AnchorSource(source), offset_us, reason, *rest)


def stretches(numbers: Iterable[int]) -> list[list[int]]:
    """First and last of those that follow each other."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found
