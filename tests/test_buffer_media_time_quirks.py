"""What cameras do wrong with time: section 10 of the list of camera faults, and 4.5, 9.3, 9.4.

Each case names its line. A stream is data: when each picture came and what its stamp was, and what was
reported.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from simpang_buffer.media.access_units import Picture
from simpang_buffer.media.audio import AudioFrame
from simpang_buffer.media.stream_time import RunClock
from simpang_buffer.model import AccessUnit, AnchorSource, VideoFormat

NOW = 1_795_000_000_000_000
FORMAT = VideoFormat("avc1.42c00c", 320, 240, b"")
RATE = 90_000
DAY_S = 86_400
# Just below where 32 bits wrap.
FIRST = 0xFFFF_8000
HOUR_US = 3_600_000_000


@dataclass
class Fed:
    """What became of a stream."""

    clock: RunClock
    arrivals: list[int] = field(default_factory=list)
    units: list[AccessUnit] = field(default_factory=list)
    # UTC of each picture, as read when it had just come.
    walls: list[int] = field(default_factory=list)
    # The first picture at which a new run was asked for.
    jumped_at: int | None = None

    def late_us(self) -> list[int]:
        """How much before its arrival each picture is dated."""
        return [arrival - wall for arrival, wall in zip(self.arrivals, self.walls, strict=True)]

    def steps(self) -> list[int]:
        return [after.dts - before.dts for before, after in itertools.pairwise(self.units)]


def fed(
    pictures: Iterable[tuple[float, int]], *, reports: dict[int, tuple[int, int]] | None = None, ask: int = 15
) -> Fed:
    """pictures: seconds since NOW of the arrival, and ticks of the stamp after the first. reports: before the
    picture of that number, (ntp_us, ticks after the first). ask: the anchor is asked after so many pictures.
    """
    found = Fed(RunClock())
    for number, (seconds, ticks) in enumerate(pictures):
        if reports and number in reports:
            ntp_us, reported = reports[number]
            found.clock.report(video=True, ntp_us=ntp_us, rtp_time=(FIRST + reported) & 0xFFFF_FFFF)
        arrival = NOW + round(seconds * 1e6)
        for dated in found.clock.picture(taken(number, ticks), arrival, 0):
            if found.clock.jumped and found.jumped_at is None:
                found.jumped_at = number
            found.units.append(dated.unit)
            found.arrivals.append(arrival)
            if number >= ask:
                found.walls += [found.clock.wall_us(one.dts) for one in found.units[len(found.walls) :]]
    found.walls += [found.clock.wall_us(one.dts) for one in found.units[len(found.walls) :]]
    return found


def taken(number: int, ticks: int) -> Picture:
    """A picture with a stamp of so many ticks after the first; the first is a key picture."""
    first = number == 0
    return Picture((FIRST + ticks) & 0xFFFF_FFFF, b"x", first, False, FORMAT if first else None)


def steady(count: int, *, fps: float = 15, ppm: float = 0, delay_s: float = 0.2) -> list[tuple[float, int]]:
    """A good camera, whose clock runs by so many millionths too fast."""
    return [(n / fps + delay_s, round(n / fps * RATE * (1 + ppm / 1e6))) for n in range(count)]


# Reports


@dataclass(frozen=True)
class Reported:
    """What the report before a picture says, and what is made of it."""

    at: int
    ntp_us: int
    ticks: int
    source: AnchorSource
    # The camera's clock minus ours, as shown; the pictures are 200 ms on their way.
    offset_us: int | None


ARRIVAL, RTCP = AnchorSource.ARRIVAL, AnchorSource.RTCP
REPORTS: dict[str, Reported | None] = {
    "10.1 absent": None,
    "good": Reported(0, NOW, 0, RTCP, -200_000),
    "good, about a later moment": Reported(10, NOW + 2_000_000, 180_000, RTCP, -200_000),
    "10.1 late": Reported(30, NOW, 0, ARRIVAL, -200_000),
    "10.1 says 1970": Reported(5, 10_000_000, 0, ARRIVAL, None),
    "10.1 local time": Reported(5, NOW + 7 * HOUR_US, 0, ARRIVAL, 7 * HOUR_US - 200_000),
    "10.1 some seconds ahead": Reported(5, NOW + 3_000_000, 0, ARRIVAL, 2_800_000),
    "10.1 some seconds behind": Reported(5, NOW - 3_000_000, 0, ARRIVAL, -3_200_000),
    "10.1 of another stream (Tapo C320WS)": Reported(5, NOW, 3600 * RATE, ARRIVAL, None),
    "10.1 after the wrap": Reported(12, NOW + 733_333, 66_000, RTCP, -200_000),
}


@pytest.mark.parametrize("case", REPORTS)
def test_an_anchor_is_refined_where_a_report_can_be_believed(case: str) -> None:
    """10.1: sender reports that are absent, late, of somebody else, or of a clock that was never set."""
    told = REPORTS[case]
    reports = {} if told is None else {told.at: (told.ntp_us, told.ticks)}

    found = fed(steady(60), reports=reports)

    anchor_us, source = found.clock.anchor()
    assert source is (told.source if told else ARRIVAL)
    assert anchor_us == pytest.approx(NOW if source is RTCP else NOW + 200_000, abs=50)
    offset_us = found.clock.camera_offset_us()
    expected_us = told.offset_us if told else None
    assert offset_us == (None if expected_us is None else pytest.approx(expected_us, abs=50))
    assert found.steps() == [6000] * 59


@pytest.mark.parametrize("leap_us", [HOUR_US, -HOUR_US, 56 * 365 * 24 * HOUR_US, 40_000])
def test_reports_of_a_clock_that_steps_move_nothing(leap_us: int) -> None:
    """10.2, 4.5: the camera asks a time server while it records; pictures and sound keep to RTP time."""
    clock = RunClock(sound=(8000, 8000))
    pictures, sounds = [], []
    for n in range(20 * 15):
        at_us = n * 1_000_000 // 15
        step_us = leap_us if n > 150 else 0
        if n % 15 == 0:
            clock.report(video=True, ntp_us=NOW + at_us + step_us, rtp_time=FIRST + 6000 * n & 0xFFFF_FFFF)
            clock.report(video=False, ntp_us=NOW + at_us + step_us, rtp_time=77 + 8 * at_us // 1000)
        pictures += [one.unit for one in clock.picture(taken(n, 6000 * n), NOW + at_us + 100_000, 0)]
        frame = AudioFrame(77 + 8 * at_us // 1000, b"s", 533)
        sounds += clock.sound(frame, NOW + at_us + 166_000)
        if n == 20:
            anchor = clock.anchor()

    assert [one.dts for one in pictures] == [6000 * n for n in range(300)]
    assert all(abs(one.dts - 8 * n * 1000 // 15) < 200 for n, one in enumerate(sounds))
    assert len(sounds) == 300
    assert clock.anchor() == anchor == (pytest.approx(NOW, abs=20), RTCP)
    assert not clock.jumped


@pytest.mark.parametrize(("leap", "source"), [(0, RTCP), (-3600 * RATE, ARRIVAL)], ids=["goes on", "10.6"])
def test_a_run_that_begins_in_a_session_knows_what_was_reported_before(
    leap: int, source: AnchorSource
) -> None:
    """Cameras report each five seconds; stamps that have started over have nothing to do with it."""
    pictures = [(seconds, ticks + (n >= 50) * leap) for n, (seconds, ticks) in enumerate(steady(60))]
    before = fed(pictures, reports={40: (NOW + 2_600_000, 2_600_000 * 9 // 100)}).clock
    clock = RunClock()
    clock.carry_on(before)

    for n, (seconds, ticks) in enumerate(steady(60)[45:]):
        picture = Picture((FIRST + ticks + leap) & 0xFFFF_FFFF, b"x", n == 0, False, FORMAT)
        clock.picture(picture, NOW + round(seconds * 1e6), 0)

    anchor_us, found = clock.anchor()
    assert found is source
    assert anchor_us == pytest.approx(NOW + 3_000_000 + (source is ARRIVAL) * 200_000, abs=20)


# Stamps


@dataclass(frozen=True)
class Stamped:
    """pictures: as `fed` takes them. jumped: the recorder is to begin a new run. restamped: how many stamps
    were not believed. even: every picture stands where it was taken, to a tenth of a second."""

    pictures: list[tuple[float, int]]
    jumped: bool = False
    restamped: int | None = 0
    even: bool = True


def changed(count: int, change: Callable[[int, int], int], *, fps: float = 15) -> list[tuple[float, int]]:
    """The stamps of a good camera, each as `change` makes it of its number and its ticks."""
    return [(seconds, change(n, ticks)) for n, (seconds, ticks) in enumerate(steady(count, fps=fps))]


STAMPS = {
    "wraps at 32 bits": Stamped(steady(200)),
    "wraps twice in a day, a picture each ten seconds": Stamped(
        [(n * 10.0, n * 10 * RATE) for n in range(8640)], even=False
    ),
    "10.4 one picture hours ahead": Stamped(
        changed(90, lambda n, t: t + (n == 40) * 3 * 3600 * RATE), restamped=1
    ),
    "10.4 one picture hours behind": Stamped(
        changed(90, lambda n, t: t - (n == 40) * 3 * 3600 * RATE), restamped=1
    ),
    "10.4 one in ten hours off": Stamped(
        changed(150, lambda n, t: t + (n % 10 == 5) * 5 * 3600 * RATE), restamped=15
    ),
    "10.4 hours off for good": Stamped(
        changed(90, lambda n, t: t + (n >= 40) * 3 * 3600 * RATE), jumped=True, restamped=3
    ),
    "10.5 each stamp twice": Stamped(changed(90, lambda n, t: t - n % 2 * 6000), restamped=45),
    "10.5 one stamp for all": Stamped(changed(90, lambda n, t: 0), restamped=89),
    "10.5 stands still for a while": Stamped(
        changed(150, lambda n, t: 50 * 6000 if 50 <= n < 90 else t), restamped=None
    ),
    "10.6 starts over at zero": Stamped(
        changed(90, lambda n, t: t if n < 40 else t - 40 * 6000 - FIRST), jumped=True, restamped=3
    ),
    "10.6 back by a minute": Stamped(
        changed(90, lambda n, t: t - (n >= 40) * 60 * RATE), jumped=True, restamped=3
    ),
    "10.6 runs backwards": Stamped(changed(90, lambda n, t: -t), restamped=None),
    "4.5 steps by 0.3 s ahead with its clock": Stamped(
        changed(150, lambda n, t: t + (n >= 50) * 27_000), even=False
    ),
    "4.5 steps by 0.3 s back with its clock": Stamped(
        changed(150, lambda n, t: t - (n >= 50) * 27_000), restamped=None, even=False
    ),
    "8.8 begins with a burst": Stamped(
        [(max(n, 30) / 15 + 0.2, 6000 * n) for n in range(90)], even=False
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STAMPS)
def test_every_picture_is_dated_whatever_its_stamp_says(case: str) -> None:
    """10.4 to 10.6, 4.5 and wraps: all pictures are there, later than those before, and none is far off."""
    told = STAMPS[case]

    found = fed(told.pictures)

    assert len(found.units) == len(told.pictures)
    assert all(step > 0 for step in found.steps())
    assert found.clock.jumped == told.jumped
    assert told.restamped in (None, found.clock.restamped)
    if told.even:
        assert all(abs(late) < 150_000 for late in found.late_us())


@pytest.mark.parametrize(("stamped", "sent"), [(25, 21), (21, 25), (30, 25)])
def test_a_camera_that_sends_at_another_pace_than_it_stamps_is_led_by_its_arrivals(
    stamped: float, sent: float
) -> None:
    """10.3: stamped 25 a second and sent 21. Durations are the camera's; the wall clock is ours, and the run
    goes on."""
    found = fed((n / sent, round(n * RATE / stamped)) for n in range(int(sent * 1800)))

    assert not found.clock.jumped
    assert found.clock.restamped == 0
    late = found.late_us()
    # It takes two windows to find out; then a run of any length is dated as it came.
    assert max(map(abs, late)) < 8_000_000
    assert max(map(abs, late[int(sent * 120) :])) < 200_000
    assert all(after >= before for before, after in itertools.pairwise(found.walls))
    ppm = found.clock.drift_ppm
    assert ppm == pytest.approx((sent / stamped - 1) * 1e6, rel=0.05)


@pytest.mark.parametrize(("ppm", "days"), [(100, 2), (-100, 1), (20, 1)])
def test_a_clock_that_drifts_for_days_is_followed(ppm: float, days: int) -> None:
    """4.5: 100 ppm are 9 s a day. Sound keeps to the pictures, whose clock it has."""
    clock = RunClock(sound=(8000, 8000))
    off_us, apart_us, sounds = [], [], 0
    for n in range(days * DAY_S):
        made_us = NOW + round(n * 1_000_000 / (1 + ppm / 1e6))
        arrival = made_us + n * 7919 % 30_000
        (dated,) = clock.picture(taken(n, n * RATE), arrival, 0)
        units = clock.sound(AudioFrame(n * 8000 & 0xFFFF_FFFF, b"s", 8000), arrival + 1_000_000)
        sounds += len(units)
        off_us.append(clock.wall_us(dated.unit.dts) - made_us)
        apart_us += [one.dts * 125 - dated.unit.dts * 100 // 9 for one in units]

    assert max(map(abs, off_us)) < 250_000
    assert max(map(abs, apart_us)) < 250_000
    assert sounds == days * DAY_S
    assert clock.drift_ppm == pytest.approx(ppm, abs=1)
    assert not clock.jumped


@pytest.mark.parametrize(
    "step",
    [4 * RATE, 5 * RATE - 1, RATE, 12_000, 1, 600],
    ids=["4 s each", "5 s each", "1 s each", "twice as fast", "one tick each", "ten times too slow"],
)
def test_stamps_cannot_lead_away_from_the_arrivals(step: int) -> None:
    """Each believable by itself, they add up: then they are not believed, and a new run begins."""
    found = fed((n / 15, n * step) for n in range(15 * 120))

    # The camera's next key frame, a second later, begins the new run.
    assert found.jumped_at is not None
    off = [unit.dts - 6000 * n for n, unit in enumerate(found.units[: found.jumped_at + 15])]
    # Ahead by a burst, behind by a link that lags, and a quarter of the time, which a drift may take.
    assert all(-31 * RATE <= ticks <= 5 * RATE + n * 1500 for n, ticks in enumerate(off))


def test_a_link_that_lags_and_catches_up_is_no_jump() -> None:
    """Wi-Fi: pictures come later and later for 20 s, and then all at once (14.3)."""

    def arrival(n: int) -> float:
        return n / 15 + (max(0, n - 150) / 15 * 0.5 if n < 450 else max(0.0, 10 - (n - 450) / 15 * 10))

    found = fed((arrival(n), n * 6000) for n in range(900))

    assert found.steps() == [6000] * 899
    assert not found.clock.jumped


def test_reports_and_documents_are_placed_after_hours_too() -> None:
    """The stamp of the first picture is more than half a turn of 32 bits away after 6.6 hours."""
    clock = RunClock()
    for n in range(10 * 360):
        arrival = NOW + n * 10_000_000
        clock.picture(taken(n, n * 10 * RATE), arrival, 0)
    clock.report(video=True, ntp_us=arrival - 50_000, rtp_time=FIRST + n * 10 * RATE & 0xFFFF_FFFF)

    assert clock.camera_offset_us() == pytest.approx(-50_000, abs=200_000)
    made_us = clock.moment_us(arrival + 1_000_000, arrival + 3_000_000)
    assert made_us == pytest.approx(n * 10_000_000 + 1_050_000, abs=1000)


# Sound


def heard(
    clock: RunClock, frames: Iterable[tuple[float, int]], *, samples: int = 160
) -> list[tuple[AccessUnit, float]]:
    """frames: when it was made, and its stamp; pictures come beside them. With each, when it was made."""
    found, made = [], []
    picture = 0
    for seconds, stamp in frames:
        while picture / 15 <= seconds:
            clock.picture(taken(picture, 6000 * picture), NOW + picture * 1_000_000 // 15, 0)
            picture += 1
        made.append(seconds)
        arrival = NOW + round((seconds + samples / 8000) * 1e6)
        units = clock.sound(AudioFrame(stamp & 0xFFFF_FFFF, b"s", samples), arrival)
        found += [(unit, made.pop(0)) for unit in units]
    return found


@pytest.mark.parametrize(
    ("video_ntp", "sound_ntp"),
    [(None, None), (NOW, None), (NOW, NOW - 3_000_000), (NOW, NOW + 9 * HOUR_US), (0, HOUR_US)],
    ids=["no reports", "of the video only", "3 s early (Dahua)", "hours off", "neither was ever set"],
)
def test_sound_is_anchored_for_itself(video_ntp: int | None, sound_ntp: int | None) -> None:
    """9.3: its reports say that it was made seconds before the pictures, or hours."""
    clock = RunClock(sound=(8000, 8000))
    if video_ntp is not None:
        clock.report(video=True, ntp_us=video_ntp, rtp_time=FIRST)
    if sound_ntp is not None:
        clock.report(video=False, ntp_us=sound_ntp, rtp_time=5_000)

    found = heard(clock, [(n * 0.02, 5_000 + 160 * n) for n in range(500)])

    assert len(found) == 500
    assert all(abs(unit.dts / 8000 - made) < 0.05 for unit, made in found)


@pytest.mark.parametrize("leap", [8000 * 3600, -8000 * 3600, -80_000, 4000 * 8, 1 << 31])
def test_sound_whose_stamps_leap_is_counted_on(leap: int) -> None:
    """9.4 (Dahua): its time jumps, the run goes on, and sound stays where it belongs."""
    clock = RunClock(sound=(8000, 8000))

    found = heard(clock, [(n * 0.02, 160 * n + (leap if n >= 200 else 0)) for n in range(600)])

    assert not clock.jumped
    assert len(found) >= 400
    assert all(after.dts >= before.dts + 160 for (before, _), (after, _) in itertools.pairwise(found))
    # Nowhere farther off than sound may come too early.
    assert all(abs(unit.dts / 8000 - made) < 1.1 for unit, made in found)


def test_what_a_camera_has_kept_comes_at_once_with_its_sound() -> None:
    """8.8, 9.3: three seconds since its last key frame, then live."""
    clock = RunClock(sound=(8000, 8000))
    found = []
    for n in range(90):
        arrival = NOW + max(n, 45) * 1_000_000 // 15
        clock.picture(taken(n, 6000 * n), arrival, 0)
        found += clock.sound(AudioFrame(77 + 533 * n, b"s", 533), arrival + 66_667)

    assert len(found) == 90
    assert [unit.dts - found[0].dts for unit in found] == [533 * n for n in range(90)]
