"""What of a camera's tracks is recorded and what is not, in words, for its page and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simpang_buffer.media.audio_format import audio_name
from simpang_buffer.model import AudioFormat
from simpang_buffer.rtsp.sdp import Track

# Further apart than this, key frames make clips begin early and stills old (8.9): it is worth a word.
KEY_FRAMES_APART_S = 10.0
# What a camera may have written ends up on a page.
_MAX_TEXT = 120


@dataclass(frozen=True, slots=True)
class Contents:
    """audio: what sound is recorded, or why none is though it was asked for; "" where none was, or none is
    there. metadata: the same of the ONVIF metadata track. key_frames_s: how far apart key frames are, where
    that is so far that people should know; else None.
    """

    audio: str = ""
    metadata: str = ""
    key_frames_s: float | None = None


def audio_words(offered: Sequence[Track], chosen: Track | None, format_: AudioFormat | None, why: str) -> str:
    """offered: the tracks of the description. chosen: the sound's, if any is recorded or was to be."""
    tracks = [track for track in offered if track.kind == "audio"]
    if chosen is None:
        named = dict.fromkeys(audio_name(track.encoding) for track in tracks)
        return f"{', '.join(named)} is not recorded" if named else ""
    if format_ is None:
        return f"{why}: not recorded" if why and not why.endswith("recorded") else why
    words = f"{audio_name(chosen.encoding)}, {format_.timescale / 1000:g} kHz"
    if len(tracks) > 1:
        place = tracks.index(chosen) + 1 if chosen in tracks else 1
        words += f", track {place} of {len(tracks)}"
    return words


def metadata_words(offered: Sequence[Track], recorded: Track | None) -> str:
    if recorded is not None:
        return "compressed XML" if recorded.encoding.endswith("GZIP") else "XML"
    named = [track.encoding for track in offered if track.encoding.startswith("VND.ONVIF.METADATA")]
    return f"{named[0].lower()} is not recorded" if named else ""


def contents_fields(contents: Contents) -> dict[str, Any]:
    """As JSON."""
    apart_s = contents.key_frames_s
    return {"audio": contents.audio, "metadata": contents.metadata, "key_frames_s": apart_s}


def contents_of(fields: Mapping[str, Any]) -> Contents:
    """Raises KeyError, ValueError or TypeError for what no recorder sends."""
    apart_s = fields["key_frames_s"]
    return Contents(
        audio=str(fields["audio"])[:_MAX_TEXT],
        metadata=str(fields["metadata"])[:_MAX_TEXT],
        key_frames_s=None if apart_s is None else float(apart_s),
    )


class KeyFrameWatch:
    """Says how far apart key frames are, when that is news: not each second that one does not come."""

    def __init__(self) -> None:
        self._told_s: float | None = None

    def news(self, interval_s: float, since_s: float) -> tuple[float | None] | None:
        """interval_s: between the last two; since_s: since the last. What to tell; None where nothing is new.

        While a key frame is awaited longer than ever, its absence is told each time it has doubled.
        """
        apart_s = max(interval_s, since_s)
        now_s = None if apart_s < KEY_FRAMES_APART_S else float(round(apart_s))
        told_s = self._told_s
        if now_s is None and (told_s is None or not interval_s):
            return None  # of a run that has just begun nothing is known yet
        if now_s is not None and told_s is not None:
            waiting = since_s > interval_s
            if told_s * 0.8 <= now_s <= told_s * (2.0 if waiting else 1.2):
                return None
        self._told_s = now_s
        return (now_s,)
