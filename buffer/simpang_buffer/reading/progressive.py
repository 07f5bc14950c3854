"""A part as one ordinary MP4 that starts at zero and can be asked for by byte ranges.

    ftyp moov { sidx }* { moof mdat free }*

Its bytes are the recorded ones but for 8 in each track's `tfdt`: decode times count from the part's start
instead of the run's. The seals stay behind, since they cover the recorded bytes; a `free` box stands in the
place of each, so that all sizes follow from the index (`layout`). The `sidx` tells players how long it is and
where key frames are, so that they seek without reading everything.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from bisect import bisect_right
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from simpang_buffer.media.fmp4 import VIDEO_TRACK
from simpang_buffer.media.seal import SEAL_BYTES, BadBox
from simpang_buffer.model import Fragment
from simpang_buffer.reading.browser_sound import Encode
from simpang_buffer.reading.clips import Part, Slice
from simpang_buffer.reading.exact import Place
from simpang_buffer.reading.heads import altered, opened, read_head, unreadable, vanished
from simpang_buffer.reading.moof import rebase
from simpang_buffer.reading.outline import Outline, outline
from simpang_buffer.reading.sources import detailed

_log = logging.getLogger(__name__)

# Read and handed on at once: few changes of thread for a megabyte, and little memory for each reader.
BLOCK_BYTES = 1 << 18
# A fragment of a small stream is read and written at once: two calls more would cost more than its copy.
_SMALL_BYTES = 1 << 16
# What stands in the place of a seal.
_SEAL_GAP = SEAL_BYTES.to_bytes(4, "big") + b"free" + bytes(SEAL_BYTES - 8)


@dataclass(frozen=True, slots=True)
class FileRange:
    """Recorded bytes as they are. fd: open until the next extent is asked for."""

    path: Path
    fd: int
    offset: int
    size_bytes: int

    def send(self, to_fd: int, skip: int = 0) -> int:
        """Some of them to a socket, but for the first `skip`; gives how many. Raises Altered, OSError."""
        try:
            sent = os.sendfile(to_fd, self.fd, self.offset + skip, self.size_bytes - skip)
        except OSError as error:
            if error.errno == errno.EIO:
                raise unreadable(self.path, error) from error
            raise
        if not sent:
            raise altered(self.path, "it is shorter")
        return sent

    def read(self) -> bytes:
        """All of them. Raises Altered."""
        try:
            content = os.pread(self.fd, self.size_bytes, self.offset)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(content) != self.size_bytes:
            raise altered(self.path, "it is shorter")
        return content


class ProgressiveMp4:
    """start_us, end_us: what it shows. total_bytes: known before anything but its ends is read. init_bytes:
    ftyp and moov, with which it starts. mime: with codecs as of RFC 6381.
    """

    def __init__(self, planned: Outline) -> None:
        self.start_us, self.end_us = planned.cut.start_us, planned.cut.end_us
        self.init_bytes = planned.init_bytes
        self.total_bytes = len(planned.head) + planned.layout.size_bytes
        self._layout = planned.layout
        self._part = planned.layout.part
        self._cut = planned.cut
        self._head = planned.head
        self._sound = planned.sound
        self._hidden = planned.hidden
        # The fragments of the file that is being read, whose slice was not read before.
        self._opened: tuple[int, Slice | None] | None = None

    @classmethod
    def read(
        cls,
        part: Part,
        *,
        between: tuple[int, int] | None = None,
        indexed: bool = True,
        encode: Encode | None = None,
        whole: bool = True,
    ) -> Self:
        """As `outline` has it: blocks, and raises Vanished and Altered."""
        return cls(outline(part, between=between, indexed=indexed, encode=encode, whole=whole))

    @property
    def mime(self) -> str:
        format_ = self._part.format
        codecs = [format_.codec]
        if self._sound:
            codecs.append("mp4a.40.2")
        elif format_.audio_entry is not None:
            # What cameras send is AAC-LC, object type 2 (RFC 6381 section 3.3).
            codecs.append("mp4a.40.2" if format_.audio_entry == "mp4a" else format_.audio_entry)
        return f'video/mp4; codecs="{", ".join(codecs)}"'

    def extents(self, start: int, end: int) -> Generator[bytes | FileRange, None, None]:
        """The bytes [start, end) in order, recorded ones by where they lie. One file is open between two of
        them: whoever stops for long closes the iterator and goes on with another, from where it is.

        Blocks. Raises Vanished when a file was deleted meanwhile, Altered when it does not hold what its
        table says, ValueError for a range that does not exist.
        """
        if not 0 <= start <= end <= self.total_bytes:
            raise ValueError(f"no bytes {start} to {end} of {self.total_bytes}")
        small: list[bytes] = []
        size_bytes = 0
        for extent in self._extents(start, end):
            if not isinstance(extent, bytes):
                if small:
                    yield b"".join(small)
                    small, size_bytes = [], 0
                yield extent
                continue
            small.append(extent)
            size_bytes += len(extent)
            if size_bytes >= BLOCK_BYTES:
                yield b"".join(small)
                small, size_bytes = [], 0
        if small:
            yield b"".join(small)

    async def write(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) in blocks, read in a thread; no file stays open between them. Raises as
        `extents` does.
        """
        end = self.total_bytes if end is None else end
        if not 0 <= start <= end <= self.total_bytes:
            raise ValueError(f"no bytes {start} to {end} of {self.total_bytes}")
        while start < end:
            stop = min(end, start + BLOCK_BYTES)
            yield await asyncio.to_thread(self.block, start, stop)
            start = stop

    def block(self, start: int, end: int) -> bytes:
        """The bytes [start, end), as `extents`."""
        return b"".join(one if isinstance(one, bytes) else one.read() for one in self.extents(start, end))

    def _extents(self, start: int, end: int) -> Iterator[bytes | FileRange]:
        head_bytes = len(self._head)
        if start < head_bytes:
            yield self._head[start:end]
        at, stop = max(start - head_bytes, 0), end - head_bytes
        while at < stop:
            number = self._layout.slice_at(at)
            until = min(stop, self._layout.starts[number + 1])
            yield from self._slice(number, at, until)
            at = until

    def _slice(self, number: int, start: int, end: int) -> Iterator[bytes | FileRange]:
        """Bytes [start, end) behind the header, all of one file."""
        layout = self._layout
        begin, stop = layout.starts[number], layout.starts[number + 1]
        one = self._detailed(number)
        if one is None:
            yield from _free(stop - begin, start - begin, end - begin)
            return
        fragments, path = one.fragments(), one.source.path
        base = begin - layout.first_byte(one)

        def place_of(at: int) -> int:
            return base + fragments[at].offset + layout.sound_before(number, fragments, at)

        first = bisect_right(range(len(fragments)), start, key=place_of) - 1
        with opened(path) as fd:
            if first < 0:
                yield from _clipped(place_of(0) - begin, begin, start, end)
                first = 0
            begins = place_of(first)
            for at in range(first, len(fragments)):
                if begins >= end:
                    return
                fragment = fragments[at]
                behind = begins + fragment.size_bytes
                if start < behind:
                    inside = max(start - begins, 0), min(end - begins, fragment.size_bytes)
                    yield from self._fragment(fd, path, fragment, (number, one.first + at), *inside)
                begins = place_of(at + 1) if at + 1 < len(fragments) else stop
                gap = begins - behind
                if start < begins and end > behind:
                    if gap == SEAL_BYTES and start <= behind and begins <= end:
                        yield _SEAL_GAP
                    elif self._sound is None:
                        yield from _clipped(gap, behind, start, end)
                    else:
                        yield from self._heard(number, one, at, behind, gap, start, end)

    def _heard(
        self, number: int, one: Slice, at: int, behind: int, gap: int, start: int, end: int
    ) -> Iterator[bytes]:
        """What of the sound behind a fragment, and of the free box before it, lies in [start, end)."""
        assert self._sound is not None
        fragments = one.fragments()
        following = fragments[at + 1].start_us if at + 1 < len(fragments) else None
        if following is None:
            following = self._layout.next_start_us(number)
        sound = self._sound.behind(number, one, at, following)
        free = gap - len(sound)
        if start < behind + free:
            yield from _clipped(free, behind, start, end)
        begins = behind + free
        if end > begins:
            yield sound[max(start - begins, 0) : end - begins]

    def _detailed(self, number: int) -> Slice | None:
        """A slice with its fragments; None where they cannot be read, which is said once."""
        one = self._part.slices[number]
        if one.source.fragments is not None:
            return one
        if self._opened is None or self._opened[0] != number:
            found: Slice | None = None
            try:
                source = detailed(one.source)
                found = replace(one, source=source) if source.fragments else None
                why: object = "it holds nothing"
            except FileNotFoundError as error:
                raise vanished(one.source.path) from error
            except (BadBox, OSError) as error:
                why = error
            if found is None:
                _log.warning(
                    "%s cannot be read (%s): a clip goes on without it; `simpang buffer check` tells more",
                    one.source.path,
                    why,
                )
            self._opened = (number, found)
        return self._opened[1]

    def _fragment(
        self, fd: int, path: Path, fragment: Fragment, place: Place, start: int, end: int
    ) -> Iterator[bytes | FileRange]:
        """Bytes [start, end) of a fragment, its times counted from zero."""
        small = fragment.size_bytes <= _SMALL_BYTES
        block, size = read_head(fd, path, fragment, whole=small)
        whole = self._cut.heads.get(place)
        if whole is not None:
            block[:size] = whole
        else:
            try:
                if VIDEO_TRACK not in rebase(block, size, self._cut.zeros, self._hidden):
                    raise BadBox("fragment without video")
            except BadBox as error:
                raise altered(path, error) from error
        if start < len(block):
            yield bytes(block) if (start, end) == (0, len(block)) else bytes(block[start:end])
            start = min(end, len(block))
        if start < end:
            yield FileRange(path, fd, fragment.offset + start, end - start)


def _clipped(size_bytes: int, at: int, start: int, end: int) -> Iterator[bytes]:
    """What of a free box at `at` lies in [start, end)."""
    if size_bytes:
        yield from _free(size_bytes, max(start - at, 0), min(end - at, size_bytes))


def _free(size_bytes: int, start: int, end: int) -> Iterator[bytes]:
    """Bytes [start, end) of a free box of that size."""
    box = size_bytes.to_bytes(4, "big") + b"free"
    if start < 8 and start < end:
        yield box[start:end]
    at = max(start, 8)
    while at < end:
        stop = min(end, at + BLOCK_BYTES)
        yield bytes(stop - at)
        at = stop
