"""How much room there is, how much footage may take of it, and how much of it has to go. Pure but for
`disk_space`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simpang_buffer.model import StreamKey

# A minute of some streams: what recording itself needs free, whatever the limits say.
FLOOR_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """max_bytes: footage never takes more. min_free_bytes: left free on the file system. max_days: older
    footage goes even if space suffices, unless a rule of its own says otherwise."""

    max_bytes: int
    min_free_bytes: int
    max_days: float


@dataclass(frozen=True, slots=True)
class Space:
    """Of the file system that holds a media folder; free_bytes is what we may use of it."""

    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Quota:
    """These streams together take at most max_bytes. name: the key that says so, for people."""

    name: str
    keys: frozenset[StreamKey]
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """So many bytes have to go. folder: of this folder, None for any. quota: of its streams, None for all."""

    bytes: int
    folder: int | None = None
    quota: Quota | None = None

    def is_about(self, key: StreamKey, folder: int) -> bool:
        return self.folder in (None, folder) and (self.quota is None or key in self.quota.keys)


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes by stream and folder. open_bytes: of files that no row counts yet, by folder."""

    stored: Mapping[tuple[StreamKey, int], int]
    open_bytes: Mapping[int, int]

    def in_folder(self, folder: int) -> int:
        closed = sum(size for (_, where), size in self.stored.items() if where == folder)
        return closed + self.open_bytes.get(folder, 0)

    def of(self, keys: frozenset[StreamKey]) -> int:
        return sum(size for (key, _), size in self.stored.items() if key in keys)


def disk_space(path: Path) -> Space:
    """Blocks for a moment."""
    status = os.statvfs(path)
    return Space(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)


def excess_bytes(space: Space, used_bytes: int, limits: Limits) -> int:
    """How much must go for the limits to be kept; 0 or less when they are.

    Where others have filled the disk, footage yields until it has half of what it might take. From there on
    only what recording itself needs is made free: a runaway log must not eat the whole archive.
    """
    over = used_bytes - limits.max_bytes
    lacking = limits.min_free_bytes - space.free_bytes
    half = min(limits.max_bytes, space.total_bytes - limits.min_free_bytes) // 2
    floor = min(FLOOR_BYTES, limits.min_free_bytes) - space.free_bytes
    return max(over, min(lacking, used_bytes - half), floor)


def shortages(
    spaces: Mapping[int, Space],
    usage: Usage,
    limits: Callable[[int], Limits],
    quotas: Sequence[Quota],
    limits_of: Callable[[int, int], Limits] | None = None,
) -> list[Shortage]:
    """All that is not kept now. spaces: of the folders that are there; limits: from a size in bytes, for each
    and for all of them together. limits_of: instead, each folder's own, from its id and size."""
    if limits_of is not None:
        found = [
            Shortage(
                excess_bytes(space, usage.in_folder(folder), limits_of(folder, space.total_bytes)), folder
            )
            for folder, space in spaces.items()
        ]
        found += [Shortage(usage.of(quota.keys) - quota.max_bytes, None, quota) for quota in quotas]
        return [one for one in found if one.bytes > 0]
    found = [
        Shortage(excess_bytes(space, usage.in_folder(folder), limits(space.total_bytes)), folder)
        for folder, space in spaces.items()
    ]
    whole = limits(sum(space.total_bytes for space in spaces.values()))
    found.append(Shortage(sum(usage.in_folder(folder) for folder in spaces) - whole.max_bytes))
    found += [Shortage(usage.of(quota.keys) - quota.max_bytes, None, quota) for quota in quotas]
    return [one for one in found if one.bytes > 0]
