"""What is kept beside the pictures until their fragment is cut: sound, and metadata documents.

Both are bounded: of a flood the rest is dropped, and never a picture.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from simpang_buffer.media.fmp4 import AUDIO_TRACK, METADATA_TRACK, Sample, TrackRun
from simpang_buffer.model import VIDEO_TIMESCALE, AccessUnit, AudioFormat

_MAX_SOUND_BYTES = 1 << 20
# Ten seconds of frames of 5 ms, the shortest that cameras send; of one byte each 1 MB would be a million.
_MAX_SOUND_FRAMES = 2_000
# Of one fragment, so of about a second. A busy scene of 25 pictures a second is some 25 documents of 10 kB.
_MAX_DOCUMENTS = 200
_MAX_DOCUMENTS_BYTES = 512 << 10


class SideSound:
    """Frames of one format, each later than the one before."""

    def __init__(self) -> None:
        self._units: list[AccessUnit] = []
        self._bytes = 0

    def add(self, unit: AccessUnit, audio: AudioFormat, pictures_begin: int) -> None:
        """Dropped where it is out of order, before the first picture, or a flood without pictures."""
        if self._bytes > _MAX_SOUND_BYTES or len(self._units) >= _MAX_SOUND_FRAMES:
            return
        if self._units:
            if unit.dts <= self._units[-1].dts:
                return
        elif unit.dts * VIDEO_TIMESCALE < pictures_begin * audio.timescale:
            return
        self._units.append(unit)
        self._bytes += len(unit.data)

    def take(self, *, last: bool) -> TrackRun | None:
        """All frames whose length the next one tells; the newest waits for the next fragment."""
        units = self._units
        if len(units) < 2:
            return None
        durations = [after.dts - unit.dts for unit, after in itertools.pairwise(units)]
        if last:
            durations.append(durations[-1])
            taken, self._units = units, []
        else:
            taken, self._units = units[:-1], units[-1:]
        self._bytes = sum(len(unit.data) for unit in self._units)
        return TrackRun(AUDIO_TRACK, taken[0].dts, samples(taken, durations))

    def clear(self) -> None:
        """What waits is of a format that the next file does not have."""
        self._units, self._bytes = [], 0

    def __bool__(self) -> bool:
        return bool(self._units)


class SideDocuments:
    """Documents at the pictures' timescale, each later than the one before. dropped: those without room."""

    def __init__(self) -> None:
        self._units: list[AccessUnit] = []
        self._bytes = 0
        # The document that waits for the one that ends it, and where the last one taken ends.
        self._waiting: AccessUnit | None = None
        self._end = 0
        self.dropped = 0

    def add(self, unit: AccessUnit) -> None:
        size_bytes = self._bytes + len(unit.data)
        if len(self._units) >= _MAX_DOCUMENTS or size_bytes > _MAX_DOCUMENTS_BYTES:
            self.dropped += 1
            return
        if unit.dts < self._end:
            unit = replace(unit, dts=self._end)
            self._end += 1
        self._units.append(unit)
        self._bytes = size_bytes

    def take(self, end: int, *, last: bool) -> TrackRun | None:
        """For a fragment that ends there. A document holds until the next one; the newest waits for that, but
        for one fragment only: a camera that sees nothing may be silent for hours.
        """
        units = self._units
        if not units:
            return None
        taken, kept = units, units[:0]
        if not last and units[-1] is not self._waiting:
            taken, kept = units[:-1], units[-1:]
        self._units, self._bytes = kept, sum(len(unit.data) for unit in kept)
        self._waiting = kept[0] if kept else None
        if not taken:
            return None
        taken_end = kept[0].dts if kept else max(end, taken[-1].dts + 1)
        self._end = taken_end + bool(kept)
        ends = [*(unit.dts for unit in taken[1:]), taken_end]
        durations = [after - unit.dts for unit, after in zip(taken, ends, strict=True)]
        return TrackRun(METADATA_TRACK, taken[0].dts, samples(taken, durations))


def samples(units: Sequence[AccessUnit], durations: Sequence[int]) -> list[Sample]:
    return [
        Sample(unit.data, duration, unit.pts_offset, unit.key)
        for unit, duration in zip(units, durations, strict=True)
    ]
