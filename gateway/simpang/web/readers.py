"""How much footage may be read at this moment, by all readers together and however slowly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from aiohttp import web

from simpang.web.problems import Problem
from simpang_buffer.reading.sources import DETAIL_US

# For the lists of what is read: a month is 19 MB, four hours in detail 3 MB.
MOST_BYTES = 64 << 20
# A file's entry, one a minute; and in a range that is read in detail a fragment's, one a second.
_BYTES_PER_MINUTE = 448
_BYTES_PER_SECOND = 200
# The rest of a reader: its blocks on the way out.
_LEAST_BYTES = 1 << 18


class Readers:
    """What the readers of this moment take."""

    def __init__(self) -> None:
        self._taken_bytes = 0

    @contextlib.contextmanager
    def reading(self, length_us: int) -> Iterator[None]:
        """For a reader of so much footage that is there. Raises Problem busy where it would be too much."""
        taken = _weight(length_us)
        if self._taken_bytes and self._taken_bytes + taken > MOST_BYTES:
            raise Problem(
                "busy",
                "Too much footage is being read at once; ask for less, or again when others have theirs.",
                headers={"Retry-After": "10"},
            )
        self._taken_bytes += taken
        try:
            yield
        finally:
            self._taken_bytes -= taken


READERS: web.AppKey[Readers] = web.AppKey("readers", Readers)


def _weight(length_us: int) -> int:
    seconds = length_us // 1_000_000
    detail = length_us <= DETAIL_US
    return _LEAST_BYTES + (seconds * _BYTES_PER_SECOND if detail else seconds * _BYTES_PER_MINUTE // 60)
