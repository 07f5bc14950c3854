"""The RTSP client against cameras that nobody here wrote (gst-rtsp-server), and odd habits of real ones."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Literal

import pytest

from peer_gst import GstCamera, gst_camera
from scripted_camera import SESSION, Talk, frame, rtp, scripted_camera
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.errors import AuthRefused, Timeout, Unreachable, Unsupported
from simpang_buffer.rtsp.framing import InterleavedReader, Packet
from simpang_buffer.rtsp.message import Request
from simpang_buffer.rtsp.rtcp import build_sender_report
from simpang_buffer.rtsp.session import BUFFER_BYTES, RtpPacket, Session, Source, TrackReport, open_session

PICTURES = 50


def source_of(camera: GstCamera, transport: Literal["tcp", "udp"] = "tcp", *, audio: bool = False) -> Source:
    return Source(camera.url, camera.host, camera.port, camera.credentials, transport=transport, audio=audio)


async def read_until(
    session: Session,
    *,
    packets: int = 0,
    reports: int = 0,
    pictures: int = 0,
    track: int = 0,
    within_s: float = 15,
) -> list[tuple[int, bytes] | TrackReport]:
    """Read on the recorder's tick until that much of a track has come; markers tell the pictures."""
    kept: list[tuple[int, bytes] | TrackReport] = []
    async with asyncio.timeout(within_s):
        while packets > 0 or reports > 0 or pictures > 0:
            for item in session.read_available():
                if isinstance(item, TrackReport):
                    kept.append(item)
                    reports -= item.track_index == track
                else:
                    kept.append((item.track_index, bytes(item.data)))
                    packets -= item.track_index == track
                    pictures -= item.track_index == track and bool(item.data[1] & 0x80)
            await asyncio.sleep(0.03)
    return kept


def sequences(items: list[tuple[int, bytes] | TrackReport], track: int) -> list[int]:
    return [
        struct.unpack_from(">H", i[1], 2)[0]
        for i in items
        if not isinstance(i, TrackReport) and i[0] == track
    ]


@contextlib.asynccontextmanager
async def maintained(session: Session) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(session.maintain())
        yield
        task.cancel()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(("video", "audio"), [("h264", "aac"), ("h265", "none"), ("h264", "pcma")])
async def test_every_picture_that_the_camera_sends_arrives(
    transport: Literal["tcp", "udp"], video: Literal["h264", "h265"], audio: Literal["none", "aac", "pcma"]
) -> None:
    async with gst_camera(video, audio, user="op", password='p@ss "w:', fps=50) as camera:
        async with open_session(source_of(camera, transport, audio=True)) as session, maintained(session):
            items = await read_until(session, pictures=PICTURES, reports=1)

        encodings = [t.track.encoding for t in session.tracks]
        assert encodings[0] == video.upper()
        assert encodings[1:] == {"none": [], "aac": ["MPEG4-GENERIC"], "pcma": ["PCMA"]}[audio]
        for track in range(len(encodings)):
            found = sequences(items, track)
            assert found == [(found[0] + n) & 0xFFFF for n in range(len(found))]
        reports = [i for i in items if isinstance(i, TrackReport)]
        assert all(abs(r.report.ntp_us / 1e6 - time.time()) < 30 for r in reports)
        assert not +session.counts


async def test_wrong_password_is_refused() -> None:
    async with gst_camera(user="op", password="right") as camera:
        source = replace(source_of(camera), credentials=Credentials("op", "wrong"))

        with pytest.raises(AuthRefused) as refused:
            async with open_session(source):
                raise AssertionError("it let us in")

    assert refused.value.tried
    assert "wrong" not in str(refused.value)


async def test_stream_that_the_camera_does_not_have_is_named() -> None:
    async with gst_camera() as camera:
        source = replace(source_of(camera), url=camera.url + "-not")

        with pytest.raises(Unsupported, match="404"):
            async with open_session(source):
                raise AssertionError("it played")


async def test_camera_that_dies_is_unreachable_at_once() -> None:
    async with gst_camera() as camera, open_session(source_of(camera)) as session:
        await read_until(session, packets=5)

        camera.process.kill()
        with pytest.raises(Unreachable):
            await read_until(session, packets=1_000_000, within_s=5)


async def test_nothing_listens() -> None:
    async with scripted_camera() as camera:
        source = camera.source()

    with pytest.raises(Unreachable, match=str(source.port)):
        async with open_session(source):
            raise AssertionError("it played")


async def test_session_ends_with_teardown() -> None:
    async with scripted_camera() as camera:
        async with open_session(camera.source()):
            pass
        async with asyncio.timeout(5):
            await camera.closed.wait()

    assert camera.methods() == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]
    assert {r.headers.get("session") for r in camera.requests[3:]} == {SESSION}


async def test_first_session_id_is_kept() -> None:
    async def setup(talk: Talk, request: Request) -> None:
        number = sum(r.method == "SETUP" for r in talk.camera.requests)
        await talk.reply(request, 200, ("Session", f"id-{number}"))

    async with scripted_camera(SETUP=setup) as camera, open_session(camera.source(audio=True)):
        pass

    assert [r.headers.get("session") for r in camera.requests[2:]] == [None, "id-1", "id-1", "id-1"]


async def test_sequence_numbers_may_be_padded_or_nought() -> None:
    async def describe(talk: Talk, request: Request) -> None:
        body = b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        await talk.send(b"RTSP/1.0 200\r\nCSeq:    0002\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def options(talk: Talk, request: Request) -> None:
        await talk.send(b"RTSP/1.0 200 OK\r\nCSeq: 0\r\n\r\n")

    async with (
        scripted_camera(DESCRIBE=describe, OPTIONS=options) as camera,
        open_session(camera.source()) as session,
    ):
        assert session.tracks[0].track.encoding == "H264"


async def test_channels_that_the_camera_names_are_used() -> None:
    async def setup(talk: Talk, request: Request) -> None:
        channel = 20 + 2 * sum(r.method == "SETUP" for r in talk.camera.requests)
        await talk.reply(
            request, 200, ("Session", "1"), ("Transport", f"RTP/AVP/TCP;interleaved={channel}-{channel + 1}")
        )

    async def playing(talk: Talk, request: Request) -> None:
        await talk.send(
            frame(22, rtp(1))
            + frame(24, rtp(5, payload_type=8))
            + frame(23, build_sender_report(7, 10**15, 1, 1, 1))
        )

    async with (
        scripted_camera(SETUP=setup, playing=playing) as camera,
        open_session(camera.source(audio=True)) as session,
    ):
        camera.watched.set()
        items = await read_until(session, packets=1, reports=1)

    assert sequences(items, 0) == [1]
    assert sequences(items, 1) == [5]


async def test_packets_around_the_answer_to_play_are_kept() -> None:
    async def play(talk: Talk, request: Request) -> None:
        number = (request.headers.get("cseq") or "").encode()
        answer = b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\nSession: 1\r\n\r\n"
        await talk.send(frame(0, rtp(1)) + frame(0, rtp(2)) + answer + frame(0, rtp(3)) + frame(0, rtp(4)))

    async with scripted_camera(PLAY=play) as camera, open_session(camera.source()) as session:
        items = await read_until(session, packets=4)

    assert sequences(items, 0) == [1, 2, 3, 4]


async def test_packets_before_play_are_dropped() -> None:
    async def setup(talk: Talk, request: Request) -> None:
        await talk.send(frame(0, rtp(1)))
        await talk.camera.proper(talk, request)
        await talk.send(frame(0, rtp(2)))

    async def playing(talk: Talk, request: Request) -> None:
        await talk.send(frame(0, rtp(3)))

    async with (
        scripted_camera(SETUP=setup, playing=playing) as camera,
        open_session(camera.source()) as session,
    ):
        camera.watched.set()
        items = await read_until(session, packets=1)

    assert sequences(items, 0)[-1] == 3
    assert 1 not in sequences(items, 0)


async def test_flood_before_the_answer_to_play_is_bounded() -> None:
    async def play(talk: Talk, request: Request) -> None:
        for _ in range(40):
            await talk.send(frame(0, rtp(1, bytes(60_000))))
        await talk.camera.proper(talk, request)

    async with scripted_camera(PLAY=play) as camera, open_session(camera.source()) as session:
        assert len(session.read_available()) <= 17

    assert session.counts["early_packets"] >= 23


async def test_second_form_of_a_tracks_address_is_tried() -> None:
    async def setup(talk: Talk, request: Request) -> None:
        if request.url.endswith("/live/trackID=0?c=1"):
            await talk.camera.proper(talk, request)
        else:
            await talk.reply(request, 400)

    async with scripted_camera(SETUP=setup) as camera, open_session(camera.source()) as session:
        assert len(session.tracks) == 1

    assert "PLAY" in camera.methods()


async def test_refused_audio_does_not_cost_the_video() -> None:
    async def setup(talk: Talk, request: Request) -> None:
        if "trackID=1" in request.url:
            await talk.reply(request, 461)
        else:
            await talk.camera.proper(talk, request)

    for transport in ("tcp", "udp"):
        async with (
            scripted_camera(SETUP=setup) as camera,
            open_session(camera.source(audio=True, transport=transport)) as session,
        ):
            assert [t.track.kind for t in session.tracks] == ["video"]
            assert session.counts["audio_refused"] == 1


async def test_other_transport_is_tried_where_the_first_is_refused() -> None:
    async def setup(talk: Talk, request: Request) -> None:
        if "TCP" in (request.headers.get("transport") or ""):
            await talk.reply(request, 461)
        else:
            await talk.camera.proper(talk, request)

    async with scripted_camera(SETUP=setup) as camera, open_session(camera.source()):
        pass

    assert camera.methods().count("DESCRIBE") == 2
    assert camera.methods()[-2:] == ["PLAY", "TEARDOWN"]


async def test_keepalive_is_what_the_camera_knows_and_is_signed_again_when_its_nonce_is_over() -> None:
    challenges = iter(("nonce-1", "nonce-2", "nonce-3"))

    async def guarded(talk: Talk, request: Request) -> None:
        answer = request.headers.get("authorization") or ""
        again = request.method == "GET_PARAMETER" and "nonce-1" in answer
        if not answer or again:
            digest = f'Digest realm="x", nonce="{next(challenges)}"'
            await talk.reply(request, 401, ("WWW-Authenticate", digest))
        elif request.method == "SETUP":
            asked = request.headers.get("transport") or ""
            await talk.reply(request, 200, ("Session", "1;timeout=1"), ("Transport", asked))
        else:
            await talk.camera.proper(talk, request)

    steps = dict.fromkeys(("DESCRIBE", "SETUP", "PLAY", "GET_PARAMETER"), guarded)
    async with (
        scripted_camera(None, **steps) as camera,
        open_session(camera.source(credentials=Credentials("u", "p"))) as session,
        maintained(session),
        asyncio.timeout(10),
    ):
        while camera.methods().count("GET_PARAMETER") < 3:
            session.read_available()
            await asyncio.sleep(0.03)

    signed = [r.headers.get("authorization") or "" for r in camera.requests if r.method == "GET_PARAMETER"]
    assert ["nonce-1" in s for s in signed] == [True, False, False]
    assert ["nonce-2" in s for s in signed] == [False, True, True]


async def test_receiver_reports_are_sent_on_the_tracks_own_channel() -> None:
    reports: list[Packet] = []

    async def playing(talk: Talk, request: Request) -> None:
        split = InterleavedReader()
        while not reports:
            found = split.feed(await talk.reader.read(1000))
            reports.extend(f._replace(data=memoryview(bytes(f.data))) for f in found if isinstance(f, Packet))

    async with scripted_camera(playing=playing) as camera, open_session(camera.source()) as session:
        camera.watched.set()
        async with maintained(session), asyncio.timeout(5):
            while not reports:
                await asyncio.sleep(0.01)

    assert reports[0].channel == 1
    assert reports[0].data[1] == 201


async def test_requests_of_the_cameras_own_are_answered() -> None:
    answers: list[bytes] = []

    async def playing(talk: Talk, request: Request) -> None:
        await talk.send(
            b"GET_PARAMETER rtsp://x/ RTSP/1.0\r\nCSeq: 77\r\n\r\n"
            b"ANNOUNCE rtsp://x/ RTSP/1.0\r\nCSeq: 78\r\n\r\n"
        )
        while b"78" not in b"".join(answers):
            answers.append(await talk.reader.read(1000))
        await talk.send(frame(0, rtp(1)))

    async with scripted_camera(playing=playing) as camera, open_session(camera.source()) as session:
        camera.watched.set()
        await read_until(session, packets=1)

    said = b"".join(answers)
    assert b"RTSP/1.0 200 OK\r\nCSeq: 77" in said
    assert b"RTSP/1.0 501 Not Implemented\r\nCSeq: 78" in said


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_silence_for_ten_seconds_is_a_timeout(transport: Literal["tcp", "udp"]) -> None:
    clock = [100.0]
    async with (
        scripted_camera() as camera,
        open_session(camera.source(transport=transport), now=lambda: clock[0]) as session,
    ):
        clock[0] += 9
        assert session.read_available() == []
        clock[0] += 2
        with pytest.raises(Timeout):
            session.read_available()


async def test_budget_bounds_what_is_read_at_once_and_says_that_more_waits() -> None:
    async def playing(talk: Talk, request: Request) -> None:
        await talk.send(b"".join(frame(0, rtp(n, bytes(1000))) for n in range(100)))

    async with scripted_camera(playing=playing) as camera, open_session(camera.source()) as session:
        camera.watched.set()
        found = 0
        rounds = 0
        async with asyncio.timeout(5):
            while found < 100:
                items = session.read_available(10_000)
                assert len(items) <= 10
                assert session.drained or len(items) >= 9
                found += len(items)
                rounds += bool(items)
                await asyncio.sleep(0)

    assert rounds >= 10


async def test_sessions_share_a_buffer() -> None:
    buffer = bytearray(BUFFER_BYTES)
    found: list[list[int]] = [[], [], []]
    async with (
        gst_camera(fps=50, shared=False) as camera,
        open_session(source_of(camera), buffer=buffer) as one,
        open_session(source_of(camera), buffer=buffer) as other,
        open_session(source_of(camera, "udp"), buffer=buffer) as third,
        asyncio.timeout(10),
    ):
        while min(map(len, found)) < 60:
            for n, session in enumerate((one, other, third)):
                found[n] += [
                    struct.unpack_from(">H", item.data, 2)[0]
                    for item in session.read_available()
                    if isinstance(item, RtpPacket)
                ]
            await asyncio.sleep(0.03)

    for numbers in found:
        assert numbers == [(numbers[0] + n) & 0xFFFF for n in range(len(numbers))]
