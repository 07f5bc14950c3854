"""Media files and an index whose n-th step is the last one before the power goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from simpang_buffer.index.database import Database
from simpang_buffer.index.deletions import Order, Removed
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rows import Doomed, Place
from simpang_buffer.media.boxes import Scan
from simpang_buffer.model import FIRST_FOLDER, GapReason, RunHeader, Segment, StreamKey


class PowerCut(Exception):
    """Nothing that stands behind it in the program is done."""


class Countdown:
    """`left` steps are done, the next one is not; None: all are. done: how many were."""

    def __init__(self, left: int | None = None) -> None:
        self.left = left
        self.done = 0

    def step(self) -> None:
        if self.left is not None and self.done >= self.left:
            raise PowerCut
        self.done += 1


class StoppingFiles(MediaFiles):
    """Every change to the media folder is a step."""

    def __init__(self, root: Path, countdown: Countdown) -> None:
        super().__init__(root)
        self._countdown = countdown

    def close_torn(self, path: Path, scanned: Scan) -> None:
        self._countdown.step()
        # The power may go with half a table written: the disk holds what was cut, and some bytes more.
        whole = self.root / path
        with whole.open("r+b") as file:
            file.truncate(scanned.good_end)
            file.seek(scanned.good_end)
            file.write(b"\0\0\1\0uuid and no more")
        self._countdown.step()
        super().close_torn(path, scanned)

    def unlink(self, path: Path) -> None:
        self._countdown.step()
        super().unlink(path)

    def unlink_in(self, folder: int, key: StreamKey, run: int, seq: int) -> None:
        self._countdown.step()
        super().unlink_in(folder, key, run, seq)

    def sync_opened(self, folder: int) -> None:
        self._countdown.step()
        super().sync_opened(folder)

    def set_aside(self, path: Path) -> Path:
        self._countdown.step()
        return super().set_aside(path)

    def sync_folders(self, paths: Iterable[Path]) -> None:
        self._countdown.step()
        super().sync_folders(paths)

    def remove_folder(self, folder: Path) -> None:
        self._countdown.step()
        super().remove_folder(folder)


class StoppingIndex(Index):
    """Every transaction is a step: it is wholly done, or not at all."""

    def __init__(self, database: Database, media: Path, countdown: Countdown) -> None:
        super().__init__(database, media)
        self._countdown = countdown

    async def add_run(self, header: RunHeader, width: int, height: int) -> None:
        self._countdown.step()
        await super().add_run(header, width, height)

    async def add_segment(self, segment: Segment) -> None:
        self._countdown.step()
        await super().add_segment(segment)

    async def take_in(
        self,
        key: StreamKey,
        header: RunHeader,
        segments: Sequence[Segment],
        *,
        size: tuple[int, int] | None = None,
        shift_us: int = 0,
    ) -> int:
        self._countdown.step()
        return await super().take_in(key, header, segments, size=size, shift_us=shift_us)

    async def condemn(self, segments: Iterable[Segment], reason: GapReason) -> int:
        self._countdown.step()
        return await super().condemn(segments, reason)

    async def remove(self, orders: Sequence[tuple[Order, Sequence[Place]]]) -> Removed:
        self._countdown.step()
        return await super().remove(orders)

    async def drop_garbage(self, files: Iterable[Doomed], folder: int = FIRST_FOLDER) -> None:
        self._countdown.step()
        await super().drop_garbage(files, folder)

    async def keep_run_number(self, key: StreamKey, run: int) -> None:
        self._countdown.step()
        await super().keep_run_number(key, run)

    async def settle(self, key: StreamKey, run: int) -> None:
        self._countdown.step()
        await super().settle(key, run)
