"""Jobs in state.db: each step is one short transaction."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import aiosqlite

from simpang.jobs.model import Job, JobRequest, JobState, Priority, SentChunk, WaitingFor
from simpang.state.database import State
from simpang_buffer.model import GapReason
from simpang_buffer.reading.gaps import Gap

_COLUMNS = """job.id, idempotency_key, central, party, camera, stream, job.start_us, end_us, priority, ref,
    state, waiting_for, reason, created_us, changed_us, bytes_total, chunks_total, gaps,
    (select coalesce(sum(size_bytes), 0) from job_chunk where job_chunk.job = job.id),
    (select count(*) from job_chunk where job_chunk.job = job.id)"""
_OPEN = "state not in ('refused', 'done', 'partial', 'expired', 'cancelled', 'failed')"


def new_id(now_us: int) -> str:
    """A UUIDv7 (RFC 9562) in 32 hexadecimal digits: sorts by time, tells nothing else."""
    random = secrets.randbits(74)
    value = (now_us // 1000) << 80 | 7 << 76 | (random >> 62) << 64 | 2 << 62 | random & ((1 << 62) - 1)
    return f"{value:032x}"


class JobStore:
    """Reads and writes jobs. The only writer of its tables."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def add(self, request: JobRequest, party: str, now_us: int) -> tuple[Job, bool]:
        """The new job, or the one that this idempotency key made before; and whether it is new."""
        async with self._state.transaction() as db:
            if request.idempotency_key is not None:
                row = await _one(db, "idempotency_key = ?", (request.idempotency_key,))
                if row is not None:
                    return _job(row), False
            identity = new_id(now_us)
            await db.execute(
                "insert into job (id, idempotency_key, central, party, camera, stream, start_us, end_us,"
                " priority, ref, state, created_us, changed_us)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'received', ?, ?)",
                (
                    identity,
                    request.idempotency_key,
                    request.central,
                    party,
                    request.camera,
                    request.stream,
                    request.start_us,
                    request.end_us,
                    int(request.priority),
                    request.ref,
                    now_us,
                    now_us,
                ),
            )
            row = await _one(db, "job.id = ?", (identity,))
        assert row is not None
        return _job(row), True

    async def get(self, identity: str) -> Job | None:
        row = await _one(self._state.connection, "job.id = ?", (identity,))
        return None if row is None else _job(row)

    async def newest(self, state: JobState | None = None, limit: int = 1000) -> list[Job]:
        """Newest first."""
        where, values = ("1", ()) if state is None else ("state = ?", (str(state),))
        return await self._jobs(f"{where} order by created_us desc, id desc limit {int(limit)}", values)

    async def open(self, central: str) -> list[Job]:
        """Those of one centre that have not ended, in the order in which they go."""
        return await self._jobs(f"central = ? and {_OPEN} order by priority, created_us, id", (central,))

    async def open_elsewhere(self, centrals: Sequence[str]) -> list[Job]:
        """Those that have not ended and are for none of these centres."""
        return [job for job in await self._jobs(_OPEN, ()) if job.request.central not in centrals]

    async def open_ids(self) -> list[str]:
        return [job.id for job in await self._jobs(_OPEN, ())]

    async def move(
        self,
        job: Job,
        state: JobState,
        now_us: int,
        *,
        waiting_for: WaitingFor | None = None,
        reason: str = "",
    ) -> Job | None:
        """The job in its next state, or None where somebody ended it meanwhile: an ended job never moves."""
        async with self._state.transaction() as db:
            cursor = await db.execute(
                "update job set state = ?, waiting_for = ?, reason = ?, changed_us = ?"
                f" where id = ? and {_OPEN}",
                (str(state), waiting_for, reason, now_us, job.id),
            )
            changed = cursor.rowcount
        return await self.get(job.id) if changed else None

    async def plan(
        self, job: Job, bytes_total: int, chunks_total: int, gaps: Sequence[Gap], now_us: int
    ) -> Job | None:
        """Notes how much there is to send; None where the job has ended."""
        listed = json.dumps([[gap.start_us, gap.end_us, str(gap.reason)] for gap in gaps])
        async with self._state.transaction() as db:
            await db.execute(
                "update job set bytes_total = ?, chunks_total = ?, gaps = ?, changed_us = ? where id = ?"
                f" and {_OPEN}",
                (bytes_total, chunks_total, listed, now_us, job.id),
            )
        found = await self.get(job.id)
        return None if found is None or found.state.ended else found

    async def sent(self, job: Job, chunk: SentChunk, month: str, wire_bytes: int, now_us: int) -> None:
        """Notes a confirmed chunk and the bytes that it cost the month."""
        async with self._state.transaction() as db:
            await db.execute(
                "insert or ignore into job_chunk (job, run, number, object_key, start_us, duration_us, codec,"
                " init_sha256, init_bytes, size_bytes, sha256, seal)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job.id,
                    chunk.run,
                    chunk.number,
                    chunk.object_key,
                    chunk.start_us,
                    chunk.duration_us,
                    chunk.codec,
                    chunk.init_sha256,
                    chunk.init_bytes,
                    chunk.size_bytes,
                    chunk.sha256,
                    chunk.seal,
                ),
            )
            await db.execute("update job set changed_us = ? where id = ?", (now_us, job.id))
            await _spend(db, month, wire_bytes)

    async def spend(self, month: str, wire_bytes: int) -> None:
        """Notes bytes that went out beside chunks: manifests, playlists, failed tries."""
        async with self._state.transaction() as db:
            await _spend(db, month, wire_bytes)

    async def spent(self, month: str) -> int:
        cursor = await self._state.connection.execute(
            "select sent_bytes from uplink_month where month = ?", (month,)
        )
        row = await cursor.fetchone()
        return 0 if row is None else int(row[0])

    async def chunks(self, job: Job) -> list[SentChunk]:
        """What the store has confirmed, in the order of the recording."""
        cursor = await self._state.connection.execute(
            "select run, number, object_key, start_us, duration_us, codec, init_sha256, init_bytes,"
            " size_bytes, sha256, seal from job_chunk where job = ? order by start_us, run, number",
            (job.id,),
        )
        return [SentChunk(*row) for row in await cursor.fetchall()]

    async def sent_numbers(self, job: Job) -> set[tuple[int, int]]:
        """Run and number of each chunk that the store has confirmed; quicker than the chunks themselves."""
        cursor = await self._state.connection.execute(
            "select run, number from job_chunk where job = ?", (job.id,)
        )
        return {(run, number) for run, number in await cursor.fetchall()}

    async def _jobs(self, where: str, values: tuple[object, ...]) -> list[Job]:
        cursor = await self._state.connection.execute(f"select {_COLUMNS} from job where {where}", values)
        return [_job(row) for row in await cursor.fetchall()]


async def _one(db: aiosqlite.Connection, where: str, values: tuple[object, ...]) -> Iterable[Any] | None:
    cursor = await db.execute(f"select {_COLUMNS} from job where {where}", values)
    return await cursor.fetchone()


async def _spend(db: aiosqlite.Connection, month: str, wire_bytes: int) -> None:
    await db.execute(
        "insert into uplink_month (month, sent_bytes) values (?, ?)"
        " on conflict (month) do update set sent_bytes = sent_bytes + excluded.sent_bytes",
        (month, wire_bytes),
    )


def _job(row: Iterable[Any]) -> Job:
    (
        identity,
        idempotency_key,
        central,
        party,
        camera,
        stream,
        start_us,
        end_us,
        priority,
        ref,
        state,
        waiting_for,
        reason,
        created_us,
        changed_us,
        bytes_total,
        chunks_total,
        gaps,
        bytes_done,
        chunks_done,
    ) = row
    request = JobRequest(camera, stream, start_us, end_us, central, Priority(priority), ref, idempotency_key)
    return Job(
        id=identity,
        request=request,
        party=party,
        state=JobState(state),
        waiting_for=None if waiting_for is None else WaitingFor(waiting_for),
        reason=reason,
        created_us=created_us,
        changed_us=changed_us,
        bytes_done=bytes_done,
        bytes_total=max(bytes_total, bytes_done),
        chunks_done=chunks_done,
        chunks_total=max(chunks_total, chunks_done),
        gaps=tuple(Gap(start, end, GapReason(why)) for start, end, why in json.loads(gaps)),
    )
