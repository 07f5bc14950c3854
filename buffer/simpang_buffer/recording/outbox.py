"""What a recorder process says to the daemon, without ever waiting for it.

Everything goes into one socket. When the daemon does not read, what waits is bounded by giving up what is
least needed first: live frames beyond MAX_LIVE_BYTES (the viewer goes on at the next key frame), then
fragments beyond MAX_FRAGMENT_BYTES (readers see the file once it is closed), and beyond MAX_BYTES the process
hangs up, which ends it: its files are closed, and the daemon adopts them when it comes to its senses.
"""

from __future__ import annotations

import asyncio
import logging

from simpang_buffer.recording.protocol import Message, encode

logger = logging.getLogger(__name__)

MAX_LIVE_BYTES = 2 << 20
MAX_FRAGMENT_BYTES = 4 << 20
MAX_BYTES = 8 << 20


class Outbox:
    """Messages in order. Not for threads."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._transport = writer.transport

    @property
    def waiting_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def tell(self, message: Message) -> None:
        """What the daemon must hear, or this process is of no use: it hangs up, and so comes to its end."""
        if self.waiting_bytes > MAX_BYTES:
            logger.error("the daemon has %d MB to read and does not; ending", self.waiting_bytes >> 20)
            self._transport.abort()
        self._send(message)

    def tell_if_room(self, message: Message) -> bool:
        """A fragment; False if there was no room for it."""
        return self._send_below(MAX_FRAGMENT_BYTES, message)

    def show_if_room(self, message: Message) -> bool:
        """A live frame; False if there was no room for it."""
        return self._send_below(MAX_LIVE_BYTES, message)

    async def drain(self) -> None:
        """Waits until all of it is in the socket. The caller limits the time."""
        # StreamWriter.drain would wait for the low-water mark only.
        self._transport.set_write_buffer_limits(high=0)
        await self._writer.drain()

    def _send_below(self, limit_bytes: int, message: Message) -> bool:
        if self.waiting_bytes > limit_bytes:
            return False
        self._send(message)
        return True

    def _send(self, message: Message) -> None:
        # After the daemon's end there is nobody to tell; what is closing goes on closing.
        if not self._transport.is_closing():
            self._writer.write(encode(message))
