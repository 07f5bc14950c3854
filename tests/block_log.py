"""What was written to a disk, block by block, and what of it a power cut leaves.

A log is a row of records: `at_ns` (CLOCK_MONOTONIC), `offset` and `size` of a write, then its bytes; a flush
is a record of offset FLUSH and no bytes. A disk promises only what was written before the last flush that it
has answered. All that came later may be there or not, in any order, and a write of several sectors may be
torn.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

RECORD = struct.Struct("<QQI")
FLUSH = (1 << 64) - 1
# The least that a disk writes as one (ATA's and SCSI's logical sector).
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """One write, or a flush (offset FLUSH). data_at: where in the log its bytes are."""

    at_ns: int
    offset: int
    size: int
    data_at: int

    @property
    def is_flush(self) -> bool:
        return self.offset == FLUSH


def note(log: BinaryIO, at_ns: int, offset: int, data: bytes = b"") -> None:
    log.write(RECORD.pack(at_ns, offset, len(data)))
    log.write(data)


def entries(path: Path) -> list[Entry]:
    """Every whole record; a torn last one is left out."""
    found: list[Entry] = []
    size = path.stat().st_size
    with path.open("rb") as log:
        at = 0
        while at + RECORD.size <= size:
            log.seek(at)
            at_ns, offset, length = RECORD.unpack(log.read(RECORD.size))
            if at + RECORD.size + length > size:
                break
            found.append(Entry(at_ns, offset, length, at + RECORD.size))
            at += RECORD.size + length
    return found


def in_flight(log: Sequence[Entry], cut: int) -> tuple[int, Sequence[Entry]]:
    """How many records are safe if the power goes before record `cut`, and the writes after them."""
    safe = cut
    while safe and not log[safe - 1].is_flush:
        safe -= 1
    return safe, log[safe:cut]


def survivors(writes: Sequence[tuple[int, bytes]], chance: random.Random) -> Iterator[tuple[int, bytes]]:
    """What of the writes in flight (offset, bytes) reached the disk; the last is written last.

    Of some cuts nothing is left, of some all, of most any part: lost and reordered writes come to that.
    """
    share = chance.choice((0.0, 0.5, 0.5, chance.random(), 1.0))
    for offset, data in writes:
        if chance.random() >= share:
            continue
        if len(data) > SECTOR and chance.random() < 0.1:
            for at in range(0, len(data), SECTOR):
                if chance.random() < 0.5:
                    yield offset + at, data[at : at + SECTOR]
        else:
            yield offset, data


def read_data(log_fd: int, entry: Entry) -> bytes:
    return os.pread(log_fd, entry.size, entry.data_at)
