"""Events: something that happened before a camera. Their footage may be kept longer.

A camera that floods is bounded here: what is beyond MOST_A_DAY is refused and counted, and its footage is
kept as any other.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from simpang_buffer.index.database import Database, Row
from simpang_buffer.index.spans import Spans

# A camera that sees something every nine seconds all day and night; more is a fault of it or of its settings.
MOST_A_DAY = 10_000
# What follows within an hour of its beginning is footage of an event: some cameras never say that it is over.
EVENT_MOST_US = 3_600_000_000
_DAY_US = 86_400_000_000


class EventKind(enum.StrEnum):
    """A closed list, seen from outside."""

    MOTION = "motion"
    LINE = "line"
    AREA = "area"
    TAMPER = "tamper"
    VIDEO_LOSS = "video-loss"
    INPUT = "input"
    SOUND = "sound"
    OBJECT = "object"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Event:
    """end_us: None while it goes on. camera_us: its beginning by the camera's clock, where known. source: who
    says so; words: in the source's own words. id: 0 until it is added."""

    camera: str
    kind: EventKind
    start_us: int
    end_us: int | None = None
    camera_us: int | None = None
    source: str = ""
    words: str = ""
    id: int = 0


class TooManyEvents(Exception):
    """The camera has had its events for that day."""


_COLUMNS = "camera, kind, start_us, end_us, camera_us, source, words, id"


class Events:
    """refused: how many were, by camera, since the start."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._refused: dict[str, int] = {}

    @property
    def refused(self) -> Mapping[str, int]:
        return self._refused

    async def add(self, event: Event) -> int:
        """Its id, by which it can be ended. Raises TooManyEvents, which is counted."""
        day_us = event.start_us // _DAY_US * _DAY_US
        async with self._database.transaction() as tx:
            count = await tx.value(
                "select count(*) from event where camera = ? and start_us between ? and ?",
                (event.camera, day_us, day_us + _DAY_US - 1),
            )
            if count >= MOST_A_DAY:
                self._refused[event.camera] = self._refused.get(event.camera, 0) + 1
                raise TooManyEvents(f"{event.camera} has had {count} events that day; this one is not kept")
            await tx.run(
                """insert into event (camera, kind, start_us, end_us, camera_us, source, words)
                   values (?, ?, ?, ?, ?, ?, ?)""",
                (event.camera, event.kind, event.start_us, event.end_us, event.camera_us, event.source,
                 event.words),
            )  # fmt: skip
            return int(await tx.value("select last_insert_rowid()"))

    async def end(self, id_: int, end_us: int) -> None:
        """It is over; one that is over, or was forgotten, stays as it is. Never before it began."""
        async with self._database.transaction() as tx:
            await tx.run(
                "update event set end_us = max(?, start_us) where id = ? and end_us is null", (end_us, id_)
            )

    async def list(
        self,
        start_us: int,
        end_us: int,
        *,
        camera: str | None = None,
        kind: EventKind | None = None,
        below: int | None = None,
        limit: int = 500,
    ) -> list[Event]:
        """Those that began in the range, the latest told first; below: only ids below it, to read on."""
        rows = await self._database.read(
            f"""select {_COLUMNS} from event where start_us >= ?1 and start_us < ?2
                and (?3 is null or camera = ?3) and (?4 is null or kind = ?4)
                and (?5 is null or id < ?5) order by id desc limit ?6""",
            (start_us, end_us, camera, kind, below, limit),
        )
        return [_event_of(row) for row in rows]

    async def forget_before(self, time_us: int, most: int = 2000) -> int:
        """Drops the oldest that began before then, at most so many: their footage is gone. How many."""
        async with self._database.transaction() as tx:
            return await tx.run(
                "delete from event where id in (select id from event where start_us < ? order by id limit ?)",
                (time_us, most),
            )


async def event_spans(database: Database, camera: str, start_us: int, end_us: int, margin_us: int) -> Spans:
    """When there was something to see in the range, with so much around it."""
    rows = await database.read(
        """select start_us, coalesce(end_us, start_us + ?4) from event
           where camera = ?1 and start_us > ?2 - ?4 and start_us < ?3""",
        (camera, start_us - margin_us, end_us + margin_us, EVENT_MOST_US),
    )
    return Spans(
        (start - margin_us, max(start + 1, min(end, start + EVENT_MOST_US)) + margin_us)
        for start, end in rows
    )


def _event_of(row: Row) -> Event:
    camera, kind, *rest = row
    return Event(camera, EventKind(kind), *rest)
