"""Days of footage that somebody was promised, and whether they will be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simpang_buffer.index.forecast import DAY_US, Load, Outlook, breaks_at
from simpang_buffer.model import StreamKey

# So long before a promise breaks it is said: over a weekend, somebody can still do something.
WARN_US = 72 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class Promise:
    """party: to whom. cameras and streams: which, none named means all."""

    party: str
    cameras: frozenset[str]
    streams: frozenset[str]
    days: float

    def is_about(self, key: StreamKey) -> bool:
        return (not self.cameras or key.camera in self.cameras) and (
            not self.streams or key.stream in self.streams
        )


@dataclass(frozen=True, slots=True)
class Risk:
    """The promise will not be kept for this stream. at_us: from when on; days: what it will be then."""

    promise: Promise
    key: StreamKey
    days: float
    at_us: int
    limited_by: str


def risks(
    promises: Sequence[Promise],
    loads: Sequence[Load],
    outlooks: Sequence[Outlook],
    capacity_bytes: int,
    now_us: int,
) -> list[Risk]:
    """Every promise that will break, however far ahead; the first first."""
    found = []
    for load, outlook in zip(loads, outlooks, strict=True):
        for promise in promises:
            if not promise.is_about(load.key):
                continue
            at_us = breaks_at(promise.days, load, outlook, loads, capacity_bytes, now_us)
            if at_us is not None:
                found.append(Risk(promise, load.key, outlook.days, at_us, outlook.limited_by))
    return sorted(found, key=lambda risk: (risk.at_us, risk.key))


def least_us(promises: Sequence[Promise], key: StreamKey) -> int:
    """The minimum age that the promises make of the stream."""
    return max((int(promise.days * DAY_US) for promise in promises if promise.is_about(key)), default=0)
