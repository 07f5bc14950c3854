"""What a folder's disk refused lately, and for how long it is better not asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simpang_buffer.index.folder_choice import Folder, FolderState
from simpang_buffer.index.folder_sight import Sight
from simpang_buffer.index.reserve import has_room
from simpang_buffer.model import GapReason

# A disk that failed is written to again after a minute, doubled with each failure; a day without one is a
# fresh start.
_REST_S = 60.0
_LONGEST_REST_S = 3600.0
_FORGIVEN_S = 86_400.0
# What ten seconds of everything that is recorded take, where nobody says how much that is.
ROOM_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class _Fault:
    words: str
    at_s: float
    times: int

    @property
    def until_s(self) -> float:
        return self.at_s + min(_REST_S * 2.0 ** (self.times - 1), _LONGEST_REST_S)


class FolderFaults:
    """By folder id."""

    def __init__(self, monotonic: Callable[[], float], room_bytes: Callable[[], int]) -> None:
        """room_bytes: what is worth to begin for, once a folder was full."""
        self._monotonic = monotonic
        self._room_bytes = room_bytes
        self._failed: dict[int, _Fault] = {}
        self._full: set[int] = set()

    def __bool__(self) -> bool:
        """Whether some folder is better not asked now."""
        now_s = self._monotonic()
        return bool(self._full) or any(fault.until_s > now_s for fault in self._failed.values())

    def note(self, folder: int, reason: GapReason, words: str) -> None:
        if reason is GapReason.DISK_FULL:
            self._full.add(folder)
            return
        now_s, before = self._monotonic(), self._failed.get(folder)
        if before is not None and now_s - before.at_s > _FORGIVEN_S:
            before = None
        # All streams fail at once; that is one failure.
        again = before is None or now_s >= before.until_s
        times = (before.times if before is not None else 0) + again
        at_s = now_s if again or before is None else before.at_s
        self._failed[folder] = _Fault(words, at_s, times)

    def judge(self, folder: Folder, sight: Sight) -> tuple[FolderState, str]:
        """State and words of a folder that is there and ours. Blocks, where something was refused there."""
        fault = self._failed.get(folder.id)
        if sight.read_only:
            return FolderState.FAILING, "it is mounted read-only; look at the disk's health and remount it"
        if fault is not None and fault.until_s > self._monotonic():
            return FolderState.FAILING, fault.words
        if folder.id in self._full:
            if not has_room(folder.path, self._room_bytes()):
                return FolderState.FULL, "nothing can be written: no space, no inodes or a quota"
            self._full.discard(folder.id)
        if sight.inodes_free == 0:
            return FolderState.FULL, "its file system has no inodes left: remove small files from it"
        if sight.space is not None and sight.space.free_bytes < self._room_bytes() // 4:
            return FolderState.FULL, "no space is left on it"
        return FolderState.PRESENT, ""
