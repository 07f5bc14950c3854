"""What a damaged index still tells of things that no media file knows: holds, events, pinned certificates.

Damage is mostly a few pages, and nearly all pages are segments. So the small tables are read as far as they
can be, and what is found is put into the index that took its place.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from simpang_buffer.index.database import Database
from simpang_buffer.index.recovery import Due, note_due

logger = logging.getLogger(__name__)

# Those of which no row refers to another table's, whose numbers are given anew.
_TABLES = ("folder", "hold", "event", "certificate")
# Facts of the last run, by which the next one's gap is explained, and whose the index is.
_FACTS = ("boot_id", "stopped", "site", "former_sites")
_MOST_ROWS = 200_000


async def salvage(database: Database, due: Due) -> Due:
    """Puts what can be read of the index that was moved aside into the new one, once. Raises StorageError,
    OSError for the new one only."""
    if due.aside is None or due.cause != "damaged" or due.salvaged:
        return due
    aside = database.path.with_name(due.aside)
    for table in (*_TABLES, "meta"):
        columns, rows = await asyncio.to_thread(_read, aside, table)
        known = {row[1] for row in await database.read(f"pragma table_info({table})")}
        if table == "meta":
            rows = [row for row in rows if row[0] in _FACTS]
        if not rows or not set(columns) <= known:
            continue
        places = ", ".join("?" * len(columns))
        async with database.transaction() as tx:
            # A backup may have them as they were.
            sql = f"insert or replace into {table} ({', '.join(columns)}) values ({places})"
            await tx.run_many(sql, rows)
        logger.info("saved %d rows of %s from %s", len(rows), table, due.aside)
    done = replace(due, salvaged=True)
    await asyncio.to_thread(note_due, database.path, done)
    return done


def _read(aside: Path, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows, up to the first that cannot be read."""
    rows: list[tuple[Any, ...]] = []
    columns: list[str] = []
    try:
        with closing(sqlite3.connect(f"{aside.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            cursor = connection.execute(f"select * from {table}")
            columns = [column[0] for column in cursor.description]
            while len(rows) < _MOST_ROWS and (row := cursor.fetchone()) is not None:
                rows.append(row)
    except sqlite3.Error as error:
        logger.warning("%s of %s cannot be read to its end: %s", table, aside.name, error)
    return columns, rows
