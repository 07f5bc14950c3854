"""What the disk thread did, told to the daemon and to the stream that asked for it. Runs in the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simpang_buffer.model import GapReason, RunHeader, StreamKey
from simpang_buffer.recording.disks import Disks
from simpang_buffer.recording.outbox import Outbox
from simpang_buffer.recording.protocol import Message, fragment_fields, run_fields, segment_fields
from simpang_buffer.recording.segment_file import DiskFailed, SegmentFile
from simpang_buffer.recording.segment_writer import FinishFile, OpenFile, Step
from simpang_buffer.recording.sync import FileClosed, FileFailed, FileOpened, FragmentWritten, Report


class Reporter:
    """Knows which files of which stream are not closed, so that a stream is called idle only after they
    are.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._streams: dict[StreamKey, _Stream] = {}

    def join(
        self,
        key: StreamKey,
        opened: Callable[[SegmentFile], None],
        failed: Callable[[SegmentFile, DiskFailed], None],
    ) -> None:
        """A stream begins. opened and failed: called when one of its files is on disk, and when one cannot be
        written, which its run does not survive."""
        self._streams[key] = _Stream(opened, failed)

    def submit(self, disk: Disks, key: StreamKey, steps: Sequence[Step]) -> None:
        """Hands steps to the disk. Raises DiskFailed when it takes no more; then none of them was taken."""
        disk.submit(steps)
        self._streams[key].files.update({step.file: None for step in steps if isinstance(step, OpenFile)})

    def finish_files(self, disk: Disks, key: StreamKey) -> None:
        """Closes what is open, with what it holds: for runs that the disk refused to go on with."""
        disk.submit([FinishFile(file) for file in self._streams[key].files])

    def leave(self, key: StreamKey, reason: GapReason) -> None:
        """The stream stops for this reason; the daemon hears so once its files are closed."""
        stream = self._streams[key]
        stream.leaving = reason
        self._say_idle(key, stream)

    def take(self, reports: Sequence[Report]) -> None:
        for report in reports:
            header = report.file.head.header
            stream = self._streams.get(header.key)
            if stream is None:
                continue  # it has left, and hears nothing more
            match report:
                case FileOpened(file):
                    self._say_opened(file)
                    stream.opened(file)
                case FragmentWritten(file, written):
                    # A reader's list of fragments must have no hole: after one was dropped the rest are too.
                    if file not in stream.muted:
                        fields = {**_place(header), "fragment": fragment_fields(written)}
                        if not self._outbox.tell_if_room(Message("fragment", header.key, fields)):
                            stream.muted.add(file)
                case FileClosed(file, segment):
                    fields = {**_place(header), "segment": segment_fields(segment) if segment else None}
                    self._outbox.tell(Message("closed", header.key, fields))
                    stream.forget(file)
                case FileFailed(file, error):
                    stream.broken = stream.broken or error.broken
                    stream.forget(file)
                    self._say_failed(file, error)
                    stream.failed(file, error)
            self._say_idle(header.key, stream)

    def _say_opened(self, file: SegmentFile) -> None:
        head = file.head
        size = {"width": head.video.width, "height": head.video.height}
        fields = {**run_fields(head.header), **size, "folder": file.folder}
        self._outbox.tell(Message("opened", head.header.key, fields, head.init))

    def _say_failed(self, file: SegmentFile, error: DiskFailed) -> None:
        what = {"folder": file.folder, "reason": error.reason, "detail": error.detail, "broken": error.broken}
        self._outbox.tell(Message("failed", file.head.header.key, {**_place(file.head.header), **what}))

    def _say_idle(self, key: StreamKey, stream: _Stream) -> None:
        if stream.leaving is not None and not stream.files:
            del self._streams[key]
            self._outbox.tell(Message("idle", key, {"reason": stream.leaving, "broken": stream.broken}))


class _Stream:
    def __init__(
        self,
        opened: Callable[[SegmentFile], None],
        failed: Callable[[SegmentFile, DiskFailed], None],
    ) -> None:
        self.opened = opened
        self.failed = failed
        self.files: dict[SegmentFile, None] = {}
        self.muted: set[SegmentFile] = set()
        self.broken = False
        self.leaving: GapReason | None = None

    def forget(self, file: SegmentFile) -> None:
        self.files.pop(file, None)
        self.muted.discard(file)


def _place(header: RunHeader) -> dict[str, int]:
    return {"run": header.run, "seq": header.seq}
