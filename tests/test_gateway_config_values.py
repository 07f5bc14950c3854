from __future__ import annotations

import pytest

from simpang.config.values import (
    Listen,
    Size,
    ValueFault,
    Window,
    make_id,
    nearest,
    parse_bytes,
    parse_id,
    parse_listen,
    parse_rate,
    parse_size,
    parse_window,
)

WEEK = frozenset(range(7))


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [("40 GB", 40 * 10**9), ("1.5GiB", 3 * 2**29), ("512 mb", 512 * 10**6), (7, 7), ("0 B", 0)],
)
def test_size_is_read(written: object, size_bytes: int) -> None:
    assert parse_size(written) == Size(size_bytes=size_bytes)
    assert parse_bytes(written) == size_bytes


def test_share_is_of_what_is_there() -> None:
    assert parse_size("90%").of(1000) == 900
    assert parse_size("0.5 %").of(1000) == 5
    with pytest.raises(ValueFault, match="share"):
        parse_bytes("90%")


@pytest.mark.parametrize(
    "written",
    ["40", "40 GBB", "-3 GB", "x", "", "101%", "0%", True, 3.5, None, -1, "1" * 400 + " B", "1e3 B"],
)
def test_size_that_is_none_says_how_to_write_one(written: object) -> None:
    with pytest.raises(ValueFault) as caught:
        parse_size(written)
    assert "write" in caught.value.try_this


@pytest.mark.parametrize(
    ("written", "bps"),
    [("4 Mbit/s", 4_000_000), ("500kbit/s", 500_000), ("1 gbit/s", 10**9), (64_000, 64_000)],
)
def test_rate_is_read(written: object, bps: int) -> None:
    assert parse_rate(written) == bps


@pytest.mark.parametrize("written", ["4 MB/s", "4", "0 bit/s", 0, -1, True, None, "0.1 bit/s"])
def test_rate_that_is_none_is_refused(written: object) -> None:
    with pytest.raises(ValueFault):
        parse_rate(written)


@pytest.mark.parametrize(
    ("written", "window"),
    [
        ("mon-sun 22:00-05:00", Window(WEEK, 22 * 60, 5 * 60)),
        ("sat,sun 00:00-24:00", Window(frozenset({5, 6}), 0, 24 * 60)),
        ("Fri-Mon 08:30-17:00", Window(frozenset({4, 5, 6, 0}), 510, 1020)),
        ("wed 01:00-02:00", Window(frozenset({2}), 60, 120)),
    ],
)
def test_window_is_read_and_written_as_read(written: str, window: Window) -> None:
    assert parse_window(written) == window
    assert parse_window(str(window)) == window


@pytest.mark.parametrize(
    "written", ["22:00-05:00", "mon 22-05", "moo 22:00-05:00", "mon- 22:00-05:00", "mon 24:00-05:00",
                "mon 22:60-05:00", "mon 22:00-24:01", ", 22:00-05:00", 5]
)  # fmt: skip
def test_window_that_is_none_is_refused(written: object) -> None:
    with pytest.raises(ValueFault):
        parse_window(written)


def test_listen_address_is_read() -> None:
    assert parse_listen("127.0.0.1:8080") == Listen("127.0.0.1", 8080)
    assert str(parse_listen("[::1]:8080")) == "[::1]:8080"
    assert parse_listen("127.0.0.9:0").loopback
    for written in (
        "8080",
        ":8080",
        "localhost:8080",
        "127.0.0.1:",
        "127.0.0.1:70000",
        "127.0.0.1:+80",
        8080,
    ):
        with pytest.raises(ValueFault):
            parse_listen(written)


def test_id_is_made_of_any_name() -> None:
    for name in ("Simpang Utara", "ÄÖÜ", "", "-" * 40, "a" * 40, "x\n../y", "カメラ"):
        assert parse_id(make_id(name)) == make_id(name)
    with pytest.raises(ValueFault, match="not an id"):
        parse_id("Utara")


def test_nearest_is_what_a_person_meant_or_nothing() -> None:
    known = {"max_bytes", "min_free", "max_days"}

    assert nearest("max_byte", known) == "max_bytes"
    assert nearest("MAX_DAYS", known) == "max_days"
    assert nearest("colour", known) is None
