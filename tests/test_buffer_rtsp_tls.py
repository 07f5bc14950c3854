"""rtsps:// against a server that nobody here wrote, and against what bad cameras and strangers do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certificates import Made, made
from peer_gst import gst_camera
from scripted_camera import Habits, Reply, ScriptedCamera, Talk, abort, frame, rtp, scripted_camera
from simpang_buffer.rtsp.connection import Source, connect
from simpang_buffer.rtsp.errors import (
    Malformed,
    RefusedByPolicy,
    StreamError,
    Timeout,
    TransportRefused,
    Unreachable,
    Unsupported,
)
from simpang_buffer.rtsp.session import BUFFER_BYTES, RtpPacket, Session, open_session
from simpang_buffer.rtsp.tls import TlsLink, Trust


@pytest.fixture(scope="module")
def camera_certificate(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("tls"))


async def numbers(session: Session, count: int, within_s: float = 10) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(within_s):
        while len(found) < count:
            found += [
                int.from_bytes(item.data[2:4], "big")
                for item in session.read_available()
                if isinstance(item, RtpPacket)
            ]
            await asyncio.sleep(0.01)
    return found


async def refusal(source: Source, *, within_s: float = 2.0, **options: Any) -> StreamError:
    began = time.monotonic()
    with pytest.raises(StreamError) as raised:
        async with open_session(source, within_s=within_s, **options):
            raise AssertionError("it played")
    assert time.monotonic() - began < within_s + 1.5
    return raised.value


async def test_a_real_server_is_recorded_through_tls(camera_certificate: Made) -> None:
    seen: list[str] = []

    def first(port: int, found: str) -> str:
        seen.append(found)
        return found

    async with gst_camera(
        user="op", password="p@ss", certificate=camera_certificate.file, fps=50, kbps=2000
    ) as camera:
        source = Source(camera.url, camera.host, camera.port, camera.credentials)
        async with open_session(source, pin_of=first) as session:
            found = await numbers(session, 200)
        with_pin = replace(source, trust=Trust(pin=camera_certificate.fingerprint))
        async with open_session(with_pin) as session:
            await numbers(session, 5)

    assert seen == [camera_certificate.fingerprint]
    assert found == [(found[0] + n) & 0xFFFF for n in range(len(found))]


def playing(*packets: bytes) -> Habits:
    return Habits(media=(b"".join(frame(0, packet) for packet in packets),))


async def test_an_expired_certificate_is_as_good_as_its_pin(tmp_path: Path) -> None:
    """2.4, and an unset clock: no failure of a certificate's dates stops recording."""
    expired = await asyncio.to_thread(made, tmp_path, days=-3)
    async with scripted_camera(habits=playing(rtp(1)), tls=expired.server()) as camera:
        source = camera.source(trust=Trust(pin=expired.fingerprint))
        async with open_session(source) as session:
            assert await numbers(session, 1) == [1]


async def test_a_changed_certificate_is_refused_before_a_word_is_said(
    camera_certificate: Made, tmp_path: Path
) -> None:
    other = await asyncio.to_thread(made, tmp_path)
    async with scripted_camera(tls=other.server()) as camera:
        learnt = await refusal(camera.source(), pin_of=lambda port, found: camera_certificate.fingerprint)
        written = await refusal(camera.source(trust=Trust(pin=camera_certificate.fingerprint)))
        requests = camera.methods()

    for error in (learnt, written):
        assert type(error) is RefusedByPolicy
        assert "another certificate" in error.detail
        assert "replaced or reset" in error.detail
        assert "trust its new certificate" in error.detail
    assert requests == []


@pytest.mark.parametrize(
    ("name", "days", "refused"),
    [("127.0.0.1", 100, ""), ("127.0.0.1", -3, ""), ("127.0.0.9", 100, "IP address mismatch")],
    ids=["right", "expired", "wrong name"],
)
async def test_a_ca_vouches_for_the_name_and_not_for_the_date(
    tmp_path: Path, name: str, days: int, refused: str
) -> None:
    authority = await asyncio.to_thread(made, tmp_path, "authority", authority=True)
    signed = await asyncio.to_thread(made, tmp_path, "signed", host=name, days=days, by=authority)
    async with scripted_camera(habits=playing(rtp(1)), tls=signed.server()) as camera:
        source = camera.source(trust=Trust(ca=authority.pem))
        if refused:
            error = await refusal(source)
            assert type(error) is RefusedByPolicy
            assert refused in error.detail
            assert camera.methods() == []
        else:
            async with open_session(source) as session:
                assert await numbers(session, 1) == [1]


async def test_a_certificate_of_another_ca_is_refused(camera_certificate: Made, tmp_path: Path) -> None:
    authority = await asyncio.to_thread(made, tmp_path, "authority", authority=True)
    async with scripted_camera(tls=camera_certificate.server()) as camera:
        error = await refusal(camera.source(trust=Trust(ca=authority.pem)))
        nonsense = await refusal(camera.source(trust=Trust(ca="no certificate at all")))

    assert type(error) is RefusedByPolicy
    assert "CA file does not vouch" in error.detail
    assert type(nonsense) is Unsupported
    assert "CA file" in nonsense.detail


@contextlib.asynccontextmanager
async def plain(connected: Callable[[Talk], Awaitable[None]]) -> AsyncIterator[ScriptedCamera]:
    """A TCP server that is said to speak TLS."""
    async with scripted_camera(connected) as camera:
        camera.scheme = "rtsps"
        yield camera


@pytest.mark.parametrize(
    ("says", "forever", "reason", "words"),
    [
        (b"", False, Timeout, "took the connection"),
        (b"\x16\x03\x03\x00", False, Timeout, "took the connection"),
        (b"\x16", True, Malformed, "TLS"),
        (b"RTSP/1.0 400 Bad Request\r\n\r\n", False, Malformed, "does not speak TLS"),
        (b"\xff" * 1000, False, Malformed, "does not speak TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x28", False, Unsupported, "no way to encrypt"),
        (b"\x16\x03\x03\x40\x00" + bytes(16_384), True, StreamError, ""),
        # HelloRequest, which a client passes over however often it comes.
        (b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 500, True, Malformed, "never ends"),
    ],
    ids=["silent", "stalls", "drips", "speaks RTSP", "noise", "refuses", "floods", "asks for ever"],
)
async def test_a_handshake_that_comes_to_nothing_has_a_reason_in_time(
    says: bytes, forever: bool, reason: type[StreamError], words: str
) -> None:
    async def connected(talk: Talk) -> None:
        while True:
            await talk.send(says)
            if not forever:
                await asyncio.Event().wait()
            await asyncio.sleep(0)

    async with plain(connected) as camera:
        error = await refusal(camera.source(), within_s=1.0)

    assert isinstance(error, reason)
    assert words in error.detail


async def test_a_stalled_handshake_is_named() -> None:
    async def connected(talk: Talk) -> None:
        await asyncio.Event().wait()

    async with plain(connected) as camera:
        with pytest.raises(Timeout, match="TLS handshake"):
            async with connect(camera.source(), None, 0.3):
                raise AssertionError("it shook hands")


async def test_a_peer_that_hangs_up_in_the_handshake_is_unreachable() -> None:
    async def connected(talk: Talk) -> None:
        await talk.reader.read(10)
        talk.writer.close()

    async with plain(connected) as camera:
        assert type(await refusal(camera.source())) is Unreachable


async def test_old_ciphers_are_used_where_they_are_asked_for(camera_certificate: Made) -> None:
    """2.4: cameras that know RSA key exchange only."""
    old = camera_certificate.server(ciphers="AES128-SHA:@SECLEVEL=0")
    async with scripted_camera(habits=playing(rtp(1)), tls=old) as camera:
        error = await refusal(camera.source())
        async with open_session(camera.source(trust=Trust(old=True))) as session:
            assert await numbers(session, 1) == [1]

    # Python's server hangs up where others send an alert.
    assert isinstance(error, Unsupported | Unreachable)
    assert "old_tls = true" in error.detail


async def test_a_key_exchange_whose_cost_the_camera_chooses_is_refused(
    camera_certificate: Made, tmp_path: Path
) -> None:
    """DHE with a prime of 10,000 bits holds up a recorder's every camera for seconds; this one is short."""
    # PKCS 3: a number (whether it is a prime no client asks) and the generator 2.
    number = b"\x02\x81\x81\0" + ((1 << 1023) + 1155).to_bytes(128, "big")
    text = base64.encodebytes(b"\x30\x81\x87" + number + b"\x02\x01\x02").decode()
    file = tmp_path / "prime.pem"
    file.write_text(f"-----BEGIN DH PARAMETERS-----\n{text}-----END DH PARAMETERS-----\n")
    server = camera_certificate.server(ciphers="DHE-RSA-AES128-SHA:@SECLEVEL=0")
    server.load_dh_params(file)
    async with scripted_camera(habits=playing(rtp(1)), tls=server) as camera:
        errors = [await refusal(camera.source(trust=Trust(old=old))) for old in (False, True)]

    assert {type(error) for error in errors} <= {Unsupported, Unreachable}


@pytest.mark.parametrize("host", ["a..b", "x" * 80 + ".local"])
async def test_a_host_that_is_no_name_is_said(camera_certificate: Made, host: str) -> None:
    async with scripted_camera(tls=camera_certificate.server()) as camera:
        source = camera.source()
        error = await refusal(replace(source, url=source.url.replace("127.0.0.1", host)))

    assert isinstance(error, Unsupported)
    assert "correct the address" in error.detail


async def test_what_is_encrypted_stays_so(camera_certificate: Made) -> None:
    """7.15, 7.16: no redirect to rtsp://, no media over UDP, whatever the camera or the source says."""
    away = Habits({"DESCRIBE": [Reply(302, fields=(("Location", "rtsp://127.0.0.1:PORT/x"),))]})
    async with scripted_camera(habits=away, tls=camera_certificate.server()) as camera:
        redirected = await refusal(camera.source())
    no_tcp = Habits({"SETUP": [Reply(461)]})
    async with scripted_camera(habits=no_tcp, tls=camera_certificate.server()) as camera:
        refused = await refusal(camera.source(transport="udp"))
        asked = [r.headers.get("transport") for r in camera.requests if r.method == "SETUP"]

    assert "anybody could read" in redirected.detail
    assert type(refused) is TransportRefused
    assert asked == ["RTP/AVP/TCP;unicast;interleaved=0-1"]


async def test_a_redirect_to_rtsps_is_followed(camera_certificate: Made) -> None:
    async with scripted_camera(habits=playing(rtp(3)), tls=camera_certificate.server()) as safe:
        to = Habits({"DESCRIBE": [Reply(302, fields=(("Location", f"rtsps://127.0.0.1:{safe.port}/x"),))]})
        async with scripted_camera(habits=to) as camera, open_session(camera.source()) as session:
            assert await numbers(session, 1) == [3]


async def test_records_of_a_byte_and_of_sixteen_thousand_bring_the_same(camera_certificate: Made) -> None:
    packets = [rtp(n, bytes(n)) for n in range(1, 40)]

    async def trickle(talk: Talk, request: object) -> None:
        for byte in b"".join(frame(0, packet) for packet in packets):
            talk.writer.write(bytes((byte,)))
        await talk.send(b"".join(frame(0, rtp(n, bytes(60_000))) for n in range(40, 60)))

    async with scripted_camera(playing=trickle, tls=camera_certificate.server()) as camera:
        camera.watched.set()
        async with open_session(camera.source()) as session:
            assert await numbers(session, 59) == list(range(1, 60))


async def test_one_call_does_a_bounded_amount_of_work(camera_certificate: Made) -> None:
    """Tiny records cost thirty times what they bring; a beat must not pay for all that wait."""

    async def flood(talk: Talk, request: object) -> None:
        while True:
            for _ in range(2000):
                talk.writer.write(b"$")
            await talk.writer.drain()

    most_bytes = 0
    async with scripted_camera(playing=flood, tls=camera_certificate.server()) as camera:
        camera.watched.set()
        async with open_session(camera.source()) as session:
            link = session._connection._link
            assert isinstance(link, TlsLink)
            counted = link._sock = Counted(link._sock)  # type: ignore[assignment]  # stands in for it
            for _ in range(15):
                counted.bytes = 0
                with contextlib.suppress(Malformed):
                    session.read_available(65_536)
                most_bytes = max(most_bytes, counted.bytes)
                await asyncio.sleep(0.02)

    assert 65_536 < most_bytes <= 3 * 65_536


class Counted:
    """A socket that knows how much was read."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.bytes = 0

    def recv(self, at_most: int) -> bytes:
        data = self._sock.recv(at_most)
        self.bytes += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


async def test_truncation_ends_the_session_and_delivers_no_half_packet(camera_certificate: Made) -> None:
    async def cut(talk: Talk, request: object) -> None:
        await talk.send(frame(0, rtp(1)) + frame(0, rtp(2, bytes(500)))[:100])
        await asyncio.sleep(0.2)
        talk.writer.transport.abort()

    async with scripted_camera(playing=cut, tls=camera_certificate.server()) as camera:
        camera.watched.set()
        async with open_session(camera.source()) as session:
            assert await numbers(session, 1) == [1]
            with pytest.raises(Unreachable):
                await numbers(session, 1)


async def test_bytes_changed_on_the_way_end_the_session(camera_certificate: Made) -> None:
    async with (
        scripted_camera(tls=camera_certificate.server()) as camera,
        tampering(camera.port) as (port, tamper),
        open_session(replace(camera.source(), port=port)) as session,
    ):
        tamper.set()
        session._connection.post("OPTIONS", "*")
        with pytest.raises(Malformed, match="encrypted connection broke"):
            await numbers(session, 1)


@contextlib.asynccontextmanager
async def tampering(to: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A relay that changes what the camera says from the moment it is told to."""
    tamper = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, camera: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                changed = data[:-1] + bytes((data[-1] ^ 1,)) if camera and tamper.is_set() else data
                writer.write(changed)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", to)
        writers.extend((writer, there[1]))
        tasks.add(asyncio.create_task(carry(reader, there[1], camera=False)))
        tasks.add(asyncio.create_task(carry(there[0], writer, camera=True)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], tamper
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await abort(writers)


async def test_a_camera_that_reads_nothing_is_given_up(camera_certificate: Made) -> None:
    async with (
        scripted_camera(tls=camera_certificate.server()) as camera,
        open_session(camera.source()) as session,
    ):
        with pytest.raises(Timeout, match="reads nothing"):
            for _ in range(100_000):
                session._connection.send(bytes(1000))


async def test_renegotiation_which_could_change_the_certificate_is_refused(camera_certificate: Made) -> None:
    """Spoken by openssl's own server: `r` on its standard input asks for it."""
    server = await asyncio.create_subprocess_exec(
        "openssl", "s_server", "-tls1_2", "-accept", "127.0.0.1:0", "-cert", str(camera_certificate.file),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(10):
            while not (line := await server.stdout.readline()).startswith(b"ACCEPT"):
                assert line
            source = Source("rtsps://127.0.0.1/x", "127.0.0.1", int(line.rpartition(b":")[2]))
            async with connect(source, bytearray(BUFFER_BYTES), 5) as connection:
                while b"Secure Renegotiation IS supported" not in said:
                    said += await server.stdout.readline()
                server.stdin.write(b"r\n")
                with pytest.raises(StreamError):
                    while True:
                        assert connection.receive(65_536)[0] == []
                        await asyncio.sleep(0.02)
                while b"renegotiation:" not in said and (line := await server.stdout.readline()):
                    said += line
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.communicate()

    assert b"no renegotiation" in said


def test_a_context_reads_no_file_and_keeps_to_tls_1_2_and_later() -> None:
    from simpang_buffer.rtsp.tls import tls_context

    context = tls_context(Trust())

    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.get_ca_certs() == []
