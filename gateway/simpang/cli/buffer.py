"""`simpang buffer list | check`: what is kept, and whether it is all there."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, range_options, verb

if TYPE_CHECKING:
    from simpang.cli.client import Api
    from simpang_buffer.index.check import Finding


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    group = verb(
        verbs, shared, "buffer", None, summary="list the footage that is kept, and check that it is whole"
    )
    inner = group.add_subparsers(title="verbs", metavar="VERB", required=True)

    parser = verb(
        inner,
        shared,
        "list",
        list_,
        summary="what is kept of each stream; with --start, every stretch and every gap with its reason",
        examples="""
            simpang buffer list
            simpang buffer list --camera utara --start -1d
        """,
    )
    parser.add_argument("--camera", metavar="ID", help="only this camera (default: all)")
    parser.add_argument("--stream", choices=("main", "sub"), help="only this stream (default: both)")
    range_options(parser, needed=False)

    parser = verb(
        inner,
        shared,
        "check",
        check,
        summary="prove that index and media files agree; name every fault",
        text="Works beside a running gateway, and without one. Exit code 1 if there are faults. "
        "--repair needs the gateway stopped.",
        examples="""
            simpang buffer check
            simpang buffer check --deep --data /srv/footage
            systemctl stop simpang; simpang buffer check --repair; systemctl start simpang
        """,
    )
    parser.add_argument("--data", metavar="DIR", type=Path, help="the data folder (default: [buffer].path)")
    parser.add_argument(
        "--deep",
        action="store_true",
        help="also read every file and verify every seal: finds later edits and bad sectors, and takes as "
        "long as reading the whole disk",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="take in or remove files that no row names, and drop rows whose file is gone",
    )


def list_(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.when import now_us, parse_range

    if arguments.start is None:
        if arguments.end is not None:
            raise CliError(Exit.USAGE, "--end needs --start")
        return _list_streams(arguments, ask(arguments, lambda api: api.get("/api/v1/cameras")))
    start_us, end_us = parse_range(arguments.start, arguments.end or "now", now_us())

    async def fetch(api: Api) -> list[dict[str, Any]]:
        return await _coverage(api, arguments, start_us, end_us)

    return _list_stretches(arguments, ask(arguments, fetch))


async def _coverage(
    api: Api, arguments: argparse.Namespace, start_us: int, end_us: int
) -> list[dict[str, Any]]:
    from simpang.web.times import format_time

    query = {"start": format_time(start_us), "end": format_time(end_us)}
    found = []
    for camera, stream in _wished(arguments, await api.get("/api/v1/cameras")):
        path = f"/api/v1/cameras/{camera}/streams/{stream['name']}/coverage"
        found.append({"camera": camera, "stream": stream["name"], **await api.get(path, query)})
    return found


def _wished(arguments: argparse.Namespace, cameras: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = [
        (camera["id"], stream)
        for camera in cameras["items"]
        if arguments.camera in (None, camera["id"])
        for stream in camera["streams"]
        if arguments.stream in (None, stream["name"])
    ]
    if not found and arguments.camera is not None:
        raise CliError(Exit.NOTHING, f"there is no camera {arguments.camera!r} with such a stream")
    return found


def _list_streams(arguments: argparse.Namespace, cameras: dict[str, Any]) -> int:
    from simpang.cli.output import print_json, print_table, size
    from simpang.cli.when import local

    found = _wished(arguments, cameras)
    if arguments.json:
        print_json({"items": [{"camera": camera, **stream} for camera, stream in found]})
        return Exit.DONE
    print_table(
        ("CAMERA", "STREAM", "KEPT", "OLDEST", "LAST WRITTEN"),
        [
            (
                camera,
                stream["name"],
                size(stream["bytes"]),
                local(stream["oldest"]),
                local(stream["last_fragment"]),
            )
            for camera, stream in found
        ],
    )
    return Exit.DONE


def _list_stretches(arguments: argparse.Namespace, found: list[dict[str, Any]]) -> int:
    from simpang.cli.output import print_json, print_table, size
    from simpang.cli.when import local

    if arguments.json:
        print_json({"items": found})
    else:
        rows = [
            (one["camera"], one["stream"], local(span["start"]), local(span["end"]), span["start"], what)
            for one in found
            for span, what in (
                *((span, size(span["bytes"])) for span in one["spans"]),
                *((gap, f"gap: {gap['reason']}") for gap in one["gaps"]),
            )
        ]
        rows.sort(key=lambda row: (row[0], row[1], row[4]))
        print_table(("CAMERA", "STREAM", "FROM", "TO", "WHAT"), [(*row[:4], row[5]) for row in rows])
    return Exit.DONE if any(one["spans"] for one in found) else Exit.NOTHING


def check(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import configured_data
    from simpang.cli.output import print_json
    from simpang_buffer.index.errors import StorageError

    data = (arguments.data or configured_data(arguments)).absolute()
    try:
        findings = asyncio.run(_check(data, deep=arguments.deep, repair=arguments.repair))
    except (StorageError, OSError, sqlite3.Error) as error:
        raise CliError(Exit.FAILED, str(error)) from None
    left = [finding for finding in findings if not finding.repaired]
    if arguments.json:
        print_json({"data": str(data), "findings": [_object(finding) for finding in findings]})
    else:
        for finding in findings:
            repaired = " (repaired)" if finding.repaired else ""
            print(f"{finding.code}: {finding.path or 'index.db'}: {finding.words}{repaired}")
        if left and not arguments.repair:
            print(f"{len(left)} faults; stop the gateway and run `simpang buffer check --repair`")
        else:
            print(f"{data}: {len(left)} faults left" if left else f"{data}: no faults")
    return Exit.FAILED if left else Exit.DONE


async def _check(data: Path, *, deep: bool, repair: bool) -> list[Finding]:
    from simpang_buffer.index.check import check as prove
    from simpang_buffer.index.index import open_index

    if not (data / "index.db").exists():
        raise CliError(Exit.NOTHING, f"there is no index.db in {data}; name the data folder with --data")
    async with (
        _alone(data, needed=repair) as alone,
        open_index(data / "index.db", read_only=not repair) as index,
    ):
        # What a killed gateway left open is taken in at its next start: no fault, and to be expected.
        pending = not alone or await index.meta("stopped") != "clean"
        return await prove(data / "media", index, deep=deep, repair=repair, recording=pending and not repair)


@contextlib.asynccontextmanager
async def _alone(data: Path, *, needed: bool) -> AsyncIterator[bool]:
    """Whether no gateway works in the folder; while it is `needed`, none can start."""
    from simpang.lock import LockHeld, hold_lock

    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(hold_lock(data / "lock", wait_s=0))
        except LockHeld as error:
            if needed:
                raise CliError(Exit.REFUSED, f"--repair: {error}") from None
            yield False
            return
        if not needed:
            await stack.aclose()
        yield True


def _object(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "path": str(finding.path) if finding.path is not None else None,
        "words": finding.words,
        "repaired": finding.repaired,
    }
