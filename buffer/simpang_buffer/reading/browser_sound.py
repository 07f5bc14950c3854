"""Sound that browsers play, for a clip whose sound is G.711: AAC behind each fragment, made when it is read.

What stands behind a fragment depends on the recorded sound around it and on nothing else, so that every
reader of a byte range gets the bytes of the whole: it is encoded anew, with two frames before it that only
settle the encoder.
"""

from __future__ import annotations

import logging
import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from simpang_buffer.media.audio_format import audio_format
from simpang_buffer.media.fmp4 import AUDIO_TRACK, KEY_FLAGS, box, full_box
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import Fragment
from simpang_buffer.reading.clips import Part, Slice
from simpang_buffer.reading.errors import ReadingError
from simpang_buffer.reading.filled_frame import SILENCE, filled
from simpang_buffer.reading.heads import opened, read_head
from simpang_buffer.reading.moof import samples_of
from simpang_buffer.reading.movie_header import sound_channels
from simpang_buffer.reading.sound_share import FRAME_BYTES, FRAME_SAMPLES, HEAD_BYTES, SoundShare
from simpang_buffer.reading.sources import Format, detailed

_log = logging.getLogger(__name__)

# AudioSpecificConfig (14496-3 section 1.6.2.1): sampling frequency index of the rates that G.711 comes in.
_RATES = {8_000: 11, 11_025: 10, 16_000: 8, 32_000: 5, 44_100: 4, 48_000: 3}
# No sound: zero in A-law and in mu-law.
_QUIET = {"alaw": 0xD5, "ulaw": 0xFF}
# Frames before those wanted, and one behind: each is made of its own and the next one's samples.
_BEFORE, _BEHIND = 2, 1
# Sound can also come earlier than the pictures of its time.
_EARLY_US = 1_000_000
_KEPT_FRAGMENTS = 16
# tfhd: offsets count from the moof; default duration, size and flags of samples.
_TFHD_FLAGS = 0x02_0000 | 0x08 | 0x10 | 0x20


class SoundFailed(Exception):
    """The encoder gives nothing; it says why."""


# law ("alaw", "ulaw"), samples a second, samples: a frame of AAC for each 1024 of them, and one before those.
Encode = Callable[[str, int, bytes], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Samples that follow each other. start: in ticks of the run."""

    start: int
    data: bytes


class BrowserSound:
    """Of one part. zero: the decode time of the run, in samples, at which frame 0 begins."""

    def __init__(self, part: Part, share: SoundShare, zero: int, encode: Encode) -> None:
        self.share = share
        self._part = part
        self._zero = zero
        self._encode = encode
        self._law = part.format.audio_entry or "alaw"
        self._kept: OrderedDict[tuple[int, int], list[_Piece]] = OrderedDict()
        # The file before the one that is sent, whose last second is heard in this one.
        self._before: tuple[int, Slice] | None = None
        self._failed = False

    def behind(self, number: int, cut: Slice, at: int, next_us: int | None) -> bytes:
        """What stands behind the fragment `at` of a slice. cut: with its fragments. next_us: when the
        fragment behind it starts. Blocks."""
        first = self.share.frames_before(cut.fragments()[at].start_us)
        count = self.share.frames_before(next_us) - first
        if count <= 0:
            return struct.pack(">I4s", HEAD_BYTES, b"free") + bytes(HEAD_BYTES - 8)
        begin = (first - _BEFORE) * FRAME_SAMPLES
        samples = bytearray([_QUIET[self._law]]) * ((_BEFORE + count + _BEHIND) * FRAME_SAMPLES)
        since_us = self.share.start_us + begin * 1_000_000 // self.share.rate - _EARLY_US
        for heard in self._heard(number, cut, at, since_us):
            position = heard.start - self._zero - begin
            if not -len(heard.data) < position < len(samples):
                continue
            skip = max(-position, 0)
            piece = heard.data[skip : len(samples) - position]
            samples[position + skip : position + skip + len(piece)] = piece
        frames = self._frames(bytes(samples), count)
        return _fragment(first, frames)

    def _frames(self, samples: bytes, count: int) -> list[bytes]:
        try:
            made = self._encode(self._law, self.share.rate, samples)
            # One frame more than blocks of samples: the first of all holds what was before them.
            frames = [filled(frame) for frame in made[_BEFORE + 1 : _BEFORE + 1 + count]]
            if len(frames) == count:
                return frames
            why: object = f"{len(made)} frames for {len(samples)} samples"
        except (SoundFailed, ValueError) as error:
            why = error
        if not self._failed:
            self._failed = True
            _log.warning("%s: a clip goes on without sound: %s", self._part.slices[0].source.key, why)
        return [filled(SILENCE)] * count

    def _heard(self, number: int, cut: Slice, at: int, since_us: int) -> Iterator[_Piece]:
        """The recorded sound of the fragment and of those before it that end after since_us."""
        for place, one, fragment in self._backwards(number, cut, at):
            if fragment.end_us < since_us:
                return
            if place not in self._kept:
                try:
                    self._kept[place] = _sound_of(one, fragment)
                except (ReadingError, ValueError):
                    # Its pictures cannot be read either, which whoever sends them says.
                    self._kept[place] = []
                while len(self._kept) > _KEPT_FRAGMENTS:
                    self._kept.popitem(last=False)
            yield from self._kept[place]

    def _backwards(
        self, number: int, cut: Slice, at: int
    ) -> Iterator[tuple[tuple[int, int], Slice, Fragment]]:
        """The fragment and those before it, newest first, to the beginning of the file before."""
        fragments = cut.fragments()
        for index in range(at, -1, -1):
            yield (number, cut.first + index), cut, fragments[index]
        if number:
            if self._before is None or self._before[0] != number - 1:
                self._before = (number - 1, _read(self._part.slices[number - 1]))
            before = self._before[1]
            for index, fragment in reversed(list(enumerate(before.fragments()))):
                yield (number - 1, before.first + index), before, fragment


@dataclass(frozen=True, slots=True)
class Heard:
    """entry: the sample entry of AAC-LC in one channel. share: how much of it stands where."""

    entry: bytes
    share: SoundShare


def browser_sound(format_: Format, start_us: int, end_us: int, *, whole: bool) -> Heard | None:
    """For a part that is shown from start_us to end_us; None where its sound is not one channel of G.711 at a
    rate that AAC has. whole: it will not grow."""
    rate = format_.audio_timescale
    if format_.audio_entry not in _QUIET or rate not in _RATES or sound_channels(format_.init) != 1:
        return None
    config = (2 << 11 | _RATES[rate] << 7 | 1 << 3).to_bytes(2, "big")
    made = audio_format("MPEG4-GENERIC", rate, 1, {"config": config.hex()})
    return Heard(made.sample_entry, SoundShare(start_us, end_us, rate, whole))


def _read(cut: Slice) -> Slice:
    """With its fragments; with none where they cannot be read."""
    try:
        return replace(cut, source=detailed(cut.source))
    except (BadBox, OSError):
        return replace(cut, source=replace(cut.source, fragments=()))


def _sound_of(cut: Slice, fragment: Fragment) -> list[_Piece]:
    path = cut.source.path
    with opened(path) as fd:
        block, size = read_head(fd, path, fragment)
        samples = samples_of(block[:size], AUDIO_TRACK)
        if samples is None:
            return []
        data = os.pread(fd, sum(samples.sizes), fragment.offset + samples.data_offset)
    heard, offset = [], 0
    for (time, _), size in zip(samples.times(), samples.sizes, strict=True):
        # A byte is a sample.
        heard.append(_Piece(time, data[offset : offset + size]))
        offset += size
    return heard


def _fragment(first: int, frames: Sequence[bytes]) -> bytes:
    """moof and mdat of frames of one size and duration."""
    defaults = struct.pack(">4I", AUDIO_TRACK, FRAME_SAMPLES, FRAME_BYTES, KEY_FLAGS)
    time = full_box(b"tfdt", 1, 0, struct.pack(">Q", first * FRAME_SAMPLES))
    run = full_box(b"trun", 0, 1, struct.pack(">Ii", len(frames), HEAD_BYTES))
    traf = box(b"traf", full_box(b"tfhd", 0, _TFHD_FLAGS, defaults), time, run)
    moof = box(b"moof", full_box(b"mfhd", 0, 0, struct.pack(">I", first + 1)), traf)
    return moof + box(b"mdat", *frames)
