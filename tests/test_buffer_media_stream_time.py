"""The time of a run: pictures, sound and sender reports of whole sessions (QUIRKS 9, 10)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

import media_samples
from media_files import decode_errors, probe, run_header
from media_samples import SoundTrack, Unit, VideoCodec, rtp_packet, video_packets
from simpang_buffer.media.access_units import Picture
from simpang_buffer.media.audio import AudioFrame, audio_depacketizer
from simpang_buffer.media.audio_format import audio_format
from simpang_buffer.media.fmp4 import Sample, TrackRun, fragment, init_segment
from simpang_buffer.media.h26x import H264Depacketizer, H265Depacketizer
from simpang_buffer.media.seal import run_box
from simpang_buffer.media.stream_time import DatedPicture, RunClock
from simpang_buffer.model import AccessUnit, AnchorSource, VideoFormat

NOW = 1_800_000_000_000_000
FRAME_US = 66_667
FORMAT = VideoFormat("avc1.42c00c", 320, 240, b"")
FIRST_STAMP = 0xFFFF_0000


def picture(number: int, *, key: bool = False, first: int = FIRST_STAMP) -> Picture:
    stamp = (first + 6000 * number) & 0xFFFF_FFFF
    return Picture(stamp, b"picture", key, False, FORMAT if key else None)


def fed(clock: RunClock, count: int, *, late_us: int = 0) -> list[DatedPicture]:
    """Pictures at 15 a second, each late_us after it was made."""
    found: list[DatedPicture] = []
    for number in range(count):
        arrival = NOW + number * FRAME_US + late_us
        found += clock.picture(picture(number, key=number % 15 == 0), arrival, 0)
    return found


def test_a_run_begins_with_its_first_key_picture() -> None:
    clock = RunClock()

    before = [clock.picture(picture(n), NOW + n * FRAME_US, 0) for n in range(3)]
    (first,) = clock.picture(picture(3, key=True), NOW + 3 * FRAME_US, 0)
    (second,) = clock.picture(picture(4), NOW + 4 * FRAME_US, 0)

    assert before == [[], [], []]
    assert first == DatedPicture(AccessUnit(True, 0, 0, True, b"picture", NOW + 3 * FRAME_US), FORMAT)
    assert (second.unit.dts, second.unit.key, second.format) == (6000, False, None)
    assert clock.anchor() == (NOW + 3 * FRAME_US, AnchorSource.ARRIVAL)


def test_a_key_picture_whose_parameter_sets_are_unknown_begins_nothing() -> None:
    clock = RunClock()

    assert clock.picture(Picture(0, b"", True, False, None), NOW, 0) == []


def test_the_least_delayed_arrival_anchors_a_run_that_begins_with_a_burst() -> None:
    # The camera sends the pictures since its last key frame at once (8.8).
    clock = RunClock()
    for number in range(30):
        arrival = NOW + max(number, 14) * FRAME_US
        clock.picture(picture(number, key=number == 0), arrival, 0)

    assert clock.anchor()[0] == pytest.approx(NOW, abs=100)


def test_a_believable_sender_report_anchors_a_run_at_the_cameras_own_time() -> None:
    clock = RunClock()
    fed(clock, 5, late_us=300_000)
    clock.report(video=True, ntp_us=NOW + 5 * FRAME_US, rtp_time=(FIRST_STAMP + 5 * 6000) & 0xFFFF_FFFF)

    anchor_us, source = clock.anchor()

    assert source is AnchorSource.RTCP
    assert anchor_us == pytest.approx(NOW, abs=10)


@pytest.mark.parametrize(
    ("ntp_us", "rtp_time"),
    [
        (5 * FRAME_US, FIRST_STAMP + 5 * 6000),
        (NOW + 7 * 3_600_000_000, FIRST_STAMP + 5 * 6000),
        (NOW - 6_000_000, FIRST_STAMP + 5 * 6000),
        (NOW, FIRST_STAMP + 90_000 * 3600),
    ],
    ids=["1970", "local time", "six seconds off", "another stream's stamp (Tapo C320WS)"],
)
def test_an_unbelievable_report_leaves_the_anchor_to_arrivals(ntp_us: int, rtp_time: int) -> None:
    clock = RunClock()
    fed(clock, 5)
    clock.report(video=True, ntp_us=ntp_us, rtp_time=rtp_time & 0xFFFF_FFFF)

    anchor_us, source = clock.anchor()

    assert source is AnchorSource.ARRIVAL
    assert anchor_us == pytest.approx(NOW, abs=10)


def test_the_anchor_stays_once_asked_and_the_wall_rises() -> None:
    clock = RunClock()
    found = fed(clock, 20)
    anchor = clock.anchor()
    clock.report(video=True, ntp_us=NOW - 500_000, rtp_time=FIRST_STAMP)
    clock.picture(picture(20), NOW - 3_000_000, 0)

    walls = [clock.wall_us(each.unit.dts) for each in found]

    assert clock.anchor() == anchor
    assert walls == [anchor[0] + each.unit.dts * 100 // 9 for each in found]


def test_stamps_that_start_over_are_told() -> None:
    clock = RunClock()
    found = fed(clock, 20)
    before = clock.jumped
    for number in range(20, 30):
        arrival = NOW + number * FRAME_US
        found += clock.picture(picture(number, first=5_000_000), arrival, 0)

    assert (before, clock.jumped) == (False, True)
    assert all(abs(each.unit.dts - 6000 * n) < 10 for n, each in enumerate(found))


def test_a_video_clock_of_another_rate_is_converted() -> None:
    clock = RunClock(video_clock_rate=45_000)

    found = fed(clock, 10)

    assert [each.unit.dts for each in found] == [12_000 * n for n in range(10)]


def sound_of(clock: RunClock, first_us: int, count: int, first_stamp: int = 77) -> list[AccessUnit]:
    """Frames of 20 ms at 8 kHz; each arrives when it is complete."""
    found = []
    for number in range(count):
        frame = AudioFrame((first_stamp + 160 * number) & 0xFFFF_FFFF, b"sound", 160)
        found += clock.sound(frame, first_us + 20_000 * (number + 1))
    return found


def test_sound_without_reports_stands_where_it_arrived() -> None:
    clock = RunClock(sound=(8000, 8000))
    fed(clock, 5)

    found = sound_of(clock, NOW + 100_000, 60)

    assert len(found) == 60
    assert [unit.dts for unit in found] == [800 + 160 * n for n in range(60)]
    assert not any(unit.video for unit in found)


def test_reports_of_both_tracks_align_sound_whatever_its_delay() -> None:
    # Sound arrives 700 ms late and was made with the first picture (9.3).
    clock = RunClock(sound=(8000, 8000))
    clock.report(video=True, ntp_us=NOW, rtp_time=FIRST_STAMP)
    clock.report(video=False, ntp_us=NOW, rtp_time=77)
    fed(clock, 20)

    found = sound_of(clock, NOW + 700_000, 60)

    assert [unit.dts for unit in found] == [160 * n for n in range(60)]


def test_reports_by_a_wrong_clock_still_align_sound_with_pictures() -> None:
    clock = RunClock(sound=(8000, 8000))
    clock.report(video=True, ntp_us=1_000_000, rtp_time=FIRST_STAMP)
    clock.report(video=False, ntp_us=1_000_000, rtp_time=77)
    fed(clock, 20)

    found = sound_of(clock, NOW + 700_000, 60)

    assert found[0].dts == 0
    assert clock.anchor()[1] is AnchorSource.ARRIVAL


def test_a_report_that_puts_sound_hours_away_is_not_believed() -> None:
    clock = RunClock(sound=(8000, 8000))
    clock.report(video=True, ntp_us=NOW, rtp_time=FIRST_STAMP)
    clock.report(video=False, ntp_us=NOW - 7_200_000_000, rtp_time=77)
    fed(clock, 20)

    found = sound_of(clock, NOW, 60)

    assert [unit.dts for unit in found] == [160 * n for n in range(60)]


def test_a_late_report_moves_sound_once() -> None:
    clock = RunClock(sound=(8000, 8000))
    fed(clock, 20)
    early = sound_of(clock, NOW + 700_000, 50)
    clock.report(video=True, ntp_us=NOW, rtp_time=FIRST_STAMP)
    clock.report(video=False, ntp_us=NOW + 1_000_000, rtp_time=77 + 8000)

    late = sound_of(clock, NOW + 1_700_000, 100, 77 + 8000)

    assert early[0].dts == 5600
    assert late[-1].dts == 8000 + 160 * 99
    dates = [unit.dts for unit in early + late]
    assert dates == sorted(set(dates))


def test_sound_before_any_picture_waits_bounded() -> None:
    clock = RunClock(sound=(8000, 8000))

    assert sound_of(clock, NOW - 100_000_000, 5000) == []
    fed(clock, 1)
    assert len(sound_of(clock, NOW + 500_000, 60, 77 + 160 * 5000)) <= 60 + 128


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("sound", [media_samples.aac(), media_samples.g711("PCMA")], ids=["aac", "pcma"])
def test_from_packets_to_a_file_that_plays(
    tmp_path: Path, codec: VideoCodec, b_frames: int, sound: SoundTrack
) -> None:
    units = media_samples.video(codec, b_frames=b_frames, slices=2)
    pictures, frames, format_ = recorded(codec, units, sound)
    audio = audio_format(sound.encoding, sound.rate, sound.channels, {"config": sound.config.hex()})
    data = init_segment(format_, audio) + run_box(run_header(format_.codec))
    for number in range(0, len(pictures), 10):
        part = pictures[number : number + 10]
        end = pictures[number + 10].dts if number + 10 < len(pictures) else part[-1].dts + 6000
        heard = [f for f in frames if part[0].dts <= f.dts * 90_000 // sound.rate < end]
        runs = [TrackRun(1, part[0].dts, samples(part, end)), TrackRun(2, heard[0].dts, samples(heard))]
        data += b"".join(fragment(1 + number // 10, runs))
    path = tmp_path / "run.mp4"
    path.write_bytes(data)

    found = probe(path)

    assert found.frames == len(units)
    lead = found.pts[0] - units[0].pts
    assert found.pts == tuple(unit.pts + lead for unit in units)
    assert list(found.dts) == sorted(set(found.dts))
    assert decode_errors(path) == ""


def samples(units: Sequence[AccessUnit], end: int | None = None) -> list[Sample]:
    times = [unit.dts for unit in units]
    times.append(2 * times[-1] - times[-2] if end is None else end)
    steps = itertools.pairwise(times)
    return [
        Sample(unit.data, after - before, unit.pts_offset, unit.key)
        for unit, (before, after) in zip(units, steps, strict=True)
    ]


def recorded(
    codec: VideoCodec, units: Sequence[Unit], sound: SoundTrack
) -> tuple[list[AccessUnit], list[AccessUnit], VideoFormat]:
    """Through depacketizers and clock, packet by packet, pictures and sound as they would come."""
    video = (H264Depacketizer if codec == "h264" else H265Depacketizer)(96)
    fmtp = {"config": sound.config.hex()}
    heard = audio_depacketizer(sound.encoding, 97, sound.rate, sound.channels, fmtp)
    clock = RunClock(sound=(sound.rate, sound.rate))
    arrivals: list[tuple[int, bool, bytes]] = []
    for number, unit in enumerate(units):
        packets = video_packets(codec, [unit], first_seq=100 * number)
        arrivals += [(number * FRAME_US, True, packet) for packet in renumbered(packets, len(arrivals))]
    for number, frame in enumerate(sound.frames):
        payload = frame.data
        if sound.config:
            payload = b"\0\x10" + (len(payload) << 3).to_bytes(2, "big") + payload
        packet = rtp_packet(payload, seq=number, time=frame.pts, payload_type=97)
        arrivals.append(((frame.pts + frame.samples) * 1_000_000 // sound.rate, False, packet))
    pictures: list[DatedPicture] = []
    frames: list[AccessUnit] = []
    for at, is_video, packet in sorted(arrivals, key=lambda each: each[0]):
        if is_video:
            for each in video.push(memoryview(packet)):
                pictures += clock.picture(each, NOW + at, video.reorder)
        else:
            for frame_ in heard.push(memoryview(packet)):
                frames += clock.sound(frame_, NOW + at)
    for each in video.flush():
        pictures += clock.picture(each, NOW + at, video.reorder)
    pictures += clock.flush()
    assert [each.unit.data for each in pictures] == [unit.data for unit in units]
    first = pictures[0].format
    assert first is not None
    return [each.unit for each in pictures], frames, first


def renumbered(packets: Sequence[bytes], first: int) -> list[bytes]:
    return [p[:2] + ((first + n) & 0xFFFF).to_bytes(2, "big") + p[4:] for n, p in enumerate(packets)]
