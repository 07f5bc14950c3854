"""AAC and G.711 packets to frames; what cannot be stored is named and left out (QUIRKS 9)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import media_samples
from media_samples import Sound, rtp_packet
from simpang_buffer.media.adts import split_adts
from simpang_buffer.media.audio import AacDepacketizer, audio_depacketizer
from simpang_buffer.media.audio_format import AudioDropped, audio_format
from simpang_buffer.media.bits import Unreadable

HBR = {"mode": "AAC-hbr", "sizelength": "13", "indexlength": "3", "indexdeltalength": "3", "config": "1408"}


def aac_payload(frames: Sequence[Sound], size: int | None = None) -> bytes:
    """RFC 3640 section 3.2: AU headers of 16 bits, then the frames. size: what the header says instead."""
    headers = b"".join(struct.pack(">H", (size or len(frame.data)) << 3) for frame in frames)
    return struct.pack(">H", 8 * len(headers)) + headers + b"".join(frame.data for frame in frames)


def adts(frame: bytes, rate_index: int = 8) -> bytes:
    """rate_index: 8 is 16 kHz."""
    size = len(frame) + 7
    shape = bytes((0x40 | rate_index << 2, 0x40 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC))
    return b"\xff\xf1" + shape + frame


def test_frames_alone_and_together_are_as_sent() -> None:
    frames = media_samples.aac().frames
    target = AacDepacketizer(97, 16_000, HBR)
    found = []
    groups = [frames[0:1], frames[1:4], frames[4:10], frames[10:]]
    for seq, group in enumerate(groups):
        packet = rtp_packet(aac_payload(group), seq=seq, time=group[0].pts, payload_type=97, marker=True)
        found += target.push(memoryview(packet))

    assert [(frame.rtp_time, frame.data, frame.samples) for frame in found] == [
        (sound.pts, sound.data, 1024) for sound in frames
    ]


def test_a_frame_over_several_packets_is_put_together_or_dropped_whole() -> None:
    frame = media_samples.aac().frames[3]
    pieces = [Sound(frame.data[at : at + 50], 0, 0) for at in range(0, len(frame.data), 50)]
    packets = [
        rtp_packet(aac_payload([piece], len(frame.data)), seq=seq, time=7, payload_type=97)
        for seq, piece in enumerate(pieces)
    ]
    whole, torn = AacDepacketizer(97, 16_000, HBR), AacDepacketizer(97, 16_000, HBR)

    assert [f.data for p in packets for f in whole.push(memoryview(p))] == [frame.data]
    assert len(packets) > 2
    assert [f for p in [packets[0], *packets[2:]] for f in torn.push(memoryview(p))] == []


@pytest.mark.parametrize("bare", [True, False], ids=["without AU headers", "inside AU headers"])
def test_adts_headers_are_taken_off(bare: bool) -> None:
    frames = media_samples.aac().frames[:6]
    target = AacDepacketizer(97, 16_000, HBR)
    found = []
    for seq, frame in enumerate(frames):
        wrapped = adts(frame.data)
        payload = wrapped if bare else aac_payload([Sound(wrapped, 0, 0)])
        found += target.push(memoryview(rtp_packet(payload, seq=seq, time=frame.pts, payload_type=97)))

    assert [frame.data for frame in found] == [frame.data for frame in frames]


def test_frames_that_bring_a_header_are_believed_before_the_sdp() -> None:
    """QUIRKS 9.1: 32 kHz stated and 16 sent would play an octave off."""
    frame = media_samples.aac().frames[0]
    target = AacDepacketizer(97, 32_000, {**HBR, "config": "1288"})
    stated = target.format

    found = target.push(memoryview(rtp_packet(adts(frame.data), seq=0, time=0, payload_type=97)))

    assert stated is not None and stated.timescale == 32_000
    assert target.format is not None and target.format.timescale == 16_000
    assert [one.data for one in found] == [frame.data]


def test_headers_that_change_again_and_again_are_believed_once() -> None:
    frame = media_samples.aac().frames[0]
    target = AacDepacketizer(97, 16_000, HBR)
    pushed = [
        target.push(memoryview(rtp_packet(adts(frame.data, index), seq=seq, time=0, payload_type=97)))
        for seq, index in enumerate((5, 8, 5))
    ]

    assert [len(frames) for frames in pushed] == [1, 0, 1]
    assert target.format is not None and target.format.timescale == 32_000
    assert target.mismatched == 1


def test_a_header_stands_in_for_a_configuration_that_the_sdp_lacks() -> None:
    """QUIRKS 9.1: no config."""
    frame = media_samples.aac().frames[0]
    target = AacDepacketizer(97, 16_000, {})
    before = target.format, target.why
    bare = target.push(memoryview(rtp_packet(aac_payload([frame]), seq=0, time=0, payload_type=97)))
    headed = target.push(memoryview(rtp_packet(adts(frame.data), seq=1, time=0, payload_type=97)))

    assert before == (None, "AAC without a configuration")
    assert bare == []
    assert [one.data for one in headed] == [frame.data]
    assert target.format == audio_format("MPEG4-GENERIC", 16_000, 1, HBR)


@pytest.mark.parametrize("encoding", ["PCMA", "PCMU"])
def test_g711_is_one_frame_a_packet(encoding: str) -> None:
    sound = media_samples.g711("PCMA" if encoding == "PCMA" else "PCMU")
    target = audio_depacketizer(encoding, 8, 8000, 1, {})
    found = [
        frame
        for seq, sent in enumerate(sound.frames)
        for frame in target.push(memoryview(rtp_packet(sent.data, seq=seq, time=sent.pts, payload_type=8)))
    ]

    assert [(f.rtp_time, f.data, f.samples) for f in found] == [(s.pts, s.data, 160) for s in sound.frames]


@pytest.mark.parametrize(
    ("encoding", "clock_rate", "channels", "fmtp", "expected"),
    [
        ("MPEG4-GENERIC", 16_000, 1, HBR, ("mp4a.40.2", 16_000, 1)),
        ("MPEG4-GENERIC", 48_000, 1, {**HBR, "config": "1188"}, ("mp4a.40.2", 48_000, 1)),
        ("MPEG4-GENERIC", 32_000, 2, {**HBR, "config": "1410"}, ("mp4a.40.2", 16_000, 2)),
        ("PCMA", 8_000, 1, {}, ("alaw", 8_000, 1)),
        ("PCMU", 16_000, 1, {}, ("ulaw", 16_000, 1)),
    ],
)
def test_the_format_is_what_the_configuration_says(
    encoding: str, clock_rate: int, channels: int, fmtp: dict[str, str], expected: tuple[str, int, int]
) -> None:
    found = audio_format(encoding, clock_rate, channels, fmtp)

    assert (found.codec, found.timescale, found.channels) == expected


@pytest.mark.parametrize(
    ("encoding", "fmtp"),
    [
        ("G726-32", {}),
        ("L16", {}),
        ("G723", {}),
        ("MPEG4-GENERIC", {}),
        ("MPEG4-GENERIC", {"config": "zz"}),
        ("MPEG4-GENERIC", {"config": "14"}),
        ("MPEG4-GENERIC", {"config": "1400"}),
        ("MPEG4-GENERIC", {"config": "FFFF"}),
        ("MPEG4-GENERIC", {"config": "1788"}),
    ],
)
def test_sound_that_cannot_be_stored_says_so(encoding: str, fmtp: dict[str, str]) -> None:
    with pytest.raises(AudioDropped, match=r"is not recorded|AAC"):
        audio_format(encoding, 8000, 1, fmtp)
    if encoding == "MPEG4-GENERIC":
        # Its frames may bring headers that say how they are to be decoded.
        target = audio_depacketizer(encoding, 97, 8000, 1, fmtp)
        assert target.format is None and target.why.startswith("AAC")
    else:
        with pytest.raises(AudioDropped, match="is not recorded"):
            audio_depacketizer(encoding, 97, 8000, 1, fmtp)


def test_headers_of_an_unknown_shape_are_refused() -> None:
    with pytest.raises(AudioDropped, match="headers"):
        AacDepacketizer(97, 16_000, {**HBR, "sizelength": "40"})


@given(st.lists(st.tuples(st.binary(max_size=80), st.integers(0, 3)), max_size=40))
@settings(max_examples=300, deadline=None)
def test_hostile_payloads_end_in_bounded_frames(payloads: list[tuple[bytes, int]]) -> None:
    aac, g711 = AacDepacketizer(97, 16_000, HBR), audio_depacketizer("PCMA", 97, 8_000, 1, {})
    for seq, (payload, stamp) in enumerate(payloads):
        packet = rtp_packet(payload, seq=seq, time=stamp, payload_type=97)
        frames = aac.push(memoryview(packet))
        assert len(frames) <= 64
        assert sum(len(frame.data) for frame in frames) <= 8192
        assert sum(len(frame.data) for frame in g711.push(memoryview(packet))) <= len(payload)


@given(st.binary(max_size=100))
def test_hostile_adts_is_split_or_unreadable(junk: bytes) -> None:
    for data in (junk, b"\xff\xf1" + junk):
        try:
            frames = list(split_adts(data))
        except Unreadable:
            continue
        assert sum(len(frame.data) for frame in frames) <= len(data)


@given(st.binary(min_size=0, max_size=70))
def test_hostile_configurations_are_read_or_dropped(junk: bytes) -> None:
    try:
        found = audio_format("MPEG4-GENERIC", 8000, 1, {"config": junk.hex()})
    except AudioDropped:
        return
    assert 4000 <= found.timescale <= 96_000
    assert 1 <= found.channels <= 8
