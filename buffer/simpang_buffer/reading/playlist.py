"""A clip as an HLS playlist (RFC 8216, version 7): byte ranges of each part's MP4 (without segment index).

It grows while the range reaches into now: what was in it stays in it, and the chunk that is being written is
named once it is complete, since only then its place is sure. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from simpang_buffer.media.fmp4 import AUDIO_TRACK
from simpang_buffer.model import VIDEO_TIMESCALE
from simpang_buffer.reading.browser_sound import browser_sound
from simpang_buffer.reading.clips import Clip, Part
from simpang_buffer.reading.layout import Layout
from simpang_buffer.reading.movie_header import with_sample_entry
from simpang_buffer.reading.sound_share import SoundShare

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The longest entry, which is told first and may never change (section 6.2.1). A chunk is about 4 s;
# one of a camera whose key frames come less often is cut at its fragments.
_TARGET_S = 10


def playlist(
    clip: Clip,
    address: Callable[[Part], str],
    *,
    event: bool = False,
    over: bool = True,
    aac: bool = False,
) -> Iterator[str]:
    """The playlist, a piece for each part.

    address: where a part is served (`ProgressiveMp4.read` with indexed=False, and with an encoder if aac),
    quoted as a URI must be. event: a player may have read it while it grew. over: it is complete. One entry
    per chunk, or per file where the clip's files are not read.
    """
    target_s = _target_s(clip)
    yield (
        f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{target_s}\n#EXT-X-MEDIA-SEQUENCE:0\n"
        f"#EXT-X-PLAYLIST-TYPE:{'EVENT' if event or not over else 'VOD'}\n"
    )
    begun = False
    for part in clip.parts:
        head, sound = _head(part, aac=aac, whole=over or part is not clip.parts[-1])
        entries = list(_entries(part, sound, head, target_s))
        if not over and part.slices[-1].source.growing and part.slices[-1].stop is None:
            entries = [one for one in entries if one.chunk != entries[-1].chunk]
        if not entries:
            continue
        uri = address(part)
        lines = ["#EXT-X-DISCONTINUITY"] if begun else []
        lines.append(f'#EXT-X-MAP:URI="{uri}",BYTERANGE="{head}@0"')
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_rfc3339(part.start_us)}")
        for one in entries:
            lines.append(f"#EXTINF:{one.ticks / VIDEO_TIMESCALE:.6f},")
            lines.append(f"#EXT-X-BYTERANGE:{one.end - one.start}@{one.start}")
            lines.append(uri)
        begun = True
        yield "\n".join(lines) + "\n"
    if over:
        yield "#EXT-X-ENDLIST\n"


class _Entry:
    """Bytes [start, end) of a part. chunk: number of its chunk, or of the first one of its file."""

    __slots__ = ("chunk", "end", "start", "ticks")

    def __init__(self, chunk: int, start: int) -> None:
        self.chunk = chunk
        self.start = self.end = start
        self.ticks = 0


def _head(part: Part, *, aac: bool, whole: bool) -> tuple[int, SoundShare | None]:
    """How long the part's header is, and what stands behind its fragments."""
    heard = browser_sound(part.format, part.start_us, part.end_us, whole=whole) if aac else None
    if heard is None:
        return len(part.format.init), None
    return len(with_sample_entry(part.format.init, AUDIO_TRACK, heard.entry)), heard.share


def _target_s(clip: Clip) -> int:
    unread = [
        one.end_us - one.start_us
        for part in clip.parts
        for one in part.slices
        if one.source.fragments is None
    ]
    return max(_TARGET_S, math.ceil(max(unread, default=0) / 1_000_000))


def _entries(part: Part, sound: SoundShare | None, head: int, target_s: int) -> Iterator[_Entry]:
    entry: _Entry | None = None
    at = head
    for size_bytes, ticks, _, chunk in Layout(part, sound).stretches():
        full = entry is not None and entry.ticks + ticks > target_s * VIDEO_TIMESCALE
        if entry is None or entry.chunk != chunk or full:
            if entry is not None:
                yield entry
            entry = _Entry(chunk, at)
        at += size_bytes
        entry.end = at
        entry.ticks += ticks
    if entry is not None:
        yield entry


def _rfc3339(us: int) -> str:
    moment = _EPOCH + timedelta(microseconds=us)
    # Milliseconds, as section 4.3.2.6 has them.
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
