"""How much is written to a disk in a day, from the kernel's counters, over restarts and reboots. Pure.

The kernel counts from the moment that it sees the disk; a counter that fell, or another boot, is a new count.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

# Bytes per day are told once an hour was seen, over the last days that anything was seen of.
_LEAST_S = 3600.0
_MOST_DAYS = 8
_SECTOR_BYTES = 512
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Meter:
    """written_bytes and at_s: the kernel's count when last looked at, and the time since that boot. days:
    (day, bytes, seconds), the oldest first."""

    boot_id: str
    written_bytes: int
    at_s: float
    days: tuple[tuple[int, int, float], ...] = ()

    def advanced(self, boot_id: str, written_bytes: int, at_s: float, day: int) -> Meter:
        """day: number of the day by the gateway's clock, right or wrong; it only separates one from the
        next."""
        since_s, since_bytes = self.at_s, self.written_bytes
        if boot_id != self.boot_id:
            since_s, since_bytes = 0.0, 0
        elif written_bytes < since_bytes:
            since_bytes = 0  # it was unplugged meanwhile
        bytes_, seconds = written_bytes - since_bytes, max(at_s - since_s, 0.0)
        days = list(self.days)
        if days and days[-1][0] == day:
            _, day_bytes, day_s = days.pop()
            bytes_, seconds = bytes_ + day_bytes, seconds + day_s
        days.append((day, bytes_, round(seconds, 1)))
        return Meter(boot_id, written_bytes, at_s, tuple(days[-_MOST_DAYS:]))

    @property
    def bytes_per_day(self) -> int | None:
        seconds = sum(seconds for _, _, seconds in self.days)
        if seconds < _LEAST_S:
            return None
        return round(sum(size for _, size, _ in self.days) * _DAY_S / seconds)


def written_bytes_of(stat: str) -> int | None:
    """Of /sys/block/NAME/stat: the seventh field is sectors of 512 bytes (Documentation/block/stat)."""
    fields = stat.split()
    return int(fields[6]) * _SECTOR_BYTES if len(fields) > 6 and fields[6].isdigit() else None


def to_text(meters: dict[str, Meter]) -> str:
    return json.dumps({name: asdict(meter) for name, meter in meters.items()}, separators=(",", ":"))


def from_text(text: str | None) -> dict[str, Meter]:
    """What does not parse is forgotten: it is a statistic."""
    try:
        found = json.loads(text or "{}")
        return {
            str(name): Meter(
                str(one["boot_id"]),
                int(one["written_bytes"]),
                float(one["at_s"]),
                tuple((int(day), int(size), float(seconds)) for day, size, seconds in one["days"]),
            )
            for name, one in found.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
