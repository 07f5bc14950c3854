"""RTSP over TLS (rtsps://): whose certificate is believed, and the encrypted link.

Cameras sign their certificates themselves, let them expire and name nobody in them. So a certificate is
known by its SHA-256: the one that was written down, else the first that was seen. Where a CA file is given,
it must have signed the certificate for the host that the address names. Time is never part of the judgement:
an expired certificate and a gateway that woke up in 1970 record on.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from dataclasses import dataclass, field
from hashlib import sha256

from simpang_buffer.rtsp.errors import Malformed, RefusedByPolicy, StreamError, Unreachable, Unsupported

# The whole talk before the first application byte; a chain of ten certificates is 20 kB.
_MOST_HANDSHAKE_BYTES = 256 * 1024
_READ_BYTES = 65_536
# Anonymous; and DHE, for which a server may choose a prime of 10,000 bits: 3 s of computing in one call
# (measured), in which no other camera is read. Whoever has DHE has ECDHE or RSA key exchange too.
_NEVER = "!aNULL:!eNULL:!kDHE"
# X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python does not name.
_NO_CHECK_TIME = 0x200000


@dataclass(frozen=True, slots=True)
class Trust:
    """How the certificate of one camera is judged.

    pin: SHA-256 of the certificate that somebody wrote down, in lower-case hexadecimal; None: the first that
    is seen, or what the CA says. ca: certificates in PEM, as text. old: also what browsers gave up long ago
    (TLS 1.0, RSA key exchange, short keys), for this camera alone.
    """

    pin: str | None = None
    ca: str | None = field(default=None, repr=False)
    old: bool = False


def fingerprint_words(fingerprint: str) -> str:
    """The beginning of a SHA-256 as people compare it: "ab:cd:ef:01"."""
    return ":".join(fingerprint[at : at + 2] for at in range(0, 16, 2))


def check_pin(found: str, pin: str) -> None:
    """Raises RefusedByPolicy, in words for a technician, where another certificate is shown than the pinned
    one."""
    if found != pin:
        raise RefusedByPolicy(
            f"the camera shows another certificate (SHA-256 {fingerprint_words(found)}...) than the one it is"
            f" known by ({fingerprint_words(pin)}...): it was replaced or reset, or somebody answers in its"
            " place; if it is the right camera, let the gateway trust its new certificate"
        )


class TlsLink:
    """TLS on a connected, non-blocking socket. See link.Link.

    Bytes pass through memory, so that each call does a bounded amount of work whatever the peer sends: one
    byte in each record, or records that only change keys. Renegotiation, which could change the certificate,
    is refused.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str | None) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._unsent = b""

    @property
    def local_host(self) -> str:
        return str(self._sock.getsockname()[0])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the camera's certificate, once the handshake is done. Raises Malformed without one."""
        found = self._tls.getpeercert(binary_form=True)
        if not found:
            raise Malformed("the camera shows no certificate")
        return sha256(found).hexdigest()

    async def handshake(self) -> None:
        """The caller limits the time. Raises StreamError, OSError."""
        loop = asyncio.get_running_loop()
        heard_bytes = 0
        while True:
            try:
                self._tls.do_handshake()
                await self._flush_all()
                return
            except ssl.SSLWantReadError:
                await self._flush_all()
            data = await loop.sock_recv(self._sock, _READ_BYTES)
            if not data:
                raise Unreachable("the camera closed the connection during the TLS handshake")
            heard_bytes += len(data)
            if heard_bytes > _MOST_HANDSHAKE_BYTES:
                raise Malformed("the camera's TLS handshake never ends")
            self._incoming.write(data)

    async def recv(self, at_most: int) -> bytes:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return self._tls.read(at_most)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                await self._flush_all()
            data = await loop.sock_recv(self._sock, _READ_BYTES)
            if not data:
                return b""
            self._incoming.write(data)

    async def send_all(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush_all()

    def recv_into(self, space: memoryview) -> int:
        filled = taken_bytes = 0
        closed = False
        while filled < len(space):
            try:
                # Typeshed knows only the form without a buffer, which gives bytes.
                count: int = self._tls.read(len(space) - filled, space[filled:])  # type: ignore[assignment]  # see above
            except ssl.SSLZeroReturnError:
                closed = True
                break
            except ssl.SSLWantReadError:
                # What is decrypted is shorter than what came, so this is about one space's worth of work.
                if taken_bytes > len(space):
                    break
                try:
                    data = self._sock.recv(_READ_BYTES)
                except BlockingIOError:
                    break
                if not data:
                    closed = True
                    break
                taken_bytes += len(data)
                self._incoming.write(data)
                continue
            filled += count
        self._flush()
        if filled or closed:
            return filled
        raise BlockingIOError

    def send(self, data: bytes | bytearray) -> int:
        """All or nothing: what is encrypted cannot be taken back."""
        self._flush()
        if self._unsent:
            raise BlockingIOError
        self._tls.write(data)
        self._flush()
        return len(data)

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        if not self._unsent:
            return
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            # It goes out with what follows. Bounded: send() takes nothing more meanwhile.
            return

    async def _flush_all(self) -> None:
        data, self._unsent = self._unsent + self._outgoing.read(), b""
        if data:
            await asyncio.get_running_loop().sock_sendall(self._sock, data)


async def encrypt(sock: socket.socket, trust: Trust, host: str) -> TlsLink:
    """The handshake on a connected socket. host: as the address names it. Raises StreamError, OSError."""
    context = tls_context(trust)
    try:
        link = TlsLink(sock, context, host)
    except ValueError:
        raise Unsupported("the host in the camera's address cannot be a name; correct the address") from None
    try:
        await link.handshake()
    except Unreachable as error:
        raise Unreachable(error.detail + _hint(trust)) from None
    except ssl.SSLCertVerificationError as error:
        raise RefusedByPolicy(
            f"the CA file does not vouch for the camera's certificate ({error.verify_message}): correct the "
            "file, name the camera in its address as its certificate does, or pin the certificate instead"
        ) from None
    except ssl.SSLError as error:
        raise handshake_error(error, trust) from None
    return link


def tls_context(trust: Trust) -> ssl.SSLContext:
    """Made from text alone: a recorder process opens no file. Raises Unsupported for a CA that is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"DEFAULT:!kRSA:{_NEVER}")
    context.verify_flags |= _NO_CHECK_TIME
    if trust.ca is None or trust.pin is not None:
        # The certificate is known by its SHA-256, see the module; nobody else could vouch for it.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        try:
            context.load_verify_locations(cadata=trust.ca)
        except ssl.SSLError:
            raise Unsupported("the camera's CA file holds no certificate in PEM") from None
    if trust.old:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is why it is asked for
            context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers(f"ALL:{_NEVER}:@SECLEVEL=0")
        # SSL_OP_LEGACY_SERVER_CONNECT: a camera that does not know of secure renegotiation. We refuse all.
        context.options |= 0x4
    return context


def handshake_error(error: ssl.SSLError, trust: Trust) -> StreamError:
    """What a failed handshake means to a technician."""
    said = words_of(error)
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"):
        return Malformed(f"the camera does not speak TLS at this port ({said}); is it an rtsp:// address?")
    return Unsupported(f"the camera and the gateway share no way to encrypt ({said}){_hint(trust)}")


def _hint(trust: Trust) -> str:
    return "" if trust.old else "; if the camera is old, set old_tls = true for it"


def words_of(error: ssl.SSLError) -> str:
    """OpenSSL's reason in lower case, without the file and line of its source."""
    return (error.reason or "failed").replace("_", " ").lower()
