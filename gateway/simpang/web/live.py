"""Live pictures: fMP4 over a WebSocket, one fragment per frame, made from the recorder's frame feed.

Text `init` with the mime type, binary ftyp+moov, then binary moof+mdat. A viewer's decode times start at zero
and run on over a new init, so that a MediaSource keeps its timeline when a camera restarts. A viewer that
cannot keep up is told `dropped` and goes on at the next key frame; recording never waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from simpang.web.context import gateway_of, stream_of
from simpang.web.live_stream import LiveStream
from simpang.web.problems import Problem
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.live import LiveDropped, LiveFeed, LiveFrame, LiveInit
from simpang_buffer.recording.pool import NotRecorded

SOCKETS: web.AppKey[set[web.WebSocketResponse]] = web.AppKey("live-sockets")

# Each is one picture queue of at most 4 MB; a wall of 16 cameras on two screens.
MOST_VIEWERS = 32
# A viewer that takes nothing for this long is gone, whatever its TCP connection says.
SEND_S = 10.0
PING_S = 10.0
CLOSE_S = 1.0
# Then it is closed, and whoever still may comes back: a session that ended does not watch on for ever.
RENEW_S = 3600.0
# A viewer has nothing to say.
MOST_HEARD_BYTES = 1024


async def get_live(request: web.Request) -> web.StreamResponse:
    key = stream_of(request)
    sockets = request.app[SOCKETS]
    if hdrs.UPGRADE not in request.headers:
        raise Problem(
            "upgrade-required", "Live pictures come over a WebSocket.", headers={hdrs.UPGRADE: "websocket"}
        )
    if len(sockets) >= MOST_VIEWERS:
        raise Problem("busy", f"{MOST_VIEWERS} viewers watch already.")
    socket = web.WebSocketResponse(
        heartbeat=PING_S, max_msg_size=MOST_HEARD_BYTES, compress=False, timeout=CLOSE_S
    )
    # Its place is taken before anything is waited for: viewers who come at once are counted too.
    sockets.add(socket)
    try:
        async with gateway_of(request).pool.live(key) as feed:
            return await _serve(request, socket, key, feed)
    except NotRecorded:
        raise Problem("unavailable", f"{key} is not being recorded, so there is nothing live.") from None
    finally:
        sockets.discard(socket)


async def _serve(
    request: web.Request, socket: web.WebSocketResponse, key: StreamKey, feed: LiveFeed
) -> web.WebSocketResponse:
    await socket.prepare(request)
    try:
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(_hear(socket), name=f"live-hear:{key}")
            showing = group.create_task(_show(socket, feed), name=f"live-show:{key}")
            # Whichever ends first ends the other.
            await asyncio.wait((hearing, showing), timeout=RENEW_S, return_when=asyncio.FIRST_COMPLETED)
            hearing.cancel()
            showing.cancel()
    finally:
        with contextlib.suppress(ConnectionError, RuntimeError):
            await socket.close()
    return socket


async def close_all(app: web.Application) -> None:
    """on_shutdown: viewers are told that the gateway goes away, so that stopping does not wait for them."""
    sockets: set[web.WebSocketResponse] = app[SOCKETS]
    for socket in list(sockets):
        with contextlib.suppress(ConnectionError, RuntimeError):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway stops")


async def _hear(socket: web.WebSocketResponse) -> None:
    """Until the viewer leaves. Receiving is also what answers its pings and sees ours unanswered."""
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            return


async def _show(socket: web.WebSocketResponse, feed: LiveFeed) -> None:
    """Until the viewer is gone: it left, or takes nothing any more."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        await _show_all(socket, feed)


async def _show_all(socket: web.WebSocketResponse, feed: LiveFeed) -> None:
    stream = LiveStream()
    while True:
        item = await feed.get()
        # A viewer that takes nothing is cut off here; while it dawdles the feed drops frames by itself.
        async with asyncio.timeout(SEND_S):
            match item:
                case LiveInit():
                    mime, header = stream.start(item)
                    await socket.send_str(json.dumps({"type": "init", "mime": mime}))
                    await socket.send_bytes(header)
                case LiveFrame():
                    piece = stream.add(item)
                    if piece is not None:
                        await socket.send_bytes(piece)
                case LiveDropped():
                    await socket.send_str(json.dumps({"type": "dropped", "frames": item.frames}))
