"""A camera's stamps, decode order and drift: plain numbers in, plain numbers out (QUIRKS 8.11, 10)."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpang_buffer.media.decode_order import MAX_DEPTH, DecodeOrder, Ordered
from simpang_buffer.media.drift import Drift
from simpang_buffer.media.sound_time import SoundTime
from simpang_buffer.media.stamps import Stamps

RATE = 90_000
FRAME = 6000
FRAME_US = 66_667


def placed(
    stamps: list[int], *, reordered: bool = False, every_us: int = FRAME_US
) -> tuple[list[int], Stamps]:
    line = Stamps(RATE)
    ticks = [
        line.place(stamp & 0xFFFF_FFFF, 10**15 + number * every_us, reordered=reordered)
        for number, stamp in enumerate(stamps)
    ]
    return ticks, line


def test_good_stamps_are_kept_to_the_tick_across_their_wrap() -> None:
    stamps = [(1 << 32) - 20_000 + 5997 * n for n in range(20)]

    ticks, line = placed(stamps)

    assert ticks == [5997 * n for n in range(20)]
    assert (line.jumped, line.restamped) == (False, 0)


def test_thirteen_hours_wrap_without_a_jump() -> None:
    ticks, line = placed([90_000 * 60 * n for n in range(14 * 60)], every_us=60_000_000)

    assert ticks[-1] == 90_000 * 60 * (14 * 60 - 1)
    assert not line.jumped


def test_pictures_sent_out_of_order_keep_their_stamps() -> None:
    stamps = [0, 3, 1, 2, 6, 4, 5]

    ticks, _ = placed([FRAME * n for n in stamps], reordered=True)

    assert ticks == [FRAME * n for n in stamps]


def test_two_pictures_with_one_stamp_become_two_and_the_next_is_right() -> None:
    ticks, line = placed([0, FRAME, 2 * FRAME, 2 * FRAME, 4 * FRAME, 5 * FRAME])

    assert ticks == [0, FRAME, 2 * FRAME, 2 * FRAME + FRAME // 2, 4 * FRAME, 5 * FRAME]
    assert line.restamped == 1


def test_a_clock_that_stands_still_is_replaced_by_arrivals() -> None:
    ticks, line = placed([7] * 40)

    steps = [after - before for before, after in itertools.pairwise(ticks)]
    assert all(abs(step - FRAME) <= 1 for step in steps[2:])
    assert not line.jumped


@pytest.mark.parametrize("off", [3 * 3600 * RATE, -3 * 3600 * RATE, 20 * RATE, -20 * RATE])
def test_one_picture_hours_off_is_dated_by_its_arrival(off: int) -> None:
    # Intelbras DVR (10.4)
    stamps = [FRAME * n for n in range(20)]
    stamps[10] += off

    ticks, line = placed(stamps)

    assert abs(ticks.pop(10) - FRAME * 10) <= 1
    assert ticks == [FRAME * n for n in range(20) if n != 10]
    assert (line.jumped, line.restamped) == (False, 1)


@pytest.mark.parametrize("start", [0, 100_000_000, -90_000 * 10])
def test_stamps_that_start_over_ask_for_a_new_run_and_lose_nothing(start: int) -> None:
    stamps = [50_000_000 + FRAME * n for n in range(30)] + [start + FRAME * n for n in range(30)]

    ticks, line = placed(stamps)

    assert line.jumped
    assert all(abs(tick - FRAME * n) <= 3 for n, tick in enumerate(ticks))


def test_a_step_back_within_a_session_asks_for_a_new_run() -> None:
    stamps = [FRAME * n for n in range(30)] + [FRAME * (n - 60) for n in range(30, 60)]

    ticks, line = placed(stamps)

    assert line.jumped
    assert ticks == sorted(set(ticks))


def test_a_careless_clock_is_no_jump() -> None:
    jitter = random.Random(5)
    stamps = [FRAME * n + jitter.randint(-9000, 9000) for n in range(500)]

    ticks, line = placed(stamps)

    assert not line.jumped
    assert ticks == sorted(set(ticks))
    assert abs(ticks[-1] - FRAME * 499) < 30_000


def test_a_burst_after_a_stall_keeps_its_stamps() -> None:
    line = Stamps(RATE)
    arrivals = [n * FRAME_US for n in range(30)] + [30 * FRAME_US + 9_000_000 + n for n in range(135)]

    ticks = [line.place(FRAME * n, arrival, reordered=False) for n, arrival in enumerate(arrivals)]

    assert ticks == [FRAME * n for n in range(165)]
    assert line.restamped == 0


def test_a_camera_that_paused_goes_on_in_the_same_run() -> None:
    line = Stamps(RATE)
    line.place(0, 0, reordered=False)

    assert line.place(RATE * 3600, 3_600_000_000, reordered=False) == RATE * 3600
    assert not line.jumped


@given(
    st.lists(st.tuples(st.integers(0, (1 << 32) - 1), st.integers(-(10**9), 10**9)), max_size=60),
    st.booleans(),
)
def test_no_stamps_and_arrivals_make_time_run_back(arrivals: list[tuple[int, int]], reordered: bool) -> None:
    line = Stamps(RATE)
    order: DecodeOrder[int] = DecodeOrder(None if reordered else 0, RATE)
    now = 10**15
    found: list[Ordered[int]] = []
    for number, (stamp, step) in enumerate(arrivals):
        now += step
        found += order.push(line.place(stamp, now, reordered=reordered), number)
    found += order.flush()
    assert [each.item for each in found] == list(range(len(arrivals)))
    assert_decodable(found)


def assert_decodable(found: list[Ordered[int]]) -> None:
    assert all(each.pts >= each.dts >= 0 for each in found)
    assert all(after.dts > before.dts for before, after in itertools.pairwise(found))


def ordered(times: list[int], limit: int | None) -> tuple[list[Ordered[int]], int]:
    order: DecodeOrder[int] = DecodeOrder(limit, RATE)
    found = [each for number, pts in enumerate(times) for each in order.push(pts, number)]
    found += order.flush()
    return found, order.lead


@pytest.mark.parametrize("pattern", [[0, 1, 2], [0, 2, 1], [0, 3, 1, 2], [0, 4, 2, 1, 3]])
@pytest.mark.parametrize("limit", [None, 4])
def test_presentation_times_stay_and_decode_times_are_even(pattern: list[int], limit: int | None) -> None:
    group = len(pattern) - 1
    times = [0] + [FRAME * (n * group + place) for n in range(20) for place in pattern[1:]]

    found, lead = ordered(times, limit)

    assert [each.pts - lead for each in found] == times
    assert found[0].dts == 0
    assert_decodable(found)
    assert all(after.dts - before.dts == FRAME for before, after in itertools.pairwise(found))


def test_a_stream_that_cannot_reorder_is_held_back_by_nothing() -> None:
    order: DecodeOrder[int] = DecodeOrder(0, RATE)

    assert [order.push(FRAME * n, n) for n in range(4)] == [
        (Ordered(FRAME * n, FRAME * n, n),) for n in range(4)
    ]
    assert order.lead == 0


def test_a_stream_that_only_might_reorder_is_held_back_for_a_moment_and_not_put_back() -> None:
    order: DecodeOrder[int] = DecodeOrder(None, RATE)
    counts = [len(order.push(FRAME * n, n)) for n in range(10)]

    assert counts == [0, 0, 0, 0, 5, 1, 1, 1, 1, 1]
    assert order.lead == 0


def test_slow_streams_are_held_back_for_a_second_at_most() -> None:
    order: DecodeOrder[int] = DecodeOrder(None, RATE)

    assert [len(order.push(RATE * n, n)) for n in range(3)] == [0, 2, 1]


def test_b_frames_that_begin_later_are_followed() -> None:
    times = [FRAME * n for n in range(10)] + [
        FRAME * (10 + 3 * n + place) for n in range(10) for place in (2, 0, 1)
    ]

    found, lead = ordered(times, None)

    assert_decodable(found)
    shown = [each.pts - lead for each in found]
    # The two that were overtaken unexpectedly are shown late; all others at their time.
    assert [n for n, time in enumerate(times) if shown[n] != time] == [11, 12]


@given(st.lists(st.integers(0, 2 * RATE), max_size=80), st.none() | st.integers(0, MAX_DEPTH))
def test_any_order_of_presentation_is_decodable(times: list[int], limit: int | None) -> None:
    found, _ = ordered(times, limit)

    assert [each.item for each in found] == list(range(len(times)))
    assert_decodable(found)


def walls(drift: Drift, arrivals: list[tuple[int, int]]) -> list[int]:
    """Wall time of each moment, as read when it had just been observed."""
    found = []
    for run_us, arrival_us in arrivals:
        drift.observe(run_us, arrival_us)
        found.append(run_us + drift.correction_us(run_us))
    return found


def test_a_day_of_a_drifting_crystal_stays_within_a_moment() -> None:
    drift = Drift()
    arrivals = [(int(n * 1_000_000 * 1.0001), n * 1_000_000 + 50_000) for n in range(86_400)]

    found = walls(drift, arrivals)

    assert (
        max(abs(wall - (arrival - 50_000)) for wall, (_, arrival) in zip(found, arrivals, strict=True))
        < 200_000
    )
    assert found == sorted(found)


@pytest.mark.parametrize("pace", [21 / 25, 25 / 21])
def test_a_camera_with_a_wrong_rate_is_led_by_arrivals(pace: float) -> None:
    # Stamped 25 pictures a second, sent 21 (10.3)
    drift = Drift()
    arrivals = [(int(n * 40_000 * pace), n * 40_000) for n in range(25 * 600)]

    found = walls(drift, arrivals)

    late = [wall - arrival for wall, (_, arrival) in zip(found, arrivals, strict=True)]
    assert max(map(abs, late)) < 12_000_000
    assert all(abs(each - late[-1]) < 700_000 for each in late[25 * 120 :])
    assert found == sorted(found)


def test_wifi_lag_and_bursts_do_not_move_the_wall() -> None:
    drift = Drift()
    lag = [0] * 200 + list(range(0, 4_000_000, 40_000)) + list(range(4_000_000, 0, -80_000)) + [0] * 600
    arrivals = [(n * 66_667, n * 66_667 + late) for n, late in enumerate(lag)]

    found = walls(drift, arrivals)

    assert all(abs(wall - run) < 150_000 for wall, (run, _) in zip(found, arrivals, strict=True))


@given(st.lists(st.tuples(st.integers(1, 30_000_000), st.integers(-(10**8), 10**8)), max_size=60))
@settings(max_examples=200)
def test_no_arrivals_turn_the_wall_clock_back(steps: list[tuple[int, int]]) -> None:
    drift = Drift()
    run, arrival = 0, 10**15
    last = -1
    for run_step, arrival_step in steps:
        run, arrival = run + run_step, arrival + arrival_step
        drift.observe(run, arrival)
        wall = run + drift.correction_us(run)
        assert wall >= last
        last = wall


def sounded(
    stamps: list[int], *, samples: int = 160, rate: int = 8000, every_us: int = 20_000
) -> tuple[list[int | None], SoundTime]:
    sound = SoundTime(rate, 8000)
    sound.align(stamps[0] & 0xFFFF_FFFF, 400, 0)
    places = [
        sound.place(stamp & 0xFFFF_FFFF, samples, number * every_us) for number, stamp in enumerate(stamps)
    ]
    return places, sound


def counted(count: int, first: int = 400) -> list[int]:
    return [first + 160 * n for n in range(count)]


def test_sound_is_counted_by_its_samples() -> None:
    wavering = random.Random(3)
    stamps = [0xFFFF_FF00 + 160 * n + wavering.randint(-40, 40) for n in range(300)]

    assert sounded(stamps)[0] == counted(300)


@pytest.mark.parametrize(
    "stamps",
    [
        [0] * 300,
        [160 * n for n in range(100)] + [5_000_000 + 160 * n for n in range(200)],
        [5_000_000 + 160 * n for n in range(100)] + [160 * n for n in range(200)],
        [160 * n * 3 // 4 for n in range(300)],
    ],
    ids=["standing still", "leaping ahead", "starting over", "too slow"],
)
def test_stamps_that_make_no_sense_leave_the_count_alone(stamps: list[int]) -> None:
    assert sounded(stamps)[0] == counted(300)


def test_missing_sound_leaves_a_hole() -> None:
    sound = SoundTime(8000, 8000)
    sound.align(0, 0, 0)
    kept = [n for n in range(100) if not 40 <= n < 60]

    places = [sound.place(160 * n, 160, 20_000 * n) for n in kept]

    assert places == [160 * n for n in kept]


def test_an_rtp_clock_of_another_rate_is_converted() -> None:
    places, _ = sounded([320 * n for n in range(50)], rate=16_000)

    assert places == counted(50)


def test_too_much_sound_is_dropped_before_it_runs_ahead() -> None:
    places, sound = sounded([160 * n for n in range(500)], every_us=10_000)
    kept = [place for place in places if place is not None]

    assert sound.dropped > 150
    assert kept == sorted(set(kept))
    assert kept[-1] <= 400 + 500 * 80 + 8000


def test_sound_before_the_run_is_no_part_of_it() -> None:
    sound = SoundTime(8000, 8000)
    sound.align(0, -1000, 0)

    assert [sound.place(160 * n, 160, 20_000 * n) for n in range(9)] == [None] * 7 + [120, 280]


def test_a_late_report_moves_sound_without_overlap() -> None:
    for moved, dropped in ((4000, 0), (-4000, 25)):
        sound = SoundTime(8000, 8000)
        sound.align(0, 8000, 0)
        places = [sound.place(160 * n, 160, 20_000 * n) for n in range(50)]
        sound.align(160 * 50, 8000 + 160 * 50 + moved, 20_000 * 50)
        places += [sound.place(160 * n, 160, 20_000 * n) for n in range(50, 150)]

        kept = [place for place in places if place is not None]
        assert sound.dropped == dropped
        assert kept == sorted(set(kept))
        assert kept[-1] == 8000 + 160 * 149 + moved


@given(
    st.lists(
        st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 3000), st.integers(-(10**7), 10**7)),
        max_size=60,
    )
)
def test_no_stamps_make_sound_overlap(frames: list[tuple[int, int, int]]) -> None:
    sound = SoundTime(48_000, 16_000)
    sound.align(0, 0, 0)
    now, end = 0, 0
    for stamp, samples, step in frames:
        now += step
        place = sound.place(stamp, samples, now)
        if place is not None:
            assert place >= end
            end = place + samples
