"""What the API says and accepts about holds, events, deletions and forecasts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simpang.web.schemas import Answer, Asked, Time

_ID = r"^[a-z0-9-]{1,32}$"
# A person's or an office's name, a case number: one line, without what could move a cursor.
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")]


class HoldAsked(Asked):
    camera: str = Field(pattern=_ID)
    stream: str | None = Field(None, pattern=_ID, description="all streams where not set")
    start: Time
    end: Time = Field(description="may lie ahead: what will be recorded is held, too")
    reason: Line = Field(min_length=1, max_length=500)
    who: Line = Field(min_length=1, max_length=64, description="who asks for it")
    case: Line = Field("", max_length=64, description="holds of one case can be released together")
    legal: bool = Field(False, description="not bound by hold_max_percent")
    until: Time | None = Field(None, description="ends by itself then")


class Hold(Answer):
    id: str
    camera: str
    stream: str | None
    start: Time
    end: Time
    reason: str
    who: str
    case: str | None
    legal: bool
    until: Time | None
    made: Time
    released: Time | None = Field(description="when it ended, null while it holds")
    released_by: str | None = Field(description="null also where its time was up")
    released_why: str | None


class Holds(Answer):
    items: list[Hold]
    next: str | None = None


class EventAsked(Asked):
    camera: str = Field(pattern=_ID)
    kind: Literal["motion", "line", "area", "tamper", "video-loss", "input", "sound", "object", "other"] = (
        "other"
    )
    start: Time | None = Field(None, description="now where not set")
    end: Time | None = Field(None, description="the same moment where not set")
    words: Line = Field("", max_length=500)
    who: Line = Field(min_length=1, max_length=64, description="who marks it")


class Event(Answer):
    id: str
    camera: str
    kind: str
    start: Time
    end: Time | None = Field(description="null while it goes on")
    source: str
    words: str


class Events(Answer):
    items: list[Event]
    next: str | None = None


class Deletion(Answer):
    camera: str
    stream: str
    start: Time
    end: Time
    reason: str = Field(description="as in the gaps of a coverage: evicted, deleted or disk-error")
    rule: str = Field(description="space, quota, age, order, person or lost")
    who: str | None
    why: str | None
    bytes: int
    segments: int
    first_at: Time | None = Field(description="when the first file of it was removed")
    last_at: Time | None


class Deletions(Answer):
    items: list[Deletion]
    next: str | None = None


class Deleted(Answer):
    segments: int
    bytes: int
    held_segments: int = Field(description="left, because they are held or a job needs them")
    held_bytes: int


class Lasting(Answer):
    bytes_a_day: int
    days: float
    event_days: float
    limited_by: str = Field(description="age, space, minimum, or the key of a quota")


class StreamForecast(Answer):
    camera: str
    stream: str
    bytes: int
    oldest: Time | None
    bytes_last_day: int | None
    bytes_a_day_last_week: int | None
    before: Lasting | None = Field(description="as it is; null for a stream that is only proposed")
    after: Lasting = Field(description="with the change that was asked about")


class PromiseAtRisk(Answer):
    party: str
    camera: str
    stream: str
    promised_days: float
    days: float
    since: Time = Field(description="from when on")


class Capacity(Answer):
    capacity_bytes: int = Field(description="what footage may take, as others leave it")
    held_bytes: int
    promises_at_risk: list[PromiseAtRisk]


class Forecast(Answer):
    items: list[StreamForecast]
    before: Capacity
    after: Capacity
    next: str | None = None
