"""The nouns of the buffer. Times are integer microseconds UTC (`_us`); ticks are of a track's timescale."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

# 90 kHz: the RTP clock of every video payload format (RFC 3551 section 5).
VIDEO_TIMESCALE = 90_000
# The id of DATA/media; further media folders are numbered as they are first seen.
FIRST_FOLDER = 1
# So much of a seal is kept in a row: enough that no other file ends with it. Whole, as the file has it, it
# would be a third of the index.
ROW_SEAL_BYTES = 16


class GapReason(enum.StrEnum):
    """Why nothing was recorded. A closed list, seen from outside."""

    UNREACHABLE = "unreachable"
    AUTH = "auth"
    CAMERA_REBOOT = "camera-reboot"
    TIMEOUT = "timeout"
    RESTART = "restart"
    DISK_FULL = "disk-full"
    DISK_ERROR = "disk-error"
    DISABLED = "disabled"
    EVICTED = "evicted"
    POWER = "power"
    CLOCK_STEP = "clock-step"
    DELETED = "deleted"


class AnchorSource(enum.StrEnum):
    """Where a run's wall time comes from."""

    RTCP = "rtcp"
    ARRIVAL = "arrival"
    BOOT = "boot"


class FragmentFlags(enum.IntFlag):
    """Written into each seal, so that a file alone tells where chunks begin."""

    NONE = 0
    KEY = 1  # starts with a key frame
    CHUNK = 2  # starts a chunk


@dataclass(frozen=True, slots=True, order=True)
class StreamKey:
    """One stream of one camera: ("digulis-1", "main")."""

    camera: str
    stream: str

    def __str__(self) -> str:
        return f"{self.camera}/{self.stream}"


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """One set of codec parameters: what a sample entry says.

    sample_entry: the whole `avc1` or `hvc1` box. codec: RFC 6381, as in "avc1.640028".
    """

    codec: str
    width: int
    height: int
    sample_entry: bytes


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """codec: RFC 6381 ("mp4a.40.2", "alaw", "ulaw"); timescale: samples per second."""

    codec: str
    timescale: int
    channels: int
    sample_entry: bytes


@dataclass(frozen=True, slots=True)
class MetadataFormat:
    """How documents are kept beside the pictures, at the pictures' timescale: a `metx` sample entry."""

    sample_entry: bytes


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture, audio frame or document, as it is stored (NAL units with 4-byte lengths).

    dts and pts_offset: ticks of the track's timescale, dts from the start of the run. arrival_us: when its
    last byte came, on the gateway's wall clock.
    """

    video: bool
    dts: int
    pts_offset: int
    key: bool
    data: bytes
    arrival_us: int


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What the `uuid` box after each file's `moov` says: whose file this is and how its time is anchored.

    anchor_us: UTC of decode time 0 of the run. camera_offset_us: the camera's clock minus ours, where known.
    previous_end: why the stream's run before this one ended. first_chunk: number in the run of the chunk that
    starts this file. boot_id and anchor_boot_us: the gateway's boot and the time since it (CLOCK_BOOTTIME) at
    decode time 0, by which a run of an unset clock is dated once the clock is right.
    """

    site: str
    camera: str
    stream: str
    run: int
    seq: int
    codec: str
    anchor_us: int
    anchor_source: AnchorSource
    camera_offset_us: int | None
    previous_end: GapReason | None
    first_chunk: int
    boot_id: str | None = None
    anchor_boot_us: int | None = None

    @property
    def key(self) -> StreamKey:
        return StreamKey(self.camera, self.stream)


@dataclass(frozen=True, slots=True)
class Fragment:
    """One `moof` and `mdat` in a file, at most about a second.

    offset and size_bytes cover moof and mdat, not the seal behind them. decode_time and duration: video
    ticks, decode_time from the start of the run. start_us: UTC of its first picture.
    """

    offset: int
    size_bytes: int
    decode_time: int
    duration: int
    start_us: int
    flags: FragmentFlags
    frames: int

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration * 1_000_000 // VIDEO_TIMESCALE


@dataclass(frozen=True, slots=True)
class Segment:
    """One media file that is closed or adopted: a row of the index.

    path: relative to its media folder. seal: the first ROW_SEAL_BYTES of its last seal. codec, width and
    height as in its sample entry; parts are told apart by header_sha256, the SHA-256 of ftyp and moov.
    folder: id of the media folder that the file lies in.
    """

    key: StreamKey
    run: int
    seq: int
    start_us: int
    end_us: int
    size_bytes: int
    fragments: int
    frames: int
    first_chunk: int
    chunks: int
    codec: str
    width: int
    height: int
    header_sha256: bytes
    seal: bytes
    folder: int = FIRST_FOLDER

    @property
    def path(self) -> Path:
        return segment_path(self.key, self.run, self.seq)


def segment_path(key: StreamKey, run: int, seq: int) -> Path:
    """media/{camera}/{stream}/{run}/{seq:06}.mp4, without the leading media/."""
    return Path(key.camera, key.stream, f"{run:06}", f"{seq:06}.mp4")
