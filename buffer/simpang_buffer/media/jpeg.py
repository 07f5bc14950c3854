"""RTP payloads of MJPEG (RFC 2435) to pictures: each is the JPEG that the RFC's receiver makes of them.

Liberal: what can be understood is kept, the rest is counted. A picture of which a fragment was lost is no
JPEG, and is dropped. Nothing here raises on a camera's bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from simpang_buffer.media.access_units import MAX_PICTURE_BYTES, Picture
from simpang_buffer.media.descriptors import JPEG, esds
from simpang_buffer.media.fmp4 import video_entry
from simpang_buffer.media.jpeg_header import (
    EOI,
    QuantizationTables,
    SentHeader,
    frame_of,
    picture_header,
    sent_header,
    sent_tables,
    tables_of_quality,
)
from simpang_buffer.media.rtp import RtpHeader, RtpSource
from simpang_buffer.model import VideoFormat

# RFC 6381 for 14496-1's object type of JPEG. ffmpeg, GStreamer and VLC read this entry and QuickTime's `jpeg`
# alike; this is the one that MP4 defines.
CODEC = "mp4v.6C"
# Type-specific, fragment offset, type, Q, width and height in blocks of 8 (section 3.1).
_MAIN = struct.Struct(">B3sBBBB")
# Types with restart markers are 64 above those without (section 3.1.3).
_RESTART_TYPES = 64
_KINDS = frozenset({0, 1})
# Up to here Q is a quality; from 128 on it names tables that are sent (section 3.1.4).
_MOST_QUALITY, _FIRST_SENT = 99, 128
# Tables under this number are another's with every picture.
_DYNAMIC = 255


class JpegDepacketizer:
    """RTP packets of a video track in, pictures out. A packet's buffer may be reused after its `push`."""

    # Every picture is whole in itself, so none is sent before one that is shown earlier.
    reorder: int | None = 0

    def __init__(
        self, payload_type: int, size: tuple[int, int] | None = None, ssrc: int | None = None
    ) -> None:
        """size: width and height from the SDP, which the payload's header cannot say beyond 2040 pixels."""
        self.source = RtpSource(payload_type, ssrc)
        self.video_format: VideoFormat | None = None
        self._size = size
        # By Q, as sent; at most one for each of the 127 that are not for one picture only.
        self._tables: dict[int, QuantizationTables] = {}
        self._parts: list[bytes] = []
        self._bytes = 0
        self._time = 0
        # The picture under way lacks a beginning or a fragment: nothing is kept of it.
        self._broken = True
        self._trust_markers = True
        # What a marker handed over, in case it was in the middle: its time and how many bytes it had.
        self._ended: tuple[int, int] | None = None
        self.unsupported = 0
        self.oversized = 0
        self.incomplete = 0

    def push(self, packet: memoryview) -> list[Picture]:
        """One RTP packet; the picture that it finishes, if any. Never raises."""
        return self.push_all((packet,))

    def push_all(self, packets: Iterable[memoryview]) -> list[Picture]:
        """As `push` for each of them."""
        done: list[Picture] = []
        for packet in packets:
            for header in self.source.take(packet):
                self._take(header, done)
        return done

    def flush(self) -> list[Picture]:
        """At the end of a session: the picture under way may lack its end, so it is none."""
        self._forget()
        return []

    def _take(self, header: RtpHeader, done: list[Picture]) -> None:
        payload = header.payload
        if header.lost:
            self._break()
        if len(payload) < _MAIN.size:
            self.unsupported += bool(payload)
            return
        _, offset_bytes, kind, quality, width, height = _MAIN.unpack_from(payload)
        offset = int.from_bytes(offset_bytes, "big")
        at, interval = _MAIN.size, 0
        if _RESTART_TYPES <= kind < 2 * _RESTART_TYPES:
            if len(payload) < at + 4:
                self.unsupported += 1
                return
            interval = int.from_bytes(payload[at : at + 2], "big")
            at += 4
            kind -= _RESTART_TYPES
        if offset == 0:
            self._finish(done)  # of a camera that sets no marker
            if not self._begin(header, kind, quality, (8 * width, 8 * height), interval, at):
                self._broken = True
                self.unsupported += 1
        elif self._ended == (header.time, offset):
            # Its marker stood before another fragment of the same picture (8.5): markers mean nothing here.
            self._trust_markers = False
            self._break()
        elif self._broken or offset != self._bytes or header.time != self._time:
            self._break()
        else:
            self._parts.append(bytes(payload[at:]))
            self._bytes += len(payload) - at
        if self._bytes > MAX_PICTURE_BYTES:
            self.oversized += 1
            self._forget()
        if header.marker and self._trust_markers:
            self._finish(done)

    def _begin(
        self, header: RtpHeader, kind: int, quality: int, size: tuple[int, int], interval: int, at: int
    ) -> bool:
        """False when what its first fragment says makes no JPEG."""
        payload = header.payload
        tables: QuantizationTables | None
        if quality >= _FIRST_SENT:
            if len(payload) < at + 4:
                return False
            precision = payload[at + 1]
            end = at + 4 + int.from_bytes(payload[at + 2 : at + 4], "big")
            if end > len(payload):
                return False
            tables = sent_tables(precision, bytes(payload[at + 4 : end])) if end > at + 4 else None
            if tables is None:
                tables = self._tables.get(quality)
            elif quality != _DYNAMIC:
                self._tables[quality] = tables
            at = end
        elif 0 < quality <= _MOST_QUALITY:
            tables = self._tables.get(quality) or tables_of_quality(quality)
            self._tables[quality] = tables
        else:
            return False
        more = sent_header(header.extension) if header.extension else SentHeader()
        tables = more.tables or tables
        if tables is None:
            return False
        frame = more.frame
        if frame is None:
            width, height = size if all(size) else self._size or (0, 0)
            if not (width and height) or kind not in _KINDS:
                return False
            frame = frame_of(width, height, kind, tables.amount)
        self._parts = [picture_header(tables, frame, interval, more.huffman), bytes(payload[at:])]
        self._bytes = len(payload) - at
        self._time = header.time
        self._broken = False
        self._ended = None
        self._note_size(frame.width, frame.height)
        return True

    def _finish(self, done: list[Picture]) -> None:
        if self._parts and not self._broken:
            if self._parts[-1][-2:] != EOI:
                self._parts.append(EOI)
            self._ended = self._time, self._bytes
            data = b"".join(self._parts)
            done.append(Picture(self._time, data, key=True, damaged=False, format=self.video_format))
        self._forget()

    def _break(self) -> None:
        if not self._broken:
            self.incomplete += 1
        self._forget()

    def _forget(self) -> None:
        self._parts, self._bytes, self._broken = [], 0, True

    def _note_size(self, width: int, height: int) -> None:
        known = self.video_format
        if known is None or (known.width, known.height) != (width, height):
            entry = video_entry(b"mp4v", width, height, esds(JPEG))
            self.video_format = VideoFormat(CODEC, width, height, entry)
