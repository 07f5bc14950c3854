"""How often footage is made durable where nobody has said so: by the kind of disk that it lies on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simpang.disks.medium import Disks, Kind, Medium

if TYPE_CHECKING:
    from simpang.config.model import Config

_FLUSH_S = 2.0
# Each commit ends in pages that are written again with the next, and such a medium writes whole blocks of
# megabytes for them (figures in buffer/README.md).
_FLASH_FLUSH_S = 5.0
_WORDS = {
    Kind.SSD: "an SSD",
    Kind.DISK: "a disk",
    Kind.SD: "an SD card or a stick",
    Kind.EMMC: "an eMMC",
    Kind.UNKNOWN: "of unknown kind",
}


@dataclass(frozen=True, slots=True)
class FlushChoice:
    """flush_s: how much video a power cut costs. why: "set", or by which disk."""

    flush_s: float
    why: str


def flush_choice(configured_s: float | None, media: Iterable[Medium]) -> FlushChoice:
    """What is configured; else what the most delicate of the disks wants. Pure."""
    if configured_s is not None:
        return FlushChoice(configured_s, "set")
    by_care = sorted(media, key=lambda one: one.kind not in (Kind.SD, Kind.EMMC))
    if not by_care:
        return FlushChoice(_FLUSH_S, "default: the disk is not known")
    first = by_care[0]
    flush_s = _FLASH_FLUSH_S if first.kind in (Kind.SD, Kind.EMMC) else _FLUSH_S
    return FlushChoice(flush_s, f"default: {first.name} is {_WORDS[first.kind]}")


def flush_of(config: Config, media: Path, disks: Disks | None = None) -> FlushChoice:
    """For the media folders of a configuration, as far as they are there. media: the first. It blocks."""
    disks = disks or Disks()
    further = [one.path for one in config.buffer.folder if one.path.exists()]
    return flush_choice(
        config.buffer.flush_s, [medium for folder in (media, *further) for medium in disks.under(folder)]
    )
