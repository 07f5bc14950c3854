"""Which media folders one recorder process is offered. The daemon's side.

A process that has confined itself can write only to what was mounted when it did: what is mounted later, be
it the same disk at the same path, it cannot enter (landlock(7): rules are tied to what is there). So it is
not offered that, and a process that cannot reach the best folder is replaced by one that can.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simpang_buffer.recording.places import Place, place_fields
from simpang_buffer.recording.protocol import Message
from simpang_buffer.recording.sandbox.confinement import Confinement


class Offers:
    """places: where new files may begin, the best first; None until somebody says so."""

    def __init__(self) -> None:
        self.places: tuple[Place, ...] | None = None
        self._told: list[list[Any]] = []
        self._there: set[tuple[int, int]] = set()
        self._confined = False

    @property
    def nowhere(self) -> bool:
        return self.places == ()

    @property
    def full(self) -> bool:
        """No file can be made even in the best folder: it would only be a run of nothing."""
        return self.places is not None and self.places != () and self.places[0].full

    def use(self, places: Sequence[Place]) -> bool:
        """Whether there is news in it that may help what failed."""
        news = bool(places) and tuple(places) != self.places
        self.places = tuple(places)
        return news

    def begins(self) -> None:
        """A process is about to be started."""
        self._told, self._confined = [], False
        self._there = {place.identity for place in self.places or ()}

    def narrow(self, confinement: Confinement) -> None:
        """The process has said what it has taken from itself."""
        self._confined = confinement.landlock > 0

    def out_of_reach(self) -> Path | None:
        """The best folder, where the process cannot write to it."""
        best = self.places[0] if self.places else None
        return best.path if best is not None and not self._reaches(best) else None

    def message(self) -> Message | None:
        """What the process is to be told; None where it knows."""
        within = [place_fields(place) for place in self.places or () if self._reaches(place)]
        if self.places is None or within == self._told:
            return None
        self._told = within
        return Message("folders", fields={"folders": within})

    def _reaches(self, place: Place) -> bool:
        return not self._confined or place.identity in self._there or place.identity == (0, 0)
