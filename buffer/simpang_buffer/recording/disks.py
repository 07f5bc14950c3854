"""One disk thread for each media folder, so that a disk that hangs stops no file on another one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from simpang_buffer.recording.segment_writer import Step
from simpang_buffer.recording.sync import Disk


class Disks:
    """`with Disks(...)` runs them. disks: by the folder's path; all are there from the start, since a
    recorder that has confined itself learns of no other folder."""

    def __init__(self, disks: Mapping[Path, Disk]) -> None:
        self._disks = dict(disks)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Disks:
        for disk in self._disks.values():
            self._stack.enter_context(disk)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def alive(self) -> bool:
        return all(disk.alive for disk in self._disks.values())

    def stuck_s(self, media: Path) -> float:
        """For how long the folder's thread has been in one call; 0 while it waits for work."""
        disk = self._disks.get(media)
        return 0.0 if disk is None else disk.stuck_s

    def submit(self, steps: Sequence[Step]) -> None:
        """Steps of one stream, in order; those for one folder come to its thread together. Raises DiskFailed
        where a disk takes no more: then nothing of these steps was taken. RuntimeError: a thread has died."""
        by_disk: dict[Path, list[Step]] = {}
        for step in steps:
            by_disk.setdefault(step.file.media, []).append(step)
        taken = [(self._of(media), some) for media, some in by_disk.items()]
        for disk, some in taken:
            disk.check_room(some)
        for disk, some in taken:
            disk.submit(some)

    def hurry(self) -> None:
        for disk in self._disks.values():
            disk.hurry()

    def _of(self, media: Path) -> Disk:
        # A folder that is not ours can only be an empty place (see Places.now): any thread will say so.
        return self._disks.get(media) or next(iter(self._disks.values()))
