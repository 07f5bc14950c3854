"""One session's packets to pictures, sound, documents and clock reports, track by track."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from simpang_buffer.media.access_units import Picture
from simpang_buffer.media.audio import AacDepacketizer, AudioFrame, G711Depacketizer, audio_depacketizer
from simpang_buffer.media.audio_format import AudioDropped
from simpang_buffer.media.h26x import H264Depacketizer, H265Depacketizer, described_sets
from simpang_buffer.media.jpeg import JpegDepacketizer
from simpang_buffer.media.metadata import MetadataDepacketizer, MetadataDocument, metadata_format
from simpang_buffer.model import AudioFormat, MetadataFormat
from simpang_buffer.recording.contents import audio_words, metadata_words
from simpang_buffer.rtsp.errors import Unsupported
from simpang_buffer.rtsp.rtcp import SenderReport
from simpang_buffer.rtsp.sdp import Track
from simpang_buffer.rtsp.session import RtpPacket, SetUpTrack, TrackReport

logger = logging.getLogger(__name__)

Kind: TypeAlias = Literal["video", "audio", "metadata"]


@dataclass(frozen=True, slots=True)
class ClockReport:
    """A sender report of one of the tracks that are recorded."""

    track: Kind
    ntp_us: int
    rtp_time: int


Arrival: TypeAlias = Picture | AudioFrame | MetadataDocument | ClockReport


class Intake:
    """Lives as long as the session, over all runs in it. metadata: None where the camera offers none that can
    be kept.

    Raises Unsupported for a session without H.264, H.265 or MJPEG.
    """

    def __init__(self, tracks: Sequence[SetUpTrack], offered: Sequence[Track] = ()) -> None:
        """offered: all that the camera describes, so that it can be said what of it is not recorded."""
        self.metadata: MetadataFormat | None = None
        self.video_clock_rate = 0
        self.audio_clock_rate = 0
        self.metadata_clock_rate = 0
        self._offered = offered
        self._video: H264Depacketizer | H265Depacketizer | JpegDepacketizer | None = None
        self._sound: AacDepacketizer | G711Depacketizer | None = None
        self._sound_track: Track | None = None
        self._why_no_sound = ""
        self._documents: MetadataDepacketizer | None = None
        self._documents_track: Track | None = None
        self._video_index = self._sound_index = self._documents_index = -1
        for track in tracks:
            if track.track.kind == "video" and self._video is None:
                self._take_video(track)
            elif track.track.kind == "audio" and self._sound_track is None:
                self._take_sound(track)
            elif track.track.kind == "application" and self._documents is None:
                self._take_documents(track)
        if self._video is None:
            raise Unsupported("the camera offers neither H.264, H.265 nor MJPEG")

    @property
    def reorder(self) -> int | None:
        """How far pictures may be sent out of order, where the stream says."""
        return self._video.reorder if self._video else None

    @property
    def audio(self) -> AudioFormat | None:
        """None where there is no sound that can be stored, or not known to be yet."""
        return self._sound.format if self._sound else None

    def audio_words(self) -> str:
        """What sound is recorded, or why none is."""
        why = self._sound.why if self._sound else self._why_no_sound
        return audio_words(self._offered, self._sound_track, self.audio, why)

    def metadata_words(self) -> str:
        return metadata_words(self._offered, self._documents_track)

    def take(self, items: Sequence[RtpPacket | TrackReport]) -> Iterator[Arrival]:
        """What the packets complete, in order. Copies what it keeps, so views need not outlive the call."""
        video, video_index = self._video, self._video_index
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
                kind = self._kind_of(index)
                if kind is not None:
                    yield ClockReport(kind, content.ntp_us, content.rtp_time)
            elif index == video_index:
                yield from video.push(memoryview(content))
            elif index == self._sound_index and self._sound is not None:
                yield from self._sound.push(memoryview(content))
            elif index == self._documents_index and self._documents is not None:
                yield from self._documents.push(memoryview(content))
        if row:
            yield from video.push_all(row)

    def flush(self) -> list[Picture]:
        """At the session's end: the picture under way."""
        return self._video.flush() if self._video else []

    def _kind_of(self, index: int) -> Kind | None:
        if index == self._video_index:
            return "video"
        if index == self._sound_index and self._sound is not None:
            return "audio"
        return "metadata" if index == self._documents_index else None

    def _take_video(self, set_up: SetUpTrack) -> None:
        track = set_up.track
        if track.encoding == "H264":
            sets = described_sets("H264", track.fmtp)
            self._video = H264Depacketizer(track.payload_type, sets, set_up.ssrc)
        elif track.encoding == "H265":
            sets = described_sets("H265", track.fmtp)
            self._video = H265Depacketizer(track.payload_type, sets, set_up.ssrc)
        elif track.encoding == "JPEG":
            self._video = JpegDepacketizer(track.payload_type, track.dimensions, set_up.ssrc)
        self._video_index, self.video_clock_rate = set_up.index, track.clock_rate

    def _take_sound(self, set_up: SetUpTrack) -> None:
        track = set_up.track
        try:
            self._sound = audio_depacketizer(
                track.encoding, track.payload_type, track.clock_rate, track.channels, track.fmtp, set_up.ssrc
            )
        except AudioDropped as dropped:
            self._why_no_sound = str(dropped)
            logger.info("recording without sound: %s", dropped)
        self._sound_track = track
        self._sound_index, self.audio_clock_rate = set_up.index, track.clock_rate

    def _take_documents(self, set_up: SetUpTrack) -> None:
        track = set_up.track
        self.metadata = metadata_format(track.encoding)
        if self.metadata is not None:
            self._documents = MetadataDepacketizer(track.payload_type, set_up.ssrc)
            self._documents_track = track
            self._documents_index, self.metadata_clock_rate = set_up.index, track.clock_rate
