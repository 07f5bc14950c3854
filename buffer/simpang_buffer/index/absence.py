"""Footage that the index knows and nobody can read now, for its media folder is not there."""

from __future__ import annotations

import json

from simpang_buffer.index.changes import names
from simpang_buffer.index.index import Index
from simpang_buffer.index.rows import Gone
from simpang_buffer.model import GapReason, StreamKey

# Files of one run follow each other but for rounding.
_JOINED_US = 1_000_000


async def unavailable(index: Index, key: StreamKey, start_us: int, end_us: int) -> list[Gone]:
    """Stretches in the range whose files lie in folders that are not there, in order."""
    if not index.absent:
        return []
    rows = await index.db.read(
        """select s.start_us, s.end_us from segment s join stream c on c.id = s.stream_id
           where c.camera = ?1 and c.stream = ?2 and s.start_us < ?4 and s.end_us > ?3
             and s.start_us >= ?3 - c.longest_us and s.folder_id in (select value from json_each(?5))
           order by s.start_us""",
        (*names(key), start_us, end_us, json.dumps(sorted(index.absent))),
    )
    stretches: list[Gone] = []
    for first_us, last_us in rows:
        if stretches and first_us <= stretches[-1].end_us + _JOINED_US:
            before = stretches.pop()
            first_us, last_us = before.start_us, max(before.end_us, last_us)
        stretches.append(Gone(first_us, last_us, GapReason.DISK_ERROR))
    return stretches
