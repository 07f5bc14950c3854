"""What nobody may evict: the ranges that holds and pins cover."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from simpang_buffer.index.database import Row
from simpang_buffer.index.spans import Spans
from simpang_buffer.model import StreamKey

# Database.read, or Transaction.rows where the answer must hold until the commit.
Read: TypeAlias = Callable[[str], Awaitable[list[Row]]]

# (camera, stream or None for all of them, start_us, end_us)
Protected: TypeAlias = tuple[str, str | None, int, int]


class Protection:
    """The union of holds and pins by stream. Never changes."""

    def __init__(self, ranges: Iterable[Protected] = ()) -> None:
        self.ranges = frozenset(ranges)
        self._spans: dict[StreamKey, Spans] = {}
        self._cameras = {camera for camera, *_ in self.ranges}

    def covers(self, key: StreamKey, start_us: int, end_us: int) -> bool:
        """Whether some moment of it is held."""
        return key.camera in self._cameras and self.of(key).touch(start_us, end_us)

    def of(self, key: StreamKey) -> Spans:
        if key not in self._spans:
            self._spans[key] = Spans(
                (start_us, end_us)
                for camera, stream, start_us, end_us in self.ranges
                if camera == key.camera and stream in (None, key.stream)
            )
        return self._spans[key]


async def protection(read: Read) -> Protection:
    """As the database has it now."""
    rows = await read(
        """select camera, stream, start_us, end_us from hold where released_us is null
           union
           select c.camera, c.stream, p.start_us, p.end_us from pin p join stream c on c.id = p.stream_id"""
    )
    return Protection((camera, stream, start, end) for camera, stream, start, end in rows)
