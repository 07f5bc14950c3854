"""RTP payloads of the ONVIF metadata track to whole documents (ONVIF Streaming specification, section 5.1.2).

A document is XML, cut into packets anywhere; the last packet of each has the marker. It is kept as sent, and
never read here. What belongs to a document of which a packet was lost is dropped with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from simpang_buffer.media.fmp4 import box
from simpang_buffer.media.rtp import RtpSource
from simpang_buffer.model import MetadataFormat

# Every encoding that can be kept, and the MIME type of its compression (14496-12 section 12.3.3.2).
METADATA_ENCODINGS: Mapping[str, bytes] = {
    "VND.ONVIF.METADATA": b"",
    "VND.ONVIF.METADATA.GZIP": b"application/gzip",
}
# A scene with hundreds of objects is some 100 kB; a camera that never ends its document must not fill memory.
MAX_DOCUMENT_BYTES = 256 << 10
_NAMESPACE = b"http://www.onvif.org/ver10/schema"


class MetadataDocument(NamedTuple):
    """rtp_time: 32 bits of the track's clock, as of its first packet. data: as sent."""

    rtp_time: int
    data: bytes


class MetadataDepacketizer:
    """Holds one document of at most 256 kB."""

    def __init__(self, payload_type: int, ssrc: int | None = None) -> None:
        self.source = RtpSource(payload_type, ssrc)
        self._parts: list[bytes] = []
        self._bytes = 0
        self._time = 0
        # Until a document has ended nobody knows whether the first packet begins one; most cameras begin a
        # session with one, so it is taken. After a loss the rest of the document is passed over.
        self._skipping = False
        self.incomplete = 0
        self.oversized = 0

    def push(self, packet: memoryview) -> list[MetadataDocument]:
        """The documents that it completes: none or one, or more after a change of source. Never raises."""
        done: list[MetadataDocument] = []
        for header in self.source.take(packet):
            if header.lost:
                self._skip()
                self.incomplete += 1
            if not self._skipping:
                if not self._parts:
                    self._time = header.time
                self._parts.append(bytes(header.payload))
                self._bytes += len(header.payload)
                if self._bytes > MAX_DOCUMENT_BYTES:
                    self._skip()
                    self.oversized += 1
            if header.marker:
                if self._bytes:
                    done.append(MetadataDocument(self._time, b"".join(self._parts)))
                self._parts, self._bytes, self._skipping = [], 0, False
        return done

    def _skip(self) -> None:
        self._parts, self._bytes, self._skipping = [], 0, True


def metadata_format(encoding: str) -> MetadataFormat | None:
    """For a track of the SDP; None for what cannot be kept (EXI)."""
    if encoding not in METADATA_ENCODINGS:
        return None
    # XMLMetaDataSampleEntry: data reference; encoding, namespace and schema location, each ended by a zero.
    texts = (METADATA_ENCODINGS[encoding], _NAMESPACE, b"")
    return MetadataFormat(box(b"metx", bytes(6) + b"\0\1", *(text + b"\0" for text in texts)))
