"""What can go wrong while footage is read back.

ReadingError
├── Vanished   the file was evicted or deleted meanwhile: ask again, the answer will be shorter
└── Altered    the file does not hold what was sealed: `simpang buffer check --deep` says where
"""

from __future__ import annotations


class ReadingError(Exception):
    """Says which file or range, and what a person can do."""


class Vanished(ReadingError):
    pass


class Altered(ReadingError):
    pass
