"""How clips travel: from file to socket, over TLS, to readers who are slow or leave; nobody waits."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

from media_samples import g711
from recordings import Recording, Take, recorded
from simpang.web.times import format_time
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.reading import clips
from web_site import Site, camera, now_us, open_site

KEY = StreamKey("utara", "main")
CLIP = "/api/v1/cameras/utara/streams/main/clip.mp4"
SECOND = 1_000_000


@asynccontextmanager
async def filmed(tmp_path: Path, **take: object) -> AsyncIterator[tuple[Site, str, Recording]]:
    """A site with a minute of pictures too large for any socket's buffer; the address of their clip."""
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        start = now_us() - 600 * SECOND
        fields: dict[str, object] = {"seconds": 60, "segment_s": 8, "start_us": start, "key": KEY}
        shape = {"width": 640, "height": 480, "noise": 24_000}
        run = await recorded(site.gateway.index, Take(**{**fields, **shape, **take}))  # type: ignore[arg-type]  # a bag of its fields
        query = {"start": format_time(start), "end": format_time(start + 60 * SECOND)}
        yield site, f"{CLIP}?{urlencode(query)}", run


def open_media() -> list[str]:
    """The recorded files that this process holds open."""
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return [link for link in links if link.endswith(".mp4") or ".mp4 (deleted)" in link]


async def until_no_media_is_open() -> None:
    async with asyncio.timeout(10):
        while await asyncio.to_thread(open_media):
            await asyncio.sleep(0.02)


async def test_plain_tls_and_unix_readers_get_the_same_bytes(tmp_path: Path) -> None:
    async with filmed(tmp_path, seconds=20, sound=g711("PCMA", seconds=20)) as (site, address, _):
        contents = []
        async with site.client() as client, client.get(address) as response:
            contents.append(await response.read())
            assert response.content_length == len(contents[0])
        unix = aiohttp.UnixConnector(path=str(site.opened.socket_path))
        async with aiohttp.ClientSession("http://localhost", connector=unix) as client:
            async with client.get(address) as response:
                contents.append(await response.read())
            async with client.get(address, headers={"Range": "bytes=70000-99999"}) as response:
                assert await response.read() == contents[0][70_000:100_000]
            # On the same connection, behind an answer that went past the transport.
            async with client.get("/healthz") as response:
                assert response.status == 200
        host, port = site.opened.tls[0]
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        jar = aiohttp.CookieJar(unsafe=True)
        tls = aiohttp.TCPConnector(ssl=trusting)
        async with aiohttp.ClientSession(f"https://{host}:{port}", connector=tls, cookie_jar=jar) as client:
            async with client.post("/api/v1/session", json={"token": site.token()}) as response:
                assert response.status == 204
            async with client.get(address) as response:
                contents.append(await response.read())

    assert contents[1] == contents[0] == contents[2]


async def slow_reader(site: Site, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Somebody who has read the head of the answer, with a small buffer, and stopped."""
    async with site.client() as client:
        cookies = client.cookie_jar.filter_cookies(client._base_url)  # type: ignore[arg-type]  # it has one
        cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())
    host, port = site.opened.plain[0]
    guest = socket.socket()
    guest.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    guest.setblocking(False)
    await asyncio.get_running_loop().sock_connect(guest, (host, port))
    reader, writer = await asyncio.open_connection(sock=guest, limit=4096)
    writer.write(f"GET {address} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head.partition(b"\r\n")[0]
    return reader, writer


async def test_a_reader_that_pauses_holds_no_file_and_goes_on_where_it_was(tmp_path: Path) -> None:
    async with filmed(tmp_path) as (site, address, _):
        async with site.client() as client, client.get(address) as response:
            whole = await response.read()
        reader, writer = await slow_reader(site, address)

        await until_no_media_is_open()
        content = bytearray()
        while len(content) < len(whole):
            content += await asyncio.wait_for(reader.read(1 << 16), 10)
        writer.close()

    assert bytes(content) == whole


async def test_a_reader_overtaken_by_eviction_sees_that_it_is_short_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "DETAIL_US", 1)
    async with filmed(tmp_path) as (site, address, run):
        index = site.gateway.index
        reader, writer = await slow_reader(site, address)
        await until_no_media_is_open()

        # Neither eviction nor the freeing of its space waits for the reader.
        await index.condemn(run.rows[-3:], GapReason.EVICTED)
        await empty_garbage(index, index.files())
        assert not any(index.path_of(row).exists() for row in run.rows[-3:])
        content = bytearray()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            while True:
                block = await asyncio.wait_for(reader.read(1 << 16), 10)
                if not block:
                    raise ConnectionResetError
                content += block
        writer.close()
        async with site.client() as client, client.get(address) as response:
            after = await response.read()

    told = [one.message for one in caplog.records if "broken off" in one.message]
    assert len(told) == 1 and "ask for the range again" in told[0]
    assert len(content) > 0
    assert response.status == 200 and len(after) > len(content) // 2


async def test_a_reader_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async with filmed(tmp_path) as (site, address, _):
        for _ in range(6):
            _, writer = await slow_reader(site, address)
            writer.transport.abort()

        # Its threads are free for others.
        async with site.client() as client, client.get(address) as response:
            assert len(await response.read()) == response.content_length
        await until_no_media_is_open()
