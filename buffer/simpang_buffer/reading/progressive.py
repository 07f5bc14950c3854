"""A part as one ordinary MP4 that starts at zero and can be asked for by byte ranges.

    ftyp moov { sidx }* { moof mdat }*

Its bytes are the recorded ones but for 8 in each track's `tfdt`: decode times count from the part's start
instead of the run's. The seals stay behind, since they cover the recorded bytes. The `sidx` tells players how
long it is and where key frames are, so that they seek without reading everything.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from simpang_buffer.media.boxes import TrackFragment, parse_moof, read_moof
from simpang_buffer.media.fmp4 import AUDIO_TRACK, VIDEO_TRACK
from simpang_buffer.media.seal import BadBox
from simpang_buffer.model import VIDEO_TIMESCALE, FragmentFlags
from simpang_buffer.reading.clips import Part, Piece
from simpang_buffer.reading.errors import Altered, Vanished
from simpang_buffer.reading.seek_boxes import (
    MAX_DURATION,
    MAX_REFERENCES,
    MAX_SIZE,
    Reference,
    rescaled,
    sidx,
)

# Read and handed on at once: few changes of thread for a megabyte, and little memory for each reader.
_BLOCK_BYTES = 1 << 18
_KEY = int(FragmentFlags.KEY)
# Some are kept for stretches that are cut because their size or duration does not fit.
_MOST_REFERENCES = MAX_REFERENCES - 1000


class ProgressiveMp4:
    """total_bytes: known before anything is read. init_bytes: ftyp and moov, with which it starts.

    Making one opens no file, but takes some 2 us a fragment: for a day's clip, make it in a thread.
    """

    def __init__(self, part: Part) -> None:
        self.init_bytes = len(part.init)
        self._part = part
        self._head = part.init + _segment_index(part)
        # Where each piece starts in this file; one more for the end.
        sizes = (piece.fragment.size_bytes for piece in part.pieces)
        self._starts = list(accumulate(sizes, initial=len(self._head)))
        self._zero: dict[int, int] | None = None

    @property
    def total_bytes(self) -> int:
        return self._starts[-1]

    @property
    def mime(self) -> str:
        """With codecs as of RFC 6381."""
        codecs = [self._part.codec]
        if self._part.audio_entry is not None:
            # What cameras send is AAC-LC, object type 2 (RFC 6381 section 3.3).
            codecs.append("mp4a.40.2" if self._part.audio_entry == "mp4a" else self._part.audio_entry)
        return f'video/mp4; codecs="{", ".join(codecs)}"'

    def piece_ranges(self) -> list[tuple[Piece, int, int]]:
        """Each piece with the bytes [start, end) that it takes in this file."""
        return list(zip(self._part.pieces, self._starts[:-1], self._starts[1:], strict=True))

    async def write(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) in blocks, read in a thread; no file stays open between them.

        Raises Vanished when a file was deleted meanwhile, Altered when it does not hold what its table says,
        ValueError for a range that does not exist.
        """
        end = self.total_bytes if end is None else end
        if not 0 <= start <= end <= self.total_bytes:
            raise ValueError(f"no bytes {start} to {end} of {self.total_bytes}")
        while start < end:
            stop = min(end, start + _BLOCK_BYTES)
            yield await asyncio.to_thread(self._read, start, stop)
            start = stop

    def _read(self, start: int, end: int) -> bytes:
        blocks = [self._head[start:end]]
        at = max(start, len(self._head))
        with ExitStack() as stack:
            files: dict[Path, BinaryIO] = {}
            while at < end:
                number = bisect_right(self._starts, at) - 1
                piece, first = self._part.pieces[number], self._starts[number]
                if piece.path not in files:
                    files[piece.path] = stack.enter_context(_open(piece.path))
                stop = min(end, self._starts[number + 1])
                blocks.append(_read_piece(files[piece.path], piece, at - first, stop - first, self._zeros()))
                at = stop
        return b"".join(blocks)

    def _zeros(self) -> Mapping[int, int]:
        """By track, the decode time of the run that becomes zero.

        The video's first; but where the first fragment's sound begins earlier, the sound's, so that no time
        is negative and both move by the same.
        """
        if self._zero is None:
            first = self._part.pieces[0]
            with _open(first.path) as file:
                times = {track.track_id: track.decode_time for track in _moof(file, first)[1]}
            video, rate = times[VIDEO_TRACK], self._part.audio_timescale or VIDEO_TIMESCALE
            sound = times.get(AUDIO_TRACK)
            if sound is not None and sound * VIDEO_TIMESCALE < video * rate:
                self._zero = {VIDEO_TRACK: sound * VIDEO_TIMESCALE // rate, AUDIO_TRACK: sound}
            else:
                self._zero = {VIDEO_TRACK: video, AUDIO_TRACK: video * rate // VIDEO_TIMESCALE}
        return self._zero


def _segment_index(part: Part) -> bytes:
    """A `sidx` for each track, since ffmpeg seeks in a track that has none only as far as it has read."""
    references = _references(part.pieces)
    rate = part.audio_timescale
    sound = sidx(AUDIO_TRACK, rate, rescaled(references, VIDEO_TIMESCALE, rate)) if rate else b""
    return sidx(VIDEO_TRACK, VIDEO_TIMESCALE, references, first_offset=len(sound)) + sound


def _references(pieces: Sequence[Piece]) -> list[Reference]:
    """One for each stretch from a key frame to the next; longer ones where there are too many of them."""
    fragments = [piece.fragment for piece in pieces]
    # As plain numbers, since `in` on flags is ten times slower and a day has 86,400 fragments.
    keys = [int(fragment.flags) & _KEY for fragment in fragments]
    keys_each = -(-max(sum(keys), 1) // _MOST_REFERENCES)
    references: list[Reference] = []
    size_bytes = duration = met = 0
    key = 1
    for fragment, is_key in zip(fragments, keys, strict=True):
        met += is_key
        full = size_bytes + fragment.size_bytes > MAX_SIZE or duration + fragment.duration > MAX_DURATION
        if size_bytes and (full or (is_key and met > keys_each)):
            references.append(Reference(size_bytes, duration, bool(key)))
            size_bytes = duration = 0
            key = met = is_key
        size_bytes += fragment.size_bytes
        duration += fragment.duration
    references.append(Reference(size_bytes, duration, bool(key)))
    return references


def _read_piece(file: BinaryIO, piece: Piece, start: int, end: int, zeros: Mapping[int, int]) -> bytes:
    """Bytes [start, end) of a fragment, its times counted from `zeros`."""
    recorded, tracks = _moof(file, piece)
    moof = bytearray(recorded)
    for track in tracks:
        time = max(track.decode_time - zeros.get(track.track_id, 0), 0)
        moof[track.time_offset : track.time_offset + track.time_bytes] = time.to_bytes(
            track.time_bytes, "big"
        )
    block = bytes(moof[start:end])
    data_start = max(start, len(moof))
    if data_start < end:
        file.seek(piece.fragment.offset + data_start)
        block += file.read(end - data_start)
    if len(block) != end - start:
        raise Altered(f"{piece.path} is shorter than its table says; `simpang buffer check` tells more")
    return block


def _moof(file: BinaryIO, piece: Piece) -> tuple[bytes, tuple[TrackFragment, ...]]:
    """A fragment's moof, and what it says; video is in it."""
    try:
        moof = read_moof(file, piece.fragment.offset)
        tracks = parse_moof(moof)
        if not any(track.track_id == VIDEO_TRACK for track in tracks):
            raise BadBox("fragment without video")
    except BadBox as error:
        raise Altered(
            f"{piece.path} does not hold what its table says ({error}); `simpang buffer check` tells more"
        ) from error
    return moof, tracks


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise Vanished(f"{path} was deleted while it was read; ask for the range again") from error
