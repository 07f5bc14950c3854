"""What is wrong with the database itself: SQLite's own check, rows that refer to nothing, wrong sums."""

from __future__ import annotations

from simpang_buffer.index.database import Database

# More of one kind say no more: they are counted.
MOST_LISTED = 10
# SQLite stops looking then: a file that was overwritten has one for each page.
_MOST_COUNTED = 10_000


async def integrity_faults(database: Database) -> list[str]:
    """In words, of each kind the first MOST_LISTED and how many more there are. Reads the whole file."""
    damage = await database.read(f"pragma integrity_check({_MOST_COUNTED})")
    broken = await database.read("pragma foreign_key_check")
    totals = await database.read(
        """select camera, stream from stream where (bytes, segments) <> (
             select coalesce(sum(size_bytes), 0), count(*) from segment where stream_id = id)
           union select camera, stream from stream where (bytes, segments) <> (
             select coalesce(sum(bytes), 0), coalesce(sum(segments), 0) from stored where stream_id = id)"""
    )
    return [
        *_summary([str(row[0]) for row in damage if row[0] != "ok"], "faults of the file"),
        *_summary([f"row of {row[0]} refers to no {row[2]}" for row in broken], "rows that refer to nothing"),
        *_summary(
            [f"totals of {camera}/{stream} are not the sums of its rows" for camera, stream in totals],
            "streams with wrong totals",
        ),
    ]


def _summary(found: list[str], what: str) -> list[str]:
    more = len(found) - MOST_LISTED
    return [*found[:MOST_LISTED], f"and {more} more {what}"] if more > 0 else found
