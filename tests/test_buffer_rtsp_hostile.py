"""Cameras that are broken, or not cameras: a reason comes in time, memory stays bounded, no secret leaves."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scripted_camera import SDP, ScriptedCamera, Talk, frame, rtp, scripted_camera
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.errors import (
    AuthRefused,
    Limit,
    Malformed,
    RefusedByPolicy,
    StreamError,
    Timeout,
    Unreachable,
    Unsupported,
)
from simpang_buffer.rtsp.message import Request
from simpang_buffer.rtsp.session import Source, open_session

SECRET = Credentials("operator", "s3cret-pass")
WITHIN_S = 0.6


async def refusal(camera: ScriptedCamera, *, within_s: float = WITHIN_S, **changes: Any) -> StreamError:
    """The reason why the camera does not play; it holds no secret and comes in time."""
    began = time.monotonic()
    with pytest.raises(StreamError) as raised:
        async with open_session(camera.source(credentials=SECRET, **changes), within_s=within_s):
            raise AssertionError("it played")
    assert time.monotonic() - began < within_s + 1.5
    error: BaseException | None = raised.value
    while error is not None:
        assert SECRET.password not in repr(error)
        error = error.__cause__ or error.__context__
    return raised.value


def authorizations(camera: ScriptedCamera) -> list[str]:
    return [said for request in camera.requests if (said := request.headers.get("authorization"))]


def sends(*pieces: bytes, every_s: float = 0.0, forever: bool = False) -> Callable[[Talk], Awaitable[None]]:
    async def connected(talk: Talk) -> None:
        while True:
            for piece in pieces:
                await talk.send(piece)
                await asyncio.sleep(every_s)
            if not forever:
                await asyncio.Event().wait()

    return connected


OK = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n"


@pytest.mark.parametrize(
    ("connected", "reason"),
    [
        (sends(), Timeout),
        (sends(b"R", b"T", b"S", b"P", b"/", b"1", every_s=0.1), Timeout),
        (sends(b"\r\n", every_s=0.1, forever=True), Timeout),
        (sends(OK, *[b"X: %d\r\n" % n for n in range(9)], every_s=0.1), Timeout),
        (sends(OK + b"X: " + b"y" * 100_000), Malformed),
        (sends(b"X: y\r\n" * 1000, forever=True), Malformed),
        (sends(b"\xff" * 10_000, forever=True), Malformed),
        (sends(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 300_000), Malformed),
        (sends(b"$\x00\xff\xff" + bytes(65_535), forever=True), Timeout),
        (sends(OK + b"Content-Length: 999999999\r\n\r\n"), Malformed),
        (sends(OK + b"Content-Length: 200000\r\n\r\n" + bytes(100_000)), Timeout),
        (sends(OK + b"Content-Length: -5\r\n\r\n"), Malformed),
        (sends(b"RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n"), Timeout),
        (sends(b"RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n" * 50), Malformed),
        (sends(b"GET_PARAMETER rtsp://x RTSP/1.0\r\nCSeq: 99\r\n\r\n" * 50), Malformed),
    ],
    ids=[
        "silent", "drips", "drips line breaks", "drips a head", "endless line", "endless head", "noise",
        "http", "floods frames", "huge body", "body that never ends", "negative length", "wrong number",
        "wrong numbers", "requests only",
    ],
)  # fmt: skip
async def test_camera_that_does_not_answer_gets_a_reason_in_time(
    connected: Callable[[Talk], Awaitable[None]], reason: type[StreamError]
) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with scripted_camera(connected) as camera:
        error = await refusal(camera)

    assert type(error) is reason
    assert camera.connections == 1
    # The client keeps to its buffer; most of this is the test's own side.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 30_000


async def test_default_time_limit_leaves_a_reason_within_ten_seconds() -> None:
    from simpang_buffer.rtsp import session

    assert session.OPEN_WITHIN_S + session._TEARDOWN_WITHIN_S <= 10


async def test_description_without_end_is_malformed() -> None:
    async def describe(talk: Talk, request: Request) -> None:
        await talk.reply(request, 200, body=SDP[:-2] + b"\r\na=x" * 60_000)

    async with scripted_camera(DESCRIBE=describe) as camera:
        assert type(await refusal(camera)) is Malformed


async def test_description_shorter_than_announced_is_a_timeout() -> None:
    async def describe(talk: Talk, request: Request) -> None:
        await talk.reply(request, 200, ("Content-Length", str(len(SDP) + 10)), body=SDP)

    async with scripted_camera(DESCRIBE=describe) as camera:
        assert type(await refusal(camera)) is Timeout


async def test_description_longer_than_announced_is_read_as_far_as_it_goes() -> None:
    async def describe(talk: Talk, request: Request) -> None:
        await talk.reply(request, 200, ("Content-Length", str(SDP.index(b"m=audio"))), body=SDP)

    async with (
        scripted_camera(DESCRIBE=describe) as camera,
        open_session(camera.source(audio=True), within_s=WITHIN_S) as session,
    ):
        assert [t.track.kind for t in session.tracks] == ["video"]


@pytest.mark.parametrize("status", [301, 302, 305])
async def test_redirect_to_another_host_is_refused_and_not_followed(status: int) -> None:
    async with scripted_camera(host="127.0.0.2") as elsewhere:

        async def describe(talk: Talk, request: Request) -> None:
            await talk.reply(request, status, ("Location", f"rtsp://127.0.0.2:{elsewhere.port}/"))

        async with scripted_camera(DESCRIBE=describe) as camera:
            error = await refusal(camera)

    assert type(error) is RefusedByPolicy
    assert "127.0.0.2" in error.detail
    assert elsewhere.connections == 0
    assert camera.connections == 1


@pytest.mark.parametrize("control", ["file:///etc/passwd", "http://127.0.0.1/", "FILE:/x"])
async def test_track_outside_rtsp_is_refused(control: str) -> None:
    async def describe(talk: Talk, request: Request) -> None:
        await talk.reply(request, 200, body=SDP.replace(b"trackID=0", control.encode()))

    async with scripted_camera(DESCRIBE=describe) as camera:
        assert type(await refusal(camera)) is RefusedByPolicy

    assert "SETUP" not in camera.methods()


async def test_track_on_a_foreign_host_is_asked_for_at_the_camera_itself() -> None:
    async with scripted_camera() as elsewhere:
        there = f"rtsp://127.0.0.1:{elsewhere.port}/t".encode()

        async def describe(talk: Talk, request: Request) -> None:
            base = ("Content-Base", there.decode())
            body = SDP.replace(b"a=control:*", b"a=control:" + there).replace(b"trackID=0", there)
            await talk.reply(request, 200, base, body=body)

        async with scripted_camera(DESCRIBE=describe) as camera, open_session(camera.source()):
            pass

    assert elsewhere.connections == 0
    assert camera.methods() == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]


def challenges(*values: str) -> Callable[[Talk, Request], Awaitable[None]]:
    async def step(talk: Talk, request: Request) -> None:
        number = len(talk.camera.requests)
        fields = [("WWW-Authenticate", value.replace("NONCE", f"n{number}")) for value in values]
        await talk.reply(request, 401, *fields)

    return step


async def test_camera_that_always_refuses_is_tried_once() -> None:
    refuse = challenges(
        'Digest realm="x", nonce="NONCE", algorithm=SHA-256', 'Digest realm="x", nonce="NONCE"'
    )
    async with scripted_camera(OPTIONS=refuse, DESCRIBE=refuse, TEARDOWN=refuse) as camera:
        error = await refusal(camera)

    assert isinstance(error, AuthRefused)
    assert error.tried
    assert len(authorizations(camera)) == 1


async def test_camera_that_refuses_late_is_tried_once_even_for_teardown() -> None:
    refuse = challenges('Digest realm="x", nonce="NONCE"')
    async with scripted_camera(PLAY=refuse, TEARDOWN=refuse) as camera:
        error = await refusal(camera)

    assert isinstance(error, AuthRefused)
    assert len(authorizations(camera)) == 1


async def test_nonce_that_is_always_stale_is_answered_twice() -> None:
    refuse = challenges('Digest realm="x", nonce="NONCE", stale=true')
    async with scripted_camera(DESCRIBE=refuse) as camera:
        error = await refusal(camera)

    assert isinstance(error, AuthRefused)
    assert len(authorizations(camera)) == 2


async def test_basic_challenge_gets_nothing_unless_it_is_allowed() -> None:
    refuse = challenges('Basic realm="x"')
    async with scripted_camera(DESCRIBE=refuse) as camera:
        error = await refusal(camera)
        assert isinstance(error, AuthRefused)
        assert not error.tried
        assert authorizations(camera) == []

        assert isinstance(await refusal(camera, allow_basic=True), AuthRefused)
        assert [said[:6] for said in authorizations(camera)] == ["Basic "]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (100, Unsupported), (400, Unsupported), (403, AuthRefused), (404, Unsupported), (453, Limit),
        (500, Unreachable), (503, Limit), (999, Unreachable),
    ],
)  # fmt: skip
async def test_status_decides_the_reason(status: int, reason: type[StreamError]) -> None:
    async def describe(talk: Talk, request: Request) -> None:
        await talk.reply(request, status)

    async with scripted_camera(DESCRIBE=describe) as camera:
        assert type(await refusal(camera)) is reason


async def test_camera_without_video_that_can_be_recorded_says_what_it_has() -> None:
    async def describe(talk: Talk, request: Request) -> None:
        await talk.reply(request, 200, body=b"m=video 0 RTP/AVP 32\r\n")

    async with scripted_camera(DESCRIBE=describe) as camera:
        assert "MPV" in str(await refusal(camera))


@pytest.mark.parametrize("identity", ["a\x00b", "x" * 300, "é" * 10])
async def test_session_id_that_cannot_be_written_back_is_malformed(identity: str) -> None:
    async def setup(talk: Talk, request: Request) -> None:
        number = (request.headers.get("cseq") or "").encode()
        await talk.send(
            b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\nSession: " + identity.encode() + b"\r\n\r\n"
        )

    async with scripted_camera(SETUP=setup) as camera:
        assert type(await refusal(camera)) is Malformed


async def test_two_tracks_on_one_channel_are_told_apart_by_leaving_the_audio() -> None:
    async def setup(talk: Talk, request: Request) -> None:
        await talk.reply(request, 200, ("Session", "1"), ("Transport", "RTP/AVP/TCP;interleaved=0-1"))

    async with scripted_camera(SETUP=setup) as camera, open_session(camera.source(audio=True)) as session:
        assert [t.track.kind for t in session.tracks] == ["video"]


async def test_camera_that_does_not_answer_teardown_holds_us_up_for_a_second_at_most() -> None:
    async def silent(talk: Talk, request: Request) -> None:
        await asyncio.Event().wait()

    async with scripted_camera(TEARDOWN=silent) as camera:
        async with open_session(camera.source()):
            began = time.monotonic()
        assert time.monotonic() - began < 1.5


async def played(
    data: bytes, *, then_close: bool = False
) -> tuple[list[bytes], dict[str, int], StreamError | None]:
    """What is read of these bytes, what was counted, and how the session ended."""

    async def playing(talk: Talk, request: Request) -> None:
        await talk.send(data)
        if then_close:
            talk.writer.close()

    found: list[bytes] = []
    async with scripted_camera(playing=playing) as camera, open_session(camera.source()) as session:
        camera.watched.set()
        try:
            async with asyncio.timeout(0.5):
                while True:
                    found += [
                        bytes(item[1]) for item in session.read_available() if isinstance(item[1], memoryview)
                    ]
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return found, dict(+session.counts), None
        except StreamError as error:
            return found, dict(+session.counts), error


async def test_connection_that_ends_inside_a_frame_keeps_the_whole_ones() -> None:
    whole = [rtp(n, bytes(300)) for n in range(3)]

    found, _, error = await played(b"".join(frame(0, p) for p in whole)[:-100], then_close=True)

    assert found == whole[:2]
    assert type(error) is Unreachable


async def test_channels_and_payloads_that_were_not_set_up_are_dropped_and_counted() -> None:
    data = (
        frame(9, rtp(1))
        + frame(0, rtp(2))
        + frame(0, rtp(3, payload_type=50))
        + frame(0, b"x")
        + frame(0, rtp(4))
    )

    found, counts, error = await played(data)

    assert found == [rtp(2), rtp(4)]
    assert (counts["foreign_channels"], counts["foreign_payloads"], counts["short_packets"]) == (1, 1, 1)
    assert error is None


async def test_stray_bytes_between_frames_cost_no_frame() -> None:
    whole = [rtp(n, bytes(300)) for n in range(4)]

    data = [frame(0, p) for p in whole]
    found, counts, error = await played(data[0] + b"\r\n" + data[1] + b"\x00stray\r\n" + data[2] + data[3])

    assert found == whole
    assert counts["resyncs"] == 1
    assert error is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff" * 700_000, Malformed),
        (b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 5000, Malformed),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", Malformed),
        (b"RTSP/1.0 401 no\r\nCSeq: 1\r\n\r\n", AuthRefused),
    ],
)
async def test_nonsense_while_playing_ends_the_session(data: bytes, reason: type[StreamError]) -> None:
    found, _, error = await played(frame(0, rtp(1)) + data)

    assert found[:1] in ([], [rtp(1)])
    assert type(error) is reason


async def test_camera_that_reads_nothing_is_given_up() -> None:
    async with scripted_camera() as camera, open_session(camera.source()) as session:
        # Each report is small; this stands for hours of them.
        with pytest.raises(Timeout):
            for _ in range(100_000):
                session._connection.send(bytes(1000))


@pytest.mark.parametrize("url", ["rtsp://u:p@127.0.0.1/", "rtsp://u@127.0.0.1/"])
def test_url_with_credentials_is_no_source(url: str) -> None:
    with pytest.raises(ValueError, match="credentials") as raised:
        Source(url, "127.0.0.1")
    assert url not in str(raised.value)


def test_host_that_is_a_name_is_no_source() -> None:
    with pytest.raises(ValueError, match="host"):
        Source("rtsp://camera.example/", "camera.example")


def test_source_shows_no_secret() -> None:
    assert SECRET.password not in repr(Source("rtsp://127.0.0.1/", "127.0.0.1", credentials=SECRET))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1/"])
async def test_other_schemes_are_refused_without_a_connection(url: str) -> None:
    async with scripted_camera() as camera:
        assert type(await refusal(camera, url=url)) is Unsupported
        assert camera.connections == 0
