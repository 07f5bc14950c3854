"""Debian's Chromium for tests of the page, and a camera's frames in real time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Page, Response, async_playwright

import media_samples
from simpang.web.roles import Role
from simpang_buffer.model import StreamKey
from web_site import FPS, Site, live_frames

CHROMIUM = "/usr/bin/chromium"


@dataclass
class Watched:
    """A page and what it did: addresses asked for, bytes received (as they travelled), complaints."""

    page: Page
    addresses: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """Complaints but for those of answers that are refusals, which Chromium notes each time: of a camera
        that the test does not play, of a request that is to be refused."""
        return [words for words in self.complaints if "503" not in words and "409" not in words]

    async def received_bytes(self) -> int:
        sizes = [await response.request.sizes() for response in self.responses]
        return sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)

    async def until(self, script: str, *, seconds: float = 15) -> Any:
        """Polls a script until it gives something true."""
        handle = await self.page.wait_for_function(script, timeout=seconds * 1000)
        return await handle.json_value()


@contextlib.asynccontextmanager
async def browse(site: Site, *, role: Role | None = Role.INSTALLER) -> AsyncIterator[Watched]:
    """The page, opened through a link with a token, or without one."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(viewport={"width": 1366, "height": 900})
        watched = Watched(await context.new_page())
        watched.page.on("request", lambda request: watched.addresses.append(request.url))
        watched.page.on("response", lambda response: watched.responses.append(response))
        watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        watched.page.on(
            "console",
            lambda message: watched.complaints.append(message.text) if message.type == "error" else None,
        )
        query = f"?token={site.token(role)}" if role is not None else ""
        await watched.page.goto(f"{site.address}/{query}")
        try:
            yield watched
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def camera_sends(site: Site, key: StreamKey) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Frames in real time while inside; calling what it gives stops them earlier."""

    async def send() -> None:
        loop, number = asyncio.get_running_loop(), 0
        units = media_samples.video("h264", frames=45)
        began = loop.time()
        while True:
            for frame in live_frames(units, first_dts=number * 6000):
                await asyncio.sleep(max(began + number / FPS - loop.time(), 0))
                site.pool.offer(key, frame)
                number += 1

    task = asyncio.create_task(send(), name=f"camera:{key}")

    async def stop() -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    try:
        yield stop
    finally:
        await stop()
