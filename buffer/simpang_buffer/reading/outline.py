"""What a viewer's file of a part will be, before a byte of it is sent: its header, and where all lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice

from simpang_buffer.media.fmp4 import AUDIO_TRACK, VIDEO_TRACK
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import VIDEO_TIMESCALE
from simpang_buffer.reading.browser_sound import BrowserSound, Encode, browser_sound
from simpang_buffer.reading.clips import Part
from simpang_buffer.reading.exact import Cut, exact
from simpang_buffer.reading.heads import altered, opened, read_head, unreadable, vanished
from simpang_buffer.reading.layout import Layout, joined
from simpang_buffer.reading.moof import samples_of
from simpang_buffer.reading.movie_header import timescales, with_edit, with_sample_entry
from simpang_buffer.reading.seek_boxes import rescaled, sidx
from simpang_buffer.reading.sources import detailed

_NOTHING: frozenset[int] = frozenset()
_SOUND = frozenset({AUDIO_TRACK})


@dataclass(frozen=True, slots=True)
class Outline:
    """head: all that stands before the first fragment; init_bytes: of it, ftyp and moov. hidden: tracks whose
    recorded samples are left out."""

    layout: Layout
    cut: Cut
    head: bytes
    init_bytes: int
    sound: BrowserSound | None

    @property
    def hidden(self) -> frozenset[int]:
        return _SOUND if self.sound else _NOTHING


def outline(
    part: Part,
    *,
    between: tuple[int, int] | None,
    indexed: bool,
    encode: Encode | None,
    whole: bool,
) -> Outline:
    """Lays the part out. between: shown from the picture at the first moment to the last before the second,
    and exactly that; None: all of it. indexed: with `sidx`; without it, what is there stays as it is while
    the part grows. encode: makes AAC of G.711, for browsers. whole: the part is over.

    Blocks, for a second where a part has 40,000 files. Raises Vanished and Altered.
    """
    part = _with_first(part)
    init = part.format.init
    try:
        scales = timescales(init)
    except BadBox as error:
        raise altered(part.slices[0].source.path, error) from error
    layout, sound = Layout(part), None
    cut = _cut(layout, scales, between, _NOTHING)
    heard = browser_sound(part.format, cut.start_us, part.end_us, whole=whole) if encode else None
    if encode and heard:
        init = with_sample_entry(init, AUDIO_TRACK, heard.entry)
        layout = Layout(part, heard.share)
        # Anew: behind each fragment there is something now.
        cut = _cut(layout, scales, between, _SOUND)
        sound = BrowserSound(part, heard.share, cut.zeros[AUDIO_TRACK], encode)
    head = init
    if cut.edit_from is not None:
        # The tables' size does not depend on the offsets in them, so the header is made twice.
        index = _segment_index(layout, cut, scales) if indexed else b""
        length = len(with_edit(init, cut.edit_from, cut.duration, cut.first_samples(0))) + len(index)
        init = with_edit(init, cut.edit_from, cut.duration, cut.first_samples(length))
        head = init + index
    elif indexed:
        head = init + _segment_index(layout, cut, scales)
    return Outline(layout, cut, head, len(init), sound)


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


def _cut(
    layout: Layout, scales: Mapping[int, int], between: tuple[int, int] | None, hidden: frozenset[int]
) -> Cut:
    return exact(layout, scales, *between, hidden) if between else _whole(layout.part, scales)


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
    stretches = layout.stretches()
    led = list(islice(stretches, cut.led))
    references = joined(stretches)
    if not references:
        return b""
    led_bytes = sum(size_bytes for size_bytes, _, _, _ in led)
    video = sum(ticks for _, ticks, _, _ in led)
    rate = scales.get(AUDIO_TRACK)
    sound = b""
    if rate:
        # The edit list moves the pictures; sound has none and starts with the first one shown.
        start = max(video - (cut.edit_from or 0), 0) * rate // VIDEO_TIMESCALE
        shared = rescaled(references, VIDEO_TIMESCALE, rate)
        sound = sidx(AUDIO_TRACK, rate, shared, first_offset=led_bytes, start=start)
    first_offset = led_bytes + len(sound)
    return sidx(VIDEO_TRACK, VIDEO_TIMESCALE, references, first_offset=first_offset, start=video) + sound
