"""One viewer's fMP4, from frames: pure.

Decode times start at zero with the first key frame and run on over a new header, so that the viewer's
timeline has neither the camera's hours in it nor a step back. Sound is kept only where browsers take it in
MP4 (AAC); G.711 would have the whole stream refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from simpang_buffer.media.fmp4 import AUDIO_TRACK, VIDEO_TRACK, Sample, TrackRun, fragment
from simpang_buffer.model import VIDEO_TIMESCALE
from simpang_buffer.recording.live import LiveFrame, LiveInit

# Offset of track_ID behind the box header: tkhd version 0 has two times before it, trex none.
_TRACK_ID_AT = {b"tkhd": 12, b"trex": 4}


class LiveStream:
    """Makes a viewer's fragments. `start` for each header, then `add` for each frame behind it."""

    def __init__(self) -> None:
        self._sequence = 0
        self._end_s = 0.0
        self._origin_s: float | None = None
        self._audio_timescale = 0

    def start(self, init: LiveInit) -> tuple[str, bytes]:
        """The mime type and the header to send."""
        video, *sound = _codecs(init.mime)
        heard = [codec for codec in sound if codec.startswith("mp4a")]
        self._audio_timescale = (init.audio_timescale or 0) if heard else 0
        self._origin_s = None
        header = video_only(init.init) if sound and not heard else init.init
        return f'video/mp4; codecs="{", ".join((video, *heard))}"', header

    def add(self, frame: LiveFrame) -> bytes | None:
        """The fragment for a frame; None for what comes before the first key frame, or is not sent."""
        timescale = VIDEO_TIMESCALE if frame.video else self._audio_timescale
        if not timescale:
            return None
        at_s = frame.dts / timescale
        if self._origin_s is None:
            if not (frame.video and frame.key):
                return None
            self._origin_s = at_s - self._end_s
        decode_time = round((at_s - self._origin_s) * timescale)
        if decode_time < 0:
            return None
        if frame.video:
            self._end_s = (decode_time + frame.duration) / timescale
        self._sequence += 1
        sample = Sample(frame.data, frame.duration, frame.pts_offset, frame.key)
        run = TrackRun(VIDEO_TRACK if frame.video else AUDIO_TRACK, decode_time, (sample,))
        return b"".join(fragment(self._sequence, (run,)))


def _codecs(mime: str) -> list[str]:
    """["avc1.640028", "mp4a.40.2"] of `video/mp4; codecs="avc1.640028, mp4a.40.2"` (RFC 6381 section 3.1)."""
    found = re.search(r'codecs="([^"]*)"', mime)
    return [codec.strip() for codec in found[1].split(",")] if found else [""]


def video_only(header: bytes) -> bytes:
    """ftyp and moov without the audio track (its `trak` and its `trex`)."""
    return b"".join(
        _box(kind, _without_audio(body)) if kind == b"moov" else _box(kind, body)
        for kind, body in _boxes(header)
    )


def _without_audio(parent: bytes) -> bytes:
    kept = []
    for kind, body in _boxes(parent):
        if kind == b"trak" and any(_is_audio(inner, content) for inner, content in _boxes(body)):
            continue
        if kind == b"mvex":
            body = b"".join(
                _box(inner, content) for inner, content in _boxes(body) if not _is_audio(inner, content)
            )
        kept.append(_box(kind, body))
    return b"".join(kept)


def _is_audio(kind: bytes, body: bytes) -> bool:
    at = _TRACK_ID_AT.get(kind)
    return at is not None and body[at : at + 4] == struct.pack(">I", AUDIO_TRACK)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box; our own writer's, so sizes are 32 bits. Raises ValueError on anything
    else.
    """
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > len(data):
            raise ValueError(f"box {kind!r} of {size} bytes does not fit")
        yield kind, data[at + 8 : at + size]
        at += size


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body
