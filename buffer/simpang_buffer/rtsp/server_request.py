"""Reading what a client sends: requests, and interleaved packets that are skipped. Strict and bounded.

What cameras get away with (see framing.py) a client does not: a server that guesses can be attacked.
"""

from __future__ import annotations

import asyncio

from simpang_buffer.rtsp.errors import Malformed
from simpang_buffer.rtsp.message import MAX_HEAD_BYTES, Request, body_length, parse_request

# Clients send no body but a few parameters' names.
MAX_BODY_BYTES = 16 * 1024
# The StreamReader's limit: with it a head that never ends takes at most twice this much memory.
READ_LIMIT_BYTES = MAX_HEAD_BYTES


async def read_request(reader: asyncio.StreamReader, idle_s: float, request_s: float) -> Request | None:
    """The next request, or None for an interleaved packet (a receiver report), which is a sign of life.

    reader: made with READ_LIMIT_BYTES. idle_s: how long the client may be silent before it; request_s:
    from its first byte to its last. Raises TimeoutError for silence, Malformed, EOFError when the client has
    closed, and ConnectionError.
    """
    async with asyncio.timeout(idle_s):
        first = await reader.readexactly(1)
    try:
        async with asyncio.timeout(request_s):
            return await _rest(first, reader)
    except TimeoutError:
        raise Malformed(f"a request that takes more than {request_s:.0f} s to arrive") from None


async def _rest(first: bytes, reader: asyncio.StreamReader) -> Request | None:
    if first == b"$":
        head = await reader.readexactly(3)
        await reader.readexactly(int.from_bytes(head[1:]))
        return None
    if first in b"\r\n":
        # Blank lines between requests (RFC 2326 section 4.1).
        return None
    try:
        head = first + await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Malformed(f"a request head of more than {MAX_HEAD_BYTES} bytes") from None
    size = body_length(head)
    if size > MAX_BODY_BYTES:
        raise Malformed(f"a request body of {size} bytes; {MAX_BODY_BYTES} is the most")
    return parse_request(head, await reader.readexactly(size))
