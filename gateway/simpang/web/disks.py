"""The disks under the media folders: what is written to them, what is left of their life, how often they are
flushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from simpang.web.context import gateway_of, json_answer
from simpang.web.schemas import Answer

if TYPE_CHECKING:
    from simpang.gateway import Gateway


class Disk(Answer):
    """A whole disk. kind: ssd disk sd emmc unknown. bytes_per_day: all that anybody writes to it. life_left
    in per cent, pre_eol (normal warning urgent) and failing as the disk itself says, by life_source: emmc
    smart, or none where it says nothing."""

    name: str
    kind: str
    model: str
    folders: list[str]
    bytes_per_day: int | None
    life_left: int | None
    pre_eol: str | None
    failing: bool
    life_source: str | None


class Disks(Answer):
    """flush_s: how much video a power cut costs; why: set, or by which disk."""

    flush_s: float
    flush_why: str
    items: list[Disk]


async def get_disks(request: web.Request) -> web.Response:
    return json_answer(disks_answer(gateway_of(request)))


def disks_answer(gateway: Gateway) -> Disks:
    return Disks(
        flush_s=gateway.flush.flush_s,
        flush_why=gateway.flush.why,
        items=[
            Disk(
                name=disk.medium.name,
                kind=disk.medium.kind,
                model=disk.model,
                folders=[str(folder) for folder in disk.folders],
                bytes_per_day=disk.bytes_per_day,
                life_left=disk.life.left_percent,
                pre_eol=disk.life.pre_eol,
                failing=disk.life.failing,
                life_source=disk.life.source or None,
            )
            for disk in gateway.wear.disks
        ],
    )
