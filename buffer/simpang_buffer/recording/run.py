"""One run: a session's pictures, sound and documents from a key frame on, dated, cut for the disk, shown."""

from __future__ import annotations

from collections.abc import Callable

from simpang_buffer.media.access_units import Picture
from simpang_buffer.media.audio import AudioFrame
from simpang_buffer.media.metadata import MetadataDocument
from simpang_buffer.media.metadata_time import MetadataTime
from simpang_buffer.media.stream_time import DatedPicture, RunClock
from simpang_buffer.model import VIDEO_TIMESCALE, AccessUnit, AnchorSource
from simpang_buffer.recording.broadcast import Broadcast, live_init
from simpang_buffer.recording.intake import Arrival, Intake
from simpang_buffer.recording.places import Places
from simpang_buffer.recording.segment_writer import RunStart, SegmentWriter, Step


class Run:
    """`take` what arrives, then `take_steps` for the disk; `finish` at its end. begun: a picture is in it.

    clock_trusted: whether the gateway's clock is right as this run counts it, asked with the anchor.
    anchored: what it was anchored by, None until it is. before: the run before it in the same session.
    """

    def __init__(
        self,
        start: RunStart,
        intake: Intake,
        broadcast: Broadcast,
        *,
        places: Places,
        segment_s: float,
        clock_trusted: Callable[[], bool] = lambda: True,
        before: Run | None = None,
    ) -> None:
        self.number = start.run
        self.anchored: AnchorSource | None = None
        self._clock_trusted = clock_trusted
        self._audio = intake.audio
        sound = (intake.audio_clock_rate, self._audio.timescale) if self._audio else None
        self._intake = intake
        self._broadcast = broadcast
        self._clock = RunClock(intake.video_clock_rate, sound)
        if before is not None:
            self._clock.carry_on(before._clock)
        self._documents = (
            MetadataTime(intake.metadata_clock_rate, self._clock.moment_us) if intake.metadata else None
        )
        self._writer = SegmentWriter(
            start,
            places,
            self._audio,
            self._anchor,
            segment_s=segment_s,
            wall_us=self._clock.wall_us,
            metadata=intake.metadata,
            camera_offset_us=self._clock.camera_offset_us,
        )
        self._steps: list[Step] = []
        self.begun = False

    @property
    def key_frames_s(self) -> tuple[float, float]:
        """How long there was between the last two key frames, and how long ago the last one was."""
        return self._writer.key_interval / VIDEO_TIMESCALE, self._writer.since_key / VIDEO_TIMESCALE

    def is_over(self, arrival: Arrival) -> bool:
        """Whether the camera's stamps have started over, and this picture begins what comes after."""
        return self._clock.jumped and isinstance(arrival, Picture) and arrival.key

    def take(self, arrival: Arrival, arrival_us: int) -> None:
        """What the intake gives. arrival_us: steady within the run."""
        if isinstance(arrival, Picture):
            # A run does not begin with a torn picture; later ones are recorded as sent.
            if self.begun or not arrival.damaged:
                self._write(self._clock.picture(arrival, arrival_us, self._intake.reorder))
        elif isinstance(arrival, AudioFrame):
            if self._intake.audio is not self._audio:
                self._note_sound()
            for unit in self._clock.sound(arrival, arrival_us):
                self._writer.add_sound(unit)
                self._broadcast.add(unit)
        elif isinstance(arrival, MetadataDocument):
            self._take_document(arrival, arrival_us)
        elif arrival.track == "metadata":
            if self._documents is not None:
                self._documents.report(arrival.ntp_us, arrival.rtp_time)
        else:
            self._clock.report(
                video=arrival.track == "video", ntp_us=arrival.ntp_us, rtp_time=arrival.rtp_time
            )

    def measured(self) -> tuple[float | None, int | None]:
        """How much faster the camera's clock runs than ours (in millionths), and its clock minus ours."""
        return self._clock.drift_ppm, self._clock.camera_offset_us()

    def take_steps(self) -> list[Step]:
        """What has been cut since the last call."""
        steps, self._steps = self._steps, []
        return steps

    def finish(self) -> None:
        """Nothing more comes: what is held back becomes steps too."""
        self._write(self._clock.flush())
        self._steps += self._writer.finish()

    def _anchor(self) -> tuple[int, AnchorSource]:
        anchor_us, source = self._clock.anchor()
        self.anchored = source if self._clock_trusted() else AnchorSource.BOOT
        return anchor_us, self.anchored

    def _note_sound(self) -> None:
        """The frames' own headers have told what the sound is."""
        self._audio = self._intake.audio
        if self._audio is not None:
            self._clock.expect_sound(self._intake.audio_clock_rate, self._audio.timescale)
            self._writer.expect_sound(self._audio)
            self._show_header()

    def _take_document(self, document: MetadataDocument, arrival_us: int) -> None:
        if self._documents is None:
            return
        ticks = self._documents.place(document.rtp_time, arrival_us)
        if ticks is not None:
            self._writer.add_document(AccessUnit(False, ticks, 0, True, document.data, arrival_us))

    def _write(self, pictures: list[DatedPicture]) -> None:
        writer = self._writer
        for unit, video in pictures:
            self.begun = True
            before, heard = writer.video, writer.audio
            video = video or before
            if video is None:
                continue  # the clock begins with a key picture that has its format
            steps = writer.add_picture(unit, video)
            if writer.video is not before or writer.audio is not heard:
                self._show_header()
            if steps:
                self._steps += steps
                self._broadcast.anchored(self._clock.anchor()[0])
            self._broadcast.add(unit)

    def _show_header(self) -> None:
        if self._writer.video is not None:
            self._broadcast.begin(live_init(self.number, self._writer.video, self._writer.audio))
