"""Opens the index whatever has become of it, so that recording can begin within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from simpang_buffer.index.errors import CorruptIndex, Unreadable
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.recovery import Due, recover, replace
from simpang_buffer.index.salvage import salvage


@asynccontextmanager
async def open_whole_index(
    path: Path, media: Path, site: str, now_us: int
) -> AsyncIterator[tuple[Index, Due | None]]:
    """The index and the rebuild that is due, if one is. One that is damaged or another's is moved aside.

    Raises NewerSchema, ReadOnly, StorageFull, OSError: what a person must see to.
    """
    due = await asyncio.to_thread(recover, path, media, site, now_us)
    async with AsyncExitStack() as stack:
        index: Index | None = None
        # First as it was found, then from its backup, then from nothing.
        for backup in (True, False):
            try:
                index = await stack.enter_async_context(open_index(path, media))
                break
            except (CorruptIndex, Unreadable) as error:
                due = await asyncio.to_thread(
                    lambda words, use: replace(path, "damaged", words, now_us, backup=use), str(error), backup
                )
        if index is None:
            index = await stack.enter_async_context(open_index(path, media))
        yield index, await salvage(index.db, due) if due is not None else None
