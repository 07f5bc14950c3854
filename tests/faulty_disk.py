"""A disk whose n-th call fails, and one that is made durable in a given way whatever it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simpang_buffer.recording.file_calls import FileCalls
from simpang_buffer.recording.file_systems import Choice, FileSystems, Method

NAMES = frozenset(name for name in vars(FileCalls) if not name.startswith("_"))


class FaultyCalls(FileCalls):
    """fails: from the number of a call (from 0) and its name to the errno it fails with, 0 for none.

    A call that fails does nothing, but for a write, which is torn half-way. done: the calls' names, in order.
    """

    def __init__(self, fails: Callable[[int, str], int] = lambda number, name: 0) -> None:
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
                if name == "write":
                    data = b"".join(given[1])
                    os.write(given[0], data[: len(data) // 2])
                elif name == "close":
                    call(*given)  # close(2): the descriptor is gone all the same
                raise OSError(error, os.strerror(error))
            return call(*given)

        return counted


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
