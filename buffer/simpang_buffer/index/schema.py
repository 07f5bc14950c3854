"""Which schema a database has, and the numbered steps that bring an older one up to date.

Each step is one transaction, its version included, so a crash leaves the old schema or the new one. The whole
database is backed up before the first.
"""

from __future__ import annotations

import asyncio
import logging
from importlib import resources
from pathlib import Path
from typing import Any

import aiosqlite

from simpang_buffer.index.backup import back_up, backup_path
from simpang_buffer.index.errors import NewerSchema

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
# The oldest schema whose program may go on with this one. Schema 1 knows no holds, and one media folder.
READABLE_BY = 2


async def check_version(connection: aiosqlite.Connection, path: Path) -> None:
    """Raises NewerSchema for a database that this program must not touch."""
    version = await _value(connection, "pragma user_version")
    if version <= SCHEMA_VERSION:
        return
    # Migrations are additive within a release, so an older program may go on with a newer database.
    readable_by = await _value(connection, "select value from meta where key = 'readable_by'")
    if readable_by is None or int(readable_by) > SCHEMA_VERSION:
        raise NewerSchema(
            f"{path} was written by a newer simpang (schema {version}, this one knows {SCHEMA_VERSION}); "
            "install that version again, or move the file aside to have it rebuilt from the media files"
        )


async def bring_up_to_date(writer: aiosqlite.Connection, path: Path) -> None:
    """Makes the tables at first, and brings older ones up to date, step by step."""
    version = await _value(writer, "pragma user_version")
    folder = resources.files("simpang_buffer.index")
    steps = {SCHEMA_VERSION: folder.joinpath("schema.sql")}
    if version:
        numbers = range(version + 1, SCHEMA_VERSION + 1)
        steps = {number: folder.joinpath("migrations", f"{number:04}.sql") for number in numbers}
    if version and steps:
        done = await asyncio.to_thread(back_up, path, backup_path(path))
        if done.skipped is not None:
            # Media files carry the same facts, so want of space for a copy is no reason not to start.
            logger.warning("%s is migrated without a backup: %s", path, done.skipped)
    for number, script in steps.items():
        # One script, so that a crash leaves either no table or all of them with their version.
        await writer.executescript(
            f"begin immediate;\n{script.read_text(encoding='utf-8')}\n"
            f"insert or replace into meta values ('readable_by', '{READABLE_BY}');\n"
            f"pragma user_version = {number};\ncommit;"
        )
        if version:
            logger.info("%s: schema %d is now schema %d", path, number - 1, number)


async def _value(connection: aiosqlite.Connection, sql: str) -> Any:
    rows = list(await connection.execute_fetchall(sql))
    return rows[0][0] if rows else None
