"""One conversation with one camera over HTTP: each request bounded in time and size, one at a time.

At most one refused sign-in, since cameras lock an account after five and for half an hour. Nothing is signed
until the camera asks for it, so one that lets everybody in never sees a credential. One that asks by HTTP is
answered by HTTP digest; one that answers with a SOAP fault, by a WS-Security digest.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType

import aiohttp
from lxml import etree
from yarl import URL

from simpang_onvif import reply, xml
from simpang_onvif.clock import CameraClock
from simpang_onvif.device import CheckedUri, Credentials
from simpang_onvif.documents import Documents
from simpang_onvif.errors import OnvifError, Reason

# A camera on the same network answers a SYN in milliseconds; three seconds survive one lost packet or two.
_CONNECT_S = 3.0
_READ_BYTES = 65_536
_SIGN_IN_REASONS = (Reason.AUTH, Reason.LOCKED, Reason.CLOCK)


class Conversation:
    """Made by `converse`. clock: the camera's, once known; signatures are dated by it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        documents: Documents,
        credentials: Credentials | None,
        *,
        timeout_s: float,
        deadline: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.clock: CameraClock | None = None
        self._session = session
        self._documents = documents
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._deadline = deadline
        self._monotonic = monotonic
        self._one_at_a_time = asyncio.Lock()
        self._digests: dict[str, aiohttp.DigestAuthMiddleware] = {}
        self._signing = False
        self._accepted = False
        self._refusal: OnvifError | None = None

    async def ask(
        self,
        service: str,
        uri: CheckedUri,
        operation: str,
        arguments: Mapping[str, object] = MappingProxyType({}),
        *,
        may_sign: bool = True,
    ) -> reply.Reply:
        """What the camera replies to one operation. Raises OnvifError.

        Once it has refused the credentials, every later call raises that refusal and sends nothing.
        """
        async with self._one_at_a_time:
            if self._refusal is not None:
                raise self._refusal
            try:
                return await self._ask_once(
                    service, uri, operation, arguments, sign=self._signing and may_sign
                )
            except _Unsigned as unsigned:
                if not may_sign or self._credentials is None or unsigned.error.reason is Reason.LOCKED:
                    raise unsigned.error from None
                self._signing = True
            return await self._ask_once(service, uri, operation, arguments, sign=True)

    async def _ask_once(
        self, service: str, uri: CheckedUri, operation: str, arguments: Mapping[str, object], *, sign: bool
    ) -> reply.Reply:
        token = self._token() if sign else None
        exchange = _Exchange(self._post, uri)
        proxy = self._documents.proxy(service, uri.url, exchange, token)
        try:
            answer: reply.Answer = await getattr(proxy, operation)(**arguments)
        except (ValueError, TypeError, LookupError) as error:
            # From writing the request: a token with characters that XML cannot hold.
            raise OnvifError(
                Reason.MALFORMED, f"{operation}: cannot be asked ({type(error).__name__})"
            ) from error
        try:
            result = reply.read(answer, operation)
        except OnvifError as error:
            if error.reason not in _SIGN_IN_REASONS:
                raise
            # An HTTP digest counts as refused by 401 alone: a fault behind it asks for the other signature.
            if token is None and not (answer.http_signed and answer.status == 401):
                raise _Unsigned(error) from None
            if not self._accepted:
                self._refusal = error
            raise
        self._accepted = self._accepted or token is not None or answer.http_signed
        return result

    def _token(self) -> object:
        assert self._credentials is not None
        now = self.clock.now(self._monotonic()) if self.clock else datetime.now(UTC)
        return self._documents.token(
            self._credentials.user,
            self._credentials.password,
            use_digest=True,
            created=now.replace(tzinfo=None),
        )

    def _digest(self, uri: CheckedUri) -> tuple[aiohttp.DigestAuthMiddleware, ...]:
        if self._credentials is None or ":" in self._credentials.user:  # which HTTP digest cannot carry
            return ()
        origin = f"{uri.scheme}://{uri.authority}"
        if origin not in self._digests:
            self._digests[origin] = aiohttp.DigestAuthMiddleware(
                self._credentials.user, self._credentials.password
            )
        return (self._digests[origin],)

    async def _post(self, uri: CheckedUri, message: bytes, headers: dict[str, str]) -> reply.Answer:
        limit_s = min(self._timeout_s, self._deadline - asyncio.get_running_loop().time())
        if limit_s <= 0:
            raise OnvifError(Reason.TIMEOUT, f"{uri.authority}: took too long altogether")
        try:
            async with (
                asyncio.timeout(limit_s),
                self._session.post(
                    URL(uri.url, encoded=True),  # as checked, not as yarl would write it
                    data=message,
                    headers=headers,
                    allow_redirects=False,
                    middlewares=self._digest(uri),
                ) as response,
            ):
                return reply.Answer(
                    status=response.status,
                    content_type=response.headers.get("Content-Type", ""),
                    body=await _read(response),
                    http_signed="Authorization" in response.request_info.headers,
                )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise _translated(error, uri, limit_s) from error


@asynccontextmanager
async def converse(
    documents: Documents,
    credentials: Credentials | None,
    *,
    timeout_s: float,
    total_s: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Conversation]:
    """timeout_s: for each request; total_s: for all of them together, from now."""
    connector = aiohttp.TCPConnector(
        ssl=_tls(),
        # A connection per request: cameras close idle ones without a word, and a request that dies with such
        # a connection could not be told from one that reached the camera.
        force_close=True,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        auto_decompress=False,  # a megabyte of zip bytes is a gigabyte of zeros
        trust_env=False,  # no proxy ever stands between us and a camera
        headers={"User-Agent": "simpang", "Accept-Encoding": "identity"},
        read_bufsize=_READ_BYTES,
    ) as session:
        yield Conversation(
            session,
            documents,
            credentials,
            timeout_s=timeout_s,
            deadline=asyncio.get_running_loop().time() + total_s,
            monotonic=monotonic,
        )


class _Unsigned(Exception):
    """The camera wants a signature that the request did not carry."""

    def __init__(self, error: OnvifError) -> None:
        self.error = error
        super().__init__(str(error))


class _Exchange:
    """What zeep calls a transport, as far as writing needs one: posts to the address that was checked."""

    def __init__(self, post: Callable[[CheckedUri, bytes, dict[str, str]], object], uri: CheckedUri) -> None:
        self._post = post
        self._uri = uri

    def post_xml(self, _address: str, envelope: xml.Element, headers: dict[str, str]) -> object:
        message = etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")
        return self._post(self._uri, message, headers)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise OnvifError(Reason.MALFORMED, "answered with compressed data that nobody asked for")
    body = bytearray()
    async for block in response.content.iter_chunked(_READ_BYTES):
        body += block
        if len(body) > xml.MAX_BYTES:
            raise OnvifError(Reason.MALFORMED, f"answered with more than {xml.MAX_BYTES} bytes")
    return bytes(body)


def _translated(error: Exception, uri: CheckedUri, limit_s: float) -> OnvifError:
    """One place for what asyncio, aiohttp and the kernel call it."""
    where = uri.authority
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return OnvifError(Reason.UNREACHABLE, f"{where}: no answer to a connection attempt")
    if isinstance(error, aiohttp.ClientConnectorError):
        return OnvifError(Reason.UNREACHABLE, f"{where}: {error.os_error.strerror or 'cannot connect'}")
    if isinstance(error, TimeoutError):
        return OnvifError(Reason.TIMEOUT, f"{where}: no whole answer within {limit_s:.0f} s")
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return OnvifError(Reason.UNREACHABLE, f"{where}: closed the connection without an answer")
    return OnvifError(Reason.NOT_ONVIF, f"{where}: does not speak HTTP as it should ({type(error).__name__})")


def _tls() -> ssl.SSLContext:
    # Cameras sign their own certificates; what protects the password is that it is never sent, only digested.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
