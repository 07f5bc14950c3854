"""`simpang job list | add | show | cancel`: footage on its way to a centre."""

from __future__ import annotations

import argparse
from typing import Any

from simpang.cli.exits import Exit
from simpang.cli.verbs import Verbs, range_options, stream_options, verb

_STATES = (
    "received", "authorised", "refused", "planned", "queued", "sending", "verifying", "done", "waiting",
    "partial", "expired", "cancelled", "failed",
)  # fmt: skip


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    group = verb(verbs, shared, "job", None, summary="send footage to a central, and see how far it is")
    inner = group.add_subparsers(title="verbs", metavar="VERB", required=True)

    parser = verb(inner, shared, "list", list_, summary="every job, newest first")
    parser.add_argument(
        "--state", choices=_STATES, metavar="S", help=f"only jobs in this state: {', '.join(_STATES)}"
    )

    parser = verb(
        inner,
        shared,
        "add",
        add_job,
        summary="send what was recorded in a range of time to a central's store",
        text="The job survives a restart; chunks of about 4 s, a manifest and a playlist grow in the store "
        "and can be played while they arrive. Footage that is still to come is sent as it is recorded.",
        examples="""
            simpang job add --camera utara --start -10m --end now --to pontive
            simpang job add --camera utara --start -1d --end now --to pontive --priority backfill
        """,
    )
    stream_options(parser, camera_needed=True)
    range_options(parser, needed=True)
    parser.add_argument(
        "--to", metavar="CENTRAL", required=True, help="id of a [[central]] in simpang.toml that has a store"
    )
    parser.add_argument(
        "--priority",
        choices=("urgent", "clip", "backfill", "bulk"),
        default="clip",
        help="urgent goes first, even beyond the month's cap; backfill and bulk keep to the allowed hours "
        "of [uplink] (default: clip)",
    )

    parser = verb(inner, shared, "show", show, summary="one job: its state, how far it is, what is missing")
    parser.add_argument("id", metavar="ID", help="the job's id, as `simpang job list` shows it")
    parser = verb(
        inner, shared, "cancel", cancel, summary="stop a job", text="What was sent stays in the store."
    )
    parser.add_argument("id", metavar="ID", help="the job's id, as `simpang job list` shows it")


def list_(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.output import print_json

    query = {"state": arguments.state} if arguments.state else {}
    found = ask(arguments, lambda api: api.get("/api/v1/jobs", query))
    if arguments.json:
        print_json(found)
    else:
        _print(found["items"])
    return Exit.DONE


def add_job(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.when import now_us, parse_range
    from simpang.web.times import format_time

    start_us, end_us = parse_range(arguments.start, arguments.end, now_us())
    body = {
        "camera": arguments.camera,
        "stream": arguments.stream,
        "start": format_time(start_us),
        "end": format_time(end_us),
        "central": arguments.to,
        "priority": arguments.priority,
    }
    return _print_one(arguments, ask(arguments, lambda api: api.post("/api/v1/jobs", body)))


def show(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask

    job = ask(arguments, lambda api: api.get(f"/api/v1/jobs/{arguments.id}"))
    code = _print_one(arguments, job)
    if not arguments.json:
        print(f"\nmanifest {job['manifest'] or '-'}")
        for gap in job["gaps"]:
            print(f"missing  {gap['start']} to {gap['end']}: {gap['reason']}")
    return code


def cancel(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask

    return _print_one(arguments, ask(arguments, lambda api: api.delete(f"/api/v1/jobs/{arguments.id}")))


def _print_one(arguments: argparse.Namespace, job: dict[str, Any]) -> int:
    from simpang.cli.output import print_json

    if arguments.json:
        print_json(job)
    else:
        _print([job])
    return Exit.DONE


def _print(jobs: list[dict[str, Any]]) -> None:
    from simpang.cli.output import print_table, size
    from simpang.cli.when import local

    print_table(
        ("JOB", "STATE", "CAMERA", "FROM", "TO", "CENTRAL", "CHUNKS", "SENT"),
        [
            (
                job["id"],
                _state(job),
                f"{job['camera']}/{job['stream']}",
                local(job["start"]),
                local(job["end"]),
                job["central"],
                f"{job['chunks_done']}/{job['chunks_total']}",
                f"{size(job['bytes_done'])} of {size(job['bytes_total'])}",
            )
            for job in jobs
        ],
    )


def _state(job: dict[str, Any]) -> str:
    if job["waiting_for"]:
        return f"{job['state']}({job['waiting_for']})"
    return f"{job['state']}({job['reason']})" if job["reason"] else str(job["state"])
