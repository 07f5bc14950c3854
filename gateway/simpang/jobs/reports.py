"""Keeps a request's manifest, signature and playlist in the store abreast of its chunks."""

from __future__ import annotations

from collections.abc import Callable

from simpang.jobs.footage import Plan
from simpang.jobs.gateway_key import GatewayKey
from simpang.jobs.job_store import JobStore
from simpang.jobs.manifest import Circumstances, manifest, playlist
from simpang.jobs.model import Job
from simpang.jobs.object_names import request_folder
from simpang.store.s3 import S3Store

# The documents are written anew when they have grown by a twentieth: after every chunk at first, and so that
# a request of a thousand chunks costs some twenty times its final manifest, not five hundred times.
_GROWTH = 20


class Reports:
    """Writes the three documents of each request. Every method returns the bytes it sent.

    circumstances: what the manifest says of the site, the device and the clock, for a job and its footage.
    """

    def __init__(
        self, site: str, key: GatewayKey, jobs: JobStore, circumstances: Callable[[Job, Plan], Circumstances]
    ) -> None:
        self._site = site
        self._key = key
        self._jobs = jobs
        self._circumstances = circumstances
        # Chunks that the store's manifest lists, by job.
        self._listed: dict[str, int] = {}

    async def announce(self, store: S3Store, job: Job, plan: Plan) -> int:
        """Before the first chunk: whoever asked sees at once that something comes."""
        if job.id in self._listed:
            return 0
        return await self._write(store, job, plan, final=False)

    async def grow(self, store: S3Store, job: Job, plan: Plan) -> int:
        """After a chunk, once it is worth it."""
        count = len(await self._jobs.sent_numbers(job))
        if count - self._listed.get(job.id, 0) < max(1, count // _GROWTH):
            return 0
        return await self._write(store, job, plan, final=False)

    async def finish(self, store: S3Store, job: Job, plan: Plan) -> int:
        return await self._write(store, job, plan, final=True)

    def forget(self, job_id: str) -> None:
        self._listed.pop(job_id, None)

    async def _write(self, store: S3Store, job: Job, plan: Plan, *, final: bool) -> int:
        chunks = await self._jobs.chunks(job)
        folder = request_folder(self._site, job.party, job.id)
        content = manifest(job, self._circumstances(job, plan), chunks, plan.gaps, final=final)
        signed = self._key.detached_jws(content)
        listed = playlist(folder, chunks, final=final)
        for name, body, kind in (
            ("manifest.json", content, "application/json"),
            ("manifest.jws", signed, "application/jose"),
            ("playlist.m3u8", listed, "application/vnd.apple.mpegurl"),
        ):
            await store.put(folder + name, body, content_type=kind, overwrite=True)
        self._listed[job.id] = len(chunks)
        return len(content) + len(signed) + len(listed)
