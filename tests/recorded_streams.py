"""Plays packets to a recorder over RTSP and gives back what it wrote: stream in, files out.

    took = await record(tmp_path, sdp(video_line("h264")), [frame(0, packet), 0.5, ...])

What is played ends with the connection, so everything that was sent has been read by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from media_samples import Unit, VideoCodec, rtp_packet, video_packets
from recorder_bench import KEY, Bench, bench, eventually
from scripted_camera import Habits, Talk, frame, scripted_camera
from simpang_buffer.media.boxes import Header, Scan, parse_moof, read_header, read_moof, scan
from simpang_buffer.media.fmp4 import VIDEO_TRACK
from simpang_buffer.model import GapReason
from simpang_buffer.recording.contents import Contents, contents_of
from simpang_buffer.recording.recorder import Recorder
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.rtsp.errors import StreamError
from simpang_buffer.rtsp.message import Request

VIDEO, AUDIO, METADATA = 0, 2, 4
HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n"


@dataclass(frozen=True)
class Turn:
    """The recorder's clocks go on by so many seconds, once it has read all that came before."""

    seconds: float


# Bytes for the connection, a pause in seconds, or a turn of the clocks.
Played: TypeAlias = bytes | float | Turn


@dataclass(frozen=True)
class Taken:
    """What was written. contents: as last told; reasons: those of its states, None while it records."""

    files: tuple[Path, ...]
    contents: Contents
    reasons: tuple[str | None, ...]
    fault: StreamError | None

    @cached_property
    def headers(self) -> list[Header]:
        return [_read(path)[0] for path in self.files]

    @cached_property
    def scans(self) -> list[Scan]:
        return [_read(path)[1] for path in self.files]

    @cached_property
    def runs(self) -> set[int]:
        return {header.run.run for header in self.headers}

    def samples(self, track: int = VIDEO_TRACK) -> list[bytes]:
        """Each picture, frame of sound or document, over all files."""
        return [data for path in self.files for _, data in track_samples(path, track)]

    def times(self, track: int) -> list[int]:
        """Decode time of each, in ticks of the track."""
        return [time for path in self.files for time, _ in track_samples(path, track)]

    def nals(self) -> list[bytes]:
        """Every NAL unit of the video, in order."""
        return [nal for sample in self.samples() for nal in nals_of(sample)]


def track_samples(path: Path, track: int) -> list[tuple[int, bytes]]:
    """(decode time, data) of a track in one file, by the file's own tables."""
    found = []
    with path.open("rb") as file:
        for one in scan(file).fragments:
            moof = read_moof(file, one.offset)
            at = one.offset + len(moof) + 8
            for run in parse_moof(moof):
                time = run.decode_time
                for size, duration in zip(run.sizes, run.durations, strict=True):
                    file.seek(at)
                    if run.track_id == track:
                        found.append((time, file.read(size)))
                    at, time = at + size, time + duration
    return found


def nals_of(sample: bytes) -> list[bytes]:
    """NAL units behind their lengths in four bytes; they fill the sample to its end."""
    nals, at = [], 0
    while at < len(sample):
        end = at + 4 + int.from_bytes(sample[at : at + 4], "big")
        assert end <= len(sample)
        nals.append(sample[at + 4 : end])
        at = end
    return nals


def sdp(*sections: str) -> bytes:
    return (HEAD + "".join(section.replace("\n", "\r\n") + "\r\n" for section in sections)).encode()


def video_section(codec: VideoCodec, fmtp: str = "") -> str:
    name = "H264" if codec == "h264" else "H265"
    more = f"\na=fmtp:96 {fmtp}" if fmtp else ""
    return f"m=video 0 RTP/AVP 96\na=rtpmap:96 {name}/90000{more}\na=control:trackID=0"


def audio_section(rtpmap: str, fmtp: str = "", payload_type: int = 97, control: str = "trackID=1") -> str:
    more = f"\na=fmtp:{payload_type} {fmtp}" if fmtp else ""
    return f"m=audio 0 RTP/AVP {payload_type}\na=rtpmap:{payload_type} {rtpmap}{more}\na=control:{control}"


def playing(codec: VideoCodec, units: Sequence[Unit], *, first_seq: int = 100) -> list[bytes]:
    """The usual packets of pictures, on the video's channel."""
    return [frame(VIDEO, packet) for packet in video_packets(codec, units, first_seq=first_seq, first_time=0)]


def one_packet(payload: bytes, *, seq: int, time: int, marker: bool = False) -> bytes:
    return frame(VIDEO, rtp_packet(payload, seq=seq, time=time, marker=marker))


async def record(
    media: Path,
    description: bytes,
    played: Sequence[Played],
    *,
    audio: bool = False,
    metadata: bool = False,
    segment_s: float = 60.0,
) -> Taken:
    """One session, from its first packet to its last."""
    # What is closed is told with the next flush, which need not be waited for here.
    async with bench(media, segment_s=segment_s, flush_s=0.02) as at:
        return await record_at(at, description, played, audio=audio, metadata=metadata)


async def record_at(
    at: Bench, description: bytes, played: Sequence[Played], *, audio: bool = False, metadata: bool = False
) -> Taken:
    async def send(talk: Talk, request: Request) -> None:
        # What comes together with the answer to PLAY is another test's.
        await asyncio.sleep(0.05)
        for item in played:
            if isinstance(item, float):
                await asyncio.sleep(item)
            elif isinstance(item, Turn):
                # A stream is read every 90 ms.
                await asyncio.sleep(0.2)
                at.monotonic_skew_s += item.seconds
                at.wall_skew_us += int(item.seconds * 1e6)
            else:
                await talk.send(item)
        talk.writer.close()

    async with scripted_camera(habits=Habits(sdp=description), playing=send) as camera:
        camera.watched.set()
        spec = StreamSpec(KEY, camera.source(audio=audio, metadata=metadata))
        recorder = Recorder(spec, at.around, first_run=1, previous_end=None)
        fault = None
        try:
            async with asyncio.timeout(30):
                await recorder.run_once()
        except StreamError as error:
            fault = error
        recorder.tell_condition()
        # It is idle once all its files are closed.
        at.around.reporter.leave(KEY, GapReason.DISABLED)
        await eventually(lambda: at.count("idle"))
    told = [message for message in at.said if message.kind == "contents"]
    return Taken(
        files=tuple(sorted(at.around.places.now().path.rglob("*.mp4"))),
        contents=contents_of(told[-1].fields) if told else Contents(),
        reasons=tuple(at.reasons()),
        fault=fault,
    )


def _read(path: Path) -> tuple[Header, Scan]:
    with path.open("rb") as file:
        return read_header(file), scan(file)
