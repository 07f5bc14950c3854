"""Sound for browsers: the process that makes AAC of G.711, which runs only while such clips are read."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from simpang.picture.sound_room import SoundRoom

SOUND: web.AppKey[SoundRoom] = web.AppKey("sound")


async def sound_room(app: web.Application) -> AsyncIterator[None]:
    """cleanup_ctx."""
    async with SoundRoom() as opened:
        app[SOUND] = opened
        yield
