"""Where a run is cut: pictures and sound of one run into fragments, chunks and segments. Pure, no I/O.

- A fragment is at most a second (a picture that lasts longer is a fragment of its own) and a few MB. A key
frame begins a new one, unless key frames follow each other so closely (all-intra cameras) that it would be
tiny.
- A chunk begins with the first key frame once the one before it is 4 s long, and with every segment.
- A segment begins with the first key frame once the one before it is `segment_s` long, or whose codec
  parameters differ. Where no key frame comes it ends all the same, at ten minutes, 512 MB or 3,600 fragments:
  the next one then goes on without a key frame, which its first seal says, and with a chunk of its own.

A file also ends with the first key frame once its folder is not to be written to any more. Else cuts depend
on the stream alone, so what a chunk holds depends on nothing that is ever asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simpang_buffer.media.fmp4 import (
    VIDEO_TRACK,
    TrackRun,
    fragment,
    init_segment,
)
from simpang_buffer.media.seal import first_digest, seal_box
from simpang_buffer.model import (
    VIDEO_TIMESCALE,
    AccessUnit,
    AnchorSource,
    AudioFormat,
    Fragment,
    FragmentFlags,
    GapReason,
    MetadataFormat,
    RunHeader,
    StreamKey,
    VideoFormat,
)
from simpang_buffer.recording.places import Places
from simpang_buffer.recording.segment_file import SegmentFile, SegmentHead
from simpang_buffer.recording.side_tracks import SideDocuments, SideSound, samples

FRAGMENT_TICKS = VIDEO_TIMESCALE
CHUNK_TICKS = 4 * VIDEO_TIMESCALE
# Below this a key frame does not end a fragment: a camera that sends nothing else would cost a write a
# picture.
_SHORT_TICKS = VIDEO_TIMESCALE // 2
# A camera whose stamps stand still, or that sends monsters, is cut by what it costs in memory.
_MAX_FRAGMENT_BYTES = 4 << 20
_MAX_FRAGMENT_PICTURES = 1000
# A file costs several syncs, so a camera whose parameters change with every key frame (8.10) would make the
# disk too slow for all others. After so many files in a row that were short, one lasts a second at least,
# whatever changes meanwhile: the parameters are in the stream too.
_MANY_SHORT_FILES = 10
_SHORT_FILE_US = 10_000_000
_SHORTEST_FILE_US = 1_000_000
# The last picture of a run has no successor to tell how long it lasts, and a lone one no predecessor either.
_LONE_PICTURE_TICKS = VIDEO_TIMESCALE // 25


@dataclass(frozen=True, slots=True)
class FileLimits:
    """Past any of these a file ends without a key frame: some cameras send one and never another (8.9). After
    a crash an open file is read to its end, which must not take longer than seconds.
    """

    ticks: int = 600 * VIDEO_TIMESCALE
    size_bytes: int = 512 << 20
    fragments: int = 3_600


FILE_LIMITS = FileLimits()


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known of a run before its first picture. previous_end: why the one before it ended.
    boot_id: of the gateway's boot, None where it is not known. wall_less_boot_us: UTC as the run counts it
    minus the time since that boot."""

    site: str
    key: StreamKey
    run: int
    previous_end: GapReason | None
    camera_offset_us: int | None
    boot_id: str | None = None
    wall_less_boot_us: int = 0


@dataclass(frozen=True, slots=True)
class OpenFile:
    """Step: create the file."""

    file: SegmentFile


@dataclass(frozen=True, slots=True)
class AppendFragment:
    """Step: write the buffers, which are one fragment and its seal box. seal: the box's SHA-256."""

    file: SegmentFile
    buffers: Sequence[bytes]
    fragment: Fragment
    seal: bytes

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.buffers))


@dataclass(frozen=True, slots=True)
class FinishFile:
    """Step: write the table, sync, close."""

    file: SegmentFile


Step = OpenFile | AppendFragment | FinishFile


class SegmentWriter:
    """Takes the access units of one run in order of arrival; gives steps for the disk, in order.

    anchor: asked once, when the first fragment is whole (about a second into the run), for the UTC of decode
    time 0 and where it is from; by then most cameras have sent a sender report. wall_us: UTC of a decode
    time, where the camera's clock is known to drift; by the anchor alone if not given. camera_offset_us: the
    camera's clock minus ours as measured, asked with the anchor.

    video, audio: what is written now, None where there is none. key_interval: ticks between the last two key
    frames; since_key: from the last one to the newest picture.
    """

    def __init__(
        self,
        start: RunStart,
        places: Places,
        audio: AudioFormat | None,
        anchor: Callable[[], tuple[int, AnchorSource]],
        *,
        segment_s: float,
        wall_us: Callable[[int], int] | None = None,
        metadata: MetadataFormat | None = None,
        limits: FileLimits = FILE_LIMITS,
        camera_offset_us: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._start = start
        self._camera_offset_us = start.camera_offset_us
        self._measured_offset_us = camera_offset_us
        self._places = places
        self.audio = self._next_audio = audio
        self._metadata = metadata
        self._limits = limits
        self._ask_anchor = anchor
        self._wall_us = wall_us or self._by_anchor
        self._anchor: tuple[int, AnchorSource] | None = None
        self._segment_ticks = int(segment_s * VIDEO_TIMESCALE)
        self._file: _OpenSegment | None = None
        self.video: VideoFormat | None = None
        self._pictures: list[AccessUnit] = []
        self._bytes = 0
        self._sound = SideSound()
        self._documents = SideDocuments()
        self._flags = FragmentFlags.NONE
        self._sequence = 0
        self._segments = 0
        self._chunks = 0
        self._chunk_start = 0
        self._last_duration = _LONE_PICTURE_TICKS
        self._last_key: int | None = None
        self._newest = 0
        self.key_interval = 0
        # By arrival, since stamps are the camera's to choose.
        self._file_began_us = 0
        self._short_files = 0

    @property
    def since_key(self) -> int:
        return 0 if self._last_key is None else self._newest - self._last_key

    def expect_sound(self, audio: AudioFormat) -> None:
        """Sound has become known, or is another: from the next file on, which the next key frame begins."""
        self._next_audio = audio
        if self._file is None and not self._sound:
            self.audio = audio

    def add_picture(self, unit: AccessUnit, video: VideoFormat) -> list[Step]:
        """video: the codec parameters that hold for this picture; looked at only on key frames."""
        self._newest = unit.dts
        if unit.key:
            if self._last_key is not None:
                self.key_interval = unit.dts - self._last_key
            self._last_key = unit.dts
        if not self._pictures:
            if not unit.key:
                return []
            return self._begin(unit, video)
        steps: list[Step] = []
        if unit.key and (self._is_changed(unit, video) or self._segment_is_over(unit.dts)):
            steps += self._cut(unit.dts)
            steps += self._finish_file()
            return steps + self._begin(unit, video)
        if self._fragment_is_over(unit):
            steps += self._cut(unit.dts)
            if self._file and self._file.is_full(unit.dts, self._limits):
                steps += self._finish_file()
                return steps + self._begin(unit, video)
            self._flags = self._flags_of(unit)
        self._pictures.append(unit)
        self._bytes += len(unit.data)
        return steps

    def add_sound(self, unit: AccessUnit) -> None:
        """Sound before the first picture, out of order, or in a flood without pictures, is dropped."""
        if self.audio is not None and self._pictures and self.audio == self._next_audio:
            self._sound.add(unit, self.audio, self._pictures[0].dts)

    def add_document(self, unit: AccessUnit) -> None:
        """Metadata, later than all before it. Before the first picture, or in a flood, it is dropped."""
        if self._metadata is not None and self._pictures:
            self._documents.add(unit)

    def finish(self) -> list[Step]:
        """The end of the run: what is left becomes the last fragment, and its file is closed."""
        steps: list[Step] = []
        if self._pictures:
            steps += self._cut(self._pictures[-1].dts + self._last_duration, last=True)
        return steps + self._finish_file()

    def _begin(self, unit: AccessUnit, video: VideoFormat) -> list[Step]:
        if unit.key:
            self.video = video
        if self.audio != self._next_audio:
            self.audio = self._next_audio
            self._sound.clear()
        short = unit.arrival_us - self._file_began_us < _SHORT_FILE_US
        self._short_files = self._short_files + 1 if short else 0
        self._file_began_us = unit.arrival_us
        self._flags = FragmentFlags.CHUNK | (FragmentFlags.KEY if unit.key else FragmentFlags.NONE)
        self._chunk_start = unit.dts
        self._pictures.append(unit)
        self._bytes = len(unit.data)
        return []

    def _is_changed(self, unit: AccessUnit, video: VideoFormat) -> bool:
        if video == self.video and self.audio == self._next_audio:
            return False
        lasted_us = unit.arrival_us - self._file_began_us
        return self._short_files < _MANY_SHORT_FILES or lasted_us >= _SHORTEST_FILE_US

    def _fragment_is_over(self, unit: AccessUnit) -> bool:
        length = unit.dts - self._pictures[0].dts
        if unit.key and (length >= _SHORT_TICKS or unit.dts - self._chunk_start >= CHUNK_TICKS):
            return True
        return (
            length + unit.dts - self._pictures[-1].dts > FRAGMENT_TICKS
            or self._bytes >= _MAX_FRAGMENT_BYTES
            or len(self._pictures) >= _MAX_FRAGMENT_PICTURES
        )

    def _segment_is_over(self, dts: int) -> bool:
        if self._file is None:
            return dts - self._pictures[0].dts >= self._segment_ticks
        if not self._places.holds(self._file.file.folder):
            return True
        return dts - self._file.first_decode_time >= self._segment_ticks

    def _flags_of(self, unit: AccessUnit) -> FragmentFlags:
        if not unit.key:
            return FragmentFlags.NONE
        if unit.dts - self._chunk_start < CHUNK_TICKS:
            return FragmentFlags.KEY
        self._chunk_start = unit.dts
        return FragmentFlags.KEY | FragmentFlags.CHUNK

    def _cut(self, next_dts: int, *, last: bool = False) -> list[Step]:
        """The pictures so far become a fragment that ends where the next picture begins."""
        steps: list[Step] = []
        pictures, self._pictures, self._bytes = self._pictures, [], 0
        ends = [*(unit.dts for unit in pictures[1:]), next_dts]
        durations = [max(end - unit.dts, 1) for unit, end in zip(pictures, ends, strict=True)]
        self._last_duration = durations[-1]
        runs = [TrackRun(VIDEO_TRACK, pictures[0].dts, samples(pictures, durations))]
        beside = (self._sound.take(last=last), self._documents.take(next_dts, last=last))
        runs += [run for run in beside if run is not None]
        if self._file is None:
            self._file = self._open_segment(pictures[0].dts)
            steps.append(OpenFile(self._file.file))
        if FragmentFlags.CHUNK in self._flags:
            self._chunks += 1
        self._sequence += 1
        buffers = fragment(self._sequence, runs)
        start_us = self._wall_us(pictures[0].dts)
        steps.append(self._file.append(buffers, pictures, sum(durations), start_us, self._flags))
        return steps

    def _open_segment(self, first_decode_time: int) -> _OpenSegment:
        if self._anchor is None:
            self._anchor = self._ask_anchor()
            measured_us = self._measured_offset_us()
            self._camera_offset_us = self._camera_offset_us if measured_us is None else measured_us
        assert self.video is not None  # a file is opened for pictures, and they came with a format
        start = self._start
        anchor_us, anchor_source = self._anchor
        header = RunHeader(
            site=start.site,
            camera=start.key.camera,
            stream=start.key.stream,
            run=start.run,
            seq=self._segments,
            codec=self.video.codec,
            anchor_us=anchor_us,
            anchor_source=anchor_source,
            camera_offset_us=self._camera_offset_us,
            previous_end=start.previous_end,
            first_chunk=self._chunks,
            boot_id=start.boot_id,
            anchor_boot_us=None if start.boot_id is None else anchor_us - start.wall_less_boot_us,
        )
        self._segments += 1
        head = SegmentHead(header, self.video, init_segment(self.video, self.audio, self._metadata))
        place = self._places.now()
        file = SegmentFile(place.path, head, place.folder, place.identity)
        return _OpenSegment(file, first_decode_time)

    def _by_anchor(self, decode_time: int) -> int:
        assert self._anchor is not None  # asked for when the first file was opened
        return self._anchor[0] + decode_time * 1_000_000 // VIDEO_TIMESCALE

    def _finish_file(self) -> list[Step]:
        if self._file is None:
            return []
        file, self._file = self._file.file, None
        return [FinishFile(file)]


class _OpenSegment:
    """The writer's side of a file: where the next fragment will stand and what its seal builds on."""

    def __init__(self, file: SegmentFile, first_decode_time: int) -> None:
        head = file.head.to_bytes()
        self.file = file
        self.first_decode_time = first_decode_time
        self.fragments = 0
        self._end = len(head)
        self._digest = first_digest(head)

    def is_full(self, dts: int, limits: FileLimits) -> bool:
        """Whether it has to end before a picture of that decode time, be it a key frame or not."""
        return (
            dts - self.first_decode_time >= limits.ticks
            or self._end >= limits.size_bytes
            or self.fragments >= limits.fragments
        )

    def append(
        self,
        buffers: list[bytes],
        pictures: Sequence[AccessUnit],
        duration: int,
        start_us: int,
        flags: FragmentFlags,
    ) -> AppendFragment:
        decode_time = pictures[0].dts
        seal, self._digest = seal_box(self._digest, buffers, start_us, flags)
        size_bytes = sum(map(len, buffers))
        described = Fragment(self._end, size_bytes, decode_time, duration, start_us, flags, len(pictures))
        self.fragments += 1
        self._end += size_bytes + len(seal)
        buffers.append(seal)
        return AppendFragment(self.file, buffers, described, self._digest)
