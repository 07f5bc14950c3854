from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpang_buffer.rtsp.errors import Malformed
from simpang_buffer.rtsp.sdp import Sdp, Track, build_sdp, parse_sdp

LIVE555 = b"""v=0
o=- 1109162014219182 1109162014219192 IN IP4 x.y.z.w
s=Media Presentation
c=IN IP4 0.0.0.0
b=AS:5100
t=0 0
a=control:rtsp://10.0.4.21:554/Streaming/Channels/101/
m=video 0 RTP/AVP 96
b=AS:5000
a=recvonly
a=control:rtsp://10.0.4.21:554/Streaming/Channels/101/trackID=1
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z00AKpY1QPAET8s3AQEBAg==,aO48gA==
a=Media_header:MEDIAINFO=494D4B48010200000400000100000000
m=audio 0 RTP/AVP 104
a=rtpmap:104 mpeg4-generic/16000/2
a=fmtp:104 profile-level-id=15; streamtype=5; mode=AAC-hbr; config=1408;SizeLength=13; IndexLength=3
a=control:trackID=2
"""


def test_hikvision_description_is_read() -> None:
    sdp = parse_sdp(LIVE555.replace(b"\n", b"\r\n"))

    video, audio = sdp.tracks
    assert sdp.control == "rtsp://10.0.4.21:554/Streaming/Channels/101/"
    assert (video.kind, video.payload_type, video.encoding, video.clock_rate) == ("video", 96, "H264", 90_000)
    assert video.fmtp["sprop-parameter-sets"] == "Z00AKpY1QPAET8s3AQEBAg==,aO48gA=="
    assert video.control.endswith("/trackID=1")
    assert (audio.encoding, audio.clock_rate, audio.channels) == ("MPEG4-GENERIC", 16_000, 2)
    assert audio.fmtp["sizelength"] == "13"
    assert sdp.dropped == ()


@pytest.mark.parametrize(
    ("text", "encoding", "rate"),
    [
        (b"m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000", "H264", 90_000),  # no v=, o=, s=
        (b"v=0\nc=IN\nm=video 0 RTP/AVP 96\na=rtpmap:96  H264/90000 ", "H264", 90_000),
        (b"v=0\nm=video 0 RTP/AVP 96\na=rtpmap: 96 HEVC/90000", "H265", 90_000),
        (b"v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264", "H264", 90_000),
        (b"v=0\nm=video 0 RTP/AVP 26", "JPEG", 90_000),
        (b"v=0\nm=video 0 RTP/AVP 35 96\na=rtpmap:96 H265/90000", "H265", 90_000),
        (b"v=0\nm=audio 0 RTP/AVP 8\na=rtpmap:8 PCMA/16000", "PCMA", 16_000),
        (b"v=0\nm=audio 0 RTP/AVP 0", "PCMU", 8_000),
    ],
)
def test_lenient_reading_of_what_cameras_write(text: bytes, encoding: str, rate: int) -> None:
    (track,) = parse_sdp(text).tracks

    assert (track.encoding, track.clock_rate) == (encoding, rate)


def test_odd_track_is_dropped_alone() -> None:
    sdp = parse_sdp(
        b"v=0\nm=application/TP-LINK 0 RTP/AVP smart/1/90000\na=rtpmap:95 TP-LINK/90000\n"
        b"m=video 0 RTP/AVP 96\na=fmtp:sprop-x=1\na=rtpmap:96 H264/90000\nm=audio 0 RTP/AVP 97\nm=\n"
    )

    assert [track.encoding for track in sdp.tracks] == ["H264"]
    assert sdp.tracks[0].fmtp == {"sprop-x": "1"}
    assert len(sdp.dropped) == 3


def test_encrypted_track_is_dropped_and_named() -> None:
    sdp = parse_sdp(b"m=video 0 RTP/SAVP 96\na=rtpmap:96 H264/90000\n")

    assert sdp.tracks == ()
    assert "encrypt" in sdp.dropped[0]


def test_description_without_media_is_malformed() -> None:
    with pytest.raises(Malformed):
        parse_sdp(b"<html>not found</html>")


def test_number_of_tracks_is_bounded() -> None:
    sdp = parse_sdp(b"m=video 0 RTP/AVP 26\n" * 10_000)

    assert len(sdp.tracks) == 32


def test_written_description_is_read_back() -> None:
    offered = Sdp(
        (
            Track("video", 96, "H265", 90_000, 1, {"sprop-vps": "QAE=", "sprop-sps": "QgE="}, "video"),
            Track("audio", 97, "MPEG4-GENERIC", 48_000, 2, {"mode": "AAC-hbr", "config": "1190"}, "audio"),
        ),
        control="*",
    )

    assert parse_sdp(build_sdp(offered, address="127.0.0.1", session_id=3)) == offered


def test_a_number_too_long_to_be_read_costs_its_track_alone() -> None:
    endless = b"m=video 0 RTP/AVP " + b"9" * 5000 + b"\n"

    sdp = parse_sdp(endless + b"m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n")

    assert [track.payload_type for track in sdp.tracks] == [96]


PIECE = st.sampled_from(
    [b"m=video 0 RTP/AVP 96", b"m=audio 0 RTP/AVP ", b"a=rtpmap:", b"a=fmtp:", b"a=control:", b"\n", b"\xb2",
     b"96 ", b"H264/", b"90000", b"/2", b";", b"=", b"m=", b"\0"]
)  # fmt: skip


@given(st.one_of(st.binary(max_size=500), st.lists(PIECE, max_size=40).map(b"".join)))
def test_hostile_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    try:
        sdp = parse_sdp(data)
    except Malformed:
        return
    for track in sdp.tracks:
        assert 0 <= track.payload_type < 128
        assert track.clock_rate > 0
        assert track.channels >= 1
