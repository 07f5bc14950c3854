"""A part from the picture asked for to the picture asked for, with the key frame underneath.

The pictures from the key frame to the first one shown must be decoded and must not be seen. An edit list says
so; but players built on ffmpeg heed it only for samples that the `moov` lists. So these pictures are listed
there, pointing into the recorded fragments, whose own headers no longer name them. What is behind the last
picture asked for is named by nothing. Not one byte moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeAlias

from simpang_buffer.media.fmp4 import VIDEO_TRACK
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import VIDEO_TIMESCALE, Fragment
from simpang_buffer.reading.heads import altered, opened, read_head
from simpang_buffer.reading.layout import Layout
from simpang_buffer.reading.moof import Samples, Zeros, hide_if_empty, rebase, samples_of, trim
from simpang_buffer.reading.movie_header import Chunk, FirstSamples
from simpang_buffer.reading.sources import Source

# Slice and fragment in its file.
Place: TypeAlias = tuple[int, int]

# Sound of before the first picture shown can be in fragments behind it, since it is recorded a little later.
_LATE_FRAGMENTS = 2


@dataclass(frozen=True, slots=True)
class Cut:
    """What is shown of a part.

    duration: 90 kHz. zeros: the decode time of the run that becomes zero, by track. edit_from: media time of
    the first picture shown; None where that is the first there is, and nothing needs an edit list. led: how
    many fragments' pictures the moov lists. heads: moofs to be sent instead of the recorded ones.
    """

    start_us: int
    end_us: int
    duration: int
    zeros: Zeros
    edit_from: int | None
    led: int
    heads: Mapping[Place, bytes] = field(repr=False)
    listed: tuple[tuple[int, Samples], ...] = field(repr=False)

    def first_samples(self, header_bytes: int) -> FirstSamples:
        """What the moov lists, in a file whose header is so long."""
        samples = [one for _, one in self.listed]
        return FirstSamples(
            durations=[ticks for one in samples for ticks in one.durations],
            pts_offsets=[offset for one in samples for offset in one.pts_offsets],
            keys=[key for one in samples for key in one.keys],
            chunks=[Chunk(header_bytes + at, one.sizes) for at, one in self.listed],
        )


@dataclass(frozen=True, slots=True)
class _Head:
    """A fragment and its moof. at: where the fragment lies behind the header."""

    place: Place
    source: Source
    fragment: Fragment
    at: int
    moof: bytes
    video: Samples


def exact(
    layout: Layout,
    scales: Mapping[int, int],
    start_us: int,
    end_us: int,
    hidden: frozenset[int] = frozenset(),
) -> Cut:
    """From the picture shown at start_us to the last that begins before end_us.

    scales: ticks a second of each track. hidden: tracks that are left out. Blocks. Raises Vanished, Altered.
    """
    heads = list(_heads_until(layout, start_us))
    first, last = heads[0], heads[-1]
    # How much later pictures are shown than decoded, where they are reordered.
    delay = first.video.pts_offsets[0]
    asked = _ticks(last, start_us, delay, up=True)
    times = [(pts, head) for head in heads for _, pts in head.video.times()]
    shown, holder = max((one for one in times if one[0] <= asked), default=times[0], key=lambda one: one[0])
    edited = any(pts < shown for pts, _ in times)
    zero = first.fragment.decode_time
    zeros = {track: (shown if edited else zero) * rate // VIDEO_TIMESCALE for track, rate in scales.items()}
    zeros[VIDEO_TRACK] = zero
    shown_us = _wall_us(holder, shown, delay)
    stop, shown_end_us, final = _end(layout, end_us, delay)
    places: list[tuple[_Head, bool]] = []
    if edited:
        places += [(head, True) for head in heads]
        places += [(head, False) for head in islice(_heads(layout, last.place), 1, 1 + _LATE_FRAGMENTS)]
    if final and final.place not in {head.place for head, _ in places}:
        places.append((final, False))
    rewritten = {}
    for head, in_moov in places:
        until = stop if final and head.place == final.place else None
        rewritten[head.place] = _rewritten(head, scales, zeros, until, hidden, hide_video=in_moov)
    listed = []
    for head in heads if edited else ():
        until = stop if final and head.place == final.place else None
        listed.append((head.at + head.video.data_offset, _first(head.video, _kept(head.video, until).stop)))
    return Cut(
        start_us=shown_us,
        end_us=shown_end_us,
        duration=max((shown_end_us - shown_us) * 9 // 100, 1),
        zeros=zeros,
        edit_from=shown - zero if edited else None,
        led=len(heads) if edited else 0,
        heads=rewritten,
        listed=tuple(_without_holes(listed)),
    )


def _heads_until(layout: Layout, time_us: int) -> Iterator[_Head]:
    """The fragments from the first to the one that begins at or before time_us."""
    first = (0, layout.part.slices[0].first)
    for head in _heads(layout, first):
        if head.fragment.start_us > time_us and head.place != first:
            return
        yield head


def _heads(layout: Layout, since: Place) -> Iterator[_Head]:
    """The fragments from a place on, as far as they are read."""
    for number, one in enumerate(layout.part.slices):
        if number < since[0]:
            continue
        if not one.fragments():
            return
        for at, fragment in enumerate(one.fragments(), one.first):
            if (number, at) >= since:
                yield _head(layout, (number, at), one.source, fragment)


def _head(layout: Layout, place: Place, source: Source, fragment: Fragment) -> _Head:
    with opened(source.path) as fd:
        block, size = read_head(fd, source.path, fragment)
    moof = bytes(block[:size])
    try:
        video = samples_of(moof, VIDEO_TRACK)
        if video is None or not video.sizes:
            raise BadBox("fragment without video")
    except BadBox as error:
        raise altered(source.path, error) from error
    number, _ = place
    at = layout.starts[number] - layout.first_byte(layout.part.slices[number]) + fragment.offset
    return _Head(place, source, fragment, at, moof, video)


def _end(layout: Layout, end_us: int, delay: int) -> tuple[int | None, int, _Head | None]:
    """Presentation time of the first picture not shown, when the last one ends, and the fragment it is in;
    None where all that was recorded is shown."""
    part = layout.part
    one = part.slices[-1]
    fragments = one.fragments()
    if part.end_us <= end_us or not fragments:
        return None, part.end_us, None
    head = _head(layout, (len(part.slices) - 1, one.first + len(fragments) - 1), one.source, fragments[-1])
    stop = _ticks(head, end_us, delay, up=False)
    kept = _kept(head.video, stop)
    ends = [
        pts + ticks
        for (_, pts), ticks in zip(islice(head.video.times(), kept.stop), head.video.durations, strict=False)
    ]
    return stop, _wall_us(head, max(ends), delay), head


def _rewritten(
    head: _Head,
    scales: Mapping[int, int],
    zeros: Zeros,
    stop: int | None,
    hidden: frozenset[int],
    *,
    hide_video: bool,
) -> bytes:
    """The fragment's moof with what is shown of it. stop: as of `_end`, where the fragment is the last."""
    moof = bytearray(head.moof)
    try:
        for track, rate in scales.items():
            until = None if stop is None else stop * rate // VIDEO_TIMESCALE
            if track != VIDEO_TRACK:
                trim(moof, track, _Window(zeros[track], until))
            elif hide_video:
                trim(moof, track, _none)
            elif until is not None:
                trim(moof, track, _Until(until))
        rebase(moof, len(moof), zeros, hidden)
        hide_if_empty(moof)
    except BadBox as error:
        raise altered(head.source.path, error) from error
    return bytes(moof)


def _none(samples: Samples) -> range:
    return range(0)


@dataclass(frozen=True, slots=True)
class _Until:
    stop: int

    def __call__(self, samples: Samples) -> range:
        return _kept(samples, self.stop)


@dataclass(frozen=True, slots=True)
class _Window:
    """Sound and metadata of a time, in ticks of their track."""

    start: int
    stop: int | None

    def __call__(self, samples: Samples) -> range:
        inside = [
            number
            for number, (time, _) in enumerate(samples.times())
            if time >= self.start and (self.stop is None or time < self.stop)
        ]
        return range(inside[0], inside[-1] + 1) if inside else range(0)


def _kept(samples: Samples, stop: int | None) -> range:
    """In decode order, up to the last picture shown before `stop`; the first always, since the fragment
    begins before it. Where pictures are reordered one or two shown after it may be among them."""
    if stop is None:
        return range(len(samples.sizes))
    return range(
        max((number for number, (_, pts) in enumerate(samples.times()) if pts < stop), default=0) + 1
    )


def _first(samples: Samples, count: int) -> Samples:
    return replace(
        samples,
        durations=samples.durations[:count],
        sizes=samples.sizes[:count],
        keys=samples.keys[:count],
        pts_offsets=samples.pts_offsets[:count],
    )


def _without_holes(listed: Sequence[tuple[int, Samples]]) -> Iterator[tuple[int, Samples]]:
    """Durations stretched to the next fragment's first: the moov knows no decode times but their sum."""
    for number, (at, samples) in enumerate(listed):
        if number + 1 < len(listed):
            hole = listed[number + 1][1].decode_time - samples.decode_time - sum(samples.durations)
            last = max(samples.durations[-1] + hole, 0)
            samples = replace(samples, durations=(*samples.durations[:-1], last))
        yield at, samples


def _ticks(head: _Head, time_us: int, delay: int, *, up: bool) -> int:
    """A moment as presentation time. up: a picture's own time in microseconds, rounded down, finds it."""
    ticks = (time_us - head.fragment.start_us) * 9
    return head.fragment.decode_time + delay + (-(-ticks // 100) if up else ticks // 100)


def _wall_us(head: _Head, pts: int, delay: int) -> int:
    return head.fragment.start_us + (pts - head.fragment.decode_time - delay) * 100 // 9
