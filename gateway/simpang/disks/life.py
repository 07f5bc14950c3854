"""How worn a disk says it is: eMMC registers in /sys, NVMe and ATA health through `smartctl --json`.

What disks answer is a stranger's word: every field may be missing, of another type or out of range, and is
then unknown. Nothing here raises for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass

_SMARTCTL_S = 20.0
# A service's own path may lack the system's programs.
_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_MOST_BYTES = 1 << 20
# JEDEC 84-B51, EXT_CSD registers 267 to 269: tenths of its life that a device has used, 11 for more than all.
_EMMC_TENTHS = 10
_EMMC_OVER = 11
_PRE_EOL = {1: "normal", 2: "warning", 3: "urgent"}
# Attributes whose normalised value is the per cent that is left, by what makers call them, best first.
# (smartmontools drivedb: 231 SSD_Life_Left, 202 Percent_Lifetime_Remain, 233 Media_Wearout_Indicator, 177
# and 173 Wear_Leveling_Count, 169 Remaining_Lifetime_Perc; 232 of some Intels is spare blocks, so not here.)
_WEAR_ATTRIBUTES = (231, 202, 169, 233, 177, 173)
_WEAR_NAMES = re.compile(r"life|wear|percent", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Life:
    """left_percent: of what the maker promises; None where it does not say. pre_eol: "normal", "warning" or
    "urgent", by how many spare blocks an eMMC has used up. failing: the disk itself says that it fails.
    source: "emmc", "smart", or "" for nothing known.
    """

    left_percent: int | None = None
    pre_eol: str | None = None
    failing: bool = False
    source: str = ""


def life_of_emmc(life_time: str, pre_eol_info: str) -> Life:
    """Of /sys/block/mmcblkN/device/{life_time,pre_eol_info}: "0x01 0x02" (SLC and MLC areas) and "0x01"."""
    said = [_number(word) or 0 for word in life_time.split()[:2]]
    used = [tenths for tenths in said if 1 <= tenths <= _EMMC_OVER]
    left = max(100 - max(used) * _EMMC_TENTHS, 0) if used else None
    pre_eol = _PRE_EOL.get(_number(pre_eol_info) or 0)
    if left is None and pre_eol is None:
        return Life()
    return Life(left, pre_eol, source="emmc")


def life_of_smart(report: object) -> Life:
    """Of the JSON of `smartctl --json -a` (its version 7): NVMe log 2, ATA statistics and attributes."""
    if not isinstance(report, Mapping):
        return Life()
    left = _left_by_statement(report)
    if left is None:
        left = _left_by_attributes(report)
    status = report.get("smart_status")
    failing = isinstance(status, Mapping) and status.get("passed") is False
    if left is None and not failing:
        return Life()
    return Life(left, failing=failing, source="smart")


async def ask_smart(name: str, *, program: str | None = None, timeout_s: float = _SMARTCTL_S) -> Life:
    """Runs smartctl on /dev/NAME, if it is installed; a disk that sleeps is left asleep."""
    program = program or shutil.which("smartctl", path=_PROGRAMS)
    if program is None:
        return Life()
    process = await asyncio.create_subprocess_exec(
        program, "--json=c", "--nocheck=standby", "-a", f"/dev/{name.replace('!', '/')}",
        stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None  # asked for
    try:
        async with asyncio.timeout(timeout_s):
            said = b""
            while len(said) <= _MOST_BYTES and (piece := await process.stdout.read(65_536)):
                said += piece
    except TimeoutError:
        said = b""
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return life_of_text(said)


def life_of_text(said: bytes) -> Life:
    """What smartctl printed. Its exit code tells nothing that is not in there."""
    if len(said) > _MOST_BYTES:
        return Life()
    try:
        return life_of_smart(json.loads(said))
    except (ValueError, RecursionError):
        return Life()


def _left_by_statement(report: Mapping[str, object]) -> int | None:
    """Of disks that state in per cent how much of their endurance is used: it may exceed 100."""
    for path in (
        ("nvme_smart_health_information_log", "percentage_used"),
        ("endurance_used", "current_percent"),
        ("scsi_percentage_used_endurance_indicator",),
    ):
        found: object = report
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        if (used := _percent(found, most=255)) is not None:
            return max(100 - used, 0)
    return None


def _left_by_attributes(report: Mapping[str, object]) -> int | None:
    attributes = report.get("ata_smart_attributes")
    table = attributes.get("table") if isinstance(attributes, Mapping) else None
    if not isinstance(table, list):
        return None
    left: dict[int, int] = {}
    for row in table[:256]:
        if not isinstance(row, Mapping):
            continue
        number, name = row.get("id"), row.get("name")
        # The same numbers mean other things with other makers.
        if number in _WEAR_ATTRIBUTES and isinstance(name, str) and _WEAR_NAMES.search(name):
            value = _percent(row.get("value"), most=100)
            if value is not None:
                left[int(number)] = value
    return next((left[number] for number in _WEAR_ATTRIBUTES if number in left), None)


def _percent(value: object, *, most: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def _number(text: str) -> int | None:
    try:
        return int(text, 0) if len(text) <= 10 else None
    except ValueError:
        return None
