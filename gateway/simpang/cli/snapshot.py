"""`simpang snapshot`: one picture, as JPEG."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from simpang.cli.exits import Exit
from simpang.cli.verbs import Verbs, stream_options, verb

if TYPE_CHECKING:
    from simpang.cli.client import Api


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    parser = verb(
        verbs,
        shared,
        "snapshot",
        snapshot,
        summary="save one picture of a camera as JPEG",
        text="The newest key frame, or the one at or before --at; with --exact the very picture that was on "
        "the screen then. Exit code 5 if nothing was recorded.",
        examples="""
            simpang snapshot --camera utara -o now.jpg
            simpang snapshot --camera utara --at 2026-11-24T02:00:05Z --exact -o plate.jpg
        """,
    )
    stream_options(parser, camera_needed=True)
    parser.add_argument(
        "--at",
        metavar="T",
        default="now",
        help="when: 2026-11-24T02:00:00Z, or -10m before now (default: now)",
    )
    parser.add_argument("--exact", action="store_true", help="not the key frame before, but the very picture")
    parser.add_argument(
        "-o",
        metavar="FILE",
        dest="output",
        required=True,
        help="where to; - for standard output. An existing file is replaced",
    )


def snapshot(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.when import format_time, now_us, parse_when

    at = format_time(parse_when(arguments.at, "--at", now_us()))
    path = f"/api/v1/cameras/{arguments.camera}/streams/{arguments.stream}/frame.jpg"
    query = {"at": at, "exact": str(int(arguments.exact))}

    async def fetch(api: Api) -> str:
        async with api.stream(path, query) as response:
            picture = await response.read()
            time = response.headers.get("Simpang-Time", at)
        await _write(arguments.output, picture)
        return time

    time = ask(arguments, fetch)
    if arguments.output != "-":
        _tell(arguments, time)
    return Exit.DONE


async def _write(output: str, picture: bytes) -> None:
    from simpang.cli.clip import replacing

    if output == "-":
        await asyncio.to_thread(sys.stdout.buffer.write, picture)
        await asyncio.to_thread(sys.stdout.buffer.flush)
        return
    async with replacing(Path(output)) as file:
        await asyncio.to_thread(file.write, picture)


def _tell(arguments: argparse.Namespace, time: str) -> None:
    from simpang.cli.output import note, print_json

    if arguments.json:
        print_json({"file": arguments.output, "time": time})
    else:
        note(f"{arguments.output}: {time}")
