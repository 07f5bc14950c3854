"""What kind of disk a folder lies on, as /sys tells.

Through partitions, device mapper and md (their parts) and loop devices (the file's own disk). Everything that
is read is the kernel's or a disk's word: whatever is odd there makes the kind unknown, never an error. It
blocks.
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A disk in a partition in a mapping in a file in ...: nobody stacks more, and a loop of them would not end.
_DEEPEST = 8
_MOST_DISKS = 16
_MOST_BYTES = 4096


class Kind(enum.StrEnum):
    """sd: also a stick or a card in a USB reader, which wears like one."""

    SSD = "ssd"
    DISK = "disk"
    SD = "sd"
    EMMC = "emmc"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Medium:
    """A whole disk. name: as in /sys/block."""

    name: str
    kind: Kind


class Disks:
    """sys, mounts: where the kernel tells of itself."""

    def __init__(self, sys: Path = Path("/sys"), mounts: Path = Path("/proc/self/mountinfo")) -> None:
        self.sys = sys
        self._mounts = mounts

    def under(self, folder: Path) -> list[Medium]:
        """The whole disks that a folder, or the nearest one above it that exists, lies on; several for a
        RAID."""
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        names: dict[str, None] = {}
        with contextlib.suppress(OSError):
            for name in self._below(self._device_of(folder), _DEEPEST):
                names[name] = None
                if len(names) >= _MOST_DISKS:
                    break
        return [Medium(name, self._kind(name)) for name in names]

    def read(self, name: str, file: str) -> str:
        """A file of /sys/block/NAME, stripped; empty where there is none."""
        try:
            with (self.sys / "block" / name / file).open("rb") as opened:
                return opened.read(_MOST_BYTES).decode(errors="replace").strip()
        except OSError:
            return ""

    def _device_of(self, folder: Path) -> str:
        device = folder.stat().st_dev
        if os.major(device) == 0 and (source := self._source_of(device, folder)) is not None:
            # btrfs gives its volumes numbers of their own; the table of mounts names the device.
            device = source.stat().st_rdev
        return f"{os.major(device)}:{os.minor(device)}"

    def _source_of(self, device: int, folder: Path) -> Path | None:
        found: tuple[int, Path] | None = None
        real = os.path.realpath(folder)
        for line in self._mounts.read_text(errors="replace").splitlines():
            before, _, after = line.partition(" - ")
            fields, rest = before.split(" "), after.split(" ")
            if len(fields) > 4 and len(rest) > 1 and rest[1].startswith("/dev/"):
                point = fields[4].replace("\\040", " ")
                if Path(real).is_relative_to(point) and (found is None or len(point) >= found[0]):
                    found = len(point), Path(rest[1])
        return found[1] if found else None

    def _below(self, device: str, deepest: int) -> Iterator[str]:
        """Names of the whole disks under a block device, given as major:minor."""
        place = (self.sys / "dev" / "block" / device).resolve(strict=True)
        if (place / "partition").exists():
            place = place.parent
        if deepest == 0:
            return
        parts = sorted((place / "slaves").iterdir()) if (place / "slaves").is_dir() else []
        backing = place / "loop" / "backing_file"
        if parts:
            for part in parts:
                yield from self._below((part / "dev").read_text().strip(), deepest - 1)
        elif backing.exists():
            file = Path(backing.read_text().strip())
            yield from self._below(self._device_of(file), deepest - 1)
        elif re.fullmatch(r"[A-Za-z0-9!_.-]{1,64}", place.name):
            yield place.name

    def _kind(self, name: str) -> Kind:
        if name.startswith("mmcblk"):
            return Kind.EMMC if self.read(name, "device/type") == "MMC" else Kind.SD
        rotates, removable = self.read(name, "queue/rotational"), self.read(name, "removable")
        if removable == "1":
            return Kind.SD
        return {"1": Kind.DISK, "0": Kind.SSD}.get(rotates, Kind.UNKNOWN)
