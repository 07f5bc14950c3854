"""RTP packets of our server: judged by the clauses of the RFCs and by the depacketizers of the recorder."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import media_samples
from media_samples import SoundTrack, VideoCodec
from served_camera import sound_track, video_track
from simpang_buffer.media.audio import audio_depacketizer
from simpang_buffer.media.h26x import H264Depacketizer, H265Depacketizer
from simpang_buffer.rtsp.packetize import (
    MAX_PAYLOAD_BYTES,
    RtpSender,
    aac_payloads,
    h264_payloads,
    h265_payloads,
    nal_units,
)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_pictures_survive_packets_unchanged(codec: VideoCodec) -> None:
    units = media_samples.video(codec, frames=30, noise=20_000)
    sender = RtpSender(video_track(codec, units), 77, 65_530, 0xFFFF_FF00)
    depacketizer = H264Depacketizer(96) if codec == "h264" else H265Depacketizer(96)

    packets = [packet for unit in units for packet in sender.send(unit.data, unit.pts)]
    pictures = [picture for packet in packets for picture in depacketizer.push(memoryview(packet))]

    assert [tuple(map(bytes, picture.nals)) for picture in pictures] == [unit.nals for unit in units]
    assert [picture.key for picture in pictures] == [unit.key for unit in units]
    assert [(picture.rtp_time - 0xFFFF_FF00) % 2**32 for picture in pictures] == [unit.pts for unit in units]
    assert not any(picture.damaged for picture in pictures)
    assert max(map(len, packets)) <= MAX_PAYLOAD_BYTES + 12
    assert (sender.packets, sender.octets) == (len(packets), sum(len(packet) - 12 for packet in packets))


@pytest.mark.parametrize(
    "sound", [media_samples.aac(), media_samples.g711("PCMA"), media_samples.g711("PCMU")]
)
def test_sound_survives_packets_unchanged(sound: SoundTrack) -> None:
    track = sound_track(sound)
    sender = RtpSender(track, 77, 65_530, 4_000)
    depacketizer = audio_depacketizer(track.encoding, track.payload_type, track.clock_rate, 1, track.fmtp)

    packets = [packet for frame in sound.frames for packet in sender.send(frame.data, frame.pts)]
    frames = [frame for packet in packets for frame in depacketizer.push(memoryview(packet))]

    assert [bytes(frame.data) for frame in frames] == [frame.data for frame in sound.frames]
    assert [frame.rtp_time - 4_000 for frame in frames] == [frame.pts for frame in sound.frames]


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_only_the_last_packet_of_a_picture_is_marked(codec: VideoCodec) -> None:
    unit = media_samples.video(codec, frames=30, noise=20_000)[0]
    sender = RtpSender(video_track(codec, [unit]), 1, 0, 0)

    packets = sender.send(unit.data, 0)

    assert len(packets) > 3
    assert [packet[1] >> 7 for packet in packets] == [0] * (len(packets) - 1) + [1]


def test_small_neighbours_share_a_packet_and_large_units_are_cut() -> None:
    sps, pps, large = b"\x67" + b"s" * 20, b"\x68" + b"p" * 5, b"\x65" + bytes(3 * MAX_PAYLOAD_BYTES)

    payloads = h264_payloads([memoryview(unit) for unit in (sps, pps, large)])

    assert payloads[0] == b"\x78\0\x15" + sps + b"\0\x06" + pps  # STAP-A: 24 with the importance of 3
    fragments = payloads[1:]
    assert {payload[0] for payload in fragments} == {0x7C}  # FU-A: 28 with the importance of 3
    assert [payload[1] for payload in fragments] == [0x85, *[0x05] * (len(fragments) - 2), 0x45]
    assert b"".join(payload[2:] for payload in fragments) == large[1:]


def test_h265_groups_name_the_lowest_layer_and_temporal_id() -> None:
    high = bytes((32 << 1, 5 << 3 | 3)) + b"vps"
    low = bytes((33 << 1, 2 << 3 | 1)) + b"sps"

    payload = h265_payloads([memoryview(high), memoryview(low)])[0]

    assert payload[:2] == bytes((48 << 1, 2 << 3 | 1))


def test_an_aac_frame_larger_than_a_packet_is_cut_and_its_size_named_in_each_piece() -> None:
    payloads = aac_payloads(bytes(3_000))

    assert [struct.unpack_from(">HH", payload) for payload in payloads] == [(16, 3_000 << 3)] * 3
    assert sum(len(payload) - 4 for payload in payloads) == 3_000


@pytest.mark.parametrize("data", [b"\0\0", b"\0\0\0\5abc", b"\0\0\0\1a\0\0\0\2b"])
def test_lengths_that_lead_out_of_the_data_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="NAL unit"):
        nal_units(data)


@settings(deadline=None)  # other work on this machine is no fault
@given(st.lists(st.binary(min_size=2, max_size=5_000), max_size=12))
def test_any_units_fit_their_packets_and_none_is_lost(units: list[bytes]) -> None:
    views = [memoryview(unit) for unit in units]

    h264, h265 = h264_payloads(views), h265_payloads(views)

    for payloads in (h264, h265):
        assert all(0 < len(payload) <= MAX_PAYLOAD_BYTES for payload in payloads)
        assert sum(map(len, payloads)) >= sum(len(unit) - 2 for unit in units)
