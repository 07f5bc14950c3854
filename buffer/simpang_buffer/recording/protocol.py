"""What the daemon and a recorder process say to each other over their socket pair.

A message is `u32 total length, u16 header length` (big-endian; the total counts what follows it), a JSON
object and a payload of bytes. Both sides bound it before memory is taken. The two sides are one release of
one program: a message that does not parse is a fault, never something to guess at, and raises
`ProtocolError`.

    daemon -> recorder: clock folders record forget watch unwatch distrust stop
    recorder -> daemon: confined pulse state condition contents timed sign-in certificate opened
                        fragment closed failed idle init frame dropped

Per stream and run: opened { fragment } closed, again for each file. `fragment` means written, `closed`
durable. A file that broke has `failed` instead, and its run ends. `idle` ends what `record` began, after the
last file: its reason is that of the gap, and with `broken` some file has to be adopted.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simpang_buffer.media import seal
from simpang_buffer.media.seal import BadBox, run_fields
from simpang_buffer.model import ROW_SEAL_BYTES, Fragment, FragmentFlags, RunHeader, Segment, StreamKey

__all__ = [
    "Message",
    "ProtocolError",
    "encode",
    "fragment",
    "fragment_fields",
    "receive",
    "run_fields",
    "run_header",
    "segment",
    "segment_fields",
    "timed",
]

# The largest is one picture on its way to a viewer, and pictures are at most 8 MB.
MAX_MESSAGE_BYTES = 16 << 20
_PREFIX = struct.Struct(">IH")


class ProtocolError(Exception):
    """The other side sent what no release of this program sends."""


@dataclass(frozen=True, slots=True)
class Message:
    """kind: one of the words above. stream: whose it is, None for stop and pulse."""

    kind: str
    stream: StreamKey | None = None
    # May hold a camera's password on its way to the recorder.
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    payload: bytes | memoryview = field(default=b"", repr=False)


def encode(message: Message) -> bytes:
    """The bytes of a message; ValueError when it is larger than the other side accepts."""
    head: dict[str, Any] = {"kind": message.kind, **message.fields}
    if message.stream is not None:
        head["stream"] = [message.stream.camera, message.stream.stream]
    text = json.dumps(head, separators=(",", ":")).encode()
    total = 2 + len(text) + len(message.payload)
    if total > MAX_MESSAGE_BYTES or len(text) > 0xFFFF:
        raise ValueError(f"message {message.kind!r} of {total} bytes is too large")
    return b"".join((_PREFIX.pack(total, len(text)), text, message.payload))


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message, or None where the other side closed, even in the middle of one.

    No time limit: silence is how both sides spend most of their lives, and the socket's end is the signal.
    """
    try:
        total, head_bytes = _PREFIX.unpack(await reader.readexactly(_PREFIX.size))
        if not 2 + head_bytes <= total <= MAX_MESSAGE_BYTES:
            raise ProtocolError(f"a length of {total} with a header of {head_bytes}")
        body = await reader.readexactly(total - 2)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return _parse(body[:head_bytes], body[head_bytes:])


def _parse(head: bytes, payload: bytes) -> Message:
    try:
        fields = json.loads(head)
        kind = fields.pop("kind")
        stream = fields.pop("stream", None)
        key = StreamKey(*stream) if stream is not None else None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError(f"a header that does not parse: {type(error).__name__}") from None
    if not isinstance(kind, str):
        raise ProtocolError("a message without a kind")
    return Message(kind, key, fields, payload)


# The nouns, as JSON. The key travels in the message, so none of them repeats it.


def run_header(key: StreamKey, fields: Mapping[str, Any]) -> RunHeader:
    """From seal.run_fields and the site. Raises ProtocolError, as all of these do."""
    try:
        return seal.run_header({**fields, "camera": key.camera, "stream": key.stream})
    except BadBox as error:
        raise ProtocolError(f"a run that does not parse: {error}") from None


def fragment_fields(fragment: Fragment) -> list[int]:
    return [
        fragment.offset,
        fragment.size_bytes,
        fragment.decode_time,
        fragment.duration,
        fragment.start_us,
        int(fragment.flags),
        fragment.frames,
    ]


def fragment(values: Any) -> Fragment:
    try:
        offset, size_bytes, decode_time, duration, start_us, flags, frames = map(_count, values)
        return Fragment(offset, size_bytes, decode_time, duration, start_us, FragmentFlags(flags), frames)
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"a fragment that does not parse: {error}") from None


def segment_fields(segment: Segment) -> dict[str, Any]:
    return {
        "run": segment.run,
        "seq": segment.seq,
        "start_us": segment.start_us,
        "end_us": segment.end_us,
        "size_bytes": segment.size_bytes,
        "fragments": segment.fragments,
        "frames": segment.frames,
        "first_chunk": segment.first_chunk,
        "chunks": segment.chunks,
        "codec": segment.codec,
        "width": segment.width,
        "height": segment.height,
        "header_sha256": segment.header_sha256.hex(),
        "seal": segment.seal.hex(),
        "folder": segment.folder,
    }


def segment(key: StreamKey, fields: Mapping[str, Any]) -> Segment:
    try:
        numbers = {
            name: _count(fields[name])
            for name in (
                "run",
                "seq",
                "start_us",
                "end_us",
                "size_bytes",
                "fragments",
                "frames",
                "first_chunk",
                "chunks",
                "width",
                "height",
                "folder",
            )
        }
        last_seal = bytes.fromhex(fields["seal"])
        if len(last_seal) != ROW_SEAL_BYTES:
            raise ValueError(f"a seal of {len(last_seal)} bytes")
        return Segment(
            key=key,
            codec=_text(fields["codec"]),
            header_sha256=bytes.fromhex(fields["header_sha256"]),
            seal=last_seal,
            **numbers,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ProtocolError(f"a segment that does not parse: {error}") from None


def timed(fields: Mapping[str, Any]) -> tuple[int, float | None, int | None]:
    """Of a run: its number, how many millionths faster than ours the camera's clock runs, and that clock
    minus ours."""
    drift, offset = fields["drift_ppm"], fields["camera_offset_us"]
    if drift is not None and not -1e6 <= drift <= 1e6:
        raise ProtocolError(f"a drift of {drift!r}")
    if offset is not None and not -(1 << 62) < offset < 1 << 62:
        raise ProtocolError(f"an offset of {offset!r}")
    return _count(fields["run"]), drift, None if offset is None else int(offset)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value
