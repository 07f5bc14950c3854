"""Exit codes of the outside contract, and the error that ends a verb with one of them."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    NOTHING = 5
    TRY_LATER = 75


class CliError(Exception):
    """Ends the verb. str() goes to stderr, for a person: what, which one, and what to do."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
