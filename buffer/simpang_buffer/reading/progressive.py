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
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Self

from simpang_buffer.media.fmp4 import AUDIO_TRACK, VIDEO_TRACK
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import VIDEO_TIMESCALE, Fragment
from simpang_buffer.reading.clips import Part, Slice
from simpang_buffer.reading.exact import Cut, Place, exact
from simpang_buffer.reading.heads import HEAD_BYTES, altered, opened, read_head, unreadable, vanished
from simpang_buffer.reading.layout import Layout, joined
from simpang_buffer.reading.moof import rebase, samples_of
from simpang_buffer.reading.movie_header import timescales, with_edit
from simpang_buffer.reading.seek_boxes import rescaled, sidx
from simpang_buffer.reading.sources import detailed

_log = logging.getLogger(__name__)

# Read and handed on at once: few changes of thread for a megabyte, and little memory for each reader.
BLOCK_BYTES = 1 << 18
# A fragment of a small stream is read and written at once: two calls more would cost more than its copy.
_SMALL_BYTES = 1 << 16
_NOTHING: frozenset[int] = frozenset()


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

    def __init__(self, layout: Layout, cut: Cut, head: bytes, init_bytes: int) -> None:
        self.start_us, self.end_us = cut.start_us, cut.end_us
        self.init_bytes = init_bytes
        self.total_bytes = len(head) + layout.size_bytes
        self._layout = layout
        self._part = layout.part
        self._cut = cut
        self._head = head
        # The fragments of the file that is being read, whose slice was not read before.
        self._opened: tuple[int, Slice] | None = None

    @classmethod
    def read(cls, part: Part, *, between: tuple[int, int] | None = None, indexed: bool = True) -> Self:
        """Lays the part out. between: shown from the picture at the first moment to the last before the
        second, and exactly that; else all of it. indexed: with `sidx`; without it, what is there stays as it
        is while the part grows.

        Blocks, for a second where a part has 40,000 files. Raises Vanished and Altered.
        """
        part = _with_first(part)
        init = part.format.init
        layout = Layout(part)
        try:
            scales = timescales(init)
        except BadBox as error:
            raise altered(part.slices[0].source.path, error) from error
        cut = exact(layout, scales, *between) if between else _whole(part, scales)
        head = init
        if cut.edit_from is not None:
            # The tables' size does not depend on the offsets in them, so the header is made twice.
            index = _segment_index(layout, cut, scales) if indexed else b""
            length = len(with_edit(init, cut.edit_from, cut.duration, cut.first_samples(0))) + len(index)
            init = with_edit(init, cut.edit_from, cut.duration, cut.first_samples(length))
            head = init + index
        elif indexed:
            head = init + _segment_index(layout, cut, scales)
        return cls(layout, cut, head, len(init))

    @property
    def mime(self) -> str:
        format_ = self._part.format
        codecs = [format_.codec]
        if format_.audio_entry is not None:
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
            if isinstance(extent, bytes):
                small.append(extent)
                size_bytes += len(extent)
                if size_bytes < BLOCK_BYTES:
                    continue
            if small:
                yield small[0] if len(small) == 1 else b"".join(small)
                small, size_bytes = [], 0
            if not isinstance(extent, bytes):
                yield extent
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
        base, stop = self._layout.starts[number], self._layout.starts[number + 1]
        try:
            one = self._detailed(number)
        except FileNotFoundError as error:
            raise vanished(self._part.slices[number].source.path) from error
        except (BadBox, OSError) as error:
            path = self._part.slices[number].source.path
            _log.warning("%s cannot be read (%s): a clip goes on without it; see `buffer check`", path, error)
            yield from _free(stop - base, start - base, end - base)
            return
        fragments = one.fragments()
        path = one.source.path
        base -= self._layout.first_byte(one)
        with opened(path) as fd:
            first = bisect_right(fragments, start - base, key=lambda fragment: fragment.offset) - 1
            if first < 0:
                lead = base + fragments[0].offset - self._layout.starts[number]
                yield from _clipped(lead, self._layout.starts[number], start, end)
                first = 0
            for at in range(first, len(fragments)):
                fragment = fragments[at]
                begins = base + fragment.offset
                if begins >= end:
                    return
                behind = begins + fragment.size_bytes
                if start < behind:
                    place = (number, one.first + at)
                    inside = max(start - begins, 0), min(end - begins, fragment.size_bytes)
                    yield from self._fragment(fd, path, fragment, place, *inside)
                following = base + fragments[at + 1].offset if at + 1 < len(fragments) else stop
                if start < following and end > behind:
                    yield from _clipped(following - behind, behind, start, end)

    def _detailed(self, number: int) -> Slice:
        one = self._part.slices[number]
        if one.source.fragments is not None:
            return one
        if self._opened is None or self._opened[0] != number:
            self._opened = (number, replace(one, source=detailed(one.source)))
        return self._opened[1]

    def _fragment(
        self, fd: int, path: Path, fragment: Fragment, place: Place, start: int, end: int
    ) -> Iterator[bytes | FileRange]:
        """Bytes [start, end) of a fragment, its times counted from zero."""
        small = fragment.size_bytes <= _SMALL_BYTES
        block, size = read_head(fd, path, fragment, fragment.size_bytes if small else HEAD_BYTES)
        whole = self._cut.heads.get(place)
        if whole is not None:
            block[:size] = whole
        else:
            try:
                if VIDEO_TRACK not in rebase(block, size, self._cut.zeros, _NOTHING):
                    raise BadBox("fragment without video")
            except BadBox as error:
                raise altered(path, error) from error
        if start < len(block):
            yield bytes(block) if (start, end) == (0, len(block)) else bytes(block[start:end])
            start = min(end, len(block))
        if start < end:
            if small:
                raise altered(path, "it is shorter")
            yield FileRange(path, fd, fragment.offset + start, end - start)


def _with_first(part: Part) -> Part:
    """The part with the fragments of its first file."""
    first = part.slices[0]
    try:
        source = detailed(first.source)
        if not source.fragments:
            raise BadBox("no fragment in it")
    except FileNotFoundError as error:
        raise vanished(first.source.path) from error
    except OSError as error:
        raise unreadable(first.source.path, error) from error
    except BadBox as error:
        raise altered(first.source.path, error) from error
    return replace(part, slices=(replace(first, source=source), *part.slices[1:]))


def _whole(part: Part, scales: Mapping[int, int]) -> Cut:
    """All of the part. Zero is the video's first decode time; but where the first fragment's sound begins
    earlier, the sound's, so that no time is negative and both move by the same.
    """
    one = part.slices[0]
    fragment = one.fragments()[0]
    with opened(one.source.path) as fd:
        block, size = read_head(fd, one.source.path, fragment)
    moof = block[:size]
    rate = scales.get(AUDIO_TRACK, VIDEO_TIMESCALE)
    try:
        sound = samples_of(moof, AUDIO_TRACK)
    except BadBox as error:
        raise altered(one.source.path, error) from error
    zero = fragment.decode_time
    if sound is not None and sound.decode_time * VIDEO_TIMESCALE < zero * rate:
        zero = sound.decode_time * VIDEO_TIMESCALE // rate
        zeros = {track: zero * scale // VIDEO_TIMESCALE for track, scale in scales.items()}
        zeros[AUDIO_TRACK] = sound.decode_time
    else:
        zeros = {track: zero * scale // VIDEO_TIMESCALE for track, scale in scales.items()}
    duration = (part.end_us - part.start_us) * 9 // 100
    return Cut(part.start_us, part.end_us, duration, zeros, None, 0, {}, ())


def _segment_index(layout: Layout, cut: Cut, scales: Mapping[int, int]) -> bytes:
    """A `sidx` for each track, since ffmpeg seeks in a track that has none only as far as it has read."""
    stretches = (reference for reference, _ in layout.stretches())
    led = list(islice(stretches, cut.led))
    references = joined(stretches)
    if not references:
        return b""
    led_bytes = sum(one.size_bytes for one in led)
    video = sum(one.duration for one in led)
    rate = scales.get(AUDIO_TRACK)
    sound = b""
    if rate:
        # The edit list moves the pictures; sound has none and starts with the first one shown.
        start = max(video - (cut.edit_from or 0), 0) * rate // VIDEO_TIMESCALE
        shared = rescaled(references, VIDEO_TIMESCALE, rate)
        sound = sidx(AUDIO_TRACK, rate, shared, first_offset=led_bytes, start=start)
    first_offset = led_bytes + len(sound)
    return sidx(VIDEO_TRACK, VIDEO_TIMESCALE, references, first_offset=first_offset, start=video) + sound


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
