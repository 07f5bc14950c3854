"""What can go wrong while footage is read back.

ReadingError
├── RangeTooLong   more footage than one clip may hold: ask for a shorter range
├── Vanished       the file was evicted or deleted meanwhile: ask again, the answer will be shorter
├── TooLarge       one chunk holds more than may be sent at once
└── Altered        the file does not hold what was sealed: `simpang buffer check --deep` says where
"""

from __future__ import annotations


class ReadingError(Exception):
    """Says which file or range, and what a person can do."""


class RangeTooLong(ReadingError):
    pass


class Vanished(ReadingError):
    pass


class TooLarge(ReadingError):
    pass


class Altered(ReadingError):
    pass
