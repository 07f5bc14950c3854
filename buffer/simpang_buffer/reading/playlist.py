"""A clip as an HLS playlist (RFC 8216, version 7): byte ranges of each part's progressive MP4."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby

from simpang_buffer.model import VIDEO_TIMESCALE
from simpang_buffer.reading.clips import Clip, Part
from simpang_buffer.reading.progressive import ProgressiveMp4

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def playlist(clip: Clip, uri: Callable[[Part], str]) -> str:
    """The playlist's text. uri: where a part's ProgressiveMp4 is served, quoted as a URI must be.

    One entry per chunk, which starts with a key frame and is about 4 s long. Pure: no file is opened.
    """
    durations: list[float] = []
    entries: list[str] = []
    for part in clip.parts:
        address = uri(part)
        mp4 = ProgressiveMp4(part)
        if entries:
            entries.append("#EXT-X-DISCONTINUITY")
        entries.append(f'#EXT-X-MAP:URI="{address}",BYTERANGE="{mp4.init_bytes}@0"')
        entries.append(f"#EXT-X-PROGRAM-DATE-TIME:{_rfc3339(part.start_us)}")
        for start, end, duration_s in _entries(mp4):
            durations.append(duration_s)
            entries += [f"#EXTINF:{duration_s:.6f},", f"#EXT-X-BYTERANGE:{end - start}@{start}", address]
    # Section 4.3.3.1: no entry may be longer, in whole seconds.
    target_s = max((math.ceil(duration_s) for duration_s in durations), default=1)
    head = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{max(target_s, 1)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    return "\n".join([*head, *entries, "#EXT-X-ENDLIST", ""])


def _entries(mp4: ProgressiveMp4) -> Iterator[tuple[int, int, float]]:
    """(first byte, byte behind the last, seconds) of each entry."""
    for _, group in groupby(mp4.piece_ranges(), key=lambda piece_range: piece_range[0].chunk):
        ranges = list(group)
        ticks = sum(piece.fragment.duration for piece, _, _ in ranges)
        yield ranges[0][1], ranges[-1][2], ticks / VIDEO_TIMESCALE


def _rfc3339(us: int) -> str:
    moment = _EPOCH + timedelta(microseconds=us)
    # Milliseconds, as section 4.3.2.6 has them.
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
