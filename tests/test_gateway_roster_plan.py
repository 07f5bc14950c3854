from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from simpang.config.load import parse
from simpang.config.model import Config
from simpang.config.values import ID_PATTERN
from simpang.roster.known import Known, KnownSource
from simpang.roster.onboard import specs
from simpang.roster.plan import MOST_CAMERAS, Plan, display_address, plan
from simpang.roster.sign_ins import next_try_us
from simpang_buffer.rtsp.tls import Trust
from simpang_onvif.device import Device
from simpang_onvif.errors import Reason

MINUTE_US = 60_000_000
NOW_US = 1_795_000_000_000_000


def config(extra: str = "", adopt: str = "all") -> Config:
    text = f"""
[site]
id = "digulis"
time_zone = "Asia/Pontianak"
[discovery]
adopt = "{adopt}"
[credentials]
user = "simpang"
password_file = "cameras"
{extra}"""
    return parse(text, Path("site.toml"))


def device(address: str, epr: str = "", name: str = "IPCAM", port: int = 80) -> Device:
    return Device(
        epr=epr or f"urn:uuid:{address}",
        address=address,
        xaddrs=(f"http://{address}:{port}/onvif/device_service",),
        name=name,
        hardware="X1",
        location="",
        interface="eth0",
    )


def known(id_: str, address: str, epr: str = "", origin: str = "adopted") -> Known:
    assert origin in ("config", "adopted")
    return Known(
        id=id_,
        origin="config" if origin == "config" else "adopted",
        epr=epr,
        address=address,
        name=id_,
        make="",
        model="",
        firmware="",
        serial="",
        mac="",
        adopted_us=NOW_US,
        seen_us=NOW_US,
    )


def planned(config: Config, rows: list[Known], devices: list[Device], before: Plan | None = None) -> Plan:
    return plan(config, rows, devices, reserved=before.reserved if before else {})


def targets(plan: Plan) -> dict[str, str]:
    return {id_: display_address(wanted.target or wanted.url) for id_, wanted in plan.cameras.items()}


def test_ask_shows_devices_and_records_none() -> None:
    assert planned(config(adopt="ask"), [], [device("10.0.4.21")]).cameras == {}


def test_all_records_each_device_under_an_id_made_from_its_name() -> None:
    found = planned(
        config(), [], [device("10.0.4.21", name="Simpang Utara"), device("10.0.4.22"), device("10.0.4.23")]
    )

    assert targets(found) == {"simpang-utara": "10.0.4.21", "ipcam": "10.0.4.22", "ipcam-2": "10.0.4.23"}
    assert {wanted.origin for wanted in found.cameras.values()} == {"candidate"}
    assert {wanted.user for wanted in found.cameras.values()} == {"simpang"}


def test_candidate_keeps_its_id_when_others_appear_before_it() -> None:
    first = planned(config(), [], [device("10.0.4.22")])

    second = planned(config(), [], [device("10.0.4.21"), device("10.0.4.22")], first)

    assert targets(second) == {"ipcam": "10.0.4.22", "ipcam-2": "10.0.4.21"}


def test_device_that_cannot_be_used_is_not_recorded() -> None:
    off_subnet = replace(device("192.168.1.10"), problem=Reason.UNREACHABLE)

    assert planned(config(), [], [off_subnet]).cameras == {}


def test_adopted_camera_keeps_its_id_where_it_moves() -> None:
    row = known("utara", "http://10.0.4.21/onvif/device_service", "urn:a")

    found = planned(config(), [row], [device("10.0.4.99", "urn:a")])

    assert targets(found) == {"utara": "10.0.4.99"}
    assert found.device_ids == {("urn:a", "10.0.4.99"): "utara"}


def test_adopted_camera_stays_when_it_is_not_seen_or_no_longer_adopted_by_rule() -> None:
    row = known("utara", "10.0.4.21", "urn:a")

    for rule in ("all", "ask"):
        assert targets(planned(config(adopt=rule), [row], [])) == {"utara": "10.0.4.21"}


def test_clones_that_share_a_reference_are_told_apart_by_address() -> None:
    rows = [known("a", "10.0.4.21", "urn:same"), known("b", "10.0.4.22", "urn:same")]

    found = planned(config(), rows, [device("10.0.4.22", "urn:same"), device("10.0.4.21", "urn:same")])

    assert targets(found) == {"a": "10.0.4.21", "b": "10.0.4.22"}


def test_camera_that_turned_out_to_be_another_gets_an_id_of_its_own() -> None:
    row = known("utara", "10.0.4.21", "urn:a")
    stranger = device("10.0.4.21", "urn:b", name="Neu")

    assert list(planned(config(), [row], [stranger]).cameras) == ["utara"]
    found = plan(
        config(), [row], [stranger], reserved={}, not_these=frozenset({("utara", stranger.identity)})
    )
    assert set(found.cameras) == {"utara", "neu"}


def test_configured_camera_takes_its_port_from_discovery() -> None:
    listed = config('[[camera]]\nid = "utara"\naddress = "10.0.4.21"\n', adopt="ask")

    found = planned(listed, [], [device("10.0.4.21", "urn:a", port=8000)])

    assert targets(found) == {"utara": "10.0.4.21:8000"}
    assert found.cameras["utara"].epr == "urn:a"
    assert found.cameras["utara"].trusted_address


def test_configured_port_is_kept_whatever_the_device_says() -> None:
    listed = config('[[camera]]\nid = "utara"\naddress = "10.0.4.21:81"\n', adopt="ask")

    assert targets(planned(listed, [], [device("10.0.4.21", port=8000)])) == {"utara": "10.0.4.21:81"}


def test_configured_camera_is_followed_only_when_it_left_its_address() -> None:
    listed = config('[[camera]]\nid = "utara"\naddress = "10.0.4.21"\n', adopt="ask")
    row = known("utara", "10.0.4.21", "urn:a", "config")
    moved, impostor = device("10.0.4.99", "urn:a"), device("10.0.4.66", "urn:a")

    assert targets(planned(listed, [row], [moved])) == {"utara": "10.0.4.99"}
    assert targets(planned(listed, [row], [device("10.0.4.21", "urn:a"), impostor])) == {"utara": "10.0.4.21"}
    assert targets(planned(listed, [row], [moved, impostor])) == {"utara": "10.0.4.21"}


def test_configured_camera_is_not_adopted_a_second_time() -> None:
    listed = config('[[camera]]\nid = "utara"\naddress = "10.0.4.21"\n')
    url = config('[[camera]]\nid = "utara"\nurl = "rtsp://10.0.4.21/x"\n')

    for given_ in (listed, url):
        assert list(planned(given_, [], [device("10.0.4.21")]).cameras) == ["utara"]
        rows = [known("lama", "10.0.4.21", "urn:uuid:10.0.4.21")]
        assert "utara" in planned(given_, rows, [device("10.0.4.21")]).cameras


def test_camera_that_left_the_file_is_no_longer_recorded_but_keeps_its_id() -> None:
    row = known("utara", "10.0.4.21", "urn:a", "config")
    back = device("10.0.4.21", "urn:a", name="Something else")

    assert planned(config(adopt="ask"), [row], [back]).cameras == {}
    assert list(planned(config(adopt="all"), [row], [back]).cameras) == ["utara"]


def test_credentials_of_a_camera_go_before_the_sites() -> None:
    listed = config(
        '[[camera]]\nid = "a"\naddress = "10.0.4.21"\nuser = "own"\npassword_file = "own"\n'
        '[[camera]]\nid = "b"\naddress = "10.0.4.22"\n'
        '[[camera]]\nid = "c"\nurl = "rtsp://u:geheim@10.0.4.23/x"\n'
    )

    cameras = planned(listed, [], []).cameras

    assert [(cameras[id_].user, cameras[id_].password_file) for id_ in "abc"] == [
        ("own", "own"),
        ("simpang", "cameras"),
        ("", ""),
    ]
    assert "geheim" not in repr(cameras["c"])
    assert cameras["c"].address == "10.0.4.23"


def test_address_for_people_shows_no_port_that_is_usual_and_no_user() -> None:
    for target, shown in (
        ("http://10.0.4.21/onvif/device_service", "10.0.4.21"),
        ("http://10.0.4.21:80/onvif", "10.0.4.21"),
        ("10.0.4.21:8000", "10.0.4.21:8000"),
        ("rtsp://u:p@10.0.4.21:554/x", "10.0.4.21"),
        ("rtsp://u:p@[fe80::1]:8554/x", "[fe80::1]:8554"),
        ("http://[", ""),
    ):
        assert display_address(target) == shown


names = st.sampled_from(["", "IPCAM", "Utara", "a" * 64, "カメラ", "-"])


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), names), max_size=12))
def test_every_device_gets_one_id_of_its_own_that_is_an_id(found: list[tuple[int, int, str]]) -> None:
    devices = {
        d.identity: d for d in (device(f"10.0.4.{host}", f"urn:{epr}", name) for host, epr, name in found)
    }

    made = planned(config(), [], list(devices.values()))

    assert set(made.device_ids) == set(devices)
    assert len(set(made.device_ids.values())) == len(devices) == len(made.cameras)
    assert all(ID_PATTERN.fullmatch(id_) for id_ in made.cameras)
    again = planned(config(), [], list(reversed(devices.values())), made)
    assert again.device_ids == made.device_ids


def test_refused_sign_ins_come_at_most_three_an_hour() -> None:
    tries, refused, now_us = [], list[int](), 0
    while now_us < 24 * 60 * MINUTE_US:
        tries.append(now_us)
        refused.append(now_us)
        now_us = next_try_us(refused, now_us)

    assert [time_us // MINUTE_US for time_us in tries[:6]] == [0, 10, 30, 90, 150, 210]
    for start in tries:
        assert sum(start <= time_us < start + 60 * MINUTE_US for time_us in tries) <= 3


def test_clock_that_is_set_back_does_not_lock_a_camera_out_for_ever() -> None:
    assert next_try_us([NOW_US + 10**12], NOW_US) == NOW_US + 10 * MINUTE_US
    assert next_try_us([], NOW_US) == NOW_US


def crowd(size: int) -> list[Device]:
    return [device(f"10.0.{number // 200}.{number % 200 + 1}") for number in range(size)]


def test_no_more_devices_are_tried_than_a_gateway_serves() -> None:
    found = planned(config(), [known("utara", "10.0.9.9")], crowd(200))

    assert len(found.cameras) == MOST_CAMERAS
    assert len(found.waiting) == 200 - (MOST_CAMERAS - 1)
    assert not found.waiting & found.device_ids.keys()


def test_full_gateway_adopts_none_and_still_records_what_is_listed() -> None:
    rows = [known(f"kamera-{number}", f"10.0.9.{number + 1}") for number in range(MOST_CAMERAS)]
    extra = '[[camera]]\nid = "selatan"\naddress = "10.0.9.200"\n'

    found = planned(config(extra), rows, crowd(3))

    assert set(found.cameras) == {"selatan", *(row.id for row in rows)}
    assert (len(found.waiting), found.places) == (3, 0)


def test_devices_tried_in_vain_let_others_go_first() -> None:
    devices = crowd(40)
    first = planned(config(), [], devices)
    trying = set(first.device_ids)

    second = plan(
        config(),
        [],
        devices,
        reserved=first.reserved,
        trying=trying,
        failed=dict.fromkeys(sorted(trying)[:5], 9),
    )
    third = plan(
        config(), [], devices, reserved=second.reserved, trying=set(second.device_ids),
        failed={one.identity: at for at, one in enumerate(devices)}, rested_us=100,
    )  # fmt: skip
    resting = plan(
        config(), [], devices, reserved=second.reserved, trying=set(second.device_ids),
        failed={one.identity: at for at, one in enumerate(devices, 1)},
    )  # fmt: skip

    assert len(trying & second.device_ids.keys()) == MOST_CAMERAS - 5
    assert set(third.device_ids) == {one.identity for one in devices[:MOST_CAMERAS]}
    assert resting.device_ids == second.device_ids
    # Each keeps the id under which its refusals are counted.
    assert first.reserved == second.reserved == third.reserved


def test_metadata_is_kept_with_the_main_stream_unless_a_person_says_no() -> None:
    written = """
[[camera]]
id = "told"
address = "10.0.0.1"
[[camera]]
id = "mute"
address = "10.0.0.2"
metadata = false
"""
    cameras = plan(config(written), [], [device("10.0.0.9")], reserved={}).cameras
    sources = tuple(KnownSource(name, "rtsp://10.0.0.1/", "10.0.0.1", 554) for name in ("main", "sub"))

    kept = {
        id_: [spec.source.metadata for spec in specs(wanted, sources, None, None, Trust())]
        for id_, wanted in cameras.items()
    }

    (found,) = kept.keys() - {"told", "mute"}
    assert kept == {"told": [True, False], "mute": [False, False], found: [True, False]}
