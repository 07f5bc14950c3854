"""One session's packets to pictures, sound and clock reports, track by track."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from simpang_buffer.media.access_units import Picture
from simpang_buffer.media.audio import AacDepacketizer, AudioFrame, G711Depacketizer, audio_depacketizer
from simpang_buffer.media.audio_format import AudioDropped, audio_format
from simpang_buffer.media.h26x import H264Depacketizer, H265Depacketizer, described_sets
from simpang_buffer.model import AudioFormat
from simpang_buffer.rtsp.errors import Unsupported
from simpang_buffer.rtsp.rtcp import SenderReport
from simpang_buffer.rtsp.session import RtpPacket, SetUpTrack, TrackReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClockReport:
    """A sender report of one of the two tracks that are recorded."""

    video: bool
    ntp_us: int
    rtp_time: int


Arrival: TypeAlias = Picture | AudioFrame | ClockReport


class Intake:
    """Lives as long as the session, over all runs in it. audio: None where there is none that can be stored.

    Raises Unsupported for a session without H.264 or H.265.
    """

    def __init__(self, tracks: Sequence[SetUpTrack]) -> None:
        self.audio: AudioFormat | None = None
        self.video_clock_rate = 0
        self.audio_clock_rate = 0
        self._video: H264Depacketizer | H265Depacketizer | None = None
        self._video_index = -1
        self._sound: AacDepacketizer | G711Depacketizer | None = None
        self._sound_index = -1
        for track in tracks:
            if track.track.kind == "video" and self._video is None:
                self._take_video(track)
            elif track.track.kind == "audio" and self._sound is None:
                self._take_sound(track)
        if self._video is None:
            raise Unsupported("the camera offers neither H.264 nor H.265")

    @property
    def reorder(self) -> int | None:
        """How far pictures may be sent out of order, where the stream says."""
        return self._video.reorder if self._video else None

    def take(self, items: Sequence[RtpPacket | TrackReport]) -> Iterator[Arrival]:
        """What the packets complete, in order. Copies what it keeps, so views need not outlive the call."""
        video, sound, video_index = self._video, self._sound, self._video_index
        assert video is not None  # the constructor made sure
        # Video packets in a row go together: per packet a call costs more than all that is done with it.
        row: list[memoryview] = []
        for item in items:
            index, content = item
            if index == video_index and type(content) is memoryview:
                row.append(content)
                continue
            if row:
                yield from video.push_all(row)
                row = []
            if isinstance(content, SenderReport):
                if index == video_index or (index == self._sound_index and sound is not None):
                    yield ClockReport(index == video_index, content.ntp_us, content.rtp_time)
            elif index == video_index:
                yield from video.push(memoryview(content))
            elif index == self._sound_index and sound is not None:
                yield from sound.push(memoryview(content))
        if row:
            yield from video.push_all(row)

    def flush(self) -> list[Picture]:
        """At the session's end: the picture under way."""
        return self._video.flush() if self._video else []

    def _take_video(self, set_up: SetUpTrack) -> None:
        track = set_up.track
        if track.encoding == "H264":
            sets = described_sets("H264", track.fmtp)
            self._video = H264Depacketizer(track.payload_type, sets, set_up.ssrc)
        elif track.encoding == "H265":
            sets = described_sets("H265", track.fmtp)
            self._video = H265Depacketizer(track.payload_type, sets, set_up.ssrc)
        self._video_index, self.video_clock_rate = set_up.index, track.clock_rate

    def _take_sound(self, set_up: SetUpTrack) -> None:
        track = set_up.track
        try:
            self.audio = audio_format(track.encoding, track.clock_rate, track.channels, track.fmtp)
            self._sound = audio_depacketizer(
                track.encoding, track.payload_type, track.clock_rate, track.channels, track.fmtp, set_up.ssrc
            )
        except AudioDropped as dropped:
            self.audio = None
            logger.info("recording without sound: %s", dropped)
        self._sound_index, self.audio_clock_rate = set_up.index, track.clock_rate
