"""The RTSP server and clients that are slow, rude, lost or hostile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media_samples import aac
from served_camera import ServedCamera, served_camera
from simpang_buffer.rtsp.auth import ClientAuth, Credentials, ServerAuth
from simpang_buffer.rtsp.message import Headers, Response, body_length, parse_response
from simpang_buffer.rtsp.rtcp import build_receiver_report, parse_sender_reports
from simpang_buffer.rtsp.served_path import content_base
from simpang_buffer.rtsp.server_limits import ServerLimits

TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


class Client:
    """A client that sends exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> None:
        self.reader = reader
        self.writer = writer
        self.url = url
        self.session = ""
        self.transport = ""
        self._cseq = 0

    async def ask(self, method: str, url: str | None = None, **headers: str) -> Response:
        """One request with CSeq and session, and its response; packets in between are skipped."""
        self._cseq += 1
        fields = {"CSeq": str(self._cseq), **({"Session": self.session} if self.session else {}), **headers}
        lines = [
            f"{method} {url or self.url} RTSP/1.0",
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        response = await self.say("\r\n".join([*lines, "", ""]).encode())
        if method == "SETUP" and response.status == 200:
            self.session = (response.headers.get("session") or "").partition(";")[0]
            self.transport = response.headers.get("transport") or ""
        return response

    async def say(self, data: bytes) -> Response:
        self.writer.write(data)
        async with asyncio.timeout(5):
            while True:
                first = await self.reader.readexactly(1)
                if first == b"$":
                    await self.reader.readexactly(int.from_bytes((await self.reader.readexactly(3))[1:]))
                    continue
                head = first + await self.reader.readuntil(b"\r\n\r\n")
                return parse_response(head, await self.reader.readexactly(body_length(head)))

    async def frame(self) -> tuple[int, bytes]:
        """The next interleaved packet: its channel and its bytes."""
        async with asyncio.timeout(5):
            head = await self.reader.readexactly(4)
            assert head[:1] == b"$"
            return head[1], await self.reader.readexactly(int.from_bytes(head[2:]))

    async def play(self, transport: str = TCP) -> None:
        assert (await self.ask("SETUP", f"{self.url}/trackID=0", Transport=transport)).status == 200
        assert (await self.ask("PLAY")).status == 200

    async def is_closed(self, within_s: float = 3.0) -> None:
        """Fails with TimeoutError if the server does not close the connection."""
        async with asyncio.timeout(within_s):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65_536):
                    continue


@contextlib.asynccontextmanager
async def client_of(camera: ServedCamera, *, receive_buffer: int | None = None) -> AsyncIterator[Client]:
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", camera.port))
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        yield Client(reader, writer, camera.url())
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def comes_true(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def sockets() -> int:
    """How many sockets this process holds."""
    held = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            held += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return held


async def test_the_first_packet_is_a_sender_report_that_dates_the_first_picture() -> None:
    async with served_camera() as camera, client_of(camera) as client:
        await client.play()
        (channel, report), (_, packet) = await client.frame(), await client.frame()

        first = next(unit for unit in camera.sent if unit.key)
        sender_report = parse_sender_reports(report)[0]
        stamp, ssrc = struct.unpack_from(">II", packet, 4)
        assert channel == 1
        assert (sender_report.ssrc, sender_report.rtp_time) == (ssrc, stamp)
        dates = {unit.arrival_us for unit in camera.sent if unit.key}
        assert min(abs(sender_report.ntp_us - date) for date in dates) <= 1
        assert first.key


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", 200),
        ("OPTIONS * RTSP/1.0\r\n\r\n", 400),
        ("OPTIONS * RTSP/1.0\r\nCSeq: one\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("DESCRIBE rtsp://a/other RTSP/1.0\r\nCSeq: 1\r\n\r\n", 404),
        ("DESCRIBE rtsp://a/main RTSP/1.0\r\nCSeq: 1\r\nAccept: text/html\r\n\r\n", 406),
        ("DESCRIBE rtsp://a/main RTSP/1.0\r\nCSeq: 1\r\nRequire: backchannel\r\n\r\n", 551),
        ("DESCRIBE rtsp://[::1/main RTSP/1.0\r\nCSeq: 1\r\n\r\n", 404),
        ("DESCRIBE rtsp://a/" + "main/" * 3000 + " RTSP/1.0\r\nCSeq: 1\r\n\r\n", 404),
        (f"SETUP rtsp://a/main RTSP/1.0\r\nCSeq: 1\r\nTransport: {TCP}\r\n\r\n", 459),
        (f"SETUP rtsp://a/main/trackID=9 RTSP/1.0\r\nCSeq: 1\r\nTransport: {TCP}\r\n\r\n", 459),
        ("SETUP rtsp://a/main/trackID=0 RTSP/1.0\r\nCSeq: 1\r\n\r\n", 461),
        ("SETUP rtsp://a/main/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;multicast\r\n\r\n", 461),
        ("SETUP rtsp://a/main/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport:RTP/AVP;client_port=2\r\n\r\n", 461),
        ("SETUP rtsp://a/main/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RAW/RAW/UDP\r\n\r\n", 461),
        ("PLAY rtsp://a/main RTSP/1.0\r\nCSeq: 1\r\n\r\n", 455),
        ("PAUSE rtsp://a/main RTSP/1.0\r\nCSeq: 1\r\nSession: 1\r\n\r\n", 454),
        ("TEARDOWN rtsp://a/main RTSP/1.0\r\nCSeq: 1\r\n\r\n", 454),
        ("GET_PARAMETER rtsp://a/main RTSP/1.0\r\nCSeq: 1\r\n\r\n", 200),
        ("SET_PARAMETER rtsp://a/main RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\na: b", 451),
        ("ANNOUNCE rtsp://a/main RTSP/1.0\r\nCSeq: 1\r\n\r\n", 405),
        ("FETCH rtsp://a/main RTSP/1.0\r\nCSeq: 1\r\n\r\n", 501),
    ],
)  # fmt: skip
async def test_each_request_gets_the_status_that_the_rfc_names(request_text: str, status: int) -> None:
    async with served_camera("h264", aac()) as camera, client_of(camera) as client:
        response = await client.say(request_text.encode())

        assert response.status == status


async def test_a_session_plays_pauses_plays_on_and_ends() -> None:
    async with served_camera() as camera, client_of(camera) as client:
        await client.play()
        assert (await client.ask("SETUP", f"{client.url}/trackID=0", Transport=TCP)).status == 455
        assert (await client.ask("PAUSE")).status == 200
        await comes_true(lambda: camera.mount.readers == 0)
        assert (await client.ask("PLAY")).status == 200
        await comes_true(lambda: camera.mount.readers == 1)
        wrong, client.session = client.session, "0123456789abcdef"
        assert (await client.ask("PLAY")).status == 454
        client.session = wrong
        assert (await client.ask("TEARDOWN")).status == 200

        assert camera.mount.readers == 0
        assert (await client.ask("PLAY")).status == 455


async def test_packets_come_on_the_channels_that_the_client_chose() -> None:
    async with served_camera("h264", aac()) as camera, client_of(camera) as client:
        await client.ask("SETUP", f"{client.url}/trackID=0", Transport="RTP/AVP/TCP;interleaved=20-21")
        overlapping = "RTP/AVP/TCP;interleaved=21-22"
        assert (await client.ask("SETUP", f"{client.url}/trackID=1", Transport=overlapping)).status == 461
        await client.ask("SETUP", f"{client.url}/trackID=1", Transport="RTP/AVP/TCP;interleaved=4-5")
        await client.ask("PLAY")

        channels = {(await client.frame())[0] for _ in range(80)}

        assert channels == {20, 21, 4, 5}


@pytest.mark.parametrize(
    "attack",
    [
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: " + b"x" * 200_000,
        b"A" * 200_000,
        b"SET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999999\r\n\r\n" + bytes(100_000),
        b"SET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 200000\r\n\r\n" + bytes(100_000),
        b"OPTIONS * RTSP/1.0\r\n" + b"A: b\r\n" * 40_000,
    ],
    ids=["long field", "no line end", "huge body", "large body", "many fields"],
)
async def test_what_never_ends_is_cut_off(attack: bytes) -> None:
    async with served_camera() as camera, client_of(camera) as client:
        client.writer.write(attack)

        await client.is_closed()
        await comes_true(lambda: camera.server.clients == 0)


async def test_a_request_that_drips_and_a_client_that_says_nothing_lose_their_place() -> None:
    limits = ServerLimits(stranger_s=0.3, request_s=0.3)
    async with served_camera(limits=limits) as camera:
        async with client_of(camera) as silent, client_of(camera) as dripping, client_of(camera) as chatty:
            dripping.writer.write(b"OPT")
            # Small talk does not make a stranger known.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                for _ in range(100):
                    assert (await chatty.ask("OPTIONS")).status == 200
                    await asyncio.sleep(0.01)
            for client in (silent, dripping, chatty):
                await client.is_closed()

        await comes_true(lambda: camera.server.clients == 0)


async def test_thousands_of_setups_cost_no_more_than_one() -> None:
    async with served_camera() as camera, client_of(camera) as client:
        before = sockets()
        for number in range(2_000):
            ports = f"RTP/AVP;unicast;client_port={20_000 + number}-{20_001 + number}"
            response = await client.ask("SETUP", f"{client.url}/trackID=0", Transport=ports)
            assert response.status == 200

        await comes_true(lambda: sockets() - before <= 2)


async def test_udp_goes_to_the_client_and_nowhere_else() -> None:
    async with served_camera() as camera, client_of(camera) as client:
        loop = asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as own, socket.socket(type=socket.SOCK_DGRAM) as victim:
            own.bind(("127.0.0.1", 0))
            port = own.getsockname()[1]
            victim.bind(("127.0.0.77", port))
            for sock in (own, victim):
                sock.setblocking(False)

            await client.play(f"RTP/AVP;unicast;destination=127.0.0.77;client_port={port}-{port + 1}")

            async with asyncio.timeout(5):
                for _ in range(50):
                    assert len(await loop.sock_recv(own, 2_000)) > 12
            with pytest.raises(BlockingIOError):
                victim.recv(2_000)


async def test_over_udp_a_client_that_goes_silent_is_left_and_receiver_reports_keep_it() -> None:
    async with served_camera(limits=ServerLimits(session_s=0.6)) as camera, client_of(camera) as client:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp:
            rtcp.bind(("127.0.0.1", 0))
            port = rtcp.getsockname()[1]
            await client.play(f"RTP/AVP;unicast;client_port={port - 1}-{port}")
            server_port = int(re.findall(r"server_port=\d+-(\d+)", client.transport)[0])
            alive_until = time.monotonic() + 1.5
            while time.monotonic() < alive_until:
                rtcp.sendto(build_receiver_report(1, []), ("127.0.0.1", server_port))
                assert camera.mount.readers == 1
                await asyncio.sleep(0.1)
            silent_since = time.monotonic()
            await client.is_closed()

        assert 0.3 <= time.monotonic() - silent_since <= 2.5


async def test_a_reader_that_stops_reading_loses_pictures_and_no_other_reader_does() -> None:
    async with (
        served_camera(noise=100_000, fps=50) as camera,
        client_of(camera, receive_buffer=8_192) as slow,
        client_of(camera) as quick,
    ):
        await slow.play()
        await quick.play()
        await quick.frame()
        begun = len(camera.sent)
        pictures = 0
        async with asyncio.timeout(12):
            while len(camera.sent) - begun < 150:
                channel, packet = await quick.frame()
                pictures += channel == 0 and packet[1] >> 7

        assert pictures >= 140
        # What the slow one missed is missing as a whole: stamps jump, sequence numbers do not.
        stamps: list[int] = []
        numbers: list[int] = []
        async with asyncio.timeout(10):
            while len(stamps) < 2 or max(b - a for a, b in itertools.pairwise(stamps)) <= 90_000 // 50:
                channel, packet = await slow.frame()
                if channel == 0:
                    number, stamp = struct.unpack_from(">HI", packet, 2)
                    numbers.append(number)
                    stamps.append(stamp)
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        payload = packet[12:]
        # It goes on with parameter sets, which begin a key frame.
        assert payload[0] & 0x1F in (7, 24)


async def test_a_reader_that_is_stuck_is_left() -> None:
    async with served_camera(noise=100_000, limits=ServerLimits(stuck_s=0.5)) as camera:
        async with client_of(camera, receive_buffer=4_096) as stuck:
            await stuck.play()
            stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stub lacks it

            await comes_true(lambda: camera.server.clients == 0, within_s=15)
        assert camera.mount.readers == 0


async def test_a_client_that_vanishes_leaves_nothing_behind() -> None:
    async with served_camera() as camera:
        before = sockets()
        for _ in range(5):
            async with client_of(camera) as client:
                await client.play()

        await comes_true(lambda: camera.mount.readers == 0 and camera.server.clients == 0)
        await comes_true(lambda: sockets() <= before)


async def test_one_client_too_many_gets_503() -> None:
    async with served_camera(limits=ServerLimits(clients=2)) as camera:
        async with client_of(camera) as first, client_of(camera) as second, client_of(camera) as third:
            await first.ask("OPTIONS")
            await second.ask("OPTIONS")
            async with asyncio.timeout(3):
                refusal = await third.reader.readuntil(b"\r\n\r\n")
            assert parse_response(refusal).status == 503
        await comes_true(lambda: camera.server.clients == 0)
        async with client_of(camera) as later:
            assert (await later.ask("OPTIONS")).status == 200


async def test_everything_but_options_asks_for_a_password_and_four_wrong_ones_end_the_connection() -> None:
    auth = ServerAuth({"petugas": "rahasia"})
    async with served_camera(auth=auth) as camera, client_of(camera) as client:
        assert (await client.ask("OPTIONS")).status == 200
        for method in ("DESCRIBE", "SETUP", "PLAY", "TEARDOWN", "GET_PARAMETER", "ANNOUNCE"):
            assert (await client.ask(method)).status == 401
        challenge = await client.ask("DESCRIBE")
        assert len(challenge.headers.get_all("www-authenticate")) == 2
        right, wrong = (_signer(challenge.headers, password) for password in ("rahasia", "salah"))
        sign_in = right.authorization("DESCRIBE", client.url) or ""
        assert (await client.ask("DESCRIBE", Authorization=sign_in)).status == 200
        # A signature is for its method: it opens no other.
        assert (await client.ask("PLAY", Authorization=sign_in)).status == 401
        for _ in range(3):
            sign_in = wrong.authorization("DESCRIBE", client.url) or ""
            assert (await client.ask("DESCRIBE", Authorization=sign_in)).status == 401

        await client.is_closed()


def _signer(headers: Headers, password: str) -> ClientAuth:
    auth = ClientAuth(Credentials("petugas", password))
    auth.challenge(headers)
    return auth


async def test_clients_leave_when_the_publisher_ends() -> None:
    async with served_camera() as camera, client_of(camera) as client:
        await client.play()

        camera.mount.close()

        await client.is_closed()


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("rtsp://10.0.0.1/main", "rtsp://10.0.0.1/main/"),
        ("rtsp://user:secret@10.0.0.1:554/main/?a=b", "rtsp://10.0.0.1:554/main/"),
    ],
)
def test_the_base_of_the_tracks_holds_no_password(url: str, base: str) -> None:
    assert content_base(url) == base


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from(
                [
                    b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n",
                    b"SETUP rtsp://a/main/trackID=0 RTSP/1.0\r\nCSeq: 2\r\n",
                    b"PLAY rtsp://a/main RTSP/1.0\r\nCSeq: 3\r\n",
                    b"Session: \x01\r\n",
                    b"Require: \x01\r\n",
                    b"Transport: ;;=,\r\n",
                    b"Transport: RTP/AVP/TCP;interleaved=300-4\r\n",
                    b"Authorization: Digest \r\n",
                    b"\r\n",
                    b"$\0\0\4abcd",
                    b"$\0",
                ]
            ),
        ),
        max_size=12,
    )
)
def test_no_bytes_end_the_server(pieces: list[bytes]) -> None:
    asyncio.run(_survives(b"".join(pieces)))


async def _survives(data: bytes) -> None:
    errors: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = errors.append  # type: ignore[method-assign,assignment]  # a handler that keeps them
    logger = logging.getLogger("simpang_buffer.rtsp")
    logger.addHandler(handler)
    try:
        async with served_camera() as camera:
            async with client_of(camera) as rude:
                rude.writer.write(data)
                rude.writer.write_eof()
                await rude.is_closed()
            async with client_of(camera) as polite:
                assert (await polite.ask("OPTIONS")).status == 200
    finally:
        logger.removeHandler(handler)
    assert errors == []
