"""14.3: how late pictures come is measured on their stamps, and nothing else looks like it."""

from __future__ import annotations

import pytest

from simpang_buffer.recording.lag import Lag

TICKS = 3600


def lags(arrivals: list[float], *, first: int = 0, ticks: float = TICKS) -> list[float]:
    lag = Lag(90_000)
    found = []
    for number, arrival_s in enumerate(arrivals):
        lag.take(int(first + number * ticks) & 0xFFFF_FFFF, arrival_s)
        found.append(lag.lag_s)
    return found


def test_a_steady_stream_has_none_though_its_stamps_wrap() -> None:
    assert max(lags([n * 0.04 for n in range(500)], first=0xFFFF_0000)) < 1e-6


def test_a_connection_that_hangs_lags_and_then_catches_up() -> None:
    steady = [n * 0.04 for n in range(100)]
    held = [7.0 + n * 0.001 for n in range(75)]
    after = [7.0 + n * 0.04 for n in range(50)]

    found = lags([*steady, *held, *after])

    assert found[99] < 0.001
    assert found[100] == pytest.approx(3.0, abs=0.01)
    assert found[174] < 0.12
    assert found[-1] < 0.01


def test_the_worst_since_it_was_last_asked_is_told_and_grows_while_nothing_comes() -> None:
    lag = Lag(90_000)
    for number in range(50):
        lag.take(number * TICKS, number * 0.04)
    assert lag.worst_s(2.0) < 0.001
    hung_s = lag.worst_s(1.96 + 3)
    for number in range(50, 130):
        lag.take(number * TICKS, 5.2)
    burst_s = [lag.worst_s(5.3), lag.worst_s(5.3)]

    assert hung_s == pytest.approx(3.0, abs=0.01)
    assert burst_s[0] == pytest.approx(3.2, abs=0.01)
    assert burst_s[1] < 0.1


def test_lag_that_grows_is_shown_as_it_grows() -> None:
    # Four fifths of the pace: a second of lag for every four.
    assert lags([n * 0.05 for n in range(400)])[-1] == pytest.approx(4.0, rel=0.05)


def test_a_camera_whose_clock_is_slow_does_not_lag() -> None:
    assert lags([n * 0.04 for n in range(90_000)], ticks=TICKS * (1 - 150e-6))[-1] < 0.01


def test_stamps_that_leap_are_another_clock() -> None:
    lag = Lag(90_000)
    for number in range(10):
        lag.take(number * TICKS, number * 0.04)
    lag.take(900_000_000, 0.4)
    lag.take(900_000_000 + TICKS, 0.44)

    assert lag.lag_s < 0.001
