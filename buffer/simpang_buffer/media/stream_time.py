"""The time of one run: RTP stamps of pictures and sound to decode times from its start, and those to UTC.

Decode time 0 is where the first key picture is decoded. Durations are the camera's own. UTC is anchored once,
by a sender report where it agrees with the arrivals, else by the arrivals. Pictures and sound are anchored
separately, so that they fit (QUIRKS 9.3). Pure: arrivals are arguments.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from simpang_buffer.media.access_units import Picture
from simpang_buffer.media.audio import AudioFrame
from simpang_buffer.media.decode_order import DecodeOrder, Ordered
from simpang_buffer.media.drift import Drift
from simpang_buffer.media.sound_time import SoundTime
from simpang_buffer.media.stamps import Stamps, signed
from simpang_buffer.model import VIDEO_TIMESCALE, AccessUnit, AnchorSource, VideoFormat

# The gateway's clock is the site's: a sender report takes the delay on the way out of it, and is believed
# where it says a delay that can be: by a camera whose clock is another one (10.1: 1970, local time, seconds
# off) the pictures of two cameras would be dated by two clocks.
_LONGEST_DELAY_US = 2_000_000
# Two clocks that are both kept by NTP differ by so much at the worst.
_SHORTEST_DELAY_US = -100_000
# 2000-01-01: what says less is no clock that was ever set, but the camera's time since it started.
_FIRST_SET_US = 946_684_800_000_000
# A report about a stamp so far from the pictures is about another stream (Tapo C320WS).
_REPORT_REACH_S = 30
# Sound and pictures arrive about when they were made; a report that parts them by more is wrong.
_BELIEVABLE_SOUND_US = 1_000_000
# Sound waits so long for sender reports of both tracks; nearly all cameras send the first ones at once.
_SOUND_WAITS_US = 500_000
# Sound is moved for a late report only where one hears it.
_AUDIBLE_US = 250_000
_MAX_WAITING_SOUND = 128
# What a camera sends at once when we come reaches back to its last key frame; stamps that leap further tell
# nothing.
_BURST_S = 10


class DatedPicture(NamedTuple):
    """format: Picture.format, which key pictures carry."""

    unit: AccessUnit
    format: VideoFormat | None


class RunClock:
    """Dates one run. Pictures before the first key picture with parameter sets are not part of it."""

    def __init__(self, video_clock_rate: int = VIDEO_TIMESCALE, sound: tuple[int, int] | None = None) -> None:
        """sound: the RTP clock rate of the sound's track, and its format's timescale."""
        self._video_rate = video_clock_rate
        self._stamps = Stamps(video_clock_rate)
        self._order: DecodeOrder[tuple[Picture, int]] | None = None
        self._first_arrival_us = 0
        # UTC of the first picture by arrivals: the least delayed of all counts.
        self._arrival_base_us = 0
        self._drift = Drift()
        # How far into the run the pictures are.
        self._newest_us = 0
        # How much later than by the camera's clock pictures come now, since it runs at another pace.
        self._late_us = 0
        self._anchor: tuple[int, AnchorSource] | None = None
        # The newest sender report of each track: (UTC, stamp).
        self._video_report: tuple[int, int] | None = None
        self._sound_report: tuple[int, int] | None = None
        self._sound_rates = sound
        self._sound = SoundTime(*sound) if sound else None
        self._waiting_sound: deque[tuple[AudioFrame, int]] = deque(maxlen=_MAX_WAITING_SOUND)
        self._aligned: AnchorSource | None = None

    def carry_on(self, before: RunClock) -> None:
        """The run before is of the same session: what the camera reported last holds on, as its stamps do."""
        if not before.jumped:
            self._video_report, self._sound_report = before._video_report, before._sound_report

    @property
    def jumped(self) -> bool:
        """The camera's stamps have started over, or leapt for good: begin a new run at the next key picture.

        Until then pictures are dated by their arrival.
        """
        return self._stamps.jumped

    @property
    def restamped(self) -> int:
        """Pictures whose stamps could not be believed."""
        return self._stamps.restamped

    def report(self, *, video: bool, ntp_us: int, rtp_time: int) -> None:
        """A sender report (RFC 3550 section 6.4.1): ntp_us is UTC by the camera's clock."""
        if video:
            self._video_report = ntp_us, rtp_time
        else:
            self._sound_report = ntp_us, rtp_time

    def picture(self, picture: Picture, arrival_us: int, reorder: int | None = None) -> list[DatedPicture]:
        """The pictures that can be dated now, in the order sent: mostly this one.

        reorder: VideoDepacketizer.reorder. Of a stream that may reorder the first 5 pictures are held back.
        """
        if self._order is None:
            if not picture.key or picture.format is None:
                return []
            self._order = DecodeOrder(reorder, VIDEO_TIMESCALE)
            self._first_arrival_us = self._arrival_base_us = arrival_us
        ticks = self._stamps.place(picture.rtp_time, arrival_us, reordered=self._order.reorders)
        pts = ticks * VIDEO_TIMESCALE // self._video_rate
        at_us = _us(pts, VIDEO_TIMESCALE)
        self._newest_us = max(self._newest_us, at_us)
        self._drift.observe(at_us, arrival_us)
        self._late_us = self._drift.correction_us(at_us)
        self._arrival_base_us = min(self._arrival_base_us, arrival_us - self._late_us - at_us)
        return [_dated(ordered) for ordered in self._order.push(pts, (picture, arrival_us))]

    def sound(self, frame: AudioFrame, arrival_us: int) -> list[AccessUnit]:
        """The audio frames that can be dated now; waits at most half a second for sender reports."""
        if self._sound is None:
            return []
        # Sound keeps to the pictures, so its arrivals count at their pace; 100 ppm are 9 s a day.
        paced_us = arrival_us - self._late_us
        self._waiting_sound.append((frame, paced_us))
        self._align(frame, paced_us)
        if self._aligned is None:
            return []
        units = []
        reached = _ticks(self._newest_us, self._sound.timescale)
        while self._waiting_sound:
            waiting, came_us = self._waiting_sound.popleft()
            dts = self._sound.place(waiting.rtp_time, waiting.samples, came_us, reached)
            if dts is not None:
                units.append(AccessUnit(False, dts, 0, True, waiting.data, came_us + self._late_us))
        return units

    def expect_sound(self, clock_rate: int, timescale: int) -> None:
        """Sound whose format has become known, or is another one, from now on."""
        self._sound_rates = clock_rate, timescale
        self._sound = SoundTime(clock_rate, timescale)
        self._waiting_sound.clear()
        self._aligned = None

    def moment_us(self, camera_us: int | None, arrival_us: int) -> int | None:
        """How long after decode time 0 something was made that came beside the pictures.

        camera_us: when, by the camera's clock, where a report says; it counts where the pictures' own report
        does. Else by its arrival. None before the run has begun.
        """
        if self._order is None or not self._order.settled:
            return None
        base_us = None if camera_us is None else self._reported_base_us()
        if camera_us is None or base_us is None:
            since_us = arrival_us - self._late_us - self._arrival_base_us
        else:
            since_us = camera_us - base_us
        return since_us + _us(self._order.lead, VIDEO_TIMESCALE)

    def flush(self) -> list[DatedPicture]:
        """At the end of the run: pictures still held back."""
        return [_dated(ordered) for ordered in self._order.flush()] if self._order else []

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the camera's clock has run than ours; None in the first minutes."""
        return self._drift.ppm

    def camera_offset_us(self) -> int | None:
        """The camera's clock minus ours as its newest sender report has it, the delay on the way included;
        None where none says a time that a clock can show."""
        base_us = self._reported_base_us()
        if self._video_report is None or base_us is None or self._video_report[0] < _FIRST_SET_US:
            return None
        return base_us - self._arrival_base_us

    def anchor(self) -> tuple[int, AnchorSource]:
        """UTC of decode time 0, in microseconds, and where it is from.

        Fixed when first asked, which is best done about a second into the run: by then reports have come.
        """
        if self._anchor is None:
            lead_us = _us(self._order.lead, VIDEO_TIMESCALE) if self._order else 0
            reported = self._reported_base_us()
            base_us, source = self._arrival_base_us, AnchorSource.ARRIVAL
            if reported is not None and _is_delay(self._arrival_base_us - reported):
                base_us, source = reported, AnchorSource.RTCP
            self._drift.anchor(self._arrival_base_us)
            # A gateway without a battery starts at 1970, and nothing is dated before it.
            self._anchor = max(0, base_us - lead_us), source
        return self._anchor

    def wall_us(self, ticks: int) -> int:
        """UTC of a moment of the run (video ticks), led by the arrivals where the camera's clock drifts.

        Asked for rising moments it never goes back, as long as they are not older than half a minute.
        """
        run_us = _us(ticks, VIDEO_TIMESCALE)
        return self.anchor()[0] + run_us + self._drift.correction_us(run_us)

    def _reported_base_us(self) -> int | None:
        """UTC of the first picture by the camera's clock."""
        if self._video_report is None:
            return None
        ntp_us, stamp = self._video_report
        if abs(signed(stamp - self._stamps.newest_stamp)) > _REPORT_REACH_S * self._video_rate:
            return None
        return ntp_us - _us(self._stamps.place_of(stamp), self._video_rate)

    def _align(self, frame: AudioFrame, arrival_us: int) -> None:
        """Says where in the run the sound's stamps stand: by reports if believable, else by arrival."""
        sound, rates, order = self._sound, self._sound_rates, self._order
        if sound is None or rates is None or order is None or not order.settled:
            return
        if self._aligned is AnchorSource.RTCP:
            return
        clock_rate, timescale = rates
        lead_us = _us(order.lead, VIDEO_TIMESCALE)
        if self._aligned is None:
            frame = self._waiting_sound[0][0]
            by_arrival_us = self._first_heard_us(clock_rate, timescale) - self._arrival_base_us
        else:
            # Dated by arrival so far: a report may still put it right.
            by_arrival_us = _us(sound.ticks(frame.rtp_time), timescale) - lead_us
        by_report_us = self._reported_offset_us(frame.rtp_time, clock_rate)
        if by_report_us is not None and abs(by_report_us - by_arrival_us) <= _BELIEVABLE_SOUND_US:
            if self._aligned is None or abs(by_report_us - by_arrival_us) > _AUDIBLE_US:
                sound.align(frame.rtp_time, _ticks(by_report_us + lead_us, timescale), arrival_us)
            self._aligned = AnchorSource.RTCP
        elif self._aligned is None and arrival_us - self._first_arrival_us >= _SOUND_WAITS_US:
            sound.align(frame.rtp_time, _ticks(by_arrival_us + lead_us, timescale), arrival_us)
            self._aligned = AnchorSource.ARRIVAL

    def _first_heard_us(self, clock_rate: int, timescale: int) -> int:
        """When the sound that waits began, by arrivals: as with pictures, the least delayed frame counts."""
        first = self._waiting_sound[0][0].rtp_time
        began = [
            came_us - _us(frame.samples, timescale) - _us(since_first, clock_rate)
            for frame, came_us in self._waiting_sound
            if 0 <= (since_first := signed(frame.rtp_time - first)) <= _BURST_S * clock_rate
        ]
        return min(began)

    def _reported_offset_us(self, stamp: int, clock_rate: int) -> int | None:
        """How long after the first picture this sound was made, by the camera's clock."""
        base_us = self._reported_base_us()
        if base_us is None or self._sound_report is None:
            return None
        ntp_us, reported = self._sound_report
        since_report = signed(stamp - reported)
        if abs(since_report) > _REPORT_REACH_S * clock_rate:
            return None
        return ntp_us + _us(since_report, clock_rate) - base_us


def _is_delay(us: int) -> bool:
    return _SHORTEST_DELAY_US <= us <= _LONGEST_DELAY_US


def _dated(ordered: Ordered[tuple[Picture, int]]) -> DatedPicture:
    picture, arrival_us = ordered.item
    unit = AccessUnit(True, ordered.dts, ordered.pts - ordered.dts, picture.key, picture.data, arrival_us)
    return DatedPicture(unit, picture.format)


def _us(ticks: int, rate: int) -> int:
    return ticks * 1_000_000 // rate


def _ticks(us: int, rate: int) -> int:
    return us * rate // 1_000_000
