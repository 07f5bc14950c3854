"""Cameras that mean harm, as a table: what each sends from the first moment, or once it plays.

They lie about lengths, never end, flood, leap and change; none of it may cost another camera a picture.
"""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from media_samples import rtp_packet, video, video_packets
from scripted_camera import Datagram, Habits, Reply, SignIn, frame, rtp
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.rtcp import build_sender_report

SIGN_IN: Mapping[str, Any] = {"credentials": Credentials("operator", "s3cret-pass")}
UDP: Mapping[str, Any] = {"transport": "udp"}
SOUND: Mapping[str, Any] = {"audio": True}
HEAD = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"
VIDEO = HEAD + b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t0\r\n"
OK = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n"

Items = Iterable[bytes | float | Datagram]


class Endless:
    """What a generator makes, anew for each connection."""

    def __init__(self, make: Callable[[], Iterator[bytes | float | Datagram]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[bytes | float | Datagram]:
        return self._make()


@dataclass(frozen=True)
class Hostile:
    """tls: its source is an rtsps:// one (the camera itself speaks no TLS)."""

    id: str
    habits: Habits
    source: Mapping[str, Any] = field(default_factory=dict)
    tls: bool = False


def again(*pieces: bytes | float) -> Endless:
    return Endless(lambda: itertools.cycle(pieces))


def drip(text: bytes, every_s: float = 0.05) -> Endless:
    """A byte at a time, and then from the beginning."""
    return again(*(piece for byte in text for piece in (bytes((byte,)), every_s)))


def connects(id_: str, items: Items, **more: Any) -> Hostile:
    return Hostile(id_, Habits(connect=items), **more)


def plays(id_: str, items: Items, *, sdp: bytes = VIDEO, source: Mapping[str, Any] | None = None) -> Hostile:
    return Hostile(id_, Habits(media=items, sdp=sdp), source or {})


def describes(id_: str, sdp: bytes, **more: Any) -> Hostile:
    return Hostile(id_, Habits(sdp=sdp), **more)


def answers(id_: str, method: str, *replies: Reply, **more: Any) -> Hostile:
    return Hostile(id_, Habits({method: replies}), **more)


def challenges(id_: str, *texts: str, accepts: str = "nothing", nonce_requests: int = 1_000_000) -> Hostile:
    sign_in = SignIn(texts, accepts, nonce_requests=nonce_requests)
    return Hostile(id_, Habits(sign_in=sign_in, session="1;timeout=1"), SIGN_IN)


def _random(seed: int) -> random.Random:
    return random.Random(seed)  # the same lies every time


def frames(make: Callable[[int, random.Random], bytes], channel: int = 0, pause_s: float = 0.0) -> Endless:
    """Frames on a channel: the n-th is what make gives."""

    def endless() -> Iterator[bytes | float | Datagram]:
        lies = _random(1)
        for n in itertools.count():
            yield frame(channel, make(n, lies))
            if pause_s:
                yield pause_s

    return Endless(endless)


def fragment(n: int, *, start: bool = False, size: int = 60_000, key: bool = True) -> bytes:
    """A fragment of a NAL unit that never ends, of one picture."""
    payload = bytes((0x7C, 0x80 * start | (5 if key else 1))) + b"\xff" * size
    return rtp_packet(payload, seq=n, time=1, ssrc=7)


def real(change: Callable[[int, bytes, random.Random], bytes] = lambda n, packet, lies: packet) -> Endless:
    """A real stream at its pace, each packet changed."""

    def endless() -> Iterator[bytes | float | Datagram]:
        lies = _random(2)
        units = video("h264", frames=30, fps=25, key_every=5, noise=3000)
        seq = 0
        for n in itertools.count():
            for packet in video_packets("h264", [units[n % len(units)]]):
                stamped = packet[:2] + struct.pack(">HI", seq & 0xFFFF, n * 3600 & 0xFFFFFFFF) + packet[8:]
                yield frame(0, change(n, stamped, lies))
                seq += 1
            yield 0.04

    return Endless(endless)


def leaping(n: int, packet: bytes, lies: random.Random) -> bytes:
    return packet[:4] + struct.pack(">I", lies.getrandbits(32)) + packet[8:]


def other_sets(n: int, packet: bytes, lies: random.Random) -> bytes:
    """Each key frame has another SPS: its level and compatibility bytes."""
    if packet[12] & 31 != 7:
        return packet
    return packet[:14] + bytes((n & 0xFC, 10 + n % 40)) + packet[16:]


def random_set(n: int, packet: bytes, lies: random.Random) -> bytes:
    return packet[:13] + lies.randbytes(len(packet) - 13) if packet[12] & 31 in (7, 8) else packet


def jpeg(n: int, lies: random.Random) -> bytes:
    """RFC 2435: fragments at absurd offsets of pictures of absurd sizes."""
    offset = lies.choice((0, 0, 0xFFFFFF, lies.getrandbits(24)))
    head = struct.pack(">II", offset, lies.getrandbits(32))
    body = head + lies.randbytes(1000)
    return rtp_packet(body, seq=n, time=n * 7, payload_type=26, ssrc=7, marker=n % 3 == 0)


def udp_flood(size: int, stranger: str | None = None) -> Endless:
    def endless() -> Iterator[bytes | float | Datagram]:
        for n in itertools.count():
            yield Datagram(rtp(n, bytes(size)), stranger=stranger)
            if n % 20 == 19:
                yield 0.001

    return Endless(endless)


def reports(n: int, lies: random.Random) -> bytes:
    """Clocks in 1970, 2036 and anywhere."""
    return build_sender_report(7, lies.choice((0, 2**51, lies.getrandbits(50))), lies.getrandbits(32), n, n)


DIGEST = 'Digest realm="x", nonce="NONCE"'
MANY = b"".join(b"m=video 0 RTP/AVP %d\r\na=rtpmap:%d H264/90000\r\n" % (n, n) for n in range(96, 128))

CASES = [
    # From the first moment
    connects("silent", again(1.0)),
    connects("closes at once", ()),
    connects("drips nonsense", drip(b"\x00\xffnonsense")),
    connects("drips line breaks", drip(b"\r\n")),
    connects("drips a head for ever", drip(OK + b"X: y\r\n")),
    connects("a line without end", again(b"X: " + b"y" * 60_000)),
    connects("headers without end", Endless(lambda: itertools.chain(
        [OK], itertools.repeat(b"X: y\r\n" * 999)))),
    connects("noise", again(_random(3).randbytes(65_536))),
    connects("zeros", again(bytes(65_536))),
    connects("speaks HTTP", again(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 99999\r\n\r\n")),
    connects("announces a gigabyte", [OK + b"Content-Length: 1000000000\r\n\r\n", 60.0]),
    connects("a negative length", again(OK + b"Content-Length: -5\r\n\r\n")),
    connects("a length of a million digits", again(OK + b"Content-Length: " + b"9" * 15_000 + b"\r\n\r\n")),
    connects("a body that drips", Endless(lambda: itertools.chain(
        [OK + b"Content-Length: 200000\r\n\r\n"], itertools.cycle([b"x", 0.01])))),
    connects("answers to nothing asked", again(b"RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n")),
    connects("requests of its own only", again(b"GET_PARAMETER rtsp://x RTSP/1.0\r\nCSeq: 9\r\n\r\n")),
    connects("frames before any answer", again(frame(0, bytes(65_535)))),
    connects("half-frames before any answer", again(b"$\x00\xff\xff" + bytes(9))),
    # DESCRIBE
    describes("a description of 250 kB", VIDEO + b"a=x:y\r\n" * 35_000),
    describes("ten thousand tracks", HEAD + b"m=video 0 RTP/AVP 96\r\n" * 10_000),
    describes("all tracks of one kind, without a word", HEAD + MANY),
    describes("parameter sets of 200 kB", VIDEO + b"a=fmtp:96 sprop-parameter-sets=" + b"Z0LA," * 40_000),
    describes("parameters without end", VIDEO + b"a=fmtp:96 " + b"a=b;" * 60_000),
    describes("a control of 100 kB", VIDEO.replace(b"t0", b"x" * 100_000)),
    describes("controls on foreign hosts", VIDEO.replace(b"t0", b"rtsp://10.9.8.7:1/t0")),
    describes("bytes of every kind", HEAD + bytes(range(256)) * 500),
    answers("redirects in a circle", "DESCRIBE", Reply(302, fields=(("Location", "rtsp://127.0.0.1:PORT/x"),))),
    answers("redirects everywhere", "DESCRIBE",
            *(Reply(302, fields=(("Location", f"rtsp://127.0.0.{n}:PORT/x"),)) for n in range(2, 9))),
    answers("redirects to our own ports", "DESCRIBE",
            *(Reply(302, fields=(("Location", f"rtsp://127.0.0.1:{p}/x"),)) for p in (22, 80, 443, 8080))),
    # Sign-in
    challenges("always refuses", DIGEST),
    challenges("always stale", DIGEST + ", stale=true"),
    challenges("a new nonce each time", DIGEST, accepts="MD5", nonce_requests=1),
    challenges("a hundred challenges", *([DIGEST] * 100)),
    challenges("unknown algorithms", *(f"{DIGEST}, algorithm=X{n}" for n in range(50))),
    challenges("quotes that never close", 'Digest realm="' + "\\" * 8000),
    challenges("a challenge of 14 kB", "Digest " + "a=b," * 3500),
    challenges("Basic, to have the password", 'Basic realm="x"', accepts="basic"),
    # SETUP and PLAY
    answers("SETUP is never answered", "SETUP", Reply(silent=True)),
    answers("SETUP names one channel for both", "SETUP",
            Reply(fields=(("Session", "1"), ("Transport", "RTP/AVP/TCP;interleaved=0-1"))), source=SOUND),
    answers("a session id of 10 kB", "SETUP", Reply(fields=(("Session", "x" * 10_000),))),
    answers("refuses every transport", "SETUP", Reply(461)),
    answers("PLAY and then nothing", "PLAY", Reply()),
    Hostile("PLAY is answered a byte at a time", Habits(
        {"PLAY": [Reply(silent=True)]}, media=drip(OK + b"\r\n"))),
    answers("floods before the answer to PLAY", "PLAY", Reply(before=frame(0, rtp(1, bytes(60_000))) * 300)),
    answers("hangs up at PLAY", "PLAY", Reply(silent=True, close=True)),
    # Playing: framing
    plays("floods channels that were not agreed on", frames(lambda n, lies: rtp(n, bytes(60_000)), 9)),
    plays("floods the agreed channel with tiny packets", again(frame(0, rtp(1, b"")) * 1000)),
    plays("floods with empty frames", again(frame(0, b"") * 5000)),
    plays("floods with dollars", again(b"$" * 65_536)),
    plays("floods with messages", again(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n" * 500)),
    plays("bodies between packets", again(OK + b"Content-Length: 200000\r\n\r\n" + bytes(200_000))),
    plays("frames of 65535 that never end", Endless(lambda: itertools.chain(
        [b"$\x00\xff\xff\x80\x60"], itertools.cycle([b"x", 0.01])))),
    plays("junk around each packet", again(b"\x00$\x01junk\xff" + frame(0, rtp(1, bytes(900))))),
    plays("reports without end", again(frame(1, build_sender_report(7, 10**15, 1, 1, 1) * 500))),
    plays("clocks in 1970 and 2036", frames(reports, 1, 0.001)),
    # Playing: packets
    plays("a source for each packet", frames(lambda n, lies: rtp(n, bytes(1000), ssrc=n + 1))),
    plays("numbers at random", frames(lambda n, lies: rtp(lies.getrandbits(16), bytes(1000)))),
    plays("lies about header extensions", frames(
        lambda n, lies: bytes((0x80 | lies.getrandbits(6), 96)) + lies.randbytes(1000))),
    plays("a key frame of 100 MB and more", frames(lambda n, lies: fragment(n, start=n == 0))),
    plays("key frames that begin and never end", frames(lambda n, lies: fragment(n, start=True, size=2000))),
    plays("fragments without a beginning", frames(lambda n, lies: fragment(n, size=2000))),
    plays("aggregates that lie about their parts", frames(
        lambda n, lies: rtp(n, b"\x78" + lies.randbytes(3000)))),
    plays("start codes without end", frames(lambda n, lies: rtp(n, b"\x67\x00\x00\x01" + b"\0\0\1" * 9000))),
    plays("pictures of one byte", frames(
        lambda n, lies: rtp_packet(b"\x65", seq=n, time=n, ssrc=7, marker=True))),
    plays("slices of one picture without end", frames(
        lambda n, lies: rtp_packet(b"\x41\x5a", seq=n, time=1, ssrc=7))),
    plays("random payloads", frames(lambda n, lies: rtp(n, lies.randbytes(1200)))),
    # Playing: streams
    plays("stamps that leap", real(leaping)),
    plays("parameter sets that change with every key frame", real(other_sets)),
    plays("parameter sets that are noise", real(random_set)),
    plays("MJPEG of absurd sizes", frames(jpeg, pause_s=0.0005), sdp=HEAD + b"m=video 0 RTP/AVP 26\r\n"),
    plays("sound that lies about its units", frames(
        lambda n, lies: rtp(n, lies.randbytes(1400), payload_type=97), 2, 0.001), sdp=VIDEO + (
        b"m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000/1\r\na=control:t1\r\n"
        b"a=fmtp:97 mode=AAC-hbr;config=1408;sizelength=13;indexlength=3;indexdeltalength=3\r\n"),
        source=SOUND),
    plays("metadata without end", frames(
        lambda n, lies: rtp_packet(b"<x>" * 400, seq=n, time=1, payload_type=107, ssrc=7), 2), sdp=VIDEO + (
        b"m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:t2\r\n")),
    # UDP and TLS
    plays("floods over UDP", udp_flood(60_000), source=UDP),
    plays("tiny datagrams over UDP", udp_flood(1), source=UDP),
    plays("strangers over UDP", udp_flood(1200, "127.0.0.9"), source=UDP),
    connects("TLS: silent", again(1.0), tls=True),
    connects("TLS: noise", again(_random(4).randbytes(60_000)), tls=True),
    connects("TLS: asks to begin for ever", again(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 5000), tls=True),
    connects("TLS: a record that never ends", Endless(lambda: itertools.chain(
        [b"\x16\x03\x03\x40\x00"], itertools.cycle([b"\x02", 0.05]))), tls=True),
]  # fmt: skip

# Those that cost a recorder most, for every run of the tests.
WORST = (
    "a key frame of 100 MB and more",
    "floods with dollars",
    "parameter sets that change with every key frame",
    "tiny datagrams over UDP",
)
