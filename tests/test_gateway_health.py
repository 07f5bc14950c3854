from __future__ import annotations

import string
import time
from dataclasses import replace
from pathlib import Path

import pytest

from simpang import clock_health, words
from simpang.clock import DAY_US, Clock, read_clock
from simpang.clock_health import clock_items
from simpang.config.faults import Fault
from simpang.health import MOST_DEVICE_ITEMS, PATIENCE_US, Disk, Health, Knowledge, health
from simpang.roster.view import Camera, CameraState, DeviceFacts, FoundDevice, gap_reason
from simpang.supervise import Trouble
from simpang.words import Advice, Words
from simpang_buffer.model import GapReason
from simpang_onvif.errors import Reason

NOW_US = 1_795_000_000_000_000
UTARA = Camera(
    id="utara",
    name="Utara {0}",
    address="10.0.4.21",
    device=DeviceFacts(),
    state=CameraState.RECORDING,
    reason=None,
    detail="",
    remedy="",
    since_us=NOW_US - 2 * PATIENCE_US,
    retry_us=None,
    clock_offset_s=None,
    streams=(),
)
WELL = Knowledge(
    cameras=(UTARA,),
    devices=(),
    where_looked=("eth0 10.0.4.2/24",),
    discovery=True,
    disk=Disk(Path("/srv"), 50 * 10**9, 100 * 10**9, 2 * 10**9),
    config_file=Path("site.toml"),
    config_faults=(),
    secret_faults=(),
    troubles=(),
    started_us=NOW_US - 10 * PATIENCE_US,
)
LOST = replace(UTARA, state=CameraState.UNREACHABLE, reason="unreachable", detail="no route")


def codes(found: Health) -> dict[str, str]:
    return {item.code: item.severity for item in found.items}


def test_nothing_wrong_is_ok() -> None:
    assert health(WELL, NOW_US) == Health("ok", ())
    assert (
        health(replace(WELL, cameras=(replace(UTARA, state=CameraState.DISABLED),)), NOW_US).severity == "ok"
    )


@pytest.mark.parametrize("reason", [*Reason, "disk-full", "disk-error"])
def test_every_reason_has_cause_and_remedy_in_both_languages(reason: str) -> None:
    found = health(replace(WELL, cameras=(replace(LOST, reason=str(reason)),)), NOW_US)

    (item,) = found.items
    assert (found.severity, item.code, item.subject) == ("critical", "camera-not-recording", "camera/utara")
    assert item.evidence["reason"] == str(reason)
    for said in (item.cause, item.remedy):
        assert said.en
        assert said.id
        assert said.en != said.id
    assert item.cause == words.CAMERA[str(reason)].filled(name=UTARA.name, address=UTARA.address).cause


def test_camera_that_is_only_starting_is_no_item_until_it_takes_too_long() -> None:
    starting = replace(UTARA, state=CameraState.CONNECTING, since_us=NOW_US - 1)

    assert health(replace(WELL, cameras=(starting,)), NOW_US).items == ()
    later = health(replace(WELL, cameras=(starting,)), NOW_US + PATIENCE_US)
    assert codes(later) == {"camera-not-recording": "critical"}


def test_no_cameras_says_where_it_looked_and_what_answered() -> None:
    device = FoundDevice("10.0.4.30", "X", "", "urn:a", "eth0", None, "", None)
    found = health(replace(WELL, cameras=(), devices=(device,)), NOW_US)

    (item,) = found.items
    assert "eth0 10.0.4.2/24" in item.cause.en
    assert item.evidence == {"where_looked": ["eth0 10.0.4.2/24"], "devices": ["10.0.4.30"]}
    young = replace(WELL, cameras=(), started_us=NOW_US)
    assert health(young, NOW_US).items == ()
    assert codes(health(replace(young, discovery=False, where_looked=()), NOW_US)) == {
        "no-cameras": "critical"
    }


def test_full_disk_hides_the_cameras_it_stops() -> None:
    full = Disk(Path("/srv"), 10**6, 100 * 10**9, 2 * 10**9)
    known = replace(WELL, disk=full, cameras=(replace(LOST, reason="disk-full"), replace(LOST, id="b")))

    found = health(known, NOW_US)

    caused = {item.subject: item.caused_by for item in found.items}
    assert caused == {"disk": None, "camera/utara": "disk-low", "camera/b": None}
    assert found.severity == "critical"


def test_disk_is_low_only_where_eviction_cannot_keep_up() -> None:
    for free_bytes, severity in ((2 * 10**9, "ok"), (9 * 10**8, "warning"), (10**8, "critical")):
        disk = Disk(Path("/srv"), free_bytes, 100 * 10**9, 2 * 10**9)
        assert health(replace(WELL, disk=disk), NOW_US).severity == severity


def test_other_items_say_what_and_what_to_do() -> None:
    fault = Fault("site.toml", 3, "site.timezone", "unknown key", 'did you mean "time_zone"?')
    known = replace(
        WELL,
        config_faults=(fault,),
        secret_faults=(replace(fault, key="credentials.password_file"),),
        troubles=(Trouble("web", NOW_US, 3, "OSError: {no} port"),),
        devices=(FoundDevice("192.168.1.10", "X", "", "", "eth0", "unreachable", "other subnet", None),),
    )

    found = health(known, NOW_US)

    assert codes(found) == {
        "config-faulty": "warning",
        "secret-unusable": "critical",
        "part-failing": "warning",
        "device-unusable": "warning",
    }
    assert found.items[0].severity == "critical"
    assert str(fault) in str([item.evidence for item in found.items])
    assert any("OSError: {no} port" in item.cause.en for item in found.items)


def test_both_languages_name_the_same_things() -> None:
    said_elsewhere = (*vars(words).values(), *vars(clock_health).values())
    advices = [value for value in said_elsewhere if isinstance(value, Advice)] + [*words.CAMERA.values()]
    assert len(advices) > 15

    for advice in advices:
        for said in (advice.cause, advice.remedy):
            assert _fields(said.en) == _fields(said.id), said


def test_state_of_a_camera_is_a_reason_on_the_timeline() -> None:
    for reason in Reason:
        assert gap_reason(replace(LOST, reason=str(reason))) in GapReason
    assert gap_reason(replace(LOST, reason="locked")) is GapReason.AUTH
    assert gap_reason(replace(UTARA, state=CameraState.DISABLED)) is GapReason.DISABLED
    assert gap_reason(None) is GapReason.DISABLED


def test_kernel_tells_whether_its_clock_is_kept() -> None:
    reading = read_clock()

    assert reading.synchronised == (reading.offset_s is not None)
    assert abs(reading.wall_us - time.time() * 1e6) < 60_000_000
    assert reading.less_boot_us < reading.wall_us


@pytest.mark.parametrize(
    ("clock", "codes"),
    [
        (Clock(True, "ntp", 0.0, ages_believed=True), []),
        (Clock(False, "none", None), ["clock-untrusted"]),
        (Clock(False, "ntp", 0.0, jumped_s=73 * 365 * 86_400.0), ["clock-leapt"]),
        (Clock(True, "ntp", 0.0, jumped_s=40 * 86_400.0), ["clock-leapt"]),
    ],
)
def test_a_clock_that_cannot_be_believed_says_what_it_says(clock: Clock, codes: list[str]) -> None:
    items = list(clock_items(clock, DAY_US))

    assert [item.code for item in items] == codes
    for one in items:
        assert "1970-01-02" in one.cause.en
        assert "1970-01-02" in one.cause.id
        assert "simpang clock trust" in one.remedy.en
        assert "simpang clock trust" in one.remedy.id


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_words_are_filled_without_reading_what_is_filled_in() -> None:
    assert Words("{a}", "{a}").filled(a="{b}") == Words("{b}", "{b}")


def test_flood_of_devices_is_one_item_with_words() -> None:
    beyond = [
        FoundDevice(f"10.0.5.{n}", "", "", f"urn:{n}", "eth0", "limit", "no room", None) for n in range(200)
    ]
    foreign = [replace(one, problem="unreachable", detail="not in this network") for one in beyond]

    found = health(replace(WELL, devices=(*beyond, *foreign)), NOW_US)

    assert codes(found) == {"too-many-cameras": "warning", "device-unusable": "warning"}
    assert len(found.items) == 1 + MOST_DEVICE_ITEMS
    assert "200 devices" in found.items[-1].cause.en
