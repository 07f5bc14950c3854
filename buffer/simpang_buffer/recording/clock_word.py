"""The daemon's word on the gateway's clock, and what a recorder makes of it.

It names the clock that it is about by how far that is from the time since boot. So it does not matter which
of the two notices a step first: a clock that has been set since is not the one that was vouched for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simpang_buffer.recording.arrivals import STEP_US


@dataclass(frozen=True, slots=True)
class ClockWord:
    """boot_id: of this boot of the machine, "" where it is not known. wall_less_boot_us: UTC minus
    CLOCK_BOOTTIME when the word was given; it is given again before slewing has made much of a difference."""

    trusted: bool = False
    wall_less_boot_us: int = 0
    boot_id: str = ""

    def covers(self, wall_less_boot_us: int) -> bool:
        """Whether a time counted like that is to be trusted."""
        return self.trusted and abs(wall_less_boot_us - self.wall_less_boot_us) < STEP_US


class HeardClock:
    """What the daemon said last; before that nothing is trusted."""

    def __init__(self, word: ClockWord = ClockWord()) -> None:
        self.word = word


def word_fields(word: ClockWord) -> dict[str, Any]:
    return {"trusted": word.trusted, "wall_less_boot_us": word.wall_less_boot_us, "boot_id": word.boot_id}


def clock_word(fields: Mapping[str, Any]) -> ClockWord:
    """Raises KeyError."""
    return ClockWord(fields["trusted"], fields["wall_less_boot_us"], fields["boot_id"])
