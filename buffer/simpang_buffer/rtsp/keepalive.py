"""Which request keeps a session alive, and how often."""

from __future__ import annotations

# A camera that names a timeout of a second, or of a day, is kept alive within these.
_SHORTEST_S = 1.0
_LONGEST_S = 30.0


class Keepalive:
    """Chooses by what the camera says it knows; one that is refused or not answered gives way to the next.

    SET_PARAMETER is never used: it ends the stream on some cameras.
    """

    def __init__(self, methods: frozenset[str], timeout_s: int) -> None:
        self.every_s = min(max(timeout_s / 2, _SHORTEST_S), _LONGEST_S)
        # GET_PARAMETER is ignored by cameras that do not name it (GW4089IP); OPTIONS everybody knows.
        self._methods = ["GET_PARAMETER", "OPTIONS"] if "GET_PARAMETER" in methods else ["OPTIONS"]
        self._waiting = False

    @property
    def method(self) -> str:
        """What to send now."""
        return self._methods[0]

    def due(self) -> bool:
        """The next one is about to be sent. Whether the one before it was never answered."""
        unanswered = self._waiting
        if unanswered:
            self._rotate()
        self._waiting = True
        return unanswered

    def answered(self, status: int) -> None:
        """An answer came. A refusal is no fault: the stream may well go on (Tapo C100 says 400)."""
        self._waiting = False
        if status >= 400:
            self._rotate()

    def _rotate(self) -> None:
        self._methods = [*self._methods[1:], self._methods[0]]
