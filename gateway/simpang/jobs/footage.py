"""What there is to send for a job: its chunks as far as they are complete, and the gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simpang.jobs.model import Job
from simpang_buffer.index.index import Index
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.reading.chunks import Chunk, chunks
from simpang_buffer.reading.clips import Clip, clips
from simpang_buffer.reading.gaps import Gap
from simpang_buffer.reading.tail import Tails

# A long range is read piece by piece: this bounds memory and how long one read takes.
WINDOW_US = 3600 * 1_000_000
# A fragment takes a second to be written, and a gap is one only once nothing can come any more.
SETTLE_US = 5 * 1_000_000
# How long after the asked end the chunk that holds it may still be growing: key frames of smart codecs come
# minutes apart (QUIRKS 8.9), and only whole chunks are sent.
LONGEST_CHUNK_US = 180 * 1_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """chunks: complete, in order. growing: more will come: the end is not past, or a chunk still grows."""

    chunks: Sequence[Chunk]
    gaps: Sequence[Gap]
    growing: bool

    @property
    def size_bytes(self) -> int:
        return sum(chunk.size_bytes for chunk in self.chunks)


class Footage:
    """Reads plans. current_reason: why a camera's footage ends where it does now, for a gap still open."""

    def __init__(self, index: Index, tails: Tails, current_reason: Callable[[str], GapReason]) -> None:
        self._index = index
        self._tails = tails
        self._current_reason = current_reason

    async def exists(self, key: StreamKey, start_us: int, end_us: int, now_us: int) -> bool:
        """Whether any of the range was recorded and is still there. Raises what reading the index raises."""
        for window_us in range(start_us, end_us, WINDOW_US):
            if (await self._clip(key, window_us, min(window_us + WINDOW_US, end_us), now_us)).parts:
                return True
        return False

    async def plan(self, job: Job, now_us: int) -> Plan:
        """Raises what reading the index raises."""
        asked_end_us = job.request.end_us
        found: dict[tuple[int, int], Chunk] = {}
        gaps: list[Gap] = []
        recorded_us = 0
        last_us = min(asked_end_us, now_us)
        for start_us in range(job.request.start_us, last_us, WINDOW_US):
            clip = await self._clip(job.key, start_us, min(start_us + WINDOW_US, last_us), now_us)
            for chunk in await chunks(self._index, self._tails, clip):
                found[chunk.run, chunk.number] = chunk
            for gap in clip.gaps:
                _append(gaps, gap)
            recorded_us = max([recorded_us, *(part.end_us for part in clip.parts)])
        reached_us = max((chunk.start_us + chunk.duration_us for chunk in found.values()), default=0)
        growing = now_us < asked_end_us + SETTLE_US or (
            reached_us < min(recorded_us, asked_end_us) and now_us < asked_end_us + LONGEST_CHUNK_US
        )
        return Plan(tuple(found.values()), tuple(gaps), growing)

    async def _clip(self, key: StreamKey, start_us: int, end_us: int, now_us: int) -> Clip:
        reason = self._current_reason(key.camera)
        return await clips(
            self._index, self._tails, key, start_us, end_us, current_reason=reason, now_us=now_us
        )


def _append(gaps: list[Gap], gap: Gap) -> None:
    """Joins a gap that two windows share."""
    if gaps and gaps[-1].end_us == gap.start_us and gaps[-1].reason == gap.reason:
        gaps[-1] = Gap(gaps[-1].start_us, gap.end_us, gap.reason)
    else:
        gaps.append(gap)
