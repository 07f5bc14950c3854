"""Where everything of a part lies in the file that a viewer gets, behind its header. Pure: no file is opened.

Each recorded file is taken from its first wanted byte to its last: fragments as they are, and in place of
what stands between them (run box, seals, table) `free` boxes of the same size. So a file's share is its size
less its header, which its row tells: how long the whole is, and where in it a file begins, is known without
reading any of them. The free boxes are 1 byte in 5,000.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from simpang_buffer.media.seal import SEAL_BYTES
from simpang_buffer.model import Fragment
from simpang_buffer.reading.clips import Part, Slice
from simpang_buffer.reading.seek_boxes import MAX_DURATION, MAX_REFERENCES, MAX_SIZE, Reference
from simpang_buffer.reading.sound_share import SoundShare

# Bytes, ticks (90 kHz), whether it starts with a key frame, and the number of its chunk.
Stretch: TypeAlias = tuple[int, int, bool, int]

# Some are kept for stretches that are cut because their size or duration does not fit.
_MOST_REFERENCES = MAX_REFERENCES - 1000


class Layout:
    """Offsets count from the end of the header. sound: what is put behind each fragment, if anything is."""

    def __init__(self, part: Part, sound: SoundShare | None = None) -> None:
        self.part = part
        self.sound = sound
        # Where each slice starts; one more for the end. Eight bytes a file.
        self.starts = array("Q", [0])
        for number, one in enumerate(part.slices):
            self.starts.append(self.starts[-1] + self._share(number, one))

    @property
    def size_bytes(self) -> int:
        return int(self.starts[-1])

    def first_byte(self, one: Slice) -> int:
        """Offset in its file from which a slice is taken."""
        fragments = one.source.fragments
        if one.first and fragments:
            return fragments[one.first].offset
        return len(self.part.format.init)

    def slice_at(self, at: int) -> int:
        return bisect_right(self.starts, at) - 1

    def next_start_us(self, number: int) -> int | None:
        """When the slice behind this one starts; None behind the last."""
        slices = self.part.slices
        return slices[number + 1].start_us if number + 1 < len(slices) else None

    def sound_before(self, number: int, fragments: tuple[Fragment, ...], at: int) -> int:
        """Bytes of sound in a slice, whose fragments these are, before the fragment `at`."""
        if not self.sound:
            return 0
        next_us = fragments[at].start_us if at < len(fragments) else self.next_start_us(number)
        return self.sound.share(fragments[0].start_us, next_us, at)

    def stretches(self) -> Iterator[Stretch]:
        """The part in order, cut at each fragment where those are known. A file's first stretch begins with
        the file."""
        for number, one in enumerate(self.part.slices):
            source, fragments = one.source, one.fragments()
            at, end = self.starts[number], self.starts[number + 1]
            if not fragments:
                yield end - at, (one.end_us - one.start_us) * 9 // 100, True, source.first_chunk
                continue
            chunk = source.first_chunk
            # A file starts with a chunk, whatever its first seal says.
            for before in (source.fragments or ())[1 : one.first]:
                chunk += int(before.flags) >> 1 & 1
            base, last = at - self.first_byte(one) + SEAL_BYTES, len(fragments) - 1
            for index, fragment in enumerate(fragments):
                # As plain numbers, since flags are slow and a clip of four hours has 14,400 fragments.
                flags = int(fragment.flags)
                if index + one.first:
                    chunk += flags >> 1 & 1
                behind = end
                if index < last:
                    behind = base + fragment.offset + fragment.size_bytes
                    behind += self.sound_before(number, fragments, index + 1)
                yield behind - at, fragment.duration, bool(flags & 1), chunk
                at = behind

    def _share(self, number: int, one: Slice) -> int:
        fragments = one.source.fragments
        if one.stop is not None and fragments:
            last = fragments[one.stop - 1]
            end, count = last.offset + last.size_bytes + SEAL_BYTES, one.stop - one.first
        else:
            count = len(fragments) - one.first if fragments else one.source.fragment_count
            end = one.source.size_bytes
        share = end - self.first_byte(one)
        if self.sound:
            share += self.sound.share(one.start_us, self.next_start_us(number), count)
        return share


def joined(stretches: Iterable[Stretch]) -> list[Reference]:
    """One reference from each key frame to the next; longer ones where there would be too many of them."""
    cut: list[Reference] = []
    size_bytes = duration = 0
    key = True
    for stretch_bytes, ticks, is_key, _ in stretches:
        if size_bytes and (
            is_key or size_bytes + stretch_bytes > MAX_SIZE or duration + ticks > MAX_DURATION
        ):
            cut.append(Reference(size_bytes, duration, key))
            size_bytes, duration, key = 0, 0, is_key
        size_bytes += stretch_bytes
        duration += ticks
    if size_bytes:
        cut.append(Reference(size_bytes, duration, key))
    together = -(-len(cut) // _MOST_REFERENCES)
    return cut if together <= 1 else list(_fewer(cut, together))


def _fewer(cut: list[Reference], together: int) -> Iterator[Reference]:
    at = 0
    while at < len(cut):
        group = [cut[at]]
        for one in cut[at + 1 : at + together]:
            if sum(o.size_bytes for o in group) + one.size_bytes > MAX_SIZE:
                break
            group.append(one)
        at += len(group)
        size_bytes, duration = sum(one.size_bytes for one in group), sum(one.duration for one in group)
        yield Reference(size_bytes, duration, group[0].key)
