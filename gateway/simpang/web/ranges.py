"""The Range header of RFC 9110 section 14, for bytes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPEC = re.compile(r"(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes start up to but not including end."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


class Unsatisfiable(Exception):
    """No byte of the thing is in the range (416)."""


def parse_range(header: str | None, total_bytes: int) -> ByteRange | None:
    """The one range asked for, clipped to the thing; None where all of it is to be sent.

    A header that is not understood, or names several ranges, is ignored, as section 14.2 allows. Raises
    Unsatisfiable.
    """
    if header is None:
        return None
    unit, equals, specs = header.partition("=")
    match = _SPEC.fullmatch(specs.strip())
    if not equals or unit.strip().lower() != "bytes" or match is None or match[0] == "-":
        return None
    first, last = match[1], match[2]
    if not first:
        length = min(int(last), total_bytes)
        if length == 0:
            raise Unsatisfiable
        return ByteRange(total_bytes - length, total_bytes)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= total_bytes:
        raise Unsatisfiable
    return ByteRange(start, min(int(last) + 1, total_bytes) if last else total_bytes)
