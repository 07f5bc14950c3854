"""One picture of a part: the one on the screen at a moment, or the key frame before it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from simpang_buffer.media.fmp4 import VIDEO_TRACK
from simpang_buffer.media.jpeg import CODEC as JPEG_CODEC
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import Fragment, FragmentFlags
from simpang_buffer.reading.clips import Part
from simpang_buffer.reading.errors import Altered, ReadingError
from simpang_buffer.reading.heads import altered, opened, read_head, unreadable, vanished
from simpang_buffer.reading.moof import Samples, samples_of
from simpang_buffer.reading.sources import Source, detailed

# What a picture process takes. Five seconds of 32 Mbit/s.
MOST_BYTES = 20 << 20


class TooFar(ReadingError):
    """More lies between the key frame and the picture than is decoded for one still."""


@dataclass(frozen=True, slots=True)
class Moment:
    """time_us: when the picture is shown. pts: in the video track, ticks. key: it is the key frame. name:
    tells pictures of a stream apart, whenever they are asked for.
    """

    time_us: int
    pts: int
    key: bool
    name: str
    _header: bytes = field(repr=False)
    _source: Source = field(repr=False)
    _fragments: tuple[Fragment, ...] = field(repr=False)
    _jpeg_at: tuple[int, int] | None = None

    @property
    def is_jpeg(self) -> bool:
        return self._jpeg_at is not None

    def movie(self) -> bytes:
        """An MP4 from the key frame to the picture. Blocks. Raises ReadingError."""
        with opened(self._source.path) as fd:
            pieces = [_read(fd, self._source, one.offset, one.size_bytes) for one in self._fragments]
        return b"".join((self._header, *pieces))

    def jpeg(self) -> bytes:
        """The picture as the camera sent it, where that is a JPEG. Blocks. Raises ReadingError."""
        assert self._jpeg_at is not None
        with opened(self._source.path) as fd:
            return _read(fd, self._source, *self._jpeg_at)


def moment(part: Part, at_us: int, *, exact: bool) -> Moment | None:
    """The picture shown at at_us, or else the key frame at or before it; None where the part begins later.

    Blocks. Raises ReadingError.
    """
    for cut in reversed(part.slices):
        if cut.start_us > at_us:
            continue
        try:
            source = detailed(cut.source)
        except FileNotFoundError as error:
            raise vanished(cut.source.path) from error
        except OSError as error:
            raise unreadable(cut.source.path, error) from error
        except BadBox as error:
            raise altered(cut.source.path, error) from error
        led = _led(source, at_us)
        if led:
            return _moment(part, source, led, at_us, exact=exact)
    return None


def _led(source: Source, at_us: int) -> tuple[Fragment, ...]:
    """The fragments of a file from the last key frame at or before at_us to the one that begins before it."""
    until = [fragment for fragment in source.fragments or () if fragment.start_us <= at_us]
    keys = [number for number, fragment in enumerate(until) if FragmentFlags.KEY in fragment.flags]
    return tuple(until[keys[-1] :]) if keys else ()


def _moment(part: Part, source: Source, led: tuple[Fragment, ...], at_us: int, *, exact: bool) -> Moment:
    first = led[0]
    with opened(source.path) as fd:
        listed = [(fragment, _samples(fd, source, fragment)) for fragment in (led if exact else led[:1])]
    delay = listed[0][1].pts_offsets[0]
    # Upwards: a picture's own time, which was rounded down, must find that picture.
    last = listed[-1][0]
    asked = (
        last.decode_time + delay - (last.start_us - at_us) * 9 // 100 if exact else first.decode_time + delay
    )
    pictures = [
        (pts, number, fragment, samples)
        for fragment, samples in listed
        for number, (_, pts) in enumerate(samples.times())
    ]
    shown = max((one for one in pictures if one[0] <= asked), default=pictures[0], key=lambda one: one[0])
    pts, number, fragment, samples = shown
    needed = led[: led.index(fragment) + 1]
    jpeg_at = None
    if part.format.codec == JPEG_CODEC:
        at = fragment.offset + samples.data_offset + sum(samples.sizes[:number])
        jpeg_at = (at, samples.sizes[number])
    elif (size_bytes := sum(one.size_bytes for one in needed)) > MOST_BYTES:
        raise TooFar(
            f"{source.key}: {size_bytes >> 20} MB lie between the key frame and the picture, more than is "
            "decoded for a still; ask without exact, or set the camera's key frame interval to some seconds"
        )
    return Moment(
        time_us=fragment.start_us + (pts - fragment.decode_time - delay) * 100 // 9,
        pts=pts,
        key=pts == pictures[0][0],
        name=f"{source.run}-{source.seq}-{fragment.offset}-{number}",
        _header=part.format.init,
        _source=source,
        _fragments=needed,
        _jpeg_at=jpeg_at,
    )


def _samples(fd: int, source: Source, fragment: Fragment) -> Samples:
    block, size = read_head(fd, source.path, fragment)
    try:
        samples = samples_of(block[:size], VIDEO_TRACK)
        if samples is None or not samples.sizes:
            raise BadBox("fragment without video")
    except BadBox as error:
        raise altered(source.path, error) from error
    return samples


def _read(fd: int, source: Source, offset: int, size_bytes: int) -> bytes:
    try:
        content = os.pread(fd, size_bytes, offset)
    except OSError as error:
        raise unreadable(source.path, error) from error
    if len(content) != size_bytes:
        raise Altered(f"{source.path} is shorter than its table says; `simpang buffer check` tells more")
    return content
