"""What stands before a JPEG's scan: RFC 2435 leaves it out, its receivers write it (appendices A and B)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# Tables K.1 and K.2 of ITU-T T.81, in the zigzag order in which a DQT has them.
_LUMA = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
    26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
    56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
    95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip
_CHROMA = (17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, *(99,) * 50)
# Tables K.3 to K.6 as one DHT has them: every encoder that RFC 2435 allows uses these.
_HUFFMAN = bytes.fromhex(
    "0000010501010101010100000000000000000102030405060708090a0b010003010101010101010101000000000000010203"
    "0405060708090a0b100002010303020403050504040000017d01020300041105122131410613516107227114328191a10823"
    "42b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a535455565758595a6364"
    "65666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2"
    "c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa11000201020404030407050404"
    "00010277000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f1171819"
    "1a262728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a828384858687"
    "88898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3"
    "e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)
_SOI, EOI = b"\xff\xd8", b"\xff\xd9"
_SOF0, _SOF1, _DHT, _SOS, _DQT, _DRI = 0xC0, 0xC1, 0xC4, 0xDA, 0xDB, 0xDD
_COMPONENT = struct.Struct(">BBB")


class Frame(NamedTuple):
    """A start of frame. segment: its marker and content; ids: of its components, luma first."""

    width: int
    height: int
    ids: tuple[int, ...]
    segment: bytes


class QuantizationTables(NamedTuple):
    """segments: one DQT, or several, with all of them. amount: how many they are."""

    segments: bytes
    amount: int


def tables_of_quality(quality: int) -> QuantizationTables:
    """RFC 2435 section 4.2: quality 1 to 99."""
    factor = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled = [bytes(min(max((value * factor + 50) // 100, 1), 255) for value in t) for t in (_LUMA, _CHROMA)]
    return QuantizationTables(_segment(_DQT, b"\0" + scaled[0] + b"\1" + scaled[1]), 2)


def sent_tables(precision: int, data: bytes) -> QuantizationTables | None:
    """The tables of a quantization table header (section 3.1.8): one bit of precision for each, lowest first.

    None when the length is not that of one to four whole tables.
    """
    body, at, count = b"", 0, 0
    while at < len(data) and count < 4:
        wide = precision >> count & 1
        size = 128 if wide else 64
        if at + size > len(data):
            return None
        body += bytes((wide << 4 | count,)) + data[at : at + size]
        at += size
        count += 1
    return QuantizationTables(_segment(_DQT, body), count) if count and at == len(data) else None


def frame_of(width: int, height: int, kind: int, tables: int) -> Frame:
    """The start of frame of RFC 2435's type 0 (4:2:2) or 1 (4:2:0); tables: how many there are."""
    chroma = 1 if tables > 1 else 0
    # Numbered as JFIF has them, where the RFC's appendix counts from 0: more decoders know these.
    components = ((1, 0x21 if kind == 0 else 0x22, 0), (2, 0x11, chroma), (3, 0x11, chroma))
    body = struct.pack(">BHHB", 8, height, width, 3) + b"".join(_COMPONENT.pack(*one) for one in components)
    return Frame(width, height, (1, 2, 3), _segment(_SOF0, body))


def picture_header(
    tables: QuantizationTables, frame: Frame, restart_interval: int, huffman: Sequence[bytes] = ()
) -> bytes:
    """SOI up to and with SOS. huffman: DHT segments of the camera's own, else the standard's."""
    scan = bytes((len(frame.ids),)) + b"".join(
        bytes((component, 0x11 if number else 0)) for number, component in enumerate(frame.ids)
    )
    restart = _segment(_DRI, restart_interval.to_bytes(2, "big")) if restart_interval else b""
    coding = b"".join(huffman) or _segment(_DHT, _HUFFMAN)
    return b"".join(
        (_SOI, tables.segments, restart, frame.segment, coding, _segment(_SOS, scan + b"\0\x3f\0"))
    )


class SentHeader(NamedTuple):
    """Marker segments that a camera sends beside RFC 2435, in an RTP header extension of ONVIF's."""

    frame: Frame | None = None
    tables: QuantizationTables | None = None
    huffman: tuple[bytes, ...] = ()


def sent_header(extension: bytes) -> SentHeader:
    """The JPEG part (profile 0xFFD8) of an RTP header extension (ONVIF Streaming specification).

    It may stand behind the replay extension (0xABAC, three words). Whatever cannot be read is left out.
    """
    if extension[:2] == b"\xab\xac":
        extension = extension[16:]
    if extension[:2] != _SOI:
        return SentHeader()
    frame, quantizers, huffman = None, [], []
    for marker, content in _segments(extension[4:]):
        if marker in (_SOF0, _SOF1):
            frame = _read_frame(marker, content)
        elif marker == _DQT:
            quantizers.append(_segment(marker, content))
        elif marker == _DHT:
            huffman.append(_segment(marker, content))
    # A segment holds several tables, each behind a byte that numbers it.
    count = sum((len(segment) - 4) // 65 for segment in quantizers)
    tables = QuantizationTables(b"".join(quantizers), count) if count else None
    return SentHeader(frame, tables, tuple(huffman))


def _read_frame(marker: int, content: bytes) -> Frame | None:
    """T.81 section B.2.2."""
    if len(content) < 6:
        return None
    _, height, width, count = struct.unpack_from(">BHHB", content)
    if not (1 <= count <= 4 and width and height and len(content) == 6 + 3 * count):
        return None
    return Frame(width, height, tuple(content[6 : 6 + 3 * count : 3]), _segment(marker, content))


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        if data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1  # what fills up the last word, and may stand before any marker
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] != 0xFF or size < 2 or at + 2 + size > len(data):
            return
        yield data[at + 1], data[at + 4 : at + 2 + size]
        at += 2 + size


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content
