"""All that takes bytes from outside, with inputs that work to begin with."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fuzzing import Target, packed, packets
from media_files import build_file, run_header
from media_samples import aac, parameter_sets, rtp_packet, video, video_packets
from simpang.web.ranges import Unsatisfiable, parse_range
from simpang_buffer.index.closed_file import ClosedFiles
from simpang_buffer.media.bits import Unreadable
from simpang_buffer.media.boxes import parse_moof, read_header, read_table, scan
from simpang_buffer.media.fmp4 import Sample, TrackRun, fragment
from simpang_buffer.media.parameter_sets import Encoding
from simpang_buffer.media.parameter_store import ParameterSetStore
from simpang_buffer.media.seal import BadBox, parse_run_box, run_box
from simpang_buffer.media.sps import parse_h264_sps, parse_h265_sps
from simpang_buffer.media.structure import read_structure
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.intake import Intake
from simpang_buffer.recording.places import only
from simpang_buffer.recording.run import Run
from simpang_buffer.recording.segment_writer import RunStart
from simpang_buffer.rtsp.auth import parse_challenges
from simpang_buffer.rtsp.control_url import aggregate_urls, base_url, track_urls
from simpang_buffer.rtsp.errors import StreamError
from simpang_buffer.rtsp.framing import InterleavedReader
from simpang_buffer.rtsp.handshake import SetUpTrack, choose_tracks
from simpang_buffer.rtsp.message import cseq, parse_request, parse_response
from simpang_buffer.rtsp.rtcp import build_sender_report, parse_sender_reports
from simpang_buffer.rtsp.sdp import Track, parse_sdp
from simpang_buffer.rtsp.transport import parse_transport

_RESPONSE = (
    b"RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\nSession: 12ab;timeout=60\r\n"
    b'WWW-Authenticate: Digest realm="cam", nonce="a1", algorithm=SHA-256, qop="auth", stale=FALSE\r\n'
    b'WWW-Authenticate: Basic realm="cam"\r\nContent-Base: rtsp://127.0.0.1/live/\r\n'
    b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=1A2B3C4D;mode=PLAY\r\nContent-Length: 0\r\n\r\n"
)
_SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=live\r\nt=0 0\r\na=control:*\r\na=range:npt=0-\r\n"
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
    b"a=fmtp:96 packetization-mode=1;profile-level-id=42C00C;sprop-parameter-sets=Z0LADNkFB+g=,aMuDyyA=\r\n"
    b"m=video 0 RTP/AVP 98\r\na=rtpmap:98 H265/90000\r\n"
    b"a=fmtp:98 sprop-vps=QAE=;sprop-sps=QgE=;sprop-pps=RAE=\r\n"
    b"m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000/1\r\na=control:trackID=1\r\n"
    b"a=fmtp:97 streamtype=5;mode=AAC-hbr;config=1408;sizelength=13;indexlength=3;indexdeltalength=3\r\n"
    b"m=audio 0 RTP/AVP 8\r\nm=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n"
)
_WORDS = (
    b"\r\n",
    b"\r\n\r\n",
    b": ",
    b";",
    b"=",
    b",",
    b"/",
    b'"',
    b"%",
    b"-1",
    b"99999999999999999999",
    b"\0",
)


def targets(scratch: Path) -> Iterator[Target]:
    """scratch: a media folder that nothing is written to."""
    yield Target("rtsp-response", [_RESPONSE], _response, (StreamError,), _WORDS)
    yield Target("rtsp-request", [b"GET_PARAMETER rtsp://127.0.0.1/a RTSP/1.0\r\nCSeq: 1\r\n\r\n"], _request,
                 (StreamError,), _WORDS)  # fmt: skip
    yield Target(
        "sdp", [_SDP], _sdp, (StreamError,), (*_WORDS, b"m=", b"a=rtpmap:", b"a=fmtp:", b"a=control:")
    )
    yield Target("framing", _framed(), _framing, (StreamError,), (b"$\0", b"RTSP/1.0 200 OK\r\n\r\n"))
    report = build_sender_report(7, 1_700_000_000_000_000, 90_000, 10, 1000)
    yield Target("sender-report", [report], parse_sender_reports)
    yield Target("h264-sps", [_set("h264", 0)], _parsed(parse_h264_sps), (Unreadable,))
    yield Target("h265-sps", [_set("h265", 1)], _parsed(parse_h265_sps), (Unreadable,))
    for encoding in ("H264", "H265"):
        seeds = [packed(_sets(encoding)), packed([*_sets(encoding), *_sets(encoding)])]
        yield Target(f"{encoding.lower()}-parameter-sets", seeds, _store(encoding))
        yield Target(f"{encoding.lower()}-packets", [packed(_video(encoding))], _recording(encoding, scratch))
    yield Target("sound-packets", [packed(_sound())], _recording("H264", scratch))
    yield Target(
        "jpeg-packets", [packed(_jpeg())], _recording("JPEG", scratch), (), (b"\xff\xd8", b"\xff\xc0")
    )
    yield Target("metadata-packets", [packed(_metadata())], _recording("H264", scratch))
    closed = build_file("h264", video("h264", frames=15, width=96, height=64))
    torn = build_file("h264", video("h264", frames=15, width=96, height=64), closed=False)
    words = (b"moof", b"mdat", b"moov", b"uuid", b"traf", b"trun", b"tfdt", b"stsd", b"spTB", b"\xff" * 8)
    yield Target("recovery", [closed.data, torn.data, torn.data[:-30]], _recovery, (BadBox,), words)
    yield Target("closed-file", [closed.data], _closed_file, (BadBox,), words)
    yield Target("structure", [closed.data, torn.data], _structure, (BadBox,), words)
    yield Target("header", [closed.init + run_box(closed.header)], _header, (BadBox,), words)
    table = closed.data[closed.table_at :]
    yield Target("fragment-table", [table], _table(closed.table_at), (BadBox,))
    moof = fragment(1, [TrackRun(1, 90_000, [Sample(b"1234", 3000, 0, True)] * 5)])[0]
    yield Target("moof", [bytes(moof)], lambda data: parse_moof(data), (BadBox,), words)
    yield Target(
        "run-box", [run_box(run_header())[24:]], parse_run_box, (BadBox,), (b"null", b"1e999", b"[[[[")
    )
    ranges = [b"bytes=0-99", b"bytes=-500", b"bytes=500-", b"bytes=0-0,-1"]
    yield Target("http-range", ranges, _range, (Unsatisfiable,), (b"bytes=", b"-", b",", b" ", b"9" * 30))


def _response(data: bytes) -> object:
    response = parse_response(data)
    headers = response.headers
    for value in headers.get_all("Transport"):
        parse_transport(value)
    base = base_url("rtsp://127.0.0.1:554/live?a=b", headers.get("Content-Base"))
    control = headers.get("Session") or "trackID=1"
    urls = aggregate_urls("rtsp://127.0.0.1/live", base, control) + track_urls(
        "rtsp://127.0.0.1/live", base, control
    )
    return cseq(headers), parse_challenges(headers.get_all("WWW-Authenticate")), bool(urls)


def _request(data: bytes) -> object:
    return parse_request(data).method


def _sdp(data: bytes) -> object:
    sdp = parse_sdp(data)
    return [(track.kind, track.encoding) for track in choose_tracks(sdp, audio=True, metadata=True)]


def _framed() -> list[bytes]:
    some = [b"$\0" + len(one).to_bytes(2, "big") + one for one in _video("H264")[:8]]
    return [b"".join(some), _RESPONSE.replace(b"401", b"200") + b"".join(some) + _RESPONSE]


def _framing(data: bytes) -> object:
    reader = InterleavedReader()
    reader.channels = frozenset((0, 1))
    found = [
        type(item).__name__ for at in range(0, len(data), 700) for item in reader.feed(data[at : at + 700])
    ]
    return _roughly(len(found)), sorted(set(found))


def _set(codec: Any, number: int) -> bytes:
    return parameter_sets(codec, video(codec, frames=2, width=96, height=64))[number]


def _sets(encoding: Encoding) -> list[bytes]:
    codec: Any = encoding.lower()
    return parameter_sets(codec, video(codec, frames=2, width=96, height=64))


def _video(encoding: Encoding) -> list[bytes]:
    codec: Any = encoding.lower()
    return video_packets(codec, video(codec, frames=8, width=96, height=64, key_every=4, b_frames=1), mtu=300)


def _sound() -> list[bytes]:
    frames = aac(seconds=0.5).frames
    heard = [
        rtp_packet(b"\0\x10" + (len(one.data) << 3).to_bytes(2, "big") + one.data, seq=n, time=1024 * n,
                   marker=True, payload_type=97, ssrc=9)
        for n, one in enumerate(frames)
    ]  # fmt: skip
    return [packet for pair in zip(_video("H264"), heard, strict=False) for packet in pair]


def _jpeg() -> list[bytes]:
    """Pictures of three fragments: with tables, by quality, and with the extension that has their size."""
    made: list[bytes] = []
    extension = b"\xff\xd8\0\5\xff\xc0\0\x11\x08\0\x60\0\x80\3\1\x22\0\2\x11\1\3\x11\1\xff"
    for number, (quality, more) in enumerate(((255, b""), (60, b""), (0x80, b""), (60, extension))):
        tables = b"\0\0\0\x80" + bytes(range(1, 129)) if quality > 127 else b""
        for part in range(3):
            head = bytes((0, 0, 0, 50 * part, 65 if number == 1 else 1, quality, 0 if more else 12, 8))
            payload = (
                head + (b"\0\4\xff\xff" if number == 1 else b"") + (tables if part == 0 else b"") + bytes(50)
            )
            packet = rtp_packet(payload, seq=len(made), time=3600 * number, marker=part == 2)
            made.append(bytes((packet[0] | 0x10,)) + packet[1:12] + more + packet[12:] if more else packet)
    return made


def _metadata() -> list[bytes]:
    told = [
        rtp_packet(b"<tt:MetadataStream/>", seq=n, time=1024 * n, marker=n % 2 == 1, payload_type=107, ssrc=9)
        for n in range(8)
    ]
    return [packet for pair in zip(_video("H264"), told, strict=False) for packet in pair]


def _parsed(parse: Callable[[bytes], Any]) -> Callable[[bytes], object]:
    return lambda data: parse(data).reorder


def _store(encoding: Encoding) -> Callable[[bytes], object]:
    def run(data: bytes) -> object:
        store = ParameterSetStore(encoding, packets(data))
        found = store.video_format
        return found and (found.codec, _roughly(found.width % 25))

    return run


def _recording(encoding: str, scratch: Path) -> Callable[[bytes], object]:
    """RTP packets to steps for the disk: everything between a socket and a file."""
    fmtp = {
        "mode": "AAC-hbr",
        "config": "1408",
        "sizelength": "13",
        "indexlength": "3",
        "indexdeltalength": "3",
    }
    tracks = [
        SetUpTrack(0, Track("video", 96, encoding, 90_000), None),
        SetUpTrack(1, Track("audio", 97, "MPEG4-GENERIC", 16_000, fmtp=fmtp), None),
        SetUpTrack(2, Track("application", 107, "VND.ONVIF.METADATA", 90_000), None),
    ]
    start = RunStart("site", StreamKey("gate", "main"), 1, None, None)

    def run(data: bytes) -> object:
        intake = Intake(tracks)
        recording = Run(start, intake, Quiet(), places=only(scratch), segment_s=10)  # type: ignore[arg-type]  # a viewer's side of its own
        now_us = 1_700_000_000_000_000
        steps: list[str] = []
        pictures = 0
        for packet in packets(data):
            now_us += 20_000
            track = {97: 1, 107: 2}.get(packet[1] & 0x7F, 0) if len(packet) > 1 else 0
            for arrival in intake.take([(track, memoryview(packet))]):  # type: ignore[list-item]  # as RtpPacket
                recording.take(arrival, now_us)
                pictures += 1
            steps += [type(step).__name__ for step in recording.take_steps()]
        for picture in intake.flush():
            recording.take(picture, now_us)
        recording.finish()
        steps += [type(step).__name__ for step in recording.take_steps()]
        return _roughly(pictures), _roughly(len(steps)), sorted(set(steps))

    return run


def _roughly(count: int) -> str:
    """A number as a word, since numbers are left out of what is compared."""
    return "z" if count > 25 else chr(ord("a") + count)


class Quiet:
    """A broadcast that nobody watches."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def _recovery(data: bytes) -> object:
    scanned = scan(io.BytesIO(data))
    return _roughly(len(scanned.fragments)), scanned.closed


def _closed_file(data: bytes) -> object:
    descriptor = os.memfd_create("closed")
    try:
        os.write(descriptor, data)
        return ClosedFiles().row(descriptor, StreamKey("gate", "main"), 1)
    finally:
        os.close(descriptor)


def _structure(data: bytes) -> object:
    return read_structure(io.BytesIO(data))


def _header(data: bytes) -> object:
    return read_header(io.BytesIO(data)).run.key


def _table(before_bytes: int) -> Callable[[bytes], object]:
    return lambda data: len(read_table(io.BytesIO(bytes(before_bytes) + data))[0])


def _range(data: bytes) -> object:
    return parse_range(data.decode("latin-1"), 1000)
