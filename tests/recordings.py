"""Runs recorded to real files and a real index, as the recorder does it, for tests of what reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from media_samples import SoundTrack, Unit, VideoCodec, video
from recorded_runs import finished, video_format
from simpang_buffer.index.changes import forget, stream_id_of
from simpang_buffer.index.index import Index
from simpang_buffer.media.audio_format import audio_format
from simpang_buffer.media.metadata import metadata_format
from simpang_buffer.model import (
    FIRST_FOLDER,
    AccessUnit,
    AnchorSource,
    AudioFormat,
    GapReason,
    Segment,
    StreamKey,
)
from simpang_buffer.reading.tail import Tail
from simpang_buffer.recording.places import Place, Places
from simpang_buffer.recording.segment_file import SegmentFile
from simpang_buffer.recording.segment_writer import (
    FILE_LIMITS,
    AppendFragment,
    FileLimits,
    FinishFile,
    OpenFile,
    RunStart,
    SegmentWriter,
    Step,
)

KEY = StreamKey("gate", "main")
START_US = 1_763_000_000_000_000
SECOND_US = 1_000_000
FRAME_TICKS = 6000  # 15 pictures a second


@dataclass
class Recording:
    """What one run left. rows: of closed files. tail: of the file left open, if any."""

    rows: list[Segment] = field(default_factory=list)
    files: list[SegmentFile] = field(default_factory=list)
    tail: Tail | None = None


@dataclass(frozen=True)
class Take:
    """What is recorded as one run. b_frames: pictures are shown later than decoded."""

    codec: VideoCodec = "h264"
    seconds: int = 6
    run: int = 1
    start_us: int = START_US
    segment_s: float = 60.0
    previous_end: GapReason | None = None
    key: StreamKey = KEY
    b_frames: int = 0
    sound: SoundTrack | None = None
    key_every: int = 15
    width: int = 160
    height: int = 120
    site: str = "site"
    limits: FileLimits = FILE_LIMITS
    noise: int = 0  # bytes of each picture that do not compress
    documents: bool = False  # a document of the camera's metadata with each key frame

    @property
    def audio(self) -> AudioFormat | None:
        if self.sound is None:
            return None
        fmtp = {"config": self.sound.config.hex()}
        return audio_format(self.sound.encoding, self.sound.rate, self.sound.channels, fmtp)


def record(media: Path, take: Take, *, close: bool = True, folder: int = FIRST_FOLDER) -> Recording:
    """Writes the run's files with the product's writer. close=False: the last stays as while recording."""
    units = video(
        take.codec,
        frames=take.seconds * 15,
        width=take.width,
        height=take.height,
        key_every=take.key_every,
        b_frames=take.b_frames,
        noise=take.noise,
    )
    writer = SegmentWriter(
        RunStart(take.site, take.key, take.run, take.previous_end, None),
        Places([Place(folder, media)]),
        take.audio,
        lambda: (take.start_us, AnchorSource.RTCP),
        segment_s=take.segment_s,
        metadata=metadata_format("VND.ONVIF.METADATA") if take.documents else None,
        limits=take.limits,
    )
    done = Recording()
    steps: list[Step] = []
    for picture, heard in _interleaved(units, take):
        for sound in heard:
            writer.add_sound(sound)
        if take.documents and picture.key:
            writer.add_document(replace(picture, video=False, data=b"<tt:MetadataStream/>"))
        steps += writer.add_picture(picture, video_format(take.codec, units))
    steps += writer.finish()
    if not close:
        assert isinstance(steps.pop(), FinishFile)
    for step in steps:
        match step:
            case OpenFile(file):
                file.open()
                done.files.append(file)
            case AppendFragment(file, buffers, fragment, seal):
                file.append(buffers, fragment, seal)
            case FinishFile(file):
                row = finished(file)
                assert row is not None
                done.rows.append(row)
    if not close:
        done.tail = tail_of(done.files[-1])
        done.files[-1].abandon()
    return done


def tail_of(file: SegmentFile) -> Tail:
    head = file.head
    video = head.video
    return Tail(head.header, file.path, head.init, video.codec, video.width, video.height, file.fragments)


async def index_all(index: Index, recording: Recording) -> None:
    for file in recording.files:
        await index.add_run(file.head.header, file.head.video.width, file.head.video.height)
    for row in recording.rows:
        await index.add_segment(row)


async def written(media: Path, take: Take, *, close: bool = True, folder: int = FIRST_FOLDER) -> Recording:
    """`record`, which blocks, for a test in the loop."""
    return await asyncio.to_thread(record, media, take, close=close, folder=folder)


async def recorded(index: Index, take: Take) -> Recording:
    """A closed run that the index knows."""
    recording = await written(index.media, take)
    await index_all(index, recording)
    return recording


def _interleaved(units: Sequence[Unit], take: Take) -> list[tuple[AccessUnit, list[AccessUnit]]]:
    """Pictures in decode order, each with the sound that came before it."""
    delay = max(0, *(number * FRAME_TICKS - unit.pts for number, unit in enumerate(units)))
    sounds = list(take.sound.frames) if take.sound else []
    found = []
    for number, unit in enumerate(units):
        dts = number * FRAME_TICKS
        arrival_us = take.start_us + dts * 100 // 9
        picture = AccessUnit(True, dts, unit.pts + delay - dts, unit.key, unit.data, arrival_us)
        heard: list[AccessUnit] = []
        while take.sound and sounds and sounds[0].pts * 90_000 < dts * take.sound.rate:
            frame = sounds.pop(0)
            heard.append(AccessUnit(False, frame.pts, 0, True, frame.data, picture.arrival_us))
        found.append((picture, heard))
    return found


async def forget_row(index: Index, row: Segment) -> None:
    """As a repair does before a file is adopted anew."""
    async with index.db.transaction() as tx:
        await forget(tx, await stream_id_of(tx, row.key), row)
