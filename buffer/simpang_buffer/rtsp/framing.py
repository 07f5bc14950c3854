"""What one RTSP connection carries: messages and interleaved packets (RFC 2326 section 10.12), told apart.

The hot path of the client: bytes are received straight into a buffer that is reused for ever, and packets are
views into it. A packet's view holds good only until the buffer's next use; who keeps it longer copies it.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from typing import NamedTuple

from simpang_buffer.rtsp.errors import Malformed
from simpang_buffer.rtsp.message import MAX_BODY_BYTES, MAX_HEAD_BYTES, body_length

# A whole message of the largest size, and one interleaved frame (64 kB), fit beside each other.
BUFFER_BYTES = MAX_HEAD_BYTES + MAX_BODY_BYTES + 2 * 65_540
# Junk without one good frame in between after which the peer is taken to speak something else.
MAX_JUNK_BYTES = 256 * 1024

_DOLLAR = 0x24
_FRAME = struct.Struct(">BBH")
# The start of a message: a response, or a request whose target is an address or "*".
_MESSAGE = re.compile(rb"RTSP/\d|[A-Z][A-Z_]{2,19} (?:rtsps?:|\*|/)")
# What could become the start of a message once more bytes come, and the length at which it would have.
_MESSAGE_BEGUN = re.compile(rb"[A-Z][A-Z_]{0,19}(?:/| [rtsp]{0,5})?")
_LONGEST_START = 27
_HEAD_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_BREAKS = re.compile(rb"[\r\n]+")
# A read of so many frames or messages must be worth it, else it is a flood that only costs us time: real
# packets average hundreds of bytes, and a camera has one or two things to say a second.
_MANY_FRAMES = 4096
_SHORTEST_AVERAGE_BYTES = 32
_MOST_MESSAGES = 64


class Packet(NamedTuple):
    """One interleaved frame. data: a read-only view, good until the buffer is used again."""

    channel: int
    data: memoryview


class Message(NamedTuple):
    """One RTSP request or response, copied out of the buffer. head: with its blank line."""

    head: bytes
    body: bytes


class InterleavedReader:
    """Splits one connection's bytes.

    buffer: at least BUFFER_BYTES; one may serve all connections of a process that are read in turn, since a
    reader keeps what is incomplete to itself. It is never resized.
    counts: what was odd, by name.
    """

    def __init__(self, buffer: bytearray | None = None) -> None:
        self._buffer = bytearray(BUFFER_BYTES) if buffer is None else buffer
        if len(self._buffer) < BUFFER_BYTES:
            raise ValueError(f"a receive buffer of at least {BUFFER_BYTES} bytes is needed")
        self._writable = memoryview(self._buffer)
        self._readable = self._writable.toreadonly()
        self._rest = b""
        self._lost = False
        self._junk = 0
        self._channels: frozenset[int] = frozenset()
        self._resync = _resync_pattern(b"")
        self.counts: Counter[str] = Counter()

    @property
    def channels(self) -> frozenset[int]:
        """Those that were set up: how a frame is recognised after the peer lost its place.

        Frames on other channels are handed out too, except while finding the place again.
        """
        return self._channels

    @channels.setter
    def channels(self, channels: frozenset[int]) -> None:
        self._channels = channels
        self._resync = _resync_pattern(bytes(sorted(channels)))

    def space(self, at_most: int = BUFFER_BYTES) -> memoryview:
        """Where to receive next; at least 64 kB, or at_most if that is less."""
        begin = len(self._rest)
        return self._writable[begin : begin + max(1, min(at_most, len(self._buffer) - begin))]

    def received(self, count: int) -> list[Packet | Message]:
        """Take count bytes that were put into space(). Raises Malformed (see feed)."""
        begin = len(self._rest)
        # The rest is put back only now: another connection may have used the buffer since it was taken out.
        self._buffer[:begin] = self._rest
        end = begin + count
        frames: list[Packet | Message] = []
        at = self._split(end, frames)
        if frames:
            self._junk = 0
        if len(frames) > _MANY_FRAMES and len(frames) * _SHORTEST_AVERAGE_BYTES > end:
            raise Malformed("the camera floods us with tiny packets")
        self._rest = bytes(self._readable[at:end]) if at < end else b""
        return frames

    def feed(self, data: bytes | memoryview) -> list[Packet | Message]:
        """Take bytes that were received elsewhere; views in the answer hold good until the next call.

        Raises Malformed where a head or body is larger than we take, or nothing makes sense any more.
        """
        frames: list[Packet | Message] = []
        for begin in range(0, len(data), 65_536):
            piece = data[begin : begin + 65_536]
            self.space()[: len(piece)] = piece
            found = self.received(len(piece))
            if len(data) > 65_536:
                # The next piece overwrites the buffer.
                found = [
                    f._replace(data=memoryview(bytes(f.data))) if isinstance(f, Packet) else f for f in found
                ]
            frames += found
        return frames

    def _split(self, end: int, frames: list[Packet | Message]) -> int:
        """Append what is whole; return where the incomplete rest begins."""
        buffer, view, append = self._buffer, self._readable, frames.append
        known = self._channels
        at = 0
        begun = -1
        messages = 0
        unpack_from, packet = _FRAME.unpack_from, tuple.__new__
        while at < end:
            # What nearly all of it is: one frame behind the other, each on a channel that was set up.
            while at + 4 < end and not self._lost:
                dollar, channel, size = unpack_from(buffer, at)
                stop = at + 4 + size
                if dollar != _DOLLAR or stop > end or channel not in known:
                    break
                append(packet(Packet, (channel, view[at + 4 : stop])))
                begun, at = at, stop
            if at >= end:
                break
            if buffer[at] == _DOLLAR:
                body = at + 4
                if body > end:
                    break
                stop = body + (buffer[at + 2] << 8 | buffer[at + 3])
                if (self._lost or buffer[at + 1] not in known) and not self._believable(
                    at, end, among_junk=self._lost
                ):
                    self._lost = True
                    at = self._skip(at, end)
                    continue
                if stop > end:
                    break
                append(Packet(buffer[at + 1], view[body:stop]))
                begun, at = at, stop
                if self._lost:
                    self._found()
                continue
            if not self._lost and (blank := _LINE_BREAKS.match(buffer, at, end)) is not None:
                # Stray line breaks between frames, as some cameras send.
                self.counts["stray_line_breaks"] += 1
                self._bear(blank.end() - at)
                at = blank.end()
                continue
            stop = self._message(at, end, frames)
            if stop == at:
                break
            if stop > at:
                begun, at = -1, stop
                messages += 1
                if messages > _MOST_MESSAGES:
                    raise Malformed("the camera floods us with messages")
                continue
            if begun >= 0 and not self._lost:
                # The frame before this may have been cut short by its sender (a full TCP window): then the
                # next frame begins inside it.
                inside = self._frame_inside(begun, at, end)
                if inside >= 0:
                    frames.pop()
                    self.counts["torn_frames"] += 1
                    at = inside
            begun = -1
            self._lost = True
            at = self._skip(at, end) if buffer[at] != _DOLLAR else at
        return at

    def _believable(self, at: int, end: int, *, among_junk: bool) -> bool:
        """Whether what looks like a frame is one: RTP inside and a frame behind it.

        Among junk it must also be on a channel that was set up. Else, before any is, all frames are believed.
        """
        buffer = self._buffer
        if among_junk and buffer[at + 1] not in self._channels:
            return False
        if not self._channels:
            return True
        size = buffer[at + 2] << 8 | buffer[at + 3]
        if size < 8 or (at + 4 < end and buffer[at + 4] & 0xC0 != 0x80):
            return False
        stop = at + 4 + size
        return stop >= end or buffer[stop] == _DOLLAR or _MESSAGE_BEGUN.match(buffer, stop, end) is not None

    def _frame_inside(self, begun: int, stop: int, end: int) -> int:
        """Where in the frame that begins at begun and ends at stop another one begins; -1 if none does."""
        buffer = self._buffer
        for found in self._resync.finditer(buffer, begun + 1, stop):
            at = found.start()
            if buffer[at] != _DOLLAR or at + 4 > end:
                continue
            # Ending together with the outer one would say nothing: that is where the place was lost.
            ends_elsewhere = at + 4 + (buffer[at + 2] << 8 | buffer[at + 3]) != stop
            if ends_elsewhere and self._believable(at, end, among_junk=True):
                return at
        return -1

    def _message(self, at: int, end: int, frames: list[Packet | Message]) -> int:
        """Append the message at this place and return its end; the place itself if incomplete, -1 if none."""
        if _MESSAGE.match(self._buffer, at, end) is None:
            begun = _MESSAGE_BEGUN.match(self._buffer, at, end)
            whole = begun is not None and begun.end() == end and end - at < _LONGEST_START
            return at if whole else -1
        head_end = _HEAD_END.search(self._buffer, at, min(end, at + MAX_HEAD_BYTES))
        if head_end is None:
            if end - at >= MAX_HEAD_BYTES:
                raise Malformed(f"an RTSP head of more than {MAX_HEAD_BYTES} bytes")
            return at
        head = bytes(self._readable[at : head_end.end()])
        stop = head_end.end() + body_length(head)
        if stop > end:
            return at
        frames.append(Message(head, bytes(self._readable[head_end.end() : stop])))
        if self._lost:
            self._found()
        return stop

    def _skip(self, at: int, end: int) -> int:
        """Leave out junk up to the next byte that may begin something. Raises Malformed if it never ends."""
        found = self._resync.search(self._buffer, at + 1, end)
        stop = end if found is None else found.start()
        self.counts["junk_bytes"] += stop - at
        self._bear(stop - at)
        return stop

    def _bear(self, junk_bytes: int) -> None:
        self._junk += junk_bytes
        if self._junk > MAX_JUNK_BYTES:
            raise Malformed("the camera sends bytes that are neither RTSP nor interleaved packets")

    def _found(self) -> None:
        self._lost = False
        self.counts["resyncs"] += 1


def _resync_pattern(channels: bytes) -> re.Pattern[bytes]:
    """What may begin a frame on one of these channels, or a message, or does if more bytes follow the last.

    One search finds the place, since a loop over a hostile megabyte would hold up every other camera.
    """
    frame = rb"\$(?:\Z|[" + re.escape(channels) + rb"](?:[\x00-\xff]{2}[\x80-\xbf]|[\x00-\xff]{0,2}\Z))"
    messages = _MESSAGE.pattern + rb"|" + _MESSAGE_BEGUN.pattern + rb"\Z"
    return re.compile(frame + rb"|" + messages if channels else messages)
