"""How far back the footage of each media folder reaches."""

from __future__ import annotations

from simpang_buffer.index.index import Index

# Of one stream are looked through: half a week. Footage that begins behind so much of other folders is told
# by other streams, or not at all; the whole would be a second's reading at 44 streams.
_MOST_ROWS = 5000


async def oldest_us(index: Index) -> dict[int, int]:
    """UTC of the oldest footage by folder id. Raises StorageError."""
    found: dict[int, int] = {}
    for stream_id, folder in await index.db.read(
        "select stream_id, folder_id from stored where segments > 0"
    ):
        rows = await index.db.read(
            """select start_us from (select start_us, folder_id from segment where stream_id = ?
                                     order by start_us limit ?) where folder_id = ? limit 1""",
            (stream_id, _MOST_ROWS, folder),
        )
        if rows:
            found[folder] = min(rows[0][0], found.get(folder, rows[0][0]))
    return found
