"""NAL units to pictures (H.264 section 7.4.1.2.3, H.265 section 7.4.2.4.4).

A picture ends where the next one's first slice shows it to have begun, or at its marker, once the first
pictures have shown that markers can be believed. Parameter sets and the like between two pictures belong to
the second. NAL units are kept as sent and in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from simpang_buffer.media.bits import BitReader, Unreadable
from simpang_buffer.media.nal_kinds import NAL_KINDS, NalKind
from simpang_buffer.media.parameter_sets import H264_SPS, Encoding, split_annex_b
from simpang_buffer.media.parameter_store import ParameterSetStore
from simpang_buffer.model import VideoFormat

# A key frame of an 8K camera at its highest rate is under 4 MB.
MAX_PICTURE_BYTES = 8 << 20
# Until so many pictures have begun, none is closed by its marker: some cameras mark every slice.
_PICTURES_BEFORE_TRUST = 2
_START_CODE = b"\0\0\1"
# So many slices are searched for start codes: cameras that pack several units into one payload do so in every
# group of pictures, and the search costs a third of all that is done with one. What is no slice is always
# searched.
_SLICES_SEARCHED = 100
# H.264 table 7-6: I and SI slices.
_INTRA_SLICES = frozenset({2, 4, 7, 9})


@dataclass(frozen=True, slots=True)
class Picture:
    """One access unit as MP4 stores it: each NAL unit behind its length in 4 bytes.

    rtp_time: 32 bits, as sent. key: decoding can start here. damaged: slices of it, or of a picture since the
    last whole key frame, were lost. format: on key pictures the parameter sets in force, once complete.
    """

    rtp_time: int
    data: bytes = field(repr=False)
    key: bool
    damaged: bool
    format: VideoFormat | None = field(repr=False)

    @property
    def nals(self) -> list[bytes]:
        nals, at = [], 0
        while at < len(self.data):
            end = at + 4 + int.from_bytes(self.data[at : at + 4], "big")
            nals.append(self.data[at + 4 : end])
            at = end
        return nals


class AccessUnits:
    """Collects the NAL units of one stream; `take` hands over finished pictures.

    Holds at most MAX_PICTURE_BYTES and one read more: a picture that exceeds it is dropped and counted.
    """

    def __init__(self, encoding: Encoding, described: Iterable[bytes] = ()) -> None:
        """described: parameter sets from the SDP, with or without start codes."""
        self._encoding = encoding
        self._kinds = NAL_KINDS[encoding]
        # Where first_mb_in_slice or first_slice_segment_in_pic_flag stands: the first bit after the NAL
        # header.
        self._first_bit = 1 if encoding == "H264" else 2
        self._sets = ParameterSetStore(encoding, [nal for text in described for nal in split_annex_b(text)])
        self._done: list[Picture] = []
        # The picture under way. What stands behind _slices_end may belong to the next one.
        self._data = bytearray()
        self._slices_end = 0
        self._time = 0
        self._key = False
        self._format: VideoFormat | None = None
        self._marked = False
        # Where the length of the NAL unit under way stands; -1 when there is none.
        self._open = -1
        self._open_time = 0
        # Losses: within this picture, since its last slice, and since the last whole key frame.
        self._torn = False
        self._gap = False
        self._hurt = False
        self._begun = 0
        self._trust_markers = True
        self._refreshes = 0
        self._stand_ins = 0
        self._slices_to_search = _SLICES_SEARCHED
        self.oversized = 0

    @property
    def reorder(self) -> int | None:
        """How many pictures may come before one that is shown earlier; None where the stream is silent."""
        return self._sets.reorder

    @property
    def video_format(self) -> VideoFormat | None:
        """The parameter sets known by now, if they are complete."""
        return self._sets.video_format

    def take(self) -> list[Picture]:
        """The pictures finished since the last call."""
        done = self._done
        if done:
            self._done = []
        return done

    def add(self, nal: bytes | memoryview, time: int) -> None:
        """One whole NAL unit, stamped `time`."""
        self.begin(nal, time)
        self.end()

    def begin(self, head: bytes | memoryview, time: int) -> None:
        """The first part of a NAL unit. One that was still under way is taken as complete."""
        if self._open >= 0:
            self.end()
        if not head:
            return
        if self._kinds[head[0]] is NalKind.SLICE or self._kinds[head[0]] is NalKind.KEY_SLICE:
            starts = len(head) > self._first_bit and head[self._first_bit] > 0x7F
            self._begin_slice(starts, time)
        self._open = len(self._data)
        self._open_time = time
        self._data += b"\0\0\0\0"
        self._data += head

    def extend(self, parts: Sequence[bytes | memoryview]) -> bool:
        """More of the NAL unit under way. False when there is none: its beginning was lost."""
        if self._open < 0:
            return False
        # At once: a bytearray that grows by small parts is copied again and again.
        self._data += b"".join(parts)
        if len(self._data) > MAX_PICTURE_BYTES:
            self._drop()
        return True

    def end(self) -> None:
        """The NAL unit under way, if any, is complete."""
        start = self._open
        if start < 0:
            return
        if self._has_start_code(start + 4):
            self._end_several(start)
        else:
            self._end_one(start)
        if len(self._data) > MAX_PICTURE_BYTES:
            self._drop()

    def mark(self) -> None:
        """The packet just taken had the marker: its slice ends the picture, if markers can be believed."""
        if not self._slices_end or self._slices_end != len(self._data):
            return  # on a parameter set or SEI (LV-IP22IR40DVBL) it means nothing
        self._marked = True
        if self._trust_markers and self._begun > _PICTURES_BEFORE_TRUST:
            self._finish()

    def lose(self) -> None:
        """Packets are missing here. An unfinished NAL unit is given up: what is left of it is none."""
        if self._open >= 0:
            del self._data[self._open :]
            self._open = -1
        if self._slices_end:
            if self._marked and self._trust_markers:
                self._finish()
            else:
                self._torn = True
        self._gap = self._hurt = True

    def flush(self) -> None:
        """Nothing more comes: what there is of the picture under way is finished."""
        self.end()
        if self._slices_end:
            self._finish()

    def _begin_slice(self, starts: bool, time: int) -> None:
        if self._slices_end and (starts or time != self._time):
            self._finish()
        if self._slices_end:
            if self._marked:
                # A marker stood before another slice of the same picture (8.5): markers mean nothing here.
                self._trust_markers = self._marked = False
            self._torn |= self._gap
        else:
            late_half = self._begun > 0 and not starts and time == self._time
            if late_half and not self._gap:
                self._trust_markers = False
            self._begun += 1
            self._time = time
            self._key = False
            self._format = None
            self._torn = late_half or (self._gap and not starts)
        self._gap = False

    def _finish(self) -> None:
        """Hands over the picture under way; what stands behind its slices waits for the next one."""
        data, end = self._data, self._slices_end
        damaged = self._torn or (self._hurt and not self._key)
        self._hurt = damaged
        whole = bytes(memoryview(data)[:end])
        self._done.append(Picture(self._time, whole, self._key, damaged, self._format))
        del data[:end]
        self._slices_end = 0
        self._marked = False

    def _has_start_code(self, start: int) -> bool:
        if self._kinds[self._data[start]] in (NalKind.SLICE, NalKind.KEY_SLICE):
            if not self._slices_to_search:
                return False
            self._slices_to_search -= 1
            if self._data.find(_START_CODE, start) < 0:
                return False
            self._slices_to_search = _SLICES_SEARCHED
            return True
        return self._data.find(_START_CODE, start) >= 0

    def _end_one(self, start: int) -> None:
        data = self._data
        self._open = -1
        data[start : start + 4] = (len(data) - start - 4).to_bytes(4, "big")
        kind = self._kinds[data[start + 4]]
        if kind is NalKind.SLICE:
            if not self._slices_end and not self._refreshes and self._stands_in_for_key(start):
                self._found_key()
            self._slices_end = len(data)
        elif kind is NalKind.KEY_SLICE:
            self._refreshes += 1
            self._slices_end = len(data)
            self._found_key()
        elif kind is NalKind.PARAMETER_SET:
            self._sets.add(bytes(memoryview(data)[start + 4 :]))
        elif kind is NalKind.SUFFIX and self._slices_end == start:
            self._slices_end = len(data)

    def _end_several(self, start: int) -> None:
        """Start codes inside one payload (V380, GW4089IP): the units between them, each by itself."""
        units = split_annex_b(bytes(memoryview(self._data)[start + 4 :]))
        del self._data[start:]
        self._open = -1
        for nal in units:
            self.begin(nal, self._open_time)
            self._end_one(self._open)

    def _found_key(self) -> None:
        if not self._key:
            self._key = True
            # Asked now: sets that follow belong to the next picture.
            self._format = self._sets.video_format

    def _stands_in_for_key(self, start: int) -> bool:
        """Some encoders never send an IDR picture: an I picture behind its own SPS is then where decoding
        starts.

        Only from the second one on, so that a stream joined between two IDR pictures is not misjudged.
        """
        if self._encoding != "H264" or not self._has_own_sps(start):
            return False
        try:
            bits = BitReader.of_nal(bytes(self._data[start + 5 : start + 21]))
            bits.ue()  # first_mb_in_slice
            intra = bits.ue() in _INTRA_SLICES
        except Unreadable:
            return False
        self._stand_ins += intra
        return intra and self._stand_ins > 1

    def _has_own_sps(self, end: int) -> bool:
        at = 0
        while at + 4 < end:
            if self._data[at + 4] & 0x1F == H264_SPS:
                return True
            at += 4 + int.from_bytes(self._data[at : at + 4], "big")
        return False

    def _drop(self) -> None:
        self.oversized += 1
        self._data.clear()
        self._slices_end = 0
        self._open = -1
        self._marked = False
        self._gap = self._hurt = True
