"""One run: a session's pictures and sound from a key frame on, dated, cut for the disk, shown to viewers."""

from __future__ import annotations

from pathlib import Path

from simpang_buffer.media.access_units import Picture
from simpang_buffer.media.audio import AudioFrame
from simpang_buffer.media.stream_time import DatedPicture, RunClock
from simpang_buffer.recording.broadcast import Broadcast, live_init
from simpang_buffer.recording.intake import Arrival, Intake
from simpang_buffer.recording.segment_writer import RunStart, SegmentWriter, Step


class Run:
    """`take` what arrives, then `take_steps` for the disk; `finish` at its end. begun: a picture is in it."""

    def __init__(
        self, start: RunStart, intake: Intake, broadcast: Broadcast, *, media: Path, segment_s: float
    ) -> None:
        self.number = start.run
        sound = (intake.audio_clock_rate, intake.audio.timescale) if intake.audio else None
        self._intake = intake
        self._broadcast = broadcast
        self._clock = RunClock(intake.video_clock_rate, sound)
        self._writer = SegmentWriter(
            start, media, intake.audio, self._clock.anchor, segment_s=segment_s, wall_us=self._clock.wall_us
        )
        self._steps: list[Step] = []
        self.begun = False

    def is_over(self, arrival: Arrival) -> bool:
        """Whether the camera's stamps have started over, and this picture begins what comes after."""
        return self._clock.jumped and isinstance(arrival, Picture) and arrival.key

    def take(self, arrival: Arrival, arrival_us: int) -> None:
        """A picture, a frame of sound, or a sender report. arrival_us: steady within the run."""
        if isinstance(arrival, Picture):
            # A run does not begin with a torn picture; later ones are recorded as sent.
            if self.begun or not arrival.damaged:
                self._write(self._clock.picture(arrival, arrival_us, self._intake.reorder))
        elif isinstance(arrival, AudioFrame):
            for unit in self._clock.sound(arrival, arrival_us):
                self._writer.add_sound(unit)
                self._broadcast.add(unit)
        else:
            self._clock.report(video=arrival.video, ntp_us=arrival.ntp_us, rtp_time=arrival.rtp_time)

    def take_steps(self) -> list[Step]:
        """What has been cut since the last call."""
        steps, self._steps = self._steps, []
        return steps

    def finish(self) -> None:
        """Nothing more comes: what is held back becomes steps too."""
        self._write(self._clock.flush())
        self._steps += self._writer.finish()

    def _write(self, pictures: list[DatedPicture]) -> None:
        writer = self._writer
        for unit, video in pictures:
            self.begun = True
            before = writer.video
            video = video or before
            if video is None:
                continue  # the clock begins with a key picture that has its format
            steps = writer.add_picture(unit, video)
            if writer.video is not before and (init := writer.init_segment()) is not None:
                audio = self._intake.audio
                self._broadcast.begin(live_init(self.number, init, video, audio))
            if steps:
                self._steps += steps
                self._broadcast.anchored(self._clock.anchor()[0])
            self._broadcast.add(unit)
