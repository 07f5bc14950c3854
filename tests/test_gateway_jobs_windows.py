"""Allowed hours, billing months, admission, and the names of objects: pure functions, every edge."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from simpang.config.model import Uplink
from simpang.config.values import parse_window
from simpang.jobs.admission import waits_for
from simpang.jobs.gateway_key import load_gateway_key
from simpang.jobs.job_store import new_id
from simpang.jobs.model import Priority, WaitingFor
from simpang.jobs.object_names import chunk_key, iso_duration, run_end_key
from simpang.jobs.windows import is_open, month_start
from simpang_buffer.model import StreamKey

ZONE = ZoneInfo("Asia/Pontianak")


@pytest.mark.parametrize(
    ("window", "moment", "expected"),
    [
        ("mon-sun 22:00-05:00", "2026-11-24 22:00", True),
        ("mon-sun 22:00-05:00", "2026-11-24 21:59", False),
        ("mon-sun 22:00-05:00", "2026-11-25 04:59", True),
        ("mon-sun 22:00-05:00", "2026-11-25 05:00", False),
        ("fri 22:00-05:00", "2026-11-28 04:00", True),  # Saturday: the window opened on Friday
        ("fri 22:00-05:00", "2026-11-27 04:00", False),  # Friday: it opened on no Thursday
        ("sun-mon 12:00-13:00", "2026-11-22 12:30", True),
        ("sat,sun 00:00-24:00", "2026-11-28 23:59", True),
        ("sat,sun 00:00-24:00", "2026-11-30 00:00", False),
    ],
)
def test_window_belongs_to_the_day_on_which_it_opens(window: str, moment: str, expected: bool) -> None:
    local = datetime.fromisoformat(moment).replace(tzinfo=ZONE)

    assert is_open([parse_window(window)], local) is expected


def test_no_windows_means_always() -> None:
    assert is_open([], datetime(2026, 11, 24, 12, 0, tzinfo=ZONE))


@pytest.mark.parametrize(
    ("day", "billing_day", "expected"),
    [
        (date(2026, 11, 24), 1, date(2026, 11, 1)),
        (date(2026, 11, 24), 25, date(2026, 10, 25)),
        (date(2026, 1, 3), 5, date(2025, 12, 5)),
        (date(2026, 3, 28), 28, date(2026, 3, 28)),
    ],
)
def test_billing_month_begins_on_its_day(day: date, billing_day: int, expected: date) -> None:
    assert month_start(day, billing_day) == expected


@pytest.mark.parametrize(
    ("policy", "priority", "spent", "expected"),
    [
        (Uplink(), Priority.BULK, 0, None),
        (Uplink(windows=(parse_window("mon 00:00-01:00"),)), Priority.BULK, 0, WaitingFor.WINDOW),
        (Uplink(windows=(parse_window("mon 00:00-01:00"),)), Priority.CLIP, 0, None),
        (Uplink(month_cap=10), Priority.CLIP, 10, WaitingFor.CAP),
        (Uplink(month_cap=10), Priority.URGENT, 10, None),
        (Uplink(metered=True), Priority.BACKFILL, 0, WaitingFor.WINDOW),
        (Uplink(metered=True), Priority.CLIP, 0, None),
    ],
)
def test_hours_bind_scavengers_and_the_cap_all_but_urgent(
    policy: Uplink, priority: Priority, spent: int, expected: WaitingFor | None
) -> None:
    tuesday = datetime(2026, 11, 24, 12, 0, tzinfo=ZONE)

    assert waits_for(policy, priority, tuesday, spent) is expected


def test_objects_are_named_as_the_recording_format_asks() -> None:
    start_us = 1_795_485_600_000_123  # 2026-11-24T02:00:00.000123Z
    stream = StreamKey("digulis-1", "main")

    assert (
        chunk_key("digulis", "pemkot", stream, start_us, 7)
        == "digulis/pemkot/2026-11-24/digulis-1.main/02/00-00.000123Z.7.mp4"
    )
    assert run_end_key("digulis", "pemkot", stream, start_us, 8).endswith("/02/00-00.000123Z.8.mp4_end")
    assert iso_duration(4_040_000) == "PT4.040000S"


def test_gateway_key_is_made_once_and_its_signature_verifies(tmp_path: Path) -> None:
    import base64

    def decoded(text: bytes) -> bytes:
        return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))

    key = load_gateway_key(tmp_path)
    header, middle, signature = key.detached_jws(b'{"v":1}').split(b".")

    again = load_gateway_key(tmp_path)
    public = Ed25519PublicKey.from_public_bytes(decoded(key.public_text.encode()))
    public.verify(decoded(signature), header + b"." + base64.urlsafe_b64encode(b'{"v":1}').rstrip(b"="))

    assert again.public_text == key.public_text
    assert middle == b"" and json.loads(decoded(header))["alg"] == "EdDSA"
    assert (tmp_path / "gateway-key.pem").stat().st_mode & 0o777 == 0o600


def test_ids_sort_by_time_and_fit_the_contract() -> None:
    early, late = new_id(1_795_485_600_000_000), new_id(1_795_485_600_001_000)

    assert early < late and len(early) == 32
    assert early[12] == "7" and early[16] in "89ab"
