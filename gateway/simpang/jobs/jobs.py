"""All jobs of the gateway: taken on, shown, ended; and one uplink per centre that does them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from simpang.config.model import Central, Config
from simpang.config.secrets import Secrets
from simpang.jobs.ceiling import Ceiling
from simpang.jobs.footage import Footage, Plan
from simpang.jobs.gateway_key import GatewayKey
from simpang.jobs.job_store import JobStore
from simpang.jobs.manifest import Circumstances
from simpang.jobs.model import Job, JobRefused, JobRequest, JobState
from simpang.jobs.reports import Reports
from simpang.jobs.uplink import Site, Uplink
from simpang.state.database import State
from simpang.store.s3 import S3Store, StoreAddress, trusting
from simpang.store.sigv4 import StoreKeys
from simpang.supervise import Supervisor
from simpang_buffer.index.index import Index
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.reading.tail import Tails

# Footage that is still to come may be asked for, but a mistyped year must not wait for ever.
LONGEST_WAIT_US = 24 * 3600 * 1_000_000


class Jobs:
    """Opened once the index and state are; `run` does the work until it is cancelled.

    files: the folder that ca_file and its like are relative to. hold_bytes: what jobs may keep from eviction.
    circumstances: what manifests say of the device and the clock. current_reason: why a camera's footage ends
    where it does now.
    """

    def __init__(
        self,
        config: Config,
        files: Path,
        *,
        state: State,
        index: Index,
        tails: Tails,
        secrets: Secrets,
        key: GatewayKey,
        circumstances: Callable[[Job, Plan], Circumstances],
        current_reason: Callable[[str], GapReason],
        supervisor: Supervisor,
        hold_bytes: Callable[[], int],
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._config = config
        self._files = files
        self._store = JobStore(state)
        self._index = index
        self._footage = Footage(index, tails, current_reason)
        self._secrets = secrets
        self._supervisor = supervisor
        self._now_us = now_us
        self._ceiling = Ceiling(config.uplink.ceiling)
        site = Site(config.site.id, ZoneInfo(config.site.time_zone))
        self._uplinks = {
            central.id: Uplink(
                central,
                config.uplink,
                site,
                open_store=lambda central=central: self.open_store(central),  # type: ignore[misc]  # bound now
                jobs=self._store,
                index=index,
                footage=self._footage,
                reports=Reports(site.id, key, self._store, circumstances),
                hold_bytes=hold_bytes,
                now_us=now_us,
            )
            for central in config.central
            if central.store is not None
        }

    async def run(self) -> None:
        """Works off the jobs of every centre, each on its own: one that is down holds up no other."""
        await self._fail_orphans()
        open_jobs = set(await self._store.open_ids())
        for pin in await self._index.pins():
            if pin.job not in open_jobs:
                await self._index.unpin(pin.job)
        if not self._uplinks:
            # Nothing will ever come: a return would be taken for work done, and asked for again at once.
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            for central, uplink in self._uplinks.items():
                name = f"uplink:{central}"
                group.create_task(self._supervisor.keep_running(name, uplink.run_once), name=name)

    async def _fail_orphans(self) -> None:
        """A job whose centre is no longer configured would wait for ever and hold its footage."""
        for job in await self._store.open_elsewhere(tuple(self._uplinks)):
            reason = f"central {job.request.central} is no longer in simpang.toml, or has no store there"
            await self._store.move(job, JobState.FAILED, self._now_us(), reason=reason)

    async def add(self, request: JobRequest) -> tuple[Job, bool]:
        """The new job, or the one that the same idempotency key made; and whether it is new.

        Raises JobRefused with code malformed, unsupported or nothing-recorded.
        """
        central = self._config.central_by_id(request.central)
        if central is None or central.store is None:
            known = ", ".join(self._uplinks) or "none is configured"
            raise JobRefused(
                "malformed", f"no centre {request.central!r} with a store; add it to simpang.toml ({known})"
            )
        await self._check(request)
        job, new = await self._store.add(request, central.party, self._now_us())
        if new:
            self._uplinks[central.id].ring()
        return job, new

    async def list(self, state: JobState | None = None) -> list[Job]:
        """Newest first, at most 1,000."""
        return await self._store.newest(state)

    async def get(self, job_id: str) -> Job | None:
        return await self._store.get(job_id)

    async def cancel(self, job_id: str) -> Job | None:
        """The job as it stands afterwards; None if there is no such job. What was sent stays in the store."""
        job = await self._store.get(job_id)
        if job is None or job.state.ended:
            return job
        await self._store.move(job, JobState.CANCELLED, self._now_us(), reason="cancelled here")
        if (uplink := self._uplinks.get(job.request.central)) is not None:
            await uplink.forget(job_id)
            uplink.ring()
        else:
            await self._index.unpin(job_id)
        return await self._store.get(job_id)

    def open_store(self, central: Central) -> S3Store:
        """The centre's store, paced by the ceiling. Raises SecretFault, StoreRefused for its files."""
        settings = central.store
        assert settings is not None
        keys = StoreKeys(
            self._secrets.read(settings.access_key_file),
            self._secrets.read(settings.secret_key_file),
            settings.region,
        )
        tls = None
        if central.ca_file is not None:
            tls = trusting(self._files / central.ca_file)
        address = StoreAddress(settings.endpoint.rstrip("/"), settings.bucket, settings.prefix)
        return S3Store(address, keys, pace=self._ceiling.take, tls=tls)

    async def _check(self, request: JobRequest) -> None:
        now_us = self._now_us()
        if request.end_us <= request.start_us:
            raise JobRefused("malformed", "the end is not after the start; swap them")
        if request.end_us > now_us + LONGEST_WAIT_US:
            raise JobRefused("malformed", "the end is more than a day ahead; ask again nearer the time")
        key = StreamKey(request.camera, request.stream)
        known = await self._index.streams()
        if key not in known:
            listed = ", ".join(map(str, known)) or "none yet"
            raise JobRefused("nothing-recorded", f"{key} was never recorded here; recorded are: {listed}")
        past = request.end_us <= now_us
        if past and not await self._footage.exists(key, request.start_us, request.end_us, now_us):
            raise JobRefused("nothing-recorded", f"{key} has no footage in this range")
