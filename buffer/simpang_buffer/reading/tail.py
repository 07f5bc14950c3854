"""The open end of a stream: the segment being written, which no row of the index knows yet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from simpang_buffer.model import FIRST_FOLDER, Fragment, RunHeader, StreamKey


@dataclass(frozen=True)
class Tail:
    """One open segment as far as it has been written.

    header: of this file. path: absolute. init: its ftyp and moov. fragments: those wholly written, in order;
    it may be the live list that the recorder's reports are appended to, so a reader copies it once and never
    waits in between. before: segments already closed whose rows are not committed yet (they wait for their
    sync), oldest first; whoever hands out a tail keeps a closed segment here until its row is committed, else
    a clip would miss a minute for as long as a sync takes. folder: id of the media folder that it lies in.
    """

    header: RunHeader
    path: Path
    init: bytes = field(repr=False)
    codec: str
    width: int
    height: int
    fragments: Sequence[Fragment] = field(repr=False)
    before: tuple[Tail, ...] = ()
    folder: int = FIRST_FOLDER

    @cached_property
    def header_sha256(self) -> bytes:
        """SHA-256 of ftyp and moov, as in Segment.header_sha256: tells parts apart."""
        return hashlib.sha256(self.init).digest()


# What a reader is given to look for open segments: `RecorderPool.tail`, or `no_tail` where nobody records.
Tails: TypeAlias = Callable[[StreamKey], Tail | None]


def no_tail(key: StreamKey) -> Tail | None:
    """For readers in a process that records nothing, and for streams that are closed."""
    return None
