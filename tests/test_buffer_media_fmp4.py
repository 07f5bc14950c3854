"""Judged by ffprobe and ffmpeg: what is written is what they read, without one complaint."""

from __future__ import annotations

from pathlib import Path

import pytest

import media_samples
from media_files import build_file, decode_errors, probe, video_format_of
from media_samples import SoundTrack, VideoCodec
from simpang_buffer.media.audio_format import audio_format
from simpang_buffer.media.boxes import parse_moof
from simpang_buffer.media.fmp4 import Sample, TrackRun, fragment, init_segment
from simpang_buffer.model import AudioFormat

CODECS: tuple[VideoCodec, ...] = ("h264", "h265")


def format_of(sound: SoundTrack) -> AudioFormat:
    return audio_format(sound.encoding, sound.rate, sound.channels, {"config": sound.config.hex()})


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("slices", [1, 3])
def test_every_picture_decodes_with_its_times(
    tmp_path: Path, codec: VideoCodec, b_frames: int, slices: int
) -> None:
    units = media_samples.video(codec, b_frames=b_frames, slices=slices)
    path = tmp_path / "segment.mp4"
    path.write_bytes(build_file(codec, units, first_tick=123_456_789_012).data)

    found = probe(path)

    assert (found.codec, found.width, found.height) == ({"h264": "h264", "h265": "hevc"}[codec], 320, 240)
    assert (found.packets, found.frames) == (len(units), len(units))
    late = found.pts[0] - units[0].pts
    assert found.pts == tuple(unit.pts + late for unit in units)
    assert found.dts == tuple(123_456_789_012 + 6000 * n for n in range(len(units)))
    assert found.keys == tuple(unit.key for unit in units)
    assert decode_errors(path) == ""


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("sound", "name"),
    [
        (media_samples.aac(), "aac"),
        (media_samples.aac(rate=48_000, channels=2), "aac"),
        (media_samples.g711("PCMA"), "pcm_alaw"),
        (media_samples.g711("PCMU"), "pcm_mulaw"),
    ],
    ids=["aac", "aac-stereo", "pcma", "pcmu"],
)
def test_sound_beside_pictures_decodes(
    tmp_path: Path, codec: VideoCodec, sound: SoundTrack, name: str
) -> None:
    units = media_samples.video(codec)
    path = tmp_path / "segment.mp4"
    path.write_bytes(build_file(codec, units, sound=sound, audio=format_of(sound)).data)

    found = probe(path)

    assert (found.audio_codec, found.frames) == (name, len(units))
    if name == "aac":
        assert found.audio_packets == len(sound.frames)
    assert decode_errors(path) == ""


@pytest.mark.parametrize("codec", CODECS)
def test_a_camera_with_parameter_sets_in_its_sdp_only_plays(tmp_path: Path, codec: VideoCodec) -> None:
    units = media_samples.video(codec)
    bare = media_samples.without_parameter_sets(codec, units)
    built = build_file(codec, units)
    path = tmp_path / "segment.mp4"
    samples = [Sample(unit.data, 6000, 0, unit.key) for unit in bare]
    path.write_bytes(built.init + b"".join(fragment(1, [TrackRun(1, 0, samples)])))

    found = probe(path)

    assert found.frames == len(units)
    assert decode_errors(path) == ""


def test_equal_formats_make_equal_headers() -> None:
    units = media_samples.video("h264")
    first = init_segment(video_format_of("h264", units), format_of(media_samples.aac()))
    second = init_segment(video_format_of("h264", units[15:]), format_of(media_samples.aac()))

    assert first == second


def test_a_fragment_is_the_buffers_of_its_samples_uncopied() -> None:
    data = [b"one", b"three", b"seven"]
    samples = [Sample(part, 10, 5, number == 0) for number, part in enumerate(data)]

    buffers = fragment(7, [TrackRun(1, 99, samples)])

    assert buffers[2:] == data
    assert all(kept is sent for kept, sent in zip(buffers[2:], data, strict=True))
    assert buffers[1] == (8 + 13).to_bytes(4, "big") + b"mdat"
    (track,) = parse_moof(buffers[0])
    assert (track.track_id, track.decode_time, track.durations, track.sizes) == (1, 99, (10,) * 3, (3, 5, 5))


def test_a_fragment_too_large_for_its_box_is_refused_before_it_is_written() -> None:
    class Endless(bytes):
        def __len__(self) -> int:
            return 1 << 31

    with pytest.raises(ValueError, match="does not fit"):
        fragment(1, [TrackRun(1, 0, [Sample(Endless(), 1)])])
