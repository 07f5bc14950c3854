"""Which disk a folder lies on, how often it is flushed, what is written to it and how worn it says it is."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simpang.disks.flush import flush_choice
from simpang.disks.life import Life, ask_smart, life_of_emmc, life_of_smart, life_of_text
from simpang.disks.medium import Disks, Kind, Medium
from simpang.disks.meter import Meter, from_text, to_text, written_bytes_of
from simpang.disks.wear import DiskWear, Wear
from simpang.disks.wear_health import wear_items
from simpang_buffer.index.index import open_index

DAY_US = 86_400_000_000
GB = 10**9


class Sys:
    """A /sys of our making."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "block").mkdir(parents=True)
        (root / "dev" / "block").mkdir(parents=True)

    def disk(self, name: str, device: str, **files: str) -> Path:
        """files: `queue__rotational="1"` is queue/rotational."""
        place = self.root / "devices" / name
        place.mkdir(parents=True)
        (self.root / "block" / name).symlink_to(place)
        self._name(place, device)
        for path, text in files.items():
            file = place / path.replace("__", "/")
            file.parent.mkdir(exist_ok=True)
            file.write_text(text + "\n")
        return place

    def partition(self, disk: str, name: str, device: str) -> None:
        place = self.root / "devices" / disk / name
        place.mkdir()
        (place / "partition").write_text("1\n")
        self._name(place, device)

    def mapping(self, name: str, device: str, over: list[str]) -> None:
        """dm or md over other devices, by name."""
        place = self.disk(name, device)
        (place / "slaves").mkdir()
        for part in over:
            (found,) = (self.root / "devices").rglob(part)
            (place / "slaves" / part).symlink_to(found)

    def _name(self, place: Path, device: str) -> None:
        (place / "dev").write_text(device + "\n")
        (self.root / "dev" / "block" / device).symlink_to(place)


def device_of(path: Path) -> str:
    device = path.stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"


@pytest.mark.parametrize(
    ("name", "files", "kind", "flush_s"),
    [
        ("sda", {"queue__rotational": "1", "removable": "0"}, Kind.DISK, 2),
        ("sda", {"queue__rotational": "0", "removable": "0"}, Kind.SSD, 2),
        ("nvme0n1", {"queue__rotational": "0", "removable": "0"}, Kind.SSD, 2),
        # A card in a USB reader, or a stick.
        ("sdb", {"queue__rotational": "1", "removable": "1"}, Kind.SD, 5),
        ("mmcblk0", {"device__type": "SD", "queue__rotational": "0"}, Kind.SD, 5),
        ("mmcblk1", {"device__type": "MMC", "queue__rotational": "0"}, Kind.EMMC, 5),
        ("mmcblk0", {}, Kind.SD, 5),
        ("vda", {}, Kind.UNKNOWN, 2),
        ("sdc", {"queue__rotational": "\xff?", "removable": "9"}, Kind.UNKNOWN, 2),
    ],
)
def test_flush_s_follows_the_disk_through_its_partition(
    tmp_path: Path, name: str, files: dict[str, str], kind: Kind, flush_s: float
) -> None:
    sys = Sys(tmp_path / "sys")
    sys.disk(name, "250:0", **files)
    sys.partition(name, f"{name}p1", device_of(tmp_path))

    media = Disks(sys.root).under(tmp_path / "media" / "not" / "there yet")

    assert media == [Medium(name, kind)]
    assert flush_choice(None, media).flush_s == flush_s
    assert name in flush_choice(None, media).why


def test_disks_are_found_under_mappings_of_mappings(tmp_path: Path) -> None:
    sys = Sys(tmp_path / "sys")
    for number, name in enumerate(("sda", "mmcblk0")):
        sys.disk(name, f"250:{number}", queue__rotational="0", removable="0", device__type="SD")
    sys.partition("sda", "sda2", "250:16")
    sys.mapping("md0", "250:32", ["sda2", "mmcblk0"])
    sys.mapping("dm-0", device_of(tmp_path), ["md0"])

    media = Disks(sys.root).under(tmp_path)

    assert {one.name for one in media} == {"sda", "mmcblk0"}
    # The most delicate of them decides.
    assert flush_choice(None, media).flush_s == 5


def test_a_loop_device_is_as_delicate_as_the_disk_of_its_file(tmp_path: Path) -> None:
    sys = Sys(tmp_path / "sys")
    elsewhere = Path("/dev/shm")
    sys.disk("mmcblk0", device_of(elsewhere), device__type="SD")
    loop = sys.disk("loop7", device_of(tmp_path))
    (loop / "loop").mkdir()
    (loop / "loop" / "backing_file").write_text(f"{elsewhere}\n")
    mounts = tmp_path / "mountinfo"
    mounts.write_text("")

    assert Disks(sys.root, mounts).under(tmp_path) == [Medium("mmcblk0", Kind.SD)]


def test_what_is_odd_in_sys_makes_the_disk_unknown_and_2_s(tmp_path: Path) -> None:
    nothing = Disks(tmp_path / "nothing", tmp_path / "nothing").under(tmp_path)
    sys = Sys(tmp_path / "sys")
    sys.mapping("dm-0", device_of(tmp_path), [])
    circle = tmp_path / "sys" / "devices" / "dm-0"
    (circle / "slaves" / "dm-0").symlink_to(circle)

    assert nothing == []
    assert Disks(sys.root).under(tmp_path) == []
    assert flush_choice(None, []).flush_s == 2
    assert flush_choice(0.5, [Medium("mmcblk0", Kind.SD)]).flush_s == 0.5


def test_this_machine_has_a_disk_under_its_root() -> None:
    """The real /sys: whatever it is, asking does no harm."""
    for medium in Disks().under(Path("/")):
        assert written_bytes_of(Disks().read(medium.name, "stat")) is not None


# What is written


def test_bytes_a_day_are_counted_over_restarts_reboots_and_unplugged_disks() -> None:
    meter = Meter("boot-1", 50 * GB, 1000.0)
    meter = meter.advanced("boot-1", 51 * GB, 1000.0 + 1800, 1)
    assert meter.bytes_per_day is None
    meter = meter.advanced("boot-1", 52 * GB, 1000.0 + 3600, 1)
    assert meter.bytes_per_day == 48 * GB

    kept = from_text(to_text({"sda": meter}))["sda"]
    rebooted = kept.advanced("boot-2", 1 * GB, 1800.0, 1)
    assert rebooted.bytes_per_day == 48 * GB
    plugged_in_again = rebooted.advanced("boot-2", GB // 2, 1800.0 + 900, 2)
    assert plugged_in_again.bytes_per_day == 48 * GB


def test_bytes_a_day_are_those_of_the_last_days() -> None:
    meter = Meter("boot", 0, 0.0)
    written = 0
    for day in range(30):
        written += (100 if day < 10 else 10) * GB
        meter = meter.advanced("boot", written, (day + 1) * 86_400.0, day)

    assert meter.bytes_per_day == 10 * GB
    assert len(to_text({"sda": meter})) < 1000


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"a":1}', '{"a":{"boot_id":"x"}}', '{"a":{"days":[[1]]}}']
)
def test_meters_that_do_not_parse_begin_anew(text: str) -> None:
    assert from_text(text) == {}


def test_only_the_field_of_sectors_written_is_read() -> None:
    line = "  153 0 10 4 2000 3 4096 7 0 9 11 0 0 0 0 55 12"
    assert written_bytes_of(line) == 4096 * 512
    assert written_bytes_of("") is None
    assert written_bytes_of("1 2 3 4 5 6 x") is None


# What life is left


@pytest.mark.parametrize(
    ("life_time", "pre_eol", "expected"),
    [
        ("0x01 0x01", "0x01", Life(90, "normal", source="emmc")),
        ("0x03 0x09", "0x01", Life(10, "normal", source="emmc")),
        ("0x0b 0x02", "0x03", Life(0, "urgent", source="emmc")),
        ("0x00 0x00", "0x02", Life(None, "warning", source="emmc")),
        ("0x00 0x00", "0x00", Life()),
        ("", "", Life()),
        ("0xff 0x99", "banana", Life()),
        ("9" * 5000, "0x" + "f" * 5000, Life()),
    ],
)
def test_emmc_says_its_life_in_tenths(life_time: str, pre_eol: str, expected: Life) -> None:
    assert life_of_emmc(life_time, pre_eol) == expected


NVME = {
    "json_format_version": [1, 0],
    "smartctl": {"version": [7, 3], "exit_status": 0},
    "device": {"name": "/dev/nvme0n1", "type": "nvme", "protocol": "NVMe"},
    "model_name": "Samsung SSD 980 1TB",
    "smart_status": {"passed": True, "nvme": {"value": 0}},
    "nvme_smart_health_information_log": {
        "critical_warning": 0,
        "temperature": 38,
        "available_spare": 100,
        "available_spare_threshold": 10,
        "percentage_used": 83,
        "data_units_written": 12345678,
        "media_errors": 0,
    },
}
ATA = {
    "json_format_version": [1, 0],
    "smartctl": {"version": [7, 3], "exit_status": 4},
    "device": {"name": "/dev/sda", "type": "sat", "protocol": "ATA"},
    "model_name": "CT500MX500SSD1",
    "smart_status": {"passed": True},
    "ata_smart_attributes": {
        "revision": 16,
        "table": [
            {"id": 9, "name": "Power_On_Hours", "value": 100, "worst": 100, "raw": {"value": 9000}},
            {"id": 173, "name": "Ave_Block-Erase_Count", "value": 3, "worst": 3, "raw": {"value": 1455}},
            {"id": 202, "name": "Percent_Lifetime_Remain", "value": 3, "worst": 3, "raw": {"value": 97}},
        ],
    },
}
DISK = {
    "smart_status": {"passed": False},
    "ata_smart_attributes": {
        "table": [{"id": 5, "name": "Reallocated_Sector_Ct", "value": 1, "when_failed": "now"}]
    },
}
REFUSED = {
    "smartctl": {
        "messages": [{"string": "Smartctl open device: /dev/sda failed: Permission denied"}],
        "exit_status": 2,
    }
}
NEWER = {"endurance_used": {"current_percent": 12}, "smart_status": {"passed": True}}
WORN_OUT = {"nvme_smart_health_information_log": {"percentage_used": 255}}


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (NVME, Life(17, source="smart")),
        (ATA, Life(3, source="smart")),
        (DISK, Life(None, failing=True, source="smart")),
        (NEWER, Life(88, source="smart")),
        (WORN_OUT, Life(0, source="smart")),
        (REFUSED, Life()),
        ([], Life()),
        (None, Life()),
    ],
)
def test_smart_is_read_of_every_kind_of_disk(report: object, expected: Life) -> None:
    assert life_of_smart(report) == expected
    assert life_of_text(json.dumps(report).encode()) == expected


def test_whatever_a_disk_answers_is_no_fault_of_ours() -> None:
    chance = random.Random(4)
    odd: list[Any] = [None, -1, 1e300, True, "", "x" * 300, [], {}, [[]], {"table": 3}, 10**40]
    for _ in range(3000):
        report = json.loads(json.dumps(chance.choice([NVME, ATA, DISK, NEWER])))
        place: Any = report
        while isinstance(place, (dict, list)) and place and chance.random() < 0.8:
            at = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if chance.random() < 0.4 or not isinstance(place[at], (dict, list)):
                place[at] = chance.choice(odd)
                break
            place = place[at]
        left = life_of_smart(report).left_percent
        assert left is None or 0 <= left <= 100
    assert life_of_text(b"[" * 100_000) == Life()
    assert life_of_text(b"{" + b" " * (2 << 20) + b"}") == Life()
    assert life_of_text(b"\xff\xfe") == Life()


async def test_smartctl_is_bounded_in_time_and_size(tmp_path: Path) -> None:
    """A program that never ends, and one that never stops talking."""
    program = tmp_path / "smartctl"
    for script, timeout_s in (("sleep 60", 0.2), ("yes", 30.0)):
        program.write_text(f"#!/bin/sh\nexec {script}\n")
        program.chmod(0o755)

        assert await ask_smart("sda", program=str(program), timeout_s=timeout_s) == Life()

    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(NVME)}\nEND\nexit 4\n")
    assert (await ask_smart("nvme0n1", program=str(program))).left_percent == 17


# Watching


async def test_disks_are_watched_and_remembered(tmp_path: Path) -> None:
    sys = Sys(tmp_path / "sys")
    stat = "0 0 0 0 0 0 {} 0 0 0 0 0 0 0 0 0 0"
    kind = {"queue__rotational": "0", "removable": "0"}
    place = sys.disk("sda", device_of(tmp_path), device__model="MX \x1b[1m", **kind)
    (place / "stat").write_text(stat.format(0))
    asked: list[str] = []
    boot_s = [0.0]

    async def ask(name: str) -> Life:
        asked.append(name)
        return Life(18, source="smart")

    async def look_again(index: Any) -> list[DiskWear]:
        wear = Wear(
            index,
            lambda: [tmp_path],
            boot_id="boot",
            now_us=lambda: 5 * DAY_US,
            disks=Disks(sys.root),
            ask=ask,
            boot_s=lambda: boot_s[0],
        )
        for _ in range(2):
            await wear.look()
            await wear.keep()
        return wear.disks

    async with open_index(tmp_path / "index.db") as index:
        (first,) = await look_again(index)
        boot_s[0] = 7200.0
        (place / "stat").write_text(stat.format(2 * GB // 512))
        (second,) = await look_again(index)

    assert (first.medium, first.bytes_per_day) == (Medium("sda", Kind.SSD), None)
    assert (second.bytes_per_day, second.life.left_percent) == (24 * GB, 18)
    assert "\x1b" not in second.model
    # Once for each start, not for each look.
    assert asked == ["sda", "sda"]


async def test_an_emmc_is_read_from_sys_and_not_asked(tmp_path: Path) -> None:
    sys = Sys(tmp_path / "sys")
    sys.disk(
        "mmcblk0", device_of(tmp_path),
        device__type="MMC", device__life_time="0x09 0x02", device__pre_eol_info="0x01", device__name="DG4016",
    )  # fmt: skip

    async def ask(name: str) -> Life:
        raise AssertionError(name)

    async with open_index(tmp_path / "index.db") as index:
        wear = Wear(index, lambda: [tmp_path], boot_id="b", now_us=lambda: 0, disks=Disks(sys.root), ask=ask)
        await wear.look()

    (disk,) = wear.disks
    assert (disk.life, disk.model) == (Life(10, "normal", source="emmc"), "DG4016")


WORN = DiskWear(Medium("mmcblk0", Kind.EMMC), "DG4016", (Path("/m"),), 40 * GB, Life(50, source="emmc"))


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        (Life(), None),
        (Life(21, source="smart"), None),
        (Life(50, "normal", source="emmc"), None),
        (Life(20, source="smart"), ("disk-worn", "warning")),
        (Life(6, source="smart"), ("disk-worn", "warning")),
        (Life(5, source="smart"), ("disk-worn", "critical")),
        (Life(0, source="smart"), ("disk-worn", "critical")),
        (Life(90, "warning", source="emmc"), ("disk-worn", "warning")),
        (Life(90, "urgent", source="emmc"), ("disk-worn", "critical")),
        (Life(0, "warning", source="emmc"), ("disk-worn", "critical")),
        (Life(90, failing=True, source="smart"), ("disk-failing", "critical")),
    ],
)
def test_a_worn_disk_is_told_in_time_and_in_both_languages(
    life: Life, expected: tuple[str, str] | None
) -> None:
    items = list(wear_items([replace(WORN, life=life)]))

    assert [(one.code, one.severity) for one in items] == ([expected] if expected else [])
    for one in items:
        assert one.subject == "disk/mmcblk0"
        assert "mmcblk0 (DG4016)" in one.cause.en and "mmcblk0 (DG4016)" in one.cause.id
        assert one.cause.en != one.cause.id and one.remedy.en != one.remedy.id
