"""RTSP requests and responses (RFC 2326 sections 4 to 7), read leniently and written strictly.

Text is ISO 8859-1 so that every byte a camera sends survives and nothing fails to decode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from simpang_buffer.rtsp.errors import Malformed

# The longest head seen from a camera is under 2 kB; what goes beyond this is an attack or a fault.
MAX_HEAD_BYTES = 16 * 1024
# An SDP of 20 tracks is 8 kB.
MAX_BODY_BYTES = 256 * 1024

_STATUS_LINE = re.compile(r"RTSP/\d+\.\d+[ \t]+(\d{3})(?:[ \t]+(.*))?", re.IGNORECASE)
_REQUEST_LINE = re.compile(r"([A-Za-z_]{1,32})[ \t]+(\S+)[ \t]+RTSP/\d+\.\d+[ \t]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Not what Python calls blank: to it the last byte of an "à" in UTF-8 is one too.
_BLANKS = " \t\r\n\0"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Headers:
    """Header fields in order; names are case-insensitive and repeats are kept (WWW-Authenticate)."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = tuple(fields)

    def get(self, name: str) -> str | None:
        """The first field of that name."""
        return next(iter(self.get_all(name)), None)

    def get_all(self, name: str) -> tuple[str, ...]:
        wanted = name.lower()
        return tuple(value for key, value in self._fields if key.lower() == wanted)

    def with_field(self, name: str, value: str) -> Headers:
        """A copy with one field more."""
        return Headers((*self._fields, (name, value)))

    def __contains__(self, name: str) -> bool:
        return bool(self.get_all(name))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    def __repr__(self) -> str:
        # Names only: the values of some are credentials.
        return f"Headers({', '.join(name for name, _ in self._fields)})"


@dataclass(frozen=True, slots=True)
class Request:
    """method is upper-case."""

    method: str
    url: str
    headers: Headers
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """reason may be empty."""

    status: int
    reason: str
    headers: Headers
    body: bytes = field(default=b"", repr=False)


def is_response(head: bytes) -> bool:
    """Tell a response's head from a request's."""
    return head.lstrip(b"\r\n")[:5].upper() == b"RTSP/"


def parse_request(head: bytes, body: bytes = b"") -> Request:
    """Read the head of a request (start line and fields, blank line optional). Raises Malformed."""
    start, headers = _parse_head(head)
    match = _REQUEST_LINE.fullmatch(start)
    if match is None:
        raise Malformed("a line that is no RTSP request")
    return Request(match[1].upper(), match[2], headers, body)


def parse_response(head: bytes, body: bytes = b"") -> Response:
    """Read the head of a response; the reason phrase may be missing (Longse). Raises Malformed."""
    start, headers = _parse_head(head)
    match = _STATUS_LINE.fullmatch(start)
    if match is None:
        raise Malformed("a line that is no RTSP response")
    return Response(int(match[1]), (match[2] or "").strip(_BLANKS), headers, body)


def body_length(head: bytes) -> int:
    """How many bytes of body follow this head (Content-Length, else 0). Raises Malformed if too many."""
    stated = _parse_head(head)[1].get("content-length")
    if stated is None:
        return 0
    if not stated.isascii() or not stated.isdigit() or len(stated) > 12:
        raise Malformed("a Content-Length that is no number")
    if int(stated) > MAX_BODY_BYTES:
        raise Malformed(f"a body of {int(stated)} bytes announced, more than {MAX_BODY_BYTES} are not taken")
    return int(stated)


def cseq(headers: Headers) -> int | None:
    """The sequence number, padded or not (Longse pads it); None if absent or no number."""
    stated = (headers.get("cseq") or "").strip()
    return int(stated) if stated.isascii() and stated.isdigit() and len(stated) <= 12 else None


def build_request(request: Request) -> bytes:
    """Bytes to send, Content-Length added. Raises Malformed if a part holds a line break or the like."""
    if _TOKEN.fullmatch(request.method) is None or re.search(r"\s", request.url) or not request.url:
        raise Malformed("a request that cannot be written: its method or address holds a blank")
    return _build(f"{request.method} {request.url} RTSP/1.0", request.headers, request.body)


def build_response(response: Response) -> bytes:
    """Bytes to send, Content-Length added. Raises Malformed as build_request does."""
    return _build(f"RTSP/1.0 {response.status:03} {response.reason}", response.headers, response.body)


def _build(start: str, headers: Headers, body: bytes) -> bytes:
    if body and "content-length" not in headers:
        headers = headers.with_field("Content-Length", str(len(body)))
    lines = [start]
    for name, value in headers:
        if _TOKEN.fullmatch(name) is None:
            raise Malformed("a header name that cannot be written")
        lines.append(f"{name}: {value}")
    # One injected line break would be a second request in the camera's eyes.
    if any(_CONTROL.search(line) for line in lines):
        raise Malformed("a control character in an RTSP message that was to be written")
    try:
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    except UnicodeEncodeError:
        raise Malformed("a character in an RTSP message that cannot be written") from None


def _parse_head(head: bytes) -> tuple[str, Headers]:
    if len(head) > MAX_HEAD_BYTES:
        raise Malformed(f"an RTSP head of more than {MAX_HEAD_BYTES} bytes")
    lines = head.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
    fields: list[tuple[str, str]] = []
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and fields:
            # A folded field (RFC 2326 section 4.2 after RFC 822).
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {line.strip(_BLANKS)}".strip(_BLANKS))
            continue
        name, colon, value = line.partition(":")
        if colon and name.strip(_BLANKS):
            fields.append((name.strip(_BLANKS), value.strip(_BLANKS)))
    return lines[0].strip(_BLANKS), Headers(fields)
