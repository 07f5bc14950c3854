"""What the daemon knows of one stream: state, open files, viewers. Fed by a recorder's messages."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from simpang_buffer.model import FIRST_FOLDER, VIDEO_TIMESCALE, Fragment, RunHeader, StreamKey, segment_path
from simpang_buffer.reading.tail import Tail
from simpang_buffer.recording.contents import Contents
from simpang_buffer.recording.live import LiveFeed, LiveFrame, LiveGroup, LiveInit

# Rates are shown over about as many seconds.
_RATE_FRAGMENTS = 10
# What a recorder says is bounded, since a camera may have taken it over. Three kinds of 31 parameter sets of
# 8 kB are the longest header.
_MOST_HEADER_BYTES = 1 << 20
# Of files without rows: a day, of which far more than the rows that may wait (row_writer.MAX_WAITING).
_MOST_FRAGMENTS = 100_000
# A session without a picture uses up a run's number; years of them do not come to so many. Numbers near the
# end of what the index holds would leave none for the recorders after it.
_MOST_RUNS_AHEAD = 1 << 24


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """state: recording, connecting, auth, unreachable or disabled. reason: why it is not recording, a camera
    reason or a gap reason (disk-full, disk-error), None while it is. detail: the same for people.
    last_fragment_us: end of what was last written. fps, bps: measured, 0 until known. lag_s: how late
    pictures arrive, beside the quickest. repairs: what the camera did wrong and was put right, how often by
    kind (repairs.WORDS), since the daemon started. contents: of sound, metadata and key frames."""

    state: str = "disabled"
    reason: str | None = None
    detail: str = ""
    retry_at_us: int | None = None
    recording_since_us: int | None = None
    last_fragment_us: int | None = None
    codec: str | None = None
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bps: int = 0
    lag_s: float = 0.0
    repairs: Mapping[str, int] = field(default_factory=dict)
    contents: Contents = field(default_factory=Contents)


class StreamView:
    """Everything here is memory only: after a restart the index and the files tell the rest."""

    def __init__(self, key: StreamKey, places: Mapping[int, Path]) -> None:
        self.key = key
        self.status = StreamStatus(state="connecting")
        self.newest_run = -1
        # Where each media folder is.
        self._places = places
        # Files whose rows are not committed, oldest first; readers see them all as one tail.
        self._files: dict[tuple[int, int], Tail] = {}
        self._written: dict[tuple[int, int], list[Fragment]] = {}
        # Files that could not be closed, by run.
        self._broken: dict[int, set[int]] = {}
        self._recent: deque[Fragment] = deque(maxlen=_RATE_FRAGMENTS)
        self._feeds: set[LiveFeed] = set()
        self._live_init: LiveInit | None = None
        self._group = LiveGroup()
        # The first file that its recorder may be writing besides those above; none while it has no recorder.
        self._next: tuple[int, int] = (1 << 62, 0)
        self._first_run = 0
        # What recorders before the present one repaired.
        self._repaired: Counter[str] = Counter()

    # Its state

    def told_state(self, state: str, reason: str | None, detail: str, retry_at_us: int | None) -> None:
        since_us = self.status.recording_since_us if state == "recording" else None
        self.status = replace(
            self.status,
            state=state,
            reason=reason,
            detail=detail,
            retry_at_us=retry_at_us,
            recording_since_us=since_us,
        )
        if state != "recording":
            self._recent.clear()
            self.status = replace(self.status, fps=0.0, bps=0, lag_s=0.0)

    def told_condition(self, repairs: Mapping[str, int], lag_s: float) -> list[str]:
        """What its present recorder has repaired until now, and the lag. The kinds that are new."""
        new = [kind for kind in repairs if kind not in self.status.repairs]
        self.status = replace(self.status, repairs=self._repaired + Counter(repairs), lag_s=lag_s)
        return new

    def told_contents(self, contents: Contents) -> None:
        self.status = replace(self.status, contents=contents)

    def new_recorder(self) -> None:
        """It counts from nought, and tells what it finds."""
        self.status = replace(self.status, contents=Contents())
        self._repaired = Counter(self.status.repairs)

    # Its files

    def opened(
        self, header: RunHeader, width: int, height: int, init: bytes, folder: int = FIRST_FOLDER
    ) -> None:
        """Raises KeyError for a folder that there is not, ValueError beyond what a recorder can say."""
        if (
            len(init) > _MOST_HEADER_BYTES
            or header.run > max(self.newest_run, self._first_run) + _MOST_RUNS_AHEAD
        ):
            raise ValueError(f"run {header.run} with a header of {len(init)} bytes")
        written: list[Fragment] = []
        at = (header.run, header.seq)
        path = self._places[folder] / segment_path(self.key, header.run, header.seq)
        self._files[at] = Tail(header, path, init, header.codec, width, height, written, folder=folder)
        self._written[at] = written
        self.newest_run = max(self.newest_run, header.run)
        self.status = replace(self.status, codec=header.codec, width=width, height=height)

    def written(self, run: int, seq: int, fragment: Fragment) -> None:
        """A fragment of a file that was opened; of any other file it is passed over. Raises ValueError where
        they are without end.
        """
        written = self._written.get((run, seq))
        if written is None:
            return
        if len(written) % 1000 == 999 and sum(map(len, self._written.values())) > _MOST_FRAGMENTS:
            raise ValueError(f"{len(written)} fragments in run {run}, file {seq}")
        written.append(fragment)
        self._recent.append(fragment)
        ticks = sum(recent.duration for recent in self._recent)
        frames = sum(recent.frames for recent in self._recent)
        size_bytes = sum(recent.size_bytes for recent in self._recent)
        since_us = self.status.recording_since_us
        self.status = replace(
            self.status,
            recording_since_us=fragment.start_us if since_us is None else since_us,
            last_fragment_us=fragment.end_us,
            fps=round(frames * VIDEO_TIMESCALE / ticks, 2) if ticks else 0.0,
            bps=size_bytes * 8 * VIDEO_TIMESCALE // ticks if ticks else 0,
        )

    def settled(self, run: int, seq: int) -> None:
        """The file's row is committed, or the file is gone."""
        self._files.pop((run, seq), None)
        self._written.pop((run, seq), None)
        self._next = max(self._next, (run, seq + 1))

    def broke(self, run: int, seq: int) -> None:
        """The file is left to adoption, and its run has ended."""
        self._broken.setdefault(run, set()).add(seq)

    def runs_left(self) -> list[int]:
        """Runs that broke and of which nothing is being written any more; each is told once."""
        writing = {run for run, seq in self._files if seq not in self._broken.get(run, ())}
        found = [run for run in self._broken if run not in writing]
        for run in found:
            del self._broken[run]
        return found

    def settled_below(self, run: int) -> None:
        """Adoption has judged every file of earlier runs."""
        for at in [at for at in self._files if at[0] < run]:
            del self._files[at], self._written[at]

    def recorded_from(self, run: int) -> None:
        """A recorder is told to record, in runs from this one."""
        self._first_run = run
        self._next = (run, 0)

    def is_free(self, run: int, seq: int) -> bool:
        """Whether neither a recorder nor the adopter may be writing the file."""
        return (run, seq) < min(self._files, default=self._next)

    def is_open(self, run: int) -> bool:
        """Whether files of the run may still be written, or wait for their rows."""
        if any(at[0] == run for at in self._files):
            return True
        return run == self.newest_run and self.status.state == "recording"

    def open_files(self) -> list[Tail]:
        """Files whose rows are not committed, oldest first."""
        return list(self._files.values())

    def tail(self) -> Tail | None:
        files = list(self._files.values())
        if not files:
            return None
        return replace(files[-1], before=tuple(files[:-1])) if len(files) > 1 else files[-1]

    # Its viewers

    @property
    def watched(self) -> bool:
        return bool(self._feeds)

    def add_feed(self) -> LiveFeed:
        feed = LiveFeed(self._live_init, self._group.frames)
        self._feeds.add(feed)
        return feed

    def drop_feed(self, feed: LiveFeed) -> None:
        self._feeds.discard(feed)
        if not self._feeds:
            self.forget_live()

    def forget_live(self) -> None:
        """Nothing comes until the recorder is asked to send again, and it then begins with a header."""
        self._live_init = None
        self._group.clear()

    def live_init(self, init: LiveInit) -> None:
        self._live_init = init
        self._group.clear()
        for feed in self._feeds:
            feed.offer(init)

    def live_frame(self, frame: LiveFrame) -> None:
        self._group.add(frame)
        for feed in self._feeds:
            feed.offer(frame)

    def live_dropped(self, frames: int) -> None:
        self._group.clear()
        for feed in self._feeds:
            feed.dropped(frames)


def frame_from(fields: Sequence[int], data: bytes) -> LiveFrame:
    """video, dts, pts_offset, key, duration, as a recorder sends them."""
    video, dts, pts_offset, key, duration = fields
    return LiveFrame(bool(video), dts, pts_offset, bool(key), duration, data)
