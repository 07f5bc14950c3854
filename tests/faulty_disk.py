"""Disks whose n-th call fails, and what a power cut would leave of them, for the tests of the disk thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from simpang_buffer.recording.file_calls import FileCalls
from simpang_buffer.recording.file_systems import Choice, FileSystems, Method

NAMES = frozenset(name for name in vars(FileCalls) if not name.startswith("_"))
Fails = Callable[[int, str], int]


def never(number: int, name: str) -> int:
    return 0


class FaultyCalls(FileCalls):
    """fails: from the number of a call (from 0) and its name to the errno it fails with, 0 for none.

    A call that fails does nothing, but for a write, which is torn half-way, and a close, which closes. done:
    the calls' names, in order.
    """

    def __init__(self, fails: Fails = never) -> None:
        self.fails = fails
        self.done: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        call = super().__getattribute__(name)
        if name not in NAMES:
            return call

        def counted(*given: Any) -> Any:
            number = len(self.done)
            self.done.append(name)
            error = self.fails(number, name)
            if error:
                self._fail(name, *given)
                raise OSError(error, os.strerror(error))
            return call(*given)

        return counted

    def _fail(self, name: str, *given: Any) -> None:
        if name == "write":
            data = b"".join(given[1])
            os.write(given[0], data[: len(data) // 2])
        elif name == "close":
            os.close(given[0])


class CutCalls(FaultyCalls):
    """Knows what would be left after a power cut: what the calls promise, and nothing else.

    A failed sync or write-back of a file promises nothing of it, then or later: its pages count as written.
    The disk itself is not waited for, since nobody looks at it.
    """

    def __init__(self, fails: Fails = never) -> None:
        super().__init__(fails)
        self._paths: dict[int, Path] = {}
        self._written: dict[Path, int] = {}  # up to where its data is on the disk, to be found or not
        self._doubtful: set[Path] = set()
        self._named: set[Path] = set()
        self._found: dict[Path, int] = {}

    def durable_bytes(self, media: Path, path: Path) -> int:
        """Of a file that a start after the cut would find."""
        names = [
            path,
            *(folder for folder in path.parents if folder.is_relative_to(media) and folder != media),
        ]
        return self._found.get(path, 0) if self._named.issuperset(names) else 0

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._paths[fd] = path
        return fd

    def start_write_back(self, fd: int, offset: int, size_bytes: int = 0) -> None:
        pass

    def write_back(self, fd: int, offset: int) -> None:
        path = self._paths[fd]
        # Only the range is asked for: a hole before it would stay one.
        if offset <= self._written.get(path, 0):
            self._written[path] = path.stat().st_size

    def sync(self, fd: int) -> None:
        path = self._paths[fd]
        self._written[path] = path.stat().st_size
        self._find([path])

    def commit_journal(self, fd: int) -> None:
        self._find(self._written)
        self._name_all(self._paths[fd])

    def sync_file_system(self, fd: int) -> None:
        self._find(self._written)
        self._name_all(self._paths[fd])

    def sync_folder(self, folder: Path) -> None:
        self._named |= set(folder.iterdir())

    def _fail(self, name: str, *given: Any) -> None:
        super()._fail(name, *given)
        if name in ("start_write_back", "write_back", "sync"):
            self._doubtful.add(self._paths[given[0]])

    def _find(self, paths: Iterable[Path]) -> None:
        for path in paths:
            if path not in self._doubtful:
                self._found[path] = self._written[path]

    def _name_all(self, path: Path) -> None:
        media = path.parents[3]
        self._named |= set(media.rglob("*"))


class Chosen(FileSystems):
    """Every folder is made durable this way, and space is taken ahead."""

    def __init__(self, method: Method, *, ahead: bool = True) -> None:
        super().__init__()
        self.now = Choice(method, ahead, "chosen by a test")

    def choice(self, folder: Path) -> Choice:
        folder.stat()
        return self.now

    def give_up(self, folder: Path, why: str) -> Choice:
        self.now = Choice(Method.EACH, False, why)
        return self.now
