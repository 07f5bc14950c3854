"""What each stream takes a day, measured from what the index holds."""

from __future__ import annotations

from dataclasses import dataclass

from simpang_buffer.index.database import Database
from simpang_buffer.index.events import event_spans
from simpang_buffer.model import StreamKey

DAY_US = 86_400_000_000
WEEK_US = 7 * DAY_US
# What began less than this ago has no rate that a forecast could stand on.
_LEAST_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """day_bytes and week_bytes: bytes a day over the last day and the last week. event_share: of the last
    day's bytes, what is footage of events. oldest_us: begin of the oldest footage."""

    key: StreamKey
    day_bytes: int
    week_bytes: int
    event_share: float
    oldest_us: int | None
    stored_bytes: int

    @property
    def bytes_a_day(self) -> int:
        """The larger of both: who promises something is careful."""
        return max(self.day_bytes, self.week_bytes)


async def rates(database: Database, now_us: int, margin_us: int | None) -> list[Rate]:
    """Of every stream that has footage. margin_us: around events, None where they make no difference."""
    found = []
    for id_, camera, stream, stored in await database.read(
        "select id, camera, stream, bytes from stream where segments > 0 order by camera, stream"
    ):
        oldest = await database.read(
            "select start_us from segment where stream_id = ? order by start_us limit 1", (id_,)
        )
        oldest_us = oldest[0][0] if oldest else None
        day, week = [
            await _bytes_a_day(database, id_, max(now_us - span_us, oldest_us or now_us), now_us)
            for span_us in (DAY_US, WEEK_US)
        ]
        share = 0.0 if margin_us is None else await _event_share(database, id_, camera, now_us, margin_us)
        found.append(Rate(StreamKey(camera, stream), day, week, share, oldest_us, stored))
    return found


async def _bytes_a_day(database: Database, stream_id: int, from_us: int, now_us: int) -> int:
    rows = await database.read(
        """select coalesce(sum(size_bytes), 0) from segment
           where stream_id = ? and start_us >= ? and start_us < ?""",
        (stream_id, from_us, now_us),
    )
    return int(rows[0][0]) * DAY_US // max(now_us - from_us, _LEAST_US)


async def _event_share(database: Database, stream_id: int, camera: str, now_us: int, margin_us: int) -> float:
    spans = await event_spans(database, camera, now_us - DAY_US, now_us, margin_us)
    if not spans:
        return 0.0
    rows = await database.read(
        """select start_us, end_us, size_bytes from segment
           where stream_id = ? and start_us >= ? and start_us < ?""",
        (stream_id, now_us - DAY_US, now_us),
    )
    whole = sum(row[2] for row in rows)
    return sum(row[2] for row in rows if spans.touch(row[0], row[1])) / whole if whole else 0.0
