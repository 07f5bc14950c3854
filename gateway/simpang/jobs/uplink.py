"""The way to one centre: takes its jobs forward, one step at a time, the most urgent first.

A step is short (a transition, or one chunk), so a more urgent job, a cancel or the end of the allowed hours
takes effect within a chunk. The order of the steps makes a crash between any two safe: footage is pinned
before it is planned, a chunk is noted only after the store confirmed it, and a chunk sent twice is the same
object.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from simpang.config.model import Central
from simpang.config.model import Uplink as Policy
from simpang.jobs.admission import waits_for
from simpang.jobs.footage import Footage, Plan
from simpang.jobs.job_store import JobStore
from simpang.jobs.model import Job, JobState, SentChunk, WaitingFor
from simpang.jobs.object_names import attributes, chunk_key, codecs, content_type, run_end_key
from simpang.jobs.reports import Reports
from simpang.jobs.windows import month_start
from simpang.store.errors import StoreAway, StoreBusy, StoreDiffers, StoreError, StoreRefused
from simpang.store.s3 import S3Store
from simpang_buffer.index.errors import HoldsFull
from simpang_buffer.index.index import Index
from simpang_buffer.model import GapReason
from simpang_buffer.reading.chunks import Chunk, chunk_body
from simpang_buffer.reading.errors import Altered, Vanished
from simpang_buffer.reading.gaps import Gap

logger = logging.getLogger(__name__)

# How often a job whose footage still grows looks for its next chunk, and a waiting one at the hours.
LOOK_S = 1.0
# A job that would hold more than `hold_max_percent` waits for others to end.
HOLDS_LOOK_S = 10.0
# After trouble with the link or the store: doubled each time, from the first to the longest.
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
# HTTP headers, signature and answer of one request, for the month's count.
REQUEST_BYTES = 1500
# How many chunks are asked about in one step: a second or two, where a day of footage has 21,600.
VERIFY_CHUNKS = 25


@dataclass(frozen=True)
class Site:
    """What object names, hours and billing days depend on."""

    id: str
    zone: ZoneInfo


class Uplink:
    """One centre's queue. `run_once` works until it is cancelled or something unforeseen fails."""

    def __init__(
        self,
        central: Central,
        policy: Policy,
        site: Site,
        *,
        open_store: Callable[[], S3Store],
        jobs: JobStore,
        index: Index,
        footage: Footage,
        reports: Reports,
        hold_bytes: Callable[[], int],
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.central = central
        self._policy = policy
        self._site = site
        self._open_store = open_store
        self._jobs = jobs
        self._index = index
        self._footage = footage
        self._reports = reports
        self._hold_bytes = hold_bytes
        self._now_us = now_us
        self._monotonic = monotonic
        self._bell = asyncio.Event()
        self._plans: dict[str, Plan] = {}
        self._look_at: dict[str, float] = {}
        # Chunks whose bytes no longer fit their seals, by job: gaps, as far as the asker is concerned.
        self._altered: dict[str, dict[tuple[int, int], Gap]] = {}
        # How many of a job's chunks the store was asked about and has, in their order.
        self._verified: dict[str, int] = {}
        self._link_at = 0.0
        self._link_wait_s = FIRST_WAIT_S

    def ring(self) -> None:
        """Something changed: a job came or was cancelled."""
        self._bell.set()

    async def run_once(self) -> None:
        async with self._open_store() as store:
            while True:
                self._bell.clear()
                waiting = await self._jobs.open(self.central.id)
                if not waiting:
                    await self._bell.wait()
                elif not await self._one_step(store, waiting):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._bell.wait(), LOOK_S)

    async def _one_step(self, store: S3Store, waiting: list[Job]) -> bool:
        """Takes the first job that can go on one step forward; False where none can."""
        first_sending = True
        for job in waiting:
            if self._monotonic() < self._look_at.get(job.id, 0.0):
                continue
            hindrance = await self._hindrance(job)
            if hindrance is not None:
                if job.waiting_for is not hindrance:
                    await self._jobs.move(job, JobState.WAITING, self._now_us(), waiting_for=hindrance)
                continue
            if first_sending:
                first_sending = False
                await self._yield_others(waiting, job)
            await self._take(store, job)
            await self._let_go(job)
            return True
        return False

    async def _let_go(self, job: Job) -> None:
        """A step that was under way when its job was cancelled may have pinned and planned once more."""
        now = await self._jobs.get(job.id)
        if now is None or now.state.ended:
            await self.forget(job.id)

    async def _hindrance(self, job: Job) -> WaitingFor | None:
        if job.state in (JobState.RECEIVED, JobState.AUTHORISED, JobState.PLANNED):
            return None
        if self._monotonic() < self._link_at:
            return WaitingFor.LINK
        local = datetime.fromtimestamp(self._now_us() / 1e6, self._site.zone)
        spent = await self._jobs.spent(self._month()) if self._policy.month_cap is not None else 0
        return waits_for(self._policy, job.request.priority, local, spent)

    async def _yield_others(self, waiting: list[Job], chosen: Job) -> None:
        for job in waiting:
            if job.id != chosen.id and job.state is JobState.SENDING:
                await self._jobs.move(job, JobState.WAITING, self._now_us(), waiting_for=WaitingFor.YIELD)

    async def _take(self, store: S3Store, job: Job) -> None:
        try:
            match job.state:
                case JobState.RECEIVED:
                    await self._jobs.move(job, JobState.AUTHORISED, self._now_us())
                case JobState.AUTHORISED:
                    await self._plan_first(job)
                case JobState.PLANNED:
                    await self._jobs.move(job, JobState.QUEUED, self._now_us())
                case JobState.VERIFYING:
                    await self._verify(store, job)
                case _:
                    await self._send_next(store, job)
            self._link_wait_s = FIRST_WAIT_S
        except (StoreAway, StoreBusy) as error:
            level = logging.WARNING if self._link_wait_s == FIRST_WAIT_S else logging.DEBUG
            logger.log(level, "central %s: %s", self.central.id, error)
            self._link_at = self._monotonic() + self._link_wait_s
            self._link_wait_s = min(self._link_wait_s * 2, LONGEST_WAIT_S)
            await self._jobs.move(job, JobState.WAITING, self._now_us(), waiting_for=WaitingFor.LINK)
        except (StoreRefused, StoreDiffers) as error:
            logger.warning("job %s failed: %s", job.id, error)
            await self._end(job, JobState.FAILED, str(error))

    async def _plan_first(self, job: Job) -> None:
        # The pin comes first: from here on nothing that the job needs is evicted.
        asked = job.request
        try:
            await self._index.pin(job.id, job.key, asked.start_us, asked.end_us, max_bytes=self._hold_bytes())
        except HoldsFull as error:
            logger.info("job %s waits: %s", job.id, error)
            self._look_at[job.id] = self._monotonic() + HOLDS_LOOK_S
            return
        found = await self._replan(job)
        if not found.chunks and not found.growing:
            await self._end(job, JobState.FAILED, "nothing-recorded: no footage in this range")
            return
        await self._jobs.move(job, JobState.PLANNED, self._now_us())

    async def _replan(self, job: Job) -> Plan:
        found = await self._footage.plan(job, self._now_us())
        if altered := self._altered.get(job.id):
            gaps = sorted([*found.gaps, *altered.values()], key=lambda gap: gap.start_us)
            found = replace(found, gaps=tuple(gaps))
        self._plans[job.id] = found
        await self._jobs.plan(job, found.size_bytes, len(found.chunks), found.gaps, self._now_us())
        return found

    async def _send_next(self, store: S3Store, job: Job) -> None:
        found = self._plans.get(job.id) or await self._replan(job)
        sent = await self._jobs.sent_numbers(job)
        sent |= self._altered.get(job.id, {}).keys()
        missing = [chunk for chunk in found.chunks if (chunk.run, chunk.number) not in sent]
        if not missing and found.growing:
            found = await self._replan(job)
            missing = [chunk for chunk in found.chunks if (chunk.run, chunk.number) not in sent]
        if not missing:
            if found.growing:
                self._look_at[job.id] = self._monotonic() + LOOK_S
            else:
                await self._jobs.move(job, JobState.VERIFYING, self._now_us())
            return
        if job.state is not JobState.SENDING:
            moved = await self._jobs.move(job, JobState.SENDING, self._now_us())
            if moved is None:
                return
            job = moved
        await self._spend(await self._reports.announce(store, job, found))
        await self._send(store, job, missing[0], found)
        await self._spend(await self._reports.grow(store, job, found))

    async def _send(self, store: S3Store, job: Job, chunk: Chunk, found: Plan) -> None:
        try:
            content = await asyncio.to_thread(chunk_body, chunk)
        except Vanished:
            self._plans.pop(job.id, None)
            return
        except Altered as error:
            logger.warning("job %s goes on without a chunk: %s", job.id, error)
            gap = Gap(chunk.start_us, chunk.start_us + chunk.duration_us, GapReason.DISK_ERROR)
            self._altered.setdefault(job.id, {})[chunk.run, chunk.number] = gap
            self._plans.pop(job.id, None)
            return
        digest = content.sha256
        key = chunk_key(self._site.id, job.party, job.key, chunk.start_us, chunk.number)
        source = f"{self._site.id}/{job.key.camera}"
        both = codecs(chunk.codec, chunk.audio_entry)
        described = attributes(source, chunk.duration_us, both, chunk.width, chunk.height, digest)
        handed_bytes = store.handed_bytes
        try:
            await store.put(key, content, content_type=content_type(both), metadata=described)
        except (Altered, Vanished):
            # Its file went, or was changed, between the pass that hashed it and this one: planned anew.
            await self._spend(store.handed_bytes - handed_bytes + REQUEST_BYTES)
            self._plans.pop(job.id, None)
            return
        except StoreError:
            # What went out in vain was paid for all the same.
            await self._spend(store.handed_bytes - handed_bytes + REQUEST_BYTES)
            raise
        confirmed = SentChunk(
            run=chunk.run,
            number=chunk.number,
            object_key=key,
            start_us=chunk.start_us,
            duration_us=chunk.duration_us,
            codec=both,
            init_sha256=hashlib.sha256(chunk.init).digest(),
            init_bytes=len(chunk.init),
            size_bytes=content.size_bytes,
            sha256=digest,
            seal=chunk.seal,
        )
        await self._jobs.sent(
            job, confirmed, self._month(), content.size_bytes + REQUEST_BYTES, self._now_us()
        )
        if chunk.ends_run:
            end_us = chunk.start_us + chunk.duration_us
            end_key = run_end_key(self._site.id, job.party, job.key, end_us, chunk.number + 1)
            await store.put(end_key, b"", content_type="application/octet-stream", overwrite=True)

    async def _verify(self, store: S3Store, job: Job) -> None:
        """Asks about the next few chunks; after the last one the job ends."""
        chunks = await self._jobs.chunks(job)
        first = self._verified.get(job.id, 0)
        for number, chunk in enumerate(chunks[first : first + VERIFY_CHUNKS], first + 1):
            await self._spend(REQUEST_BYTES)
            found = await store.head(chunk.object_key)
            told = None if found is None else found.metadata.get("sha256", chunk.sha256.hex())
            if found is None or found.size_bytes != chunk.size_bytes or told != chunk.sha256.hex():
                await self._end(job, JobState.FAILED, f"the store lost or changed {chunk.object_key}")
                return
            self._verified[job.id] = number
        if first + VERIFY_CHUNKS < len(chunks):
            return
        found_plan = self._plans.get(job.id) or await self._replan(job)
        await self._spend(await self._reports.finish(store, job, found_plan))
        gaps = found_plan.gaps
        missing = "; ".join(sorted({str(gap.reason) for gap in gaps}))
        if gaps:
            await self._end(job, JobState.PARTIAL, f"parts of the range were not recorded: {missing}")
        else:
            await self._end(job, JobState.DONE, "")

    async def _end(self, job: Job, state: JobState, reason: str) -> None:
        await self._jobs.move(job, state, self._now_us(), reason=reason)
        await self.forget(job.id)

    async def forget(self, job_id: str) -> None:
        """Lets go of an ended job's footage."""
        self._plans.pop(job_id, None)
        self._look_at.pop(job_id, None)
        self._altered.pop(job_id, None)
        self._verified.pop(job_id, None)
        self._reports.forget(job_id)
        await self._index.unpin(job_id)

    async def _spend(self, wire_bytes: int) -> None:
        if wire_bytes:
            await self._jobs.spend(self._month(), wire_bytes)

    def _month(self) -> str:
        local = datetime.fromtimestamp(self._now_us() / 1e6, self._site.zone).date()
        return month_start(local, self._policy.billing_day).isoformat()
