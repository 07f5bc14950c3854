"""Watches the disks under the media folders: what is written to them, and what life they say is left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simpang.disks.life import Life, ask_smart, life_of_emmc
from simpang.disks.medium import Disks, Kind, Medium
from simpang.disks.meter import Meter, from_text, to_text, written_bytes_of
from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.index import Index

# A look costs a read or two per disk; a row, a commit.
_LOOK_S = 60.0
_KEEP_EVERY = 10
# smartctl wakes what it asks; life goes by the month.
_ASK_S = 6 * 3600.0
_META = "disk_meters"


@dataclass(frozen=True, slots=True)
class DiskWear:
    """A whole disk. folders: media folders on it. bytes_per_day: None until an hour was seen."""

    medium: Medium
    model: str
    folders: tuple[Path, ...]
    bytes_per_day: int | None
    life: Life


@dataclass(slots=True)
class _Known:
    medium: Medium
    folders: list[Path]
    life: Life = field(default_factory=Life)
    asked_s: float | None = None


class Wear:
    """`run` for ever; `disks` is what was last seen. folders: media folders, asked for at each look."""

    def __init__(
        self,
        index: Index,
        folders: Callable[[], Sequence[Path]],
        *,
        boot_id: str,
        now_us: Callable[[], int],
        disks: Disks | None = None,
        ask: Callable[[str], Awaitable[Life]] = ask_smart,
        boot_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        look_s: float = _LOOK_S,
    ) -> None:
        self._index = index
        self._folders = folders
        self._boot_id = boot_id
        self._now_us = now_us
        self._disks = disks or Disks()
        self._ask = ask
        self._boot_s = boot_s
        self._look_s = look_s
        self._known: dict[str, _Known] = {}
        self._models: dict[str, str] = {}
        self._meters: dict[str, Meter] | None = None

    @property
    def disks(self) -> list[DiskWear]:
        meters = self._meters or {}
        return [
            DiskWear(
                known.medium,
                self._models.get(name, ""),
                tuple(known.folders),
                meters[name].bytes_per_day if name in meters else None,
                known.life,
            )
            for name, known in self._known.items()
        ]

    async def run(self) -> None:
        looks = 0
        while True:
            await self.look()
            looks += 1
            if looks % _KEEP_EVERY == 1:
                await self.keep()
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Once, at all of them."""
        if self._meters is None:
            self._meters = from_text(await self._index.meta(_META))
        seen = await asyncio.to_thread(self._see, list(self._folders()))
        day = self._now_us() // 86_400_000_000
        for name, (known, model, written_bytes, life) in seen.items():
            before = self._known.get(name)
            if before is not None:
                known.life, known.asked_s = before.life, before.asked_s
            self._models[name] = model
            if life.source:
                known.life = life
            elif known.asked_s is None or self._boot_s() - known.asked_s > _ASK_S:
                known.life, known.asked_s = await self._ask(name), self._boot_s()
            if written_bytes is not None:
                now_s = self._boot_s()
                meter = self._meters.get(name) or Meter(self._boot_id, written_bytes, now_s)
                self._meters[name] = meter.advanced(self._boot_id, written_bytes, now_s, day)
        self._known = {name: known for name, (known, *_) in seen.items()}

    async def keep(self) -> None:
        """Over a restart."""
        meters = {name: meter for name, meter in (self._meters or {}).items() if name in self._known}
        # An index that cannot be written has its own item, and the next time may be better.
        with contextlib.suppress(StorageError):
            await self._index.set_meta(_META, to_text(meters))

    def _see(self, folders: Sequence[Path]) -> dict[str, tuple[_Known, str, int | None, Life]]:
        by_disk: dict[Medium, list[Path]] = {}
        for folder in folders:
            for medium in self._disks.under(folder):
                by_disk.setdefault(medium, []).append(folder)
        return {
            medium.name: (
                _Known(medium, on_it),
                self._model(medium),
                written_bytes_of(self._disks.read(medium.name, "stat")),
                self._emmc(medium),
            )
            for medium, on_it in by_disk.items()
        }

    def _model(self, medium: Medium) -> str:
        said = self._disks.read(medium.name, "device/model") or self._disks.read(medium.name, "device/name")
        return "".join(character for character in said if character.isprintable())[:64]

    def _emmc(self, medium: Medium) -> Life:
        if medium.kind is not Kind.EMMC:
            return Life()
        read = self._disks.read
        return life_of_emmc(read(medium.name, "device/life_time"), read(medium.name, "device/pre_eol_info"))
