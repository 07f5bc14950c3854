"""What real cameras do wrong in an RTSP session, line by line: each case names its line ("7.3").

A case is data: the camera's habits, and what must come of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from scripted_camera import (
    SDP,
    Habits,
    Reply,
    ScriptedCamera,
    SignIn,
    Talk,
    frame,
    rtp,
    scripted_camera,
)
from simpang_buffer.recording.repairs import WORDS
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.errors import (
    AuthRefused,
    Limit,
    Malformed,
    NothingPlayed,
    RefusedByPolicy,
    StreamError,
    TransportRefused,
    Unreachable,
    Unsupported,
)
from simpang_buffer.rtsp.framing import InterleavedReader, Packet
from simpang_buffer.rtsp.message import Request
from simpang_buffer.rtsp.rtcp import build_sender_report
from simpang_buffer.rtsp.session import RtpPacket, TrackReport, open_session

SIGN_IN = Credentials("operator", "s3cret-pass")
TWO = frame(0, rtp(1)) + frame(0, rtp(2))


@dataclass(frozen=True)
class Case:
    """packets: the video's sequence numbers, in order. asked: the methods that it must have heard, in order.

    urls: of SETUP or PLAY, as (method, URL behind the port). refused and says: the reason why it plays not.
    """

    id: str
    habits: Habits = field(default_factory=Habits)
    source: Mapping[str, Any] = field(default_factory=dict)
    packets: Sequence[int] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    asked: Sequence[str] | None = None
    urls: Sequence[tuple[str, str]] = ()
    tracks: Sequence[str] | None = None
    reports: int = 0
    refused: type[StreamError] | None = None
    says: str = ""


def described(*lines: bytes) -> bytes:
    return b"\r\n".join((*lines, b""))


def setup(transport: str, session: str = "1") -> Reply:
    return Reply(fields=(("Session", session), ("Transport", transport)))


def rtp_info(value: str) -> Habits:
    return Habits({"PLAY": [Reply(fields=(("Session", "1"), ("RTP-Info", value)))]}, media=(TWO,))


H264 = (b"m=video 0 RTP/AVP 96", b"a=rtpmap:96 H264/90000", b"a=control:trackID=0")
HEAD = (b"v=0", b"o=- 1 1 IN IP4 127.0.0.1", b"s=x", b"t=0 0")
USUAL = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN")
DIGEST = 'Digest realm="x", nonce="NONCE"'
SHA = 'Digest realm="x", nonce="NONCE", algorithm=SHA-256, qop="auth"'
BASIC = 'Basic realm="x"'
WITH_PASSWORD: Mapping[str, Any] = {"credentials": SIGN_IN}
WITH_BASIC: Mapping[str, Any] = {"credentials": SIGN_IN, "allow_basic": True}

CASES = [
    # 2 Identity and address
    Case("2.5 control character in the base", Habits({"DESCRIBE": [Reply(
        raw=b"RTSP/1.0 200 OK\r\nCSeq: CSEQ\r\nContent-Base: rtsp://x/\x01a/\r\nContent-Length: %d\r\n\r\n%b"
        % (len(SDP), SDP))]}, media=(TWO,)), packets=(1, 2), urls=(("SETUP", "/live?c=1/trackID=0"),),
        counts={"repaired_base_urls": 1}),
    Case("2.5 doubled scheme in a track's address", Habits(
        sdp=described(*HEAD, *H264[:2], b"a=control:rtsp://rtsp://127.0.0.1/t0"), media=(TWO,)),
        packets=(1, 2)),
    Case("2.5 unbracketed IPv6 in the base", Habits({"DESCRIBE": [Reply(
        fields=(("Content-Base", "rtsp://fe80::1:554/live/"),))]}, media=(TWO,)), packets=(1, 2)),
    Case("2.5 unbracketed IPv6 in a track's address", Habits(
        sdp=described(*HEAD, *H264[:2], b"a=control:rtsp://fe80::1:xx/t0"), media=(TWO,)), packets=(1, 2)),
    # 3 Sign-in
    Case("3.5 SHA-256 only", Habits(sign_in=SignIn((SHA,), "SHA-256"), media=(TWO,)), WITH_PASSWORD,
         packets=(1, 2)),
    Case("3.5 SHA-256 and MD5 offered", Habits(sign_in=SignIn((DIGEST, SHA), "SHA-256"), media=(TWO,)),
         WITH_PASSWORD, packets=(1, 2)),
    Case("3.6 several challenges in one field", Habits(
        sign_in=SignIn((f"{BASIC}, {DIGEST}",), "MD5"), media=(TWO,)), WITH_PASSWORD, packets=(1, 2)),
    Case("3.6 Digest offered, only Basic works", Habits(
        sign_in=SignIn((DIGEST, BASIC), "basic"), media=(TWO,)), WITH_BASIC, packets=(1, 2),
        asked=("OPTIONS", "DESCRIBE", "DESCRIBE", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN")),
    Case("3.6 only Basic works, and it is not allowed", Habits(sign_in=SignIn((DIGEST, BASIC), "basic")),
         WITH_PASSWORD, refused=AuthRefused, says="user or password",
         asked=("OPTIONS", "DESCRIBE", "DESCRIBE")),
    Case("3.6 unknown algorithm beside a known one", Habits(
        sign_in=SignIn(('Digest realm="x", nonce="NONCE", algorithm=SHA-512-256', DIGEST), "MD5"),
        media=(TWO,)), WITH_PASSWORD, packets=(1, 2)),
    Case("3.6 unknown algorithm alone", Habits(
        sign_in=SignIn(('Digest realm="x", nonce="NONCE", algorithm=SHA-512-256',), "nothing")),
        WITH_PASSWORD, refused=AuthRefused, says="Digest", asked=("OPTIONS", "DESCRIBE")),
    Case("3.6 blanks in the realm", Habits(
        sign_in=SignIn(('Digest realm = " IP  Camera, (4K) " , nonce="NONCE"',), "MD5"), media=(TWO,)),
        WITH_PASSWORD, packets=(1, 2)),
    Case("3.6 needs a User-Agent", Habits(needs="User-Agent", media=(TWO,)), packets=(1, 2)),
    Case("3.6 digest over the full URL", Habits(
        {"DESCRIBE": [Reply(fields=(("Content-Base", "rtsp://127.0.0.1:PORT/other/"),))]},
        sign_in=SignIn((DIGEST,), "MD5"), media=(TWO,)), WITH_PASSWORD, packets=(1, 2),
        urls=(("SETUP", "/other/trackID=0"),)),
    Case("3.7 a new nonce before each request", Habits(
        sign_in=SignIn((DIGEST,), "MD5", nonce_requests=1), media=(TWO,)), WITH_PASSWORD, packets=(1, 2),
        asked=("OPTIONS", "DESCRIBE", "DESCRIBE", "SETUP", "SETUP", "PLAY", "PLAY", "TEARDOWN", "TEARDOWN")),
    *(Case(f"3.8 password {password}", Habits(
        sign_in=SignIn((DIGEST,), "MD5", password=password), media=(TWO,)),
        {"credentials": Credentials("operator", password)}, packets=(1, 2))
      for password in ("p@ss:w/?#[]&=+%41", "a b,c;d", "geheim-ü€")),
    # 7 RTSP session
    Case("7.3 session id changes between SETUPs", Habits(
        {"SETUP": [setup("TRANSPORT", "first"), setup("TRANSPORT", "second")]}, media=(TWO,)),
        {"audio": True}, packets=(1, 2), counts={"changed_session_ids": 1}, tracks=("H264", "PCMA")),
    *(Case(f"7.4 Content-Base {base}", Habits(
        {"DESCRIBE": [Reply(fields=(("Content-Base", base),))]}, media=(TWO,)), packets=(1, 2),
        urls=(("SETUP", url),), counts={"repaired_base_urls": 1})
      for base, url in (
        ("127.0.0.1:PORT/anjvision/", "/anjvision/trackID=0"),
        ("/relative/", "/relative/trackID=0"),
        ("rtsp://192.168.1.10/inside/", "/inside/trackID=0"),
        ("http://camera/", "/live?c=1/trackID=0"),
    )),
    Case("7.5 control with a leading slash", Habits(
        sdp=described(*HEAD, *H264[:2], b"a=control:/trackID=0"),
        replies={"SETUP": [Reply(400), Reply()]}, media=(TWO,)), packets=(1, 2),
        urls=(("SETUP", "/live?c=1/trackID=0"), ("SETUP", "/trackID=0")), counts={"refused_url_forms": 1}),
    Case("7.5 control that repeats the base", Habits(
        sdp=described(*HEAD, *H264[:2], b"a=control:rtsp://127.0.0.1/live/trackID=0"), media=(TWO,)),
        packets=(1, 2)),
    Case("7.5 needed query behind the track's name (Axis Companion)", Habits(
        {"SETUP": [Reply(400), Reply(404), Reply()]}, media=(TWO,)), packets=(1, 2),
        urls=(("SETUP", "/live/trackID=0?c=1"),), counts={"refused_url_forms": 2}),
    *(Case(f"7.6 RTP-Info {value!r}", rtp_info(value), packets=(1, 2)) for value in (
        "url=rtsp://x/trackID=0;seq=1;rtptime=1;", "url=trackID=0;seq=0", "seq=1;rtptime=99999999999999",
        "url=;;;,,,=", ";",
    )),
    Case("7.6 RTP-Info absent", Habits({"PLAY": [Reply(fields=(("Session", "1"),))]}, media=(TWO,)),
         packets=(1, 2)),
    Case("7.7 blanks before ssrc (iDS-2CD9396)", Habits(
        {"SETUP": [setup("RTP/AVP/TCP;unicast;interleaved=0-1;  ssrc= 00000007 ;mode=\"play\"")]},
        media=(TWO,)), packets=(1, 2)),
    Case("7.7 other channels (Panasonic)", Habits(
        {"SETUP": [setup("RTP/AVP/TCP;unicast;interleaved=20-21")]},
        media=(frame(20, rtp(1)) + frame(0, rtp(9)) + frame(20, rtp(2)),)), packets=(1, 2),
        counts={"other_channels": 1, "foreign_channels": 1}),
    Case("7.7 UDP named for TCP (Escam Q6)", Habits(
        {"SETUP": [setup("RTP/AVP/UDP;unicast;interleaved=0-1")]}, media=(TWO,)), packets=(1, 2)),
    Case("7.7 no Transport at all", Habits({"SETUP": [Reply(fields=(("Session", "1"),))]}, media=(TWO,)),
         packets=(1, 2)),
    Case("7.8 packets before the answer to PLAY (Reolink)", Habits(
        {"PLAY": [Reply(before=frame(0, rtp(1)) + frame(0, rtp(2)), after=frame(0, rtp(3)))]}),
        packets=(1, 2, 3)),
    Case("7.8 channels not set up, payload type 50 (Geovision)", Habits(
        media=(frame(0, rtp(1)) + frame(6, rtp(8)) + frame(0, rtp(9, payload_type=50)) + frame(0, rtp(2)),)),
        packets=(1, 2), counts={"foreign_channels": 1, "foreign_payloads": 1}),
    Case("7.9 a dead session's packets (RLC-410)", Habits(
        media=(b"".join(frame(0, rtp(n, ssrc=ssrc)) for n, ssrc in (
            (1, 7), (900, 5), (2, 7), (901, 5), (3, 7), (902, 5), (4, 7))),)),
        packets=(1, 900, 2, 3, 4), counts={"foreign_sources": 2}),
    Case("7.10 SSRC changes each group of pictures (Uniview)", Habits(
        media=(b"".join(frame(0, rtp(n, ssrc=7 + n // 4)) for n in range(12)),)),
        packets=range(12), counts={"new_sources": 2}),
    Case("7.11 half-written frame", Habits(media=(
        frame(0, rtp(1, bytes(900))) + frame(0, rtp(2, bytes(900)))[:300] + frame(0, rtp(3, bytes(900)))
        + frame(0, rtp(4, bytes(900))),)), packets=(1, 3, 4), counts={"torn_frames": 1}),
    Case("7.11 stray line breaks", Habits(media=(
        frame(0, rtp(1, bytes(900))) + b"\r\n" + frame(0, rtp(2)) + b"\n\n" + frame(0, rtp(3)),)),
        packets=(1, 2, 3), counts={"stray_line_breaks": 2}),
    Case("7.11 junk", Habits(media=(
        frame(0, rtp(1, bytes(900))) + b"\x00junk\xff$$" + frame(0, rtp(2, bytes(900)))
        + frame(0, rtp(3, bytes(900))),)), packets=(1, 2, 3), counts={"resyncs": 1}),
    Case("7.11 a byte at a time", Habits(media=[bytes((byte,)) for byte in TWO + b"\r\n" + frame(0, rtp(3))]),
         packets=(1, 2, 3), counts={"stray_line_breaks": 1}),
    Case("7.12 packets missing and the counter reset on TCP (Eufy)", Habits(media=(
        b"".join(frame(0, rtp(n)) for n in (1, 2, 5, 6, 60_000, 1, 2, 3)),)),
        packets=(1, 2, 5, 6, 60_000, 1, 2, 3)),
    Case("7.13 requests of the camera's own", Habits(media=(
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n" + frame(0, rtp(1))
        + b"SET_PARAMETER rtsp://x RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 3\r\n\r\nabc" + frame(0, rtp(2)),)),
        packets=(1, 2), counts={"camera_requests": 2}),
    *(Case(f"7.13 {name}", Habits({"DESCRIBE": [Reply(raw=raw + b"Content-Length: %d\r\n\r\n%b"
        % (len(SDP), SDP))]}, media=(TWO,)), packets=(1, 2)) for name, raw in (
        ("CSeq 0", b"RTSP/1.0 200 OK\r\nCSeq: 0\r\n"),
        ("CSeq padded (Longse)", b"RTSP/1.0 200 OK\r\nCSeq:    0002  \r\n"),
        ("CSeq absent", b"RTSP/1.0 200 OK\r\n"),
        ("no reason phrase", b"RTSP/1.0 200\r\nCSeq: CSEQ\r\n"),
        ("line feeds only", b"RTSP/1.0 200 OK\nCSeq: CSEQ\n"),
    )),
    *(Case(f"7.14 {name}", Habits(sdp=described(*lines), media=(TWO,)), packets=(1, 2), tracks=("H264",),
        counts=counts) for name, lines, counts in (
        ("no v=", (*HEAD[1:], *H264), {"repaired_descriptions": 1}),
        ("no o= and s=", (HEAD[0], *H264), {"repaired_descriptions": 1}),
        ("c=IN", (*HEAD, b"c=IN", *H264), {"repaired_descriptions": 1}),
        ("blank after rtpmap", (*HEAD, H264[0], b"a=rtpmap:96  H264 / 90000 ", H264[2]), {}),
        ("m=application/TP-LINK", (*HEAD, *H264, b"m=application/TP-LINK 0 RTP/AVP smart/1/90000"),
         {"dropped_tracks": 1}),
        ("bare fmtp", (*HEAD, *H264, b"a=fmtp:packetization-mode=1"), {"repaired_descriptions": 1}),
        ("nothing but media", H264, {"repaired_descriptions": 1}),
    )),
    Case("7.15 redirect on DESCRIBE, signed anew", Habits(
        {"DESCRIBE": [Reply(302, fields=(("Location", "rtsp://127.0.0.1:PORT/moved"),)), Reply()]},
        sign_in=SignIn((DIGEST,), "MD5"), media=(TWO,)), WITH_PASSWORD, packets=(1, 2),
        urls=(("SETUP", "/moved/trackID=0"),), counts={"redirects": 1}),
    Case("7.15 redirects in a circle", Habits(
        {"DESCRIBE": [Reply(301, fields=(("Location", "rtsp://127.0.0.1:PORT/moved"),))]}),
        refused=RefusedByPolicy, says="again and again", asked=("OPTIONS", "DESCRIBE") * 4),
    *(Case(f"7.15 redirect to {location}", Habits(
        {"DESCRIBE": [Reply(302, fields=(("Location", location),))]}), refused=RefusedByPolicy, says=says,
        asked=("OPTIONS", "DESCRIBE")) for location, says in (
        ("rtsp://10.9.8.7/x", "another host"), ("rtsp://camera.example/x", "another host"),
        ("http://127.0.0.1/x", "no RTSP address"), ("file:///etc/passwd", "no RTSP address"),
        ("rtsp://127.0.0.1:0/x", "no RTSP address"), ("rtsp://[::1", "no address"), ("", "no RTSP address"),
    )),
    *(Case(f"7.16 refuses TCP with {status}", Habits(
        {"SETUP": [Reply(status), Reply()]}), asked=("OPTIONS", "DESCRIBE", "SETUP", *USUAL),
        counts={"other_transport": 1}) for status in (461, 406)),
    Case("7.16 refuses UDP", Habits({"SETUP": [Reply(461), Reply()]}, media=(TWO,)), {"transport": "udp"},
         packets=(1, 2), asked=("OPTIONS", "DESCRIBE", "SETUP", *USUAL), counts={"other_transport": 1}),
    Case("7.16 answers UDP with TCP", Habits(
        {"SETUP": [setup("RTP/AVP/TCP;interleaved=0-1"), Reply()]}, media=(TWO,)), {"transport": "udp"},
        packets=(1, 2), counts={"other_transport": 1}),
    Case("7.16 answers multicast", Habits(
        {"SETUP": [setup("RTP/AVP;multicast;destination=239.1.1.1;port=5000-5001")]}),
        refused=TransportRefused, asked=("OPTIONS", "DESCRIBE", "SETUP", "TEARDOWN") * 2),
    Case("7.16 refuses both", Habits({"SETUP": [Reply(461)]}), refused=TransportRefused, says="transport",
         asked=("OPTIONS", "DESCRIBE", "SETUP") * 2),
    Case("7.17 TEARDOWN gives 500", Habits({"TEARDOWN": [Reply(500)]}, media=(TWO,)), packets=(1, 2),
         asked=USUAL),
    Case("7.20 plain tracks marked as a back channel", Habits(
        sdp=described(*HEAD, *H264, b"a=sendonly", b"m=audio 0 RTP/AVP 8", b"a=sendonly"), media=(TWO,)),
        {"audio": True}, packets=(1, 2), tracks=("H264", "PCMA")),
    Case("7.21 SRTP only (UniFi enableSrtp)", Habits(
        sdp=described(*HEAD, H264[0].replace(b"AVP", b"SAVP"), *H264[1:])), refused=Unsupported,
        says="encrypted video track (SRTP); switch encryption off", asked=("OPTIONS", "DESCRIBE")),
    Case("7.22 says privacy", Habits({"PLAY": [Reply(503, reason="Privacy Mode")]}), refused=NothingPlayed,
         says="privacy mode is on"),
    # 14 Resource limits
    Case("14.1 453", Habits({"SETUP": [Reply(453)]}), refused=Limit, says="as many viewers"),
    Case("14.1 503", Habits({"DESCRIBE": [Reply(503)]}), refused=Limit, says="as many viewers"),
    Case("14.1 hangs up", Habits({"SETUP": [Reply(silent=True, close=True)]}), refused=Unreachable),
    Case("14.2 TEARDOWN after a failed PLAY", Habits({"PLAY": [Reply(500)]}), refused=Unreachable,
         asked=USUAL),
    Case("14.2 TEARDOWN after a failed second SETUP", Habits(
        {"SETUP": [Reply(), Reply(500)]}), {"audio": True}, refused=Unreachable,
        asked=("OPTIONS", "DESCRIBE", "SETUP", "SETUP", "TEARDOWN")),
    # 10 Time in streams, as far as the session judges it
    Case("10.1 sender report of an alien source (Tapo C320WS)", Habits(
        media=(frame(0, rtp(1)) + frame(1, build_sender_report(99, 10**15, 1, 1, 1)) + frame(0, rtp(2)),)),
        packets=(1, 2), counts={"foreign_reports": 1}),
    Case("10.1 sender report that cannot be read (Hanwha)", Habits(
        media=(frame(0, rtp(1)) + frame(1, b"\x81\xc8\xff\xff\x00") + frame(1, b"\x80") + frame(1, b"")
               + frame(0, rtp(2)),)), packets=(1, 2)),
    Case("10.1 sender report without a clock", Habits(
        media=(frame(0, rtp(1)) + frame(1, b"\x80\xc8\x00\x06\x00\x00\x00\x07" + bytes(20))
               + frame(0, rtp(2)),)), packets=(1, 2)),
    Case("10.1 sender report before the first packet", Habits(
        {"SETUP": [setup("TRANSPORT")]},
        media=(frame(1, build_sender_report(7, 10**15, 1, 1, 1)), 0.05, frame(0, rtp(1)) + frame(0, rtp(2)))),
        packets=(1, 2), reports=1),
    Case("10.1 sender report of nobody before the first packet", Habits(
        {"SETUP": [setup("TRANSPORT")]},
        media=(frame(1, build_sender_report(9, 10**15, 1, 1, 1)), 0.05, frame(0, rtp(1)) + frame(0, rtp(2)))),
        packets=(1, 2), counts={"foreign_reports": 1}),
    Case("10.1 sender report", Habits(
        media=(frame(0, rtp(1)) + frame(1, build_sender_report(7, 10**15, 1, 1, 1)) + frame(0, rtp(2)),)),
        packets=(1, 2), reports=1),
]  # fmt: skip


@dataclass
class Outcome:
    camera: ScriptedCamera
    packets: list[int] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    tracks: list[str] = field(default_factory=list)
    reports: int = 0
    error: StreamError | None = None


async def outcome_of(case: Case) -> Outcome:
    async with scripted_camera(habits=case.habits) as camera:
        found = Outcome(camera)
        try:
            async with asyncio.timeout(8), open_session(camera.source(**case.source)) as session:
                found.tracks = [track.track.encoding for track in session.tracks]
                while len(found.packets) < len(case.packets) or found.reports < case.reports:
                    for item in session.read_available():
                        if isinstance(item, TrackReport):
                            found.reports += 1
                        elif isinstance(item, RtpPacket) and item.track_index == 0:
                            found.packets.append(int.from_bytes(item.data[2:4], "big"))
                    await asyncio.sleep(0.005)
                found.counts = dict(session.counts)
        except StreamError as error:
            found.error = error
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_quirk(case: Case) -> None:
    found = await outcome_of(case)

    if case.refused is not None:
        assert type(found.error) is case.refused, found.error
        assert case.says in found.error.detail
        assert SIGN_IN.password not in repr(found.error)
    else:
        assert found.error is None, repr(found.error)
        assert found.packets == list(case.packets)
        assert found.reports == case.reports
    if case.asked is not None:
        assert found.camera.methods() == list(case.asked)
    asked = [
        (request.method, request.url.partition(str(found.camera.port))[2])
        for request in found.camera.requests
        if request.method in ("SETUP", "PLAY")
    ]
    assert set(case.urls) <= set(asked)
    assert case.tracks is None or found.tracks == list(case.tracks)
    assert {kind: found.counts.get(kind, 0) for kind in case.counts} == dict(case.counts)
    # Every repair has words for the people who look at the camera.
    assert set(found.counts) <= set(WORDS)
    # 7.20: nobody is asked for a back channel.
    assert not any("require" in request.headers for request in found.camera.requests)


async def kept_alive(habits: Habits, keepalives: int) -> Outcome:
    """A session that is read and maintained until the camera has been kept alive so often."""
    async with scripted_camera(habits=habits) as camera:
        async with (
            open_session(camera.source(credentials=SIGN_IN)) as session,
            asyncio.TaskGroup() as group,
            asyncio.timeout(15),
        ):
            task = group.create_task(session.maintain())
            while len(camera.methods()) - camera.methods().index("PLAY") - 1 < keepalives:
                session.read_available()
                await asyncio.sleep(0.02)
            task.cancel()
        return Outcome(camera, counts=dict(session.counts))


@dataclass(frozen=True)
class Kept:
    """methods: of the keepalives, in order."""

    id: str
    habits: Habits
    methods: Sequence[str]
    counts: Mapping[str, int] = field(default_factory=dict)


KEPT = [
    Kept("7.1 GET_PARAMETER ignored though named (GW4089IP)",
         Habits({"GET_PARAMETER": [Reply(silent=True)]}, session="1;timeout=1"),
         ["GET_PARAMETER", "OPTIONS", "OPTIONS"], {"unanswered_keepalives": 1}),
    Kept("7.1 GET_PARAMETER answered with 400 (Tapo C100)",
         Habits({"GET_PARAMETER": [Reply(400)]}, session="1;timeout=1"),
         ["GET_PARAMETER", "OPTIONS", "OPTIONS"], {"refused_keepalives": 1}),
    Kept("7.1 only SET_PARAMETER named, which is fatal",
         Habits(public="OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, SET_PARAMETER", session="1;timeout=1"),
         ["OPTIONS", "OPTIONS"]),
    Kept("7.1 Public absent", Habits(public="", session="1;timeout=1"), ["OPTIONS"]),
    Kept("3.7 the keepalive gets 401 and a new nonce (Axis M5525)",
         Habits(sign_in=SignIn((DIGEST,), "MD5", nonce_requests=4), session="1;timeout=1"),
         ["GET_PARAMETER"] * 4, {"signed_again": 1}),
]  # fmt: skip


async def test_keepalive_quirks() -> None:
    """All at once, since each takes seconds of real time."""
    found = await asyncio.gather(*(kept_alive(case.habits, len(case.methods)) for case in KEPT))

    for case, one in zip(KEPT, found, strict=True):
        said = one.camera.methods()
        begin = said.index("PLAY") + 1
        assert said[begin : begin + len(case.methods)] == list(case.methods), case.id
        assert {kind: one.counts.get(kind, 0) for kind in case.counts} == dict(case.counts), case.id


async def test_signs_of_life_come_within_five_seconds() -> None:
    """7.2: Dahua IPC-T12D-V2 hangs up on a reader that is silent for longer, whatever its timeout says."""
    heard: list[float] = []

    async def playing(talk: Talk, request: Request) -> None:
        split = InterleavedReader()
        while True:
            found = split.feed(await talk.reader.read(1000))
            now_s = asyncio.get_running_loop().time()
            heard.extend(now_s for one in found if isinstance(one, Packet) and one.data[1] == 201)

    async with (
        scripted_camera(playing=playing) as camera,
        open_session(camera.source()) as session,
        asyncio.TaskGroup() as group,
        asyncio.timeout(6),
    ):
        camera.watched.set()
        task = group.create_task(session.maintain())
        while len(heard) < 2:
            await asyncio.sleep(0.05)
        task.cancel()

    assert heard[1] - heard[0] < 5


async def test_a_keepalive_that_is_refused_for_the_password_ends_the_session() -> None:
    """3.7: signed again once; a camera that refuses even that has another password now."""
    with pytest.raises((AuthRefused, ExceptionGroup)):
        await kept_alive(
            Habits(sign_in=SignIn((DIGEST,), "MD5", nonce_requests=3), session="1;timeout=1",
                   replies={"GET_PARAMETER": [Reply(401, fields=(("WWW-Authenticate", DIGEST),))]}),
            20,
        )  # fmt: skip


@pytest.mark.parametrize("location", ["rtsp://127.0.0.1:PORT/x"])
async def test_what_was_encrypted_is_never_redirected_into_the_open(location: str) -> None:
    """7.15: rtsps to rtsp is refused; see test_buffer_rtsp_tls for the same with a real handshake."""
    from simpang_buffer.rtsp.connection import Source
    from simpang_buffer.rtsp.redirect import redirected

    source = Source("rtsps://127.0.0.1/x", "127.0.0.1", 322)

    with pytest.raises(RefusedByPolicy, match="anybody could read"):
        redirected(source, "rtsp://127.0.0.1:554/x")
    assert redirected(source, "rtsps://127.0.0.1/y").url == "rtsps://127.0.0.1/y"


async def test_cseq_of_another_request_is_waited_past() -> None:
    """7.13: an answer to nothing we asked is passed over, the right one is taken."""
    habits = Habits({"DESCRIBE": [Reply(before=b"RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n")]}, media=(TWO,))

    found = await outcome_of(Case("7.13", habits, packets=(1, 2)))

    assert found.error is None


def test_malformed_is_named_for_a_description_without_media() -> None:
    """7.14: only where there is no m= line at all."""
    from simpang_buffer.rtsp.sdp import parse_sdp

    with pytest.raises(Malformed):
        parse_sdp(b"v=0\r\ns=x\r\n")
