"""The S3 calls that sending footage takes, over aiohttp: put, head, get.

A redirect is refused (a store must not send footage elsewhere), an answer is read to a limit, and a request
that stands still is ended. Path-style addresses, which every S3-compatible store understands.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from simpang.store.errors import StoreAway, StoreBusy, StoreDiffers, StoreError, StoreRefused
from simpang.store.sigv4 import EMPTY_SHA256, StoreKeys, encoded_path, sign

# Enough for an S3 error document; none of our own objects is read back whole but in `get`.
MAX_ANSWER_BYTES = 64 * 1024
# What is handed to the socket at a time, and so what the ceiling can still hold back.
SLICE_BYTES = 16 * 1024
# Servers drop a silent upload after 20 to 60 s; so do we.
STALL_S = 30.0
# S3 refuses signatures that are further off than this ("RequestTimeTooSkewed").
SKEW_S = 900
# X509_V_ERR_CERT_NOT_YET_VALID of OpenSSL: what a gateway without a battery sees until its clock is set.
_NOT_YET_VALID = 9

Pace = Callable[[int], Awaitable[None]]


class Body(Protocol):
    """What is too large to be held: its size and hash are known, and its bytes come in blocks.

    blocks: may block and is called in a thread; what it raises passes through `put`.
    """

    @property
    def size_bytes(self) -> int: ...
    @property
    def sha256(self) -> bytes: ...
    def blocks(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """endpoint: http(s)://host[:port]; prefix: put before every key, as configured."""

    endpoint: str
    bucket: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What HEAD tells. metadata: names in lower case, without x-amz-meta-."""

    size_bytes: int
    metadata: Mapping[str, str]


class S3Store:
    """One bucket of one store. Use as an async context manager; safe for several tasks.

    handed_bytes: of bodies, handed to the network so far, whether the store confirmed them or not.
    """

    def __init__(
        self,
        address: StoreAddress,
        keys: StoreKeys,
        *,
        pace: Pace | None = None,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        stall_s: float = STALL_S,
    ) -> None:
        self.address = address
        self.handed_bytes = 0
        self._keys = keys
        self._pace = pace
        self._tls = tls
        self._now = now
        self._stall_s = stall_s
        self._host = urlsplit(address.endpoint).netloc
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        tls = self._tls if self._tls is not None else True
        connector = aiohttp.TCPConnector(ssl=tls, limit=4, socket_factory=_shallow_socket)
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=connector, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def put(
        self,
        key: str,
        body: bytes | Body,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> bool:
        """Stores `body` under `key`; False where the very same object was there already.

        Without `overwrite` the store is asked to refuse an existing key (If-None-Match: *), and the existing
        object is compared by length and `sha256` metadata. Raises StoreError.
        """
        if isinstance(body, bytes):
            size_bytes, digest = len(body), hashlib.sha256(body).hexdigest()
        else:
            size_bytes, digest = body.size_bytes, body.sha256.hex()
        headers = {"Content-Type": content_type, "Content-Length": str(size_bytes)}
        headers |= {f"x-amz-meta-{name}": value for name, value in (metadata or {}).items()}
        if not overwrite:
            headers["If-None-Match"] = "*"
        status, answer, text = await self._request("PUT", key, headers, digest, body=body)
        if status in (409, 412) and not overwrite:
            existing = await self.head(key)
            if existing is None:
                raise StoreBusy(f"{self}: says that {key} exists, then that it does not; it is tried again")
            if existing.size_bytes != size_bytes or existing.metadata.get("sha256") not in (None, digest):
                raise StoreDiffers(
                    f"{self}: {key} is there with other bytes; look who else writes under this prefix"
                )
            return False
        if status != 200 or "<Error>" in text:
            raise self._refusal("put", key, status, text, answer)
        return True

    async def head(self, key: str) -> StoredObject | None:
        """Length and metadata of an object, or None where there is none. Raises StoreError."""
        status, headers, text = await self._request("HEAD", key, {}, EMPTY_SHA256)
        if status == 404:
            return None
        if status != 200:
            raise self._refusal("head", key, status, text, headers)
        prefix = "x-amz-meta-"
        metadata = {
            name.lower().removeprefix(prefix): value
            for name, value in headers.items()
            if name.lower().startswith(prefix)
        }
        length = headers.get("Content-Length", "")
        return StoredObject(int(length) if length.isdigit() else -1, metadata)

    async def get(self, key: str, limit_bytes: int) -> bytes:
        """The whole object, refused past limit_bytes. Raises StoreError."""
        status, answer, body = await self._exchange("GET", key, {}, EMPTY_SHA256, None, limit_bytes)
        if status != 200:
            text = body[:MAX_ANSWER_BYTES].decode("utf-8", "replace")
            raise self._refusal("get", key, status, text, answer)
        return body

    def __str__(self) -> str:
        return f"store {self.address.endpoint}, bucket {self.address.bucket}"

    async def _request(
        self, method: str, key: str, headers: dict[str, str], digest: str, body: bytes | Body | None = None
    ) -> tuple[int, Mapping[str, str], str]:
        status, answer, content = await self._exchange(method, key, headers, digest, body, MAX_ANSWER_BYTES)
        return status, answer, content.decode("utf-8", "replace")

    async def _exchange(
        self,
        method: str,
        key: str,
        headers: dict[str, str],
        digest: str,
        body: bytes | Body | None,
        limit_bytes: int,
    ) -> tuple[int, Mapping[str, str], bytes]:
        assert self._session is not None, "use the store inside `async with`"
        path = f"/{self.address.bucket}/{self.address.prefix}{key}"
        signed = sign(self._keys, method, self._host, path, {}, headers, digest, self._now())
        url = URL(f"{self.address.endpoint.rstrip('/')}{encoded_path(path)}", encoded=True)
        try:
            async with asyncio.timeout(self._stall_s) as stall:
                data = None if body is None else (self._slices(body, stall) if body else b"")
                async with self._session.request(
                    method, url, headers=signed, data=data, allow_redirects=False
                ) as response:
                    content = b"" if method == "HEAD" else await _bounded(response, limit_bytes)
                    return response.status, response.headers, content
        except (ssl.SSLCertVerificationError, aiohttp.ClientConnectorCertificateError) as error:
            if _verify_code(error) == _NOT_YET_VALID:
                raise StoreAway(
                    f"{self}: its certificate is not valid yet; see whether this gateway's clock is right"
                ) from error
            raise StoreRefused(f"{self}: its certificate is not trusted; check ca_file") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StoreAway(f"{self}: {_plain(error)}; it is tried again by itself") from error

    async def _slices(self, body: bytes | Body, stall: asyncio.Timeout) -> AsyncIterator[bytes]:
        if isinstance(body, bytes):
            async for piece in self._paced(body, stall):
                yield piece
            return
        blocks = body.blocks()
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            async for piece in self._paced(block, stall):
                yield piece

    async def _paced(self, block: bytes, stall: asyncio.Timeout) -> AsyncIterator[bytes]:
        for start in range(0, len(block), SLICE_BYTES):
            piece = block[start : start + SLICE_BYTES]
            if self._pace is not None:
                # It is we who wait, not the store.
                stall.reschedule(None)
                await self._pace(len(piece))
            self.handed_bytes += len(piece)
            stall.reschedule(asyncio.get_running_loop().time() + self._stall_s)
            yield piece

    def _refusal(self, act: str, key: str, status: int, text: str, headers: Mapping[str, str]) -> StoreError:
        found = re.search(r"<Code>([A-Za-z]{1,64})</Code>", text)
        code = found.group(1) if found else f"HTTP {status}"
        where = f"{self}: {act} {key}"
        if 300 <= status < 400:
            return StoreRefused(
                f"{where}: it redirects elsewhere; set the endpoint that it names for this bucket"
            )
        if status in (429, 500, 502, 503, 504) or status == 200 or code in ("SlowDown", "RequestTimeout"):
            return StoreBusy(f"{where}: {code}; it is tried again by itself")
        if status in (401, 403) and (off_s := self._clock_off_s(headers)) > SKEW_S:
            # Until the time server is reached, not for good: a gateway without a battery starts in 1970.
            return StoreBusy(
                f"{where}: {code}; this gateway's clock and the store's are {off_s:.0f} s apart; give both a "
                "time server; it is tried again by itself"
            )
        if status in (401, 403):
            return StoreRefused(
                f"{where}: {code}; check the two keys, their rights on the prefix, and the clock"
            )
        if status == 404:
            return StoreRefused(f"{where}: {code}; check the bucket's name")
        return StoreRefused(f"{where}: {code}")

    def _clock_off_s(self, headers: Mapping[str, str]) -> float:
        """By the answer's Date (RFC 9110 section 6.6.1); 0 where it has none."""
        try:
            told = parsedate_to_datetime(headers.get("Date", ""))
            return abs((told - self._now()).total_seconds())
        except (ValueError, TypeError):  # TypeError: it names no zone
            return 0.0


def trusting(ca_file: Path) -> ssl.SSLContext:
    """TLS that trusts the authorities in that file. Blocking for its read. Raises StoreRefused."""
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        why = "no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise StoreRefused(
            f"ca_file {ca_file} cannot be used: {why}; its name is relative to simpang.toml's folder"
        ) from error


def _verify_code(error: Exception) -> int | None:
    cause = getattr(error, "certificate_error", error)
    return getattr(cause, "verify_code", None)


def _shallow_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    # The kernel would take megabytes beyond recall: on a slow link the ceiling, a cancel and the stall clock
    # would then speak of bytes that left minutes later.
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 4 * SLICE_BYTES)
    return made


async def _bounded(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    content = bytearray()
    async for block in response.content.iter_chunked(64 * 1024):
        content += block
        if len(content) > limit_bytes:
            raise aiohttp.ClientPayloadError(f"answer longer than {limit_bytes} bytes")
    return bytes(content)


def _plain(error: Exception) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({error.os_error.strerror or 'no such host'})"
    return f"the connection broke ({type(error).__name__})"
