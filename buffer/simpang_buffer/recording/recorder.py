"""One stream, recorded again and again: `run_once` works and raises, `keep_running` repeats it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from simpang_buffer.media.access_units import Picture
from simpang_buffer.model import AnchorSource, GapReason, StreamKey
from simpang_buffer.recording.arrivals import Arrivals
from simpang_buffer.recording.broadcast import Broadcast
from simpang_buffer.recording.clock_word import HeardClock
from simpang_buffer.recording.condition import Condition
from simpang_buffer.recording.contents import Contents, KeyFrameWatch, contents_fields
from simpang_buffer.recording.disks import Disks
from simpang_buffer.recording.intake import Intake
from simpang_buffer.recording.outbox import Outbox
from simpang_buffer.recording.pins import Pins
from simpang_buffer.recording.places import Places
from simpang_buffer.recording.protocol import Message
from simpang_buffer.recording.reports import Reporter
from simpang_buffer.recording.restarts import Restarts
from simpang_buffer.recording.retry import HEALTHY_S, delay_s, gap_reason
from simpang_buffer.recording.run import Run
from simpang_buffer.recording.segment_file import DiskFailed, SegmentFile
from simpang_buffer.recording.segment_writer import RunStart
from simpang_buffer.recording.sign_in import SignIns
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.recording.tick import Tick
from simpang_buffer.rtsp.errors import AuthRefused, NothingPlayed, StreamError, Timeout
from simpang_buffer.rtsp.session import NOTHING_PLAYED, Session, open_session

logger = logging.getLogger(__name__)

# No picture for so long is a fault, whatever sound and answers say (QUIRKS 7.18, 9.6).
STALL_S = 10.0
# Pictures without one to begin with are called useless by then: a reason is there within 10 s.
_KEY_FRAME_WITHIN_S = 8.0
# How often what was measured of the camera's clock is told within a run: a month without it is one row.
_TELL_TIME_S = 600.0
# What one stream may take per beat: over 60 Mbit/s, and a few milliseconds of small packets.
_READ_BYTES = 64 << 10
_BEAT_BYTES = 256 << 10
_BEAT_S = 0.008


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all streams of a process share. buffer: received into, by one stream after the other. boot_us:
    time since the machine booted, asleep or not (CLOCK_BOOTTIME)."""

    site: str
    places: Places
    segment_s: float
    tick: Tick
    disk: Disks
    reporter: Reporter
    outbox: Outbox
    sign_ins: SignIns
    pins: Pins
    buffer: bytearray = field(repr=False)
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000
    monotonic: Callable[[], float] = time.monotonic
    boot_us: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    clock: HeardClock = field(default_factory=HeardClock)


class Recorder:
    """forgotten: set before cancelling, says why the stream is given up. last_end: why its last run ended, or
    what has kept it from recording since."""

    def __init__(
        self,
        spec: StreamSpec,
        surroundings: Surroundings,
        *,
        first_run: int,
        previous_end: GapReason | None,
    ) -> None:
        self.broadcast = Broadcast(spec.key, surroundings.outbox)
        self.forgotten: GapReason | None = None
        self._spec = spec
        self._around = surroundings
        self._next_run = first_run
        self._ended = previous_end
        self._ended_at = surroundings.monotonic()
        self._recording = False
        self._condition = Condition()
        self._restarts = Restarts()
        self._told_time_at = 0.0
        self._intake: Intake | None = None
        self._told_contents = Contents()
        self._key_frames = KeyFrameWatch()
        self._last_picture_at = self._opened_at = 0.0
        self._told_useless = self._pictured = False
        self._disk_error: DiskFailed | None = None
        # The newest that is on the disk.
        self._file: SegmentFile | None = None
        self._cancelled_for = GapReason.RESTART
        surroundings.reporter.join(spec.key, self._file_opened, self._file_failed)

    @property
    def key(self) -> StreamKey:
        return self._spec.key

    @property
    def last_end(self) -> GapReason:
        return self.forgotten or self._ended or GapReason.RESTART

    async def keep_running(self) -> None:
        """Until cancelled, or until the disk fails: then the daemon decides, who can make room and adopt."""
        failures = 0
        while True:
            began = self._around.monotonic()
            try:
                await self.run_once()
            except DiskFailed as error:
                self._ended = error.reason
                self._tell_state("connecting", error.reason, error.detail)
                return
            except Exception as error:  # noqa: BLE001 - supervised here: a stream's fault stays its own
                if self._around.monotonic() - began > HEALTHY_S:
                    failures = 0
                failures += 1
                await asyncio.sleep(self._note_failure(error, failures))

    async def run_once(self) -> None:
        """One session, recorded until it ends: raises StreamError or DiskFailed. A clock that steps is no end
        of the session, but of the run."""
        source, around = self._spec.source, self._around
        self._disk_error = None
        self._cancelled_for = GapReason.RESTART
        self._tell_state("connecting", None, "connecting")
        async with contextlib.AsyncExitStack() as stack:
            address = (source.host, source.port)
            async with around.sign_ins.trying(address, source.credentials, self._note_sign_in) as sign_in:
                session = await stack.enter_async_context(
                    open_session(source, buffer=around.buffer, pin_of=self._pin_of, sign_in=sign_in)
                )
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._maintain(session), name=f"keepalive:{self.key}")
                    await self._record(session)
            except ExceptionGroup as errors:
                ended = errors.exceptions[0]
                if isinstance(ended, AuthRefused):
                    around.sign_ins.withdrawn(address, source.credentials, ended, self._note_sign_in)
                raise ended from None

    async def _maintain(self, session: Session) -> None:
        """What fails in here cancels the recording, which would not know why."""
        try:
            await session.maintain()
        except StreamError as error:
            self._cancelled_for = error.gap
            raise

    async def _record(self, session: Session) -> None:
        """Raises what ends the session, or cancels it; the run is closed properly first."""
        around = self._around
        self._intake = intake = Intake(session.tracks, session.offered)
        self._condition.session(session.counts, intake.video_clock_rate)
        self._begin_run(intake)
        self._last_picture_at = self._opened_at = around.monotonic()
        self._told_useless = self._pictured = False
        reason: GapReason | None = None
        try:
            await around.tick.work(lambda: self._pump(session, intake), lambda: self._is_urgent(session))
        except StreamError as error:
            reason = error.gap
            raise
        except DiskFailed as error:
            reason = error.reason
            raise
        finally:
            for picture in intake.flush():
                self._run.take(picture, self._arrivals.at(around.now_us(), around.monotonic()))
            self._finish_run(reason or self._cancelled_for)

    def _is_urgent(self, session: Session) -> bool:
        """Somebody watches; or more has come than was read; or what has no room in the socket would be lost:
        a key frame of 300 kB outgrows a UDP socket's usual 208 kB, where TCP just waits."""
        return self.broadcast.watched or self._spec.source.transport == "udp" or not session.drained

    def _begin_run(self, intake: Intake, before: Run | None = None) -> None:
        around = self._around
        number, self._next_run = self._next_run, self._next_run + 1
        self._arrivals = arrivals = Arrivals(around.now_us(), around.monotonic(), around.boot_us())
        start = RunStart(
            around.site,
            self.key,
            number,
            self._ended,
            self._spec.camera_offset_us,
            around.clock.word.boot_id or None,
            arrivals.wall_less_boot_us,
        )
        self._told_time_at = around.monotonic()
        self._run = Run(
            start,
            intake,
            self.broadcast,
            places=around.places,
            segment_s=around.segment_s,
            clock_trusted=lambda: around.clock.word.covers(arrivals.wall_less_boot_us),
            before=before,
        )

    def _begins_anew(self, arrival: Picture, now_s: float) -> bool:
        """Whether this picture begins a run: the camera's stamps have started over, the gateway's clock was
        set, or it is to be trusted from now on, which the run so far could not be dated by."""
        if not arrival.key:
            return False
        trusted = self._around.clock.word.covers(self._arrivals.wall_less_boot_us)
        dated = self._run.anchored is AnchorSource.BOOT and trusted
        if not (self._run.is_over(arrival) or self._arrivals.stepped or dated):
            return False
        return self._restarts.may(now_s)

    def _pump(self, session: Session, intake: Intake) -> None:
        """One beat: what has come, within what one stream may take."""
        around = self._around
        now_s = around.monotonic()
        until_s = now_s + _BEAT_S
        for _ in range(_BEAT_BYTES // _READ_BYTES):
            items = session.read_available(_READ_BYTES)
            arrival_us = self._arrivals.at(around.now_us(), around.monotonic())
            for arrival in intake.take(items):
                if isinstance(arrival, Picture):
                    self._last_picture_at, self._pictured = now_s, True
                    self._condition.picture(arrival.rtp_time, now_s)
                    if self._begins_anew(arrival, now_s):
                        self._finish_run(GapReason.CLOCK_STEP)
                        self._begin_run(intake, self._run)
                        arrival_us = self._arrivals.at(around.now_us(), around.monotonic())
                self._run.take(arrival, arrival_us)
            now_s = around.monotonic()
            if session.drained or now_s > until_s:
                break
        self._write_on(intake)
        silent_s = now_s - self._last_picture_at
        if silent_s > STALL_S and not self._pictured:
            raise NothingPlayed(NOTHING_PLAYED)
        if silent_s > STALL_S:
            raise Timeout(f"the camera has sent no picture for {silent_s:.0f} s")
        if not self._run.begun and not self._told_useless and now_s - self._opened_at > _KEY_FRAME_WITHIN_S:
            # No end of the session: one with key frames minutes apart (8.9) would never be recorded.
            self._told_useless = True
            self._tell_state(
                "connecting",
                "unsupported",
                "the camera sends no key frame to begin with; set its key frame interval to some seconds",
            )

    def _write_on(self, intake: Intake) -> None:
        """As `_submit`. Where the disk of one folder fails or hangs, the run ends, and in another folder the
        next begins with the next key frame: the camera need not be asked again."""
        places, file, known = self._around.places, self._file, self._disk_error
        try:
            self._submit()
            if file is not None and places.hangs(file.folder):
                raise DiskFailed(GapReason.DISK_ERROR, f"{file.head.path}: the disk does not answer")
        except DiskFailed as error:
            if file is not None and error is not known:
                places.note_failed(file.folder)
            if places.best() is None:
                raise
            self._tell_state("connecting", error.reason, error.detail)
            self._finish_run(error.reason)
            self._disk_error = self._file = None
            self._opened_at = self._around.monotonic()
            self._begin_run(intake)

    def _submit(self) -> None:
        """Hands what the run has cut to the disk. Raises DiskFailed."""
        if self._disk_error is not None:
            raise self._disk_error
        if steps := self._run.take_steps():
            try:
                self._around.reporter.submit(self._around.disk, self.key, steps)
            except DiskFailed as error:
                # These steps are lost, and what comes after them must not be written with a hole before it.
                self._disk_error = error
                raise

    def _finish_run(self, reason: GapReason) -> None:
        """Whatever ended it: what was recorded is closed properly. A run that wrote nothing was none: the gap
        before it goes on, with the reason that it has."""
        self._recording = False
        self.broadcast.end()
        self._run.finish()
        self._tell_time()
        try:
            self._submit()
        except DiskFailed:
            self._around.reporter.finish_files(self._around.disk, self.key)
        if self._run.begun:
            self._ended, self._ended_at = reason, self._around.monotonic()

    def _note_failure(self, error: Exception, failures: int) -> float:
        """Says why, and how long to wait."""
        around, source = self._around, self._spec.source
        if not isinstance(error, StreamError):
            # Ours, provoked by this camera's bytes or not: it must not fill the log, nor stop the others.
            logger.log(
                logging.ERROR if failures == 1 else logging.DEBUG,
                "%s: a fault of ours",
                self.key,
                exc_info=error,
            )
            wait_s = delay_s(error, failures)
            self._tell_state("unreachable", "malformed", f"internal fault: {type(error).__name__}", wait_s)
            return wait_s
        self._ended = gap_reason(self._ended, error, around.monotonic() - self._ended_at)
        wait_s = delay_s(error, failures)
        if isinstance(error, AuthRefused) and source.credentials is not None:
            # Zero where a session was refused that had been accepted: its camera forgot it, so sign in anew.
            wait_s = around.sign_ins.wait_s((source.host, source.port), source.credentials) or 1.0
        state = "auth" if isinstance(error, AuthRefused) else "unreachable"
        self._tell_state(state, error.reason, error.detail, wait_s)
        return wait_s

    def tell_condition(self) -> None:
        """Once per pulse: what was repaired since, how late the pictures are, and what is recorded of the
        camera's tracks, where that is news.
        """
        self._tell_contents()
        if self._recording and self._around.monotonic() - self._told_time_at > _TELL_TIME_S:
            self._tell_time()
        fields = self._condition.news(self._around.monotonic(), recording=self._recording)
        if fields is not None:
            self._around.outbox.tell(Message("condition", self.key, fields))

    def _tell_time(self) -> None:
        """What has been measured of the camera's clock in this run."""
        self._told_time_at = self._around.monotonic()
        drift_ppm, offset_us = self._run.measured()
        if self._run.anchored is not None and (drift_ppm is not None or offset_us is not None):
            fields = {"run": self._run.number, "drift_ppm": drift_ppm, "camera_offset_us": offset_us}
            self._around.outbox.tell(Message("timed", self.key, fields))

    def _tell_contents(self) -> None:
        if self._intake is None:
            return
        apart_s = self._told_contents.key_frames_s
        if (news := self._key_frames.news(*self._run.key_frames_s)) is not None:
            (apart_s,) = news
        audio = self._intake.audio_words() if self._spec.source.audio else ""
        contents = Contents(audio, self._intake.metadata_words(), apart_s)
        if contents != self._told_contents:
            self._told_contents = contents
            self._around.outbox.tell(Message("contents", self.key, contents_fields(contents)))

    def _note_sign_in(self, step: str, tries: int) -> None:
        source = self._spec.source
        basic = self._around.sign_ins.begins_with_basic((source.host, source.port), source.credentials)
        fields = {"step": step, "tries": tries, "basic": basic}
        self._around.outbox.tell(Message("sign-in", self.key, fields))

    def _pin_of(self, port: int, found: str) -> str:
        return self._around.pins.pin_of(self.key, port, found)

    def _file_opened(self, file: SegmentFile) -> None:
        if file.head.header.run != self._run.number:
            return
        self._file = file
        if not self._recording:
            self._recording = True
            self._tell_state("recording", None, "")

    def _file_failed(self, file: SegmentFile, error: DiskFailed) -> None:
        self._around.places.note_failed(file.folder)
        if file.head.header.run == self._run.number:
            self._disk_error = error

    def _tell_state(self, state: str, reason: str | None, detail: str, wait_s: float | None = None) -> None:
        retry_at_us = None if wait_s is None else self._around.now_us() + int(wait_s * 1_000_000)
        fields = {"state": state, "reason": reason, "detail": detail, "retry_at_us": retry_at_us}
        self._around.outbox.tell(Message("state", self.key, fields))
