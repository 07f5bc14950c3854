"""Rows of what a recorder process says: one transaction for all that it has made durable together.

A transaction costs a flush of the disk or two, whatever is in it. So closed files, which the recorder reports
in groups, become rows in groups; and the row of a run that has begun, which nobody waits for, comes along
with them if some are closed soon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from simpang_buffer.index.clock_moves import note_time
from simpang_buffer.index.database import Transaction
from simpang_buffer.index.errors import Busy, CorruptIndex, ReadOnly, StorageFull, Unreadable
from simpang_buffer.index.index import Index
from simpang_buffer.index.insertion import insert_run, insert_segments
from simpang_buffer.model import StreamKey
from simpang_buffer.recording import protocol
from simpang_buffer.recording.protocol import Message

logger = logging.getLogger(__name__)

MAX_WAITING = 1000
# One group of reports comes in several reads of the socket.
_GATHER_S = 0.05
# A run's number must not be given twice, even if the power goes: it is sent away with the first chunk, which
# is 4 s long.
_COMPANY_S = 2.0
_RETRY_S = 0.5
# Others see to it (retention makes room, the index's keeper mends or replaces the file), so it is waited for.
_MENDED = (StorageFull, Busy, CorruptIndex, ReadOnly, Unreadable)


class RowWriter:
    """`put` what is said, `run` beside it.

    then: called with each message, in order, after what it says is committed. on_disk_full: called when the
    index finds no room. What the index refuses is tried again until it can be written.
    """

    def __init__(
        self, index: Index, then: Callable[[Message], Awaitable[None]], on_disk_full: Callable[[], None]
    ) -> None:
        self._index = index
        self._then = then
        self._on_disk_full = on_disk_full
        self._waiting: asyncio.Queue[Message | None] = asyncio.Queue(MAX_WAITING)
        # The newest run of each stream that has a row.
        self._runs: dict[StreamKey, int] = {}

    async def put(self, message: Message) -> None:
        """`opened` and `closed` become rows. Waits while MAX_WAITING do."""
        await self._waiting.put(message)

    async def flushed(self) -> None:
        """Waits until the index knows all that was put."""
        await self._waiting.put(None)
        await self._waiting.join()

    async def run(self) -> None:
        """Until cancelled. Raises StorageError."""
        loop = asyncio.get_running_loop()
        while True:
            group = [await self._waiting.get()]
            by = loop.time() + _COMPANY_S
            with contextlib.suppress(TimeoutError):
                while len(group) < MAX_WAITING:
                    if not _is_patient(group[-1]):
                        by = min(by, loop.time() + _GATHER_S)
                    async with asyncio.timeout_at(by):
                        group.append(await self._waiting.get())
            await self._write([message for message in group if message is not None])
            for _ in group:
                self._waiting.task_done()

    async def _write(self, messages: Sequence[Message]) -> None:
        await self._until_it_can(partial(self._write_rows, messages))
        for message in messages:
            await self._until_it_can(partial(self._then, message))

    async def _until_it_can(self, work: Callable[[], Awaitable[None]]) -> None:
        level = logging.WARNING
        while True:
            try:
                await work()
            except _MENDED as error:
                # Recording goes on meanwhile: its files are adopted if we do not live to see it written.
                logger.log(level, "the index cannot be written yet: %s", error)
                level = logging.DEBUG
                if isinstance(error, StorageFull):
                    self._on_disk_full()
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def _write_rows(self, messages: Sequence[Message]) -> None:
        """What makes no row, and runs that have one, cost nothing."""
        opened = [one for one in messages if one.kind == "opened" and self._is_new(one)]
        closed = [one for one in messages if one.kind == "closed" and one.fields["segment"] is not None]
        timed = [one for one in messages if one.kind == "timed"]
        if not opened and not closed and not timed:
            return

        async def write(tx: Transaction) -> None:
            for message in opened:
                header = protocol.run_header(_key(message), message.fields)
                fields = message.fields
                await insert_run(tx, header.key, header, fields["width"], fields["height"])
            segments = [protocol.segment(_key(one), one.fields["segment"]) for one in closed]
            await insert_segments(tx, segments)
            for one in timed:
                await note_time(tx, _key(one), *protocol.timed(one.fields))

        await self._index.db.at_once(write)
        self._runs |= {_key(one): one.fields["run"] for one in opened}

    def _is_new(self, opened: Message) -> bool:
        run: int = opened.fields["run"]
        return self._runs.get(_key(opened)) != run


def _is_patient(message: Message | None) -> bool:
    return message is not None and message.kind in ("opened", "timed")


def _key(message: Message) -> StreamKey:
    assert message.stream is not None  # only messages of streams become rows
    return message.stream
