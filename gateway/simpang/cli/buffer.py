"""`simpang buffer list`: what is kept. Its other verbs have modules of their own."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from simpang.cli import buffer_check, folders, kept
from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, range_options, verb

if TYPE_CHECKING:
    from simpang.cli.client import Api


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

    buffer_check.add(inner, shared)
    kept.add(inner, shared)
    folders.add(inner, shared)


def list_(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.when import now_us, parse_range

    if arguments.start is None:
        if arguments.end is not None:
            raise CliError(Exit.USAGE, "--end needs --start")
        return _list_streams(arguments, ask(arguments, _cameras))
    start_us, end_us = parse_range(arguments.start, arguments.end or "now", now_us())

    async def fetch(api: Api) -> list[dict[str, Any]]:
        return await _coverage(api, arguments, start_us, end_us)

    return _list_stretches(arguments, ask(arguments, fetch))


async def _cameras(api: Api) -> dict[str, Any]:
    """The cameras of this site, and those of others whose footage is kept here."""
    cameras: dict[str, Any] = await api.get("/api/v1/cameras")
    for stream in (await api.get("/api/v1/index"))["foreign"]:
        kept = {
            "name": stream["stream"],
            "site": stream["site"],
            "bytes": stream["bytes"],
            "oldest": stream["oldest"],
            "last_fragment": stream["newest"],
        }
        cameras["items"].append({"id": stream["camera"], "streams": [kept]})
    return cameras


async def _coverage(
    api: Api, arguments: argparse.Namespace, start_us: int, end_us: int
) -> list[dict[str, Any]]:
    from simpang.web.times import format_time

    query = {"start": format_time(start_us), "end": format_time(end_us)}
    found = []
    for camera, stream in _wished(arguments, await _cameras(api)):
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
        ("CAMERA", "STREAM", "KEPT", "OLDEST", "LAST WRITTEN", "OF SITE"),
        [
            (
                camera,
                stream["name"],
                size(stream["bytes"]),
                local(stream["oldest"]),
                local(stream["last_fragment"]),
                stream.get("site", "this"),
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
