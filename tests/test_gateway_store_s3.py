"""The S3 client against SeaweedFS, and against stores that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from peer_seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFs, seaweedfs
from simpang.jobs.ceiling import Ceiling
from simpang.store.errors import StoreAway, StoreBusy, StoreDiffers, StoreRefused
from simpang.store.s3 import S3Store, StoreAddress
from simpang.store.sigv4 import EMPTY_SHA256, StoreKeys, sign
from simpang.web.certificate import own_certificate, tls_context

KEYS = StoreKeys(ACCESS_KEY, SECRET_KEY)
KEY = "digulis/pemkot/2026-11-24/digulis-1.main/02/00-00.000000Z.0.mp4"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFs]:
    with seaweedfs(tmp_path_factory.mktemp("weed")) as running:
        yield running


async def test_objects_travel_to_seaweedfs_and_back(store: SeaweedFs) -> None:
    body = bytes(range(256)) * 4000
    digest = hashlib.sha256(body).hexdigest()
    address = StoreAddress(store.endpoint, store.bucket, "a prefix/é+/")
    async with S3Store(address, KEYS) as s3:
        assert await s3.head(KEY) is None

        new = await s3.put(KEY, body, content_type="video/mp4", metadata={"sha256": digest, "Version": "1.0"})
        again = await s3.put(KEY, body, content_type="video/mp4", metadata={"sha256": digest})
        with pytest.raises(StoreDiffers):
            await s3.put(KEY, b"other", content_type="video/mp4", metadata={"sha256": "0" * 64})
        await s3.put("empty", b"", content_type="video/mp4")
        await s3.put("grows.json", b"{}", content_type="application/json", overwrite=True)
        await s3.put("grows.json", b"{ }", content_type="application/json", overwrite=True)
        found = await s3.head(KEY)

        assert (new, again) == (True, False)
        assert found is not None and found.size_bytes == len(body)
        assert found.metadata["sha256"] == digest and found.metadata["version"] == "1.0"
        assert await s3.get(KEY, 2_000_000) == body
        assert await s3.get("empty", 10) == b""
        assert await s3.get("grows.json", 10) == b"{ }"


async def test_wrong_secret_is_refused_with_advice(store: SeaweedFs) -> None:
    async with S3Store(StoreAddress(store.endpoint, store.bucket), StoreKeys(ACCESS_KEY, "wrong")) as s3:
        with pytest.raises(StoreRefused, match="keys") as refused:
            await s3.put(KEY, b"x", content_type="video/mp4")

    assert "wrong" not in str(refused.value)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answers(status: int, text: str = "", headers: dict[str, str] | None = None) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=status, text=text, headers=headers)

    return handler


async def drops(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    await request.read()
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b"x" * 65536)
    except ConnectionError:
        return response


FAULTS = {
    "slow down": (answers(503, "<Error><Code>SlowDown</Code></Error>"), StoreBusy),
    "error in a 200": (answers(200, "<Error><Code>InternalError</Code></Error>"), StoreBusy),
    "redirect elsewhere": (answers(307, headers={"Location": "http://127.0.0.9/"}), StoreRefused),
    "forbidden": (answers(403, "<Error><Code>AccessDenied</Code></Error>"), StoreRefused),
    "no such bucket": (answers(404, "<Error><Code>NoSuchBucket</Code></Error>"), StoreRefused),
    "connection dropped": (drops, StoreAway),
    "answer without end": (endless, StoreAway),
    "exists, then does not": (answers(412), StoreRefused),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_misbehaving_store_is_classed_by_what_to_do_next(name: str) -> None:
    handler, expected = FAULTS[name]
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", handler)
    async with (
        TestServer(app) as server,
        S3Store(StoreAddress(str(server.make_url("")), "cctv"), KEYS) as s3,
    ):
        with pytest.raises(expected):
            await s3.put(KEY, b"x" * 100_000, content_type="video/mp4")


async def test_store_that_takes_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepted by the kernel, read by nobody
        address = StoreAddress(f"http://127.0.0.1:{silent.getsockname()[1]}", "cctv")
        async with S3Store(address, KEYS, stall_s=0.5) as s3:
            with pytest.raises(StoreAway):
                await s3.put(KEY, b"x" * 20_000_000, content_type="video/mp4")


async def test_nobody_listening_is_away() -> None:
    async with S3Store(StoreAddress("http://127.0.0.1:1", "cctv"), KEYS) as s3:
        with pytest.raises(StoreAway, match="cannot connect"):
            await s3.head(KEY)


async def test_ceiling_holds_while_an_object_is_sent() -> None:
    taken: list[int] = []

    async def pace(size_bytes: int) -> None:
        taken.append(size_bytes)

    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", answers(200))
    async with (
        TestServer(app) as server,
        S3Store(StoreAddress(str(server.make_url("")), "cctv"), KEYS, pace=pace) as s3,
    ):
        await s3.put(KEY, b"x" * 100_000, content_type="video/mp4")

    assert sum(taken) == 100_000 and max(taken) <= 16 * 1024


def test_ceiling_books_time_at_its_rate_and_saves_nothing_up() -> None:
    now = [0.0]
    ceiling = Ceiling(8_000_000, clock=lambda: now[0])

    waits = [ceiling.reserve(100_000) for _ in range(10)]
    now[0] = 60.0
    after_a_pause = [ceiling.reserve(100_000) for _ in range(10)]

    # 1 MB/s less 4 % for the wire's own bytes: the tenth piece leaves after nine have gone.
    assert waits[9] == pytest.approx(9 * 0.104, abs=0.11)
    assert after_a_pause[9] == pytest.approx(9 * 0.104 - 0.1, abs=0.01)


def test_signature_is_that_of_the_published_example() -> None:
    # "Authenticating Requests: Using the Authorization Header", GET object, in the S3 API reference.
    keys = StoreKeys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    now = datetime(2013, 5, 24, tzinfo=UTC)

    host, path = "examplebucket.s3.amazonaws.com", "/test.txt"
    headers = sign(keys, "GET", host, path, {}, {"Range": "bytes=0-9"}, EMPTY_SHA256, now)

    assert headers["Authorization"].endswith(
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


async def test_ceiling_that_makes_us_wait_is_no_stall_of_the_store() -> None:
    async def pace(size_bytes: int) -> None:
        await asyncio.sleep(0.3)

    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", answers(200))
    async with (
        TestServer(app) as server,
        S3Store(StoreAddress(str(server.make_url("")), "cctv"), KEYS, pace=pace, stall_s=0.1) as s3,
    ):
        assert await s3.put(KEY, b"x" * 40_000, content_type="video/mp4")
        assert s3.handed_bytes == 40_000


@pytest.mark.parametrize("act", ["put", "head"])
async def test_clock_that_is_not_set_yet_fails_no_job_for_good(act: str) -> None:
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", answers(403, "<Error><Code>RequestTimeTooSkewed</Code></Error>"))
    async with (
        TestServer(app) as server,
        S3Store(
            StoreAddress(str(server.make_url("")), "cctv"),
            KEYS,
            now=lambda: datetime(1970, 1, 1, tzinfo=UTC),
        ) as s3,
    ):
        with pytest.raises(StoreBusy, match="clock"):
            await (s3.put(KEY, b"x", content_type="video/mp4") if act == "put" else s3.head(KEY))


async def test_broken_tls_is_tried_again_and_a_foreign_certificate_is_not(tmp_path: Path) -> None:
    made = await asyncio.to_thread(own_certificate, tmp_path, "centre", ["127.0.0.1"])
    tls = await asyncio.to_thread(tls_context, made)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers(200))

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Pay first\r\n\r\n")  # a captive portal
        await writer.drain()
        writer.close()

    portal = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with contextlib.AsyncExitStack() as stack:
        server = TestServer(app, scheme="https")
        await server.start_server(ssl=tls)
        stack.push_async_callback(server.close)
        await stack.enter_async_context(portal)
        foreign = StoreAddress(f"https://127.0.0.1:{server.port}", "cctv")
        broken = StoreAddress(f"https://127.0.0.1:{portal.sockets[0].getsockname()[1]}", "cctv")
        async with S3Store(foreign, KEYS) as s3:
            with pytest.raises(StoreRefused, match="ca_file"):
                await s3.head(KEY)
        async with S3Store(broken, KEYS) as s3:
            with pytest.raises(StoreAway):
                await s3.head(KEY)
