"""One stream's live frames on their way to the daemon. The recorder's side."""

from __future__ import annotations

from dataclasses import replace

from simpang_buffer.media.fmp4 import init_segment
from simpang_buffer.model import VIDEO_TIMESCALE, AccessUnit, AudioFormat, StreamKey, VideoFormat
from simpang_buffer.recording.live import LiveFrame, LiveGroup, LiveInit
from simpang_buffer.recording.outbox import Outbox
from simpang_buffer.recording.protocol import Message

# Until a second one has come: 25 pictures a second, and frames of 1024 samples.
_FIRST_DURATION_TICKS = {True: VIDEO_TIMESCALE // 25, False: 1024}


class Broadcast:
    """Keeps the frames since the last key frame, watched or not, so that a viewer has a picture at once.

    `watch` and `unwatch` say whether the daemon wants frames. Costs nothing but memory while it does not: the
    frames are the same objects that wait for their fragment.
    """

    def __init__(self, key: StreamKey, outbox: Outbox) -> None:
        self.watched = False
        self._key = key
        self._outbox = outbox
        self._init: LiveInit | None = None
        self._group = LiveGroup()
        self._last_dts: dict[bool, int] = {}
        self._last_duration: dict[bool, int] = {}
        self._waiting_for_key = False
        self._lost = 0

    def watch(self) -> None:
        """Sends the header and the frames since the last key frame, then each frame as it comes."""
        self.watched = True
        self._lost = 0
        self._waiting_for_key = False
        if self._init is not None:
            self._send_init(self._init)
            for frame in self._group.frames:
                self._send(frame)

    def unwatch(self) -> None:
        self.watched = False

    def begin(self, init: LiveInit) -> None:
        """A run begins, or its codec parameters change."""
        if self._init is None or init.run != self._init.run:
            self._last_dts.clear()
            self._last_duration.clear()
        self._init = init
        self._group.clear()
        if self.watched:
            self._send_init(init)

    def anchored(self, anchor_us: int) -> None:
        """UTC of decode time 0 is known now: whoever comes later hears it."""
        if self._init is not None and self._init.anchor_us != anchor_us:
            self._init = replace(self._init, anchor_us=anchor_us)

    def end(self) -> None:
        """The run is over: nothing of it is for the next viewer."""
        self._init = None
        self._group.clear()

    def add(self, unit: AccessUnit) -> None:
        """A picture or a frame of sound of what `begin` announced; passed over before that."""
        if self._init is None:
            return
        duration = self._last_duration.get(unit.video, _FIRST_DURATION_TICKS[unit.video])
        if unit.video in self._last_dts:
            duration = max(unit.dts - self._last_dts[unit.video], 1)
        self._last_dts[unit.video] = unit.dts
        self._last_duration[unit.video] = duration
        frame = LiveFrame(unit.video, unit.dts, unit.pts_offset, unit.key, duration, unit.data)
        self._group.add(frame)
        if self.watched:
            self._send(frame)

    def _send(self, frame: LiveFrame) -> None:
        if self._waiting_for_key and not (frame.video and frame.key):
            self._lost += 1
            return
        if self._lost:
            said = self._outbox.show_if_room(Message("dropped", self._key, {"frames": self._lost}))
            if not said:
                self._lost += 1
                return
            self._lost = 0
        fields = [int(frame.video), frame.dts, frame.pts_offset, int(frame.key), frame.duration]
        if self._outbox.show_if_room(Message("frame", self._key, {"frame": fields}, frame.data)):
            self._waiting_for_key = False
        else:
            self._lost += 1
            self._waiting_for_key = True

    def _send_init(self, init: LiveInit) -> None:
        fields = {
            "run": init.run,
            "mime": init.mime,
            "video_timescale": init.video_timescale,
            "audio_timescale": init.audio_timescale,
            "anchor_us": init.anchor_us,
        }
        self._outbox.tell(Message("init", self._key, fields, init.init))


def live_init(run: int, video: VideoFormat, audio: AudioFormat | None) -> LiveInit:
    """mime is what MediaSource.isTypeSupported takes (RFC 6381). Metadata has no track: none is shown."""
    codecs = video.codec if audio is None else f"{video.codec},{audio.codec}"
    return LiveInit(
        run=run,
        mime=f'video/mp4; codecs="{codecs}"',
        init=init_segment(video, audio),
        video_timescale=VIDEO_TIMESCALE,
        audio_timescale=audio.timescale if audio else None,
        anchor_us=None,
    )
