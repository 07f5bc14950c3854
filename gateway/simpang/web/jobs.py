"""Jobs over HTTP: what is being sent, asking for more, taking it back."""

from __future__ import annotations

from aiohttp import hdrs, web

from simpang.config.model import Config
from simpang.jobs.model import Job, JobRefused, JobRequest, JobState, Priority
from simpang.jobs.object_names import request_folder
from simpang.web import schemas
from simpang.web.context import body_of, gateway_of, json_answer
from simpang.web.problems import Problem
from simpang.web.times import format_time, parse_time

_MOST_KEY_CHARACTERS = 128
# A job's chunks are listed in memory while it is sent: a day is 21,600.
MOST_JOB_S = 86_400
# What a refusal code of the contract is over HTTP; the rest is a conflict with how things stand.
_REFUSALS = {
    "malformed": "malformed",
    "nothing-recorded": "nothing-recorded",
    "busy": "busy",
    "quota": "busy",
}


async def get_jobs(request: web.Request) -> web.Response:
    state = request.query.get("state")
    if state is not None and state not in list(JobState):
        known = ", ".join(JobState)
        raise Problem("malformed", "No such state.", errors=[("state", f"must be one of {known}")])
    jobs = await gateway_of(request).jobs.list(JobState(state) if state else None)
    return json_answer(schemas.Jobs(items=[job_answer(job, gateway_of(request).config) for job in jobs]))


async def post_job(request: web.Request) -> web.Response:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= _MOST_KEY_CHARACTERS:
        raise Problem(
            "malformed", "Idempotency-Key is 1 to 128 characters.", errors=[("Idempotency-Key", "too long")]
        )
    asked = _job_request(await body_of(request, schemas.JobAsked), key)
    try:
        job, new = await gateway_of(request).jobs.add(asked)
    except JobRefused as refused:
        raise Problem(
            _REFUSALS.get(refused.code, "conflict"), str(refused), extra={"refusal": refused.code}
        ) from None
    response = json_answer(job_answer(job, gateway_of(request).config), 201 if new else 200)
    response.headers[hdrs.LOCATION] = f"/api/v1/jobs/{job.id}"
    return response


async def get_job(request: web.Request) -> web.Response:
    job = await gateway_of(request).jobs.get(request.match_info["id"])
    if job is None:
        raise Problem("not-found", "There is no such job.")
    return json_answer(job_answer(job, gateway_of(request).config))


async def delete_job(request: web.Request) -> web.Response:
    """Cancels it; what was sent stays in the store. A job that has ended stays as it is."""
    job = await gateway_of(request).jobs.cancel(request.match_info["id"])
    if job is None:
        raise Problem("not-found", "There is no such job.")
    return json_answer(job_answer(job, gateway_of(request).config))


async def get_uplinks(request: web.Request) -> web.Response:
    centrals = gateway_of(request).config.central
    items = [schemas.Uplink(central=one.id, party=one.party, store=one.store is not None) for one in centrals]
    return json_answer(schemas.Uplinks(items=items))


def job_answer(job: Job, config: Config) -> schemas.Job:
    asked = job.request
    central = config.central_by_id(asked.central)
    manifest = None
    if central is not None and central.store is not None:
        folder = request_folder(config.site.id, job.party, job.id)
        manifest = f"{central.store.prefix}{folder}manifest.json"
    return schemas.Job(
        id=job.id,
        state=job.state.value,
        waiting_for=job.waiting_for.value if job.waiting_for else None,
        reason=job.reason or None,
        central=asked.central,
        party=job.party,
        camera=asked.camera,
        stream=asked.stream,
        start=format_time(asked.start_us),
        end=format_time(asked.end_us),
        priority=asked.priority.word,
        bytes_done=job.bytes_done,
        bytes_total=job.bytes_total,
        chunks_done=job.chunks_done,
        chunks_total=job.chunks_total,
        manifest=manifest,
        gaps=[
            schemas.Gap(start=format_time(gap.start_us), end=format_time(gap.end_us), reason=gap.reason.value)
            for gap in job.gaps
        ],
        created=format_time(job.created_us),
    )


def _job_request(asked: schemas.JobAsked, key: str | None) -> JobRequest:
    faults: list[tuple[str, str]] = []
    times: list[int] = []
    for name, text in (("start", asked.start), ("end", asked.end)):
        try:
            times.append(parse_time(text))
        except ValueError as error:
            faults.append((name, str(error)))
    if len(times) == 2 and not 0 < times[1] - times[0] <= MOST_JOB_S * 1_000_000:
        faults.append(("end", f"must be later than start, by at most {MOST_JOB_S // 3600} hours"))
    if faults:
        raise Problem("malformed", "The times cannot be used.", errors=faults)
    return JobRequest(
        camera=asked.camera,
        stream=asked.stream,
        start_us=times[0],
        end_us=times[1],
        central=asked.central,
        priority=Priority[asked.priority.upper()],
        idempotency_key=key,
    )
