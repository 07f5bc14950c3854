"""Health items of disks that wear out: there is time to exchange one, if somebody hears of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from simpang.disks.wear import DiskWear
from simpang.health import CRITICAL, WARNING, HealthItem, item
from simpang.words import Advice, Words

WARN_PERCENT = 20
CRITICAL_PERCENT = 5

_FAILING = Advice(
    Words(
        "The disk {disk} says itself that it is failing.",
        "Disk {disk} melaporkan sendiri bahwa ia mulai rusak.",
    ),
    Words(
        "Save what matters elsewhere (`simpang clip`), and exchange the disk now.",
        "Selamatkan yang penting ke tempat lain (`simpang clip`), dan ganti disk sekarang.",
    ),
)
_WORN = Advice(
    Words(
        "The disk {disk} is worn: about {left} % of its life is left; {rate} are written to it a day.",
        "Disk {disk} sudah aus: umurnya tinggal sekitar {left} %; {rate} ditulis ke sana setiap hari.",
    ),
    Words(
        "Exchange it before it fails, for one made for surveillance. Until then a larger flush_s under "
        "[buffer] and lower bit rates wear it less.",
        "Ganti sebelum rusak, dengan yang dibuat untuk pengawasan. Sampai itu, flush_s yang lebih besar di "
        "[buffer] dan bit rate yang lebih rendah mengurangi keausan.",
    ),
)
_SPARE = Advice(
    Words(
        "The eMMC {disk} has used up most of its spare blocks (pre-EOL: {pre_eol}).",
        "eMMC {disk} sudah memakai sebagian besar blok cadangannya (pre-EOL: {pre_eol}).",
    ),
    Words(
        "Move the footage to a disk of its own, and exchange this one before it turns read-only.",
        "Pindahkan rekaman ke disk tersendiri, dan ganti yang ini sebelum hanya bisa dibaca.",
    ),
)


def wear_items(disks: Iterable[DiskWear]) -> Iterator[HealthItem]:
    """At most one for each disk, the worst."""
    for disk in disks:
        life, name = disk.life, _name(disk)
        left = life.left_percent
        evidence: dict[str, object] = {
            "disk": disk.medium.name,
            "model": disk.model,
            "left_percent": left,
            "pre_eol": life.pre_eol,
            "bytes_per_day": disk.bytes_per_day,
            "source": life.source,
        }
        subject = f"disk/{disk.medium.name}"
        if life.failing:
            yield item("disk-failing", CRITICAL, subject, _FAILING.filled(disk=name), evidence=evidence)
        elif life.pre_eol == "urgent" or (life.pre_eol == "warning" and not _is_below(left, WARN_PERCENT)):
            severity = CRITICAL if life.pre_eol == "urgent" else WARNING
            advice = _SPARE.filled(disk=name, pre_eol=life.pre_eol)
            yield item("disk-worn", severity, subject, advice, evidence=evidence)
        elif _is_below(left, WARN_PERCENT):
            severity = CRITICAL if _is_below(left, CRITICAL_PERCENT) else WARNING
            advice = _WORN.filled(disk=name, left=left, rate=_rate(disk.bytes_per_day))
            yield item("disk-worn", severity, subject, advice, evidence=evidence)


def _is_below(left: int | None, percent: int) -> bool:
    return left is not None and left <= percent


def _name(disk: DiskWear) -> str:
    return f"{disk.medium.name} ({disk.model})" if disk.model else disk.medium.name


def _rate(bytes_per_day: int | None) -> str:
    return "? GB" if bytes_per_day is None else f"{bytes_per_day / 1e9:.1f} GB"
