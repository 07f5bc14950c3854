"""`simpang clip`: what was recorded, as MP4."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, range_options, stream_options, verb

if TYPE_CHECKING:
    from simpang.cli.client import Api

_BLOCK_BYTES = 1 << 18


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    parser = verb(
        verbs,
        shared,
        "clip",
        clip,
        summary="save what was recorded in a range of time as MP4",
        text="Begins at the key frame at or before --start; with --exact it shows from the picture of "
        "--start to the last before --end. Where recording was interrupted or the camera's encoding "
        "changed, a further file begins: FILE-1.mp4, FILE-2.mp4 and so on. Exit code 5 if nothing was "
        "recorded. Nothing is re-encoded.",
        examples="""
            simpang clip --camera utara --start -10m --end now -o utara.mp4
            simpang clip --camera utara --start 2026-11-24T02:00:00Z --end 2026-11-24T02:05:00Z -o a.mp4
        """,
    )
    stream_options(parser, camera_needed=True)
    range_options(parser, needed=True)
    parser.add_argument(
        "--exact",
        action="store_true",
        help="show exactly the range, to the picture; the key frame before it is in the file, unseen",
    )
    parser.add_argument(
        "-o",
        metavar="FILE",
        dest="output",
        required=True,
        help="where to; - for standard output, which takes the first file only. An existing file is replaced",
    )


def clip(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.when import now_us, parse_range

    start_us, end_us = parse_range(arguments.start, arguments.end, now_us())
    path = f"/api/v1/cameras/{arguments.camera}/streams/{arguments.stream}/clip.mp4"

    async def fetch(api: Api) -> list[dict[str, str]]:
        return await _fetch(api, path, start_us, end_us, arguments.output, exact=arguments.exact)

    written = ask(arguments, fetch)
    if arguments.json and arguments.output != "-":
        from simpang.cli.output import print_json

        print_json({"files": written})
    return Exit.DONE


async def _fetch(
    api: Api, path: str, start_us: int, end_us: int, output: str, *, exact: bool
) -> list[dict[str, str]]:
    """Writes every part to its file; returns what was written, first to last."""
    from simpang.cli.output import note
    from simpang.web.times import format_time

    start, end = format_time(start_us), format_time(end_us)
    written: list[dict[str, str]] = []
    while True:
        query = {"start": start, "end": end, "exact": str(int(exact))}
        async with api.stream(path, query) as response:
            following = response.headers.get("Simpang-Next")
            if output == "-":
                await _copy(response.content.iter_chunked(_BLOCK_BYTES), sys.stdout.buffer)
                if following is not None:
                    note(f"more was recorded from {following}: ask again with --start {following}")
                return written
            single = following is None and not written
            name = _numbered(Path(output), None if single else len(written) + 1)
            async with replacing(name) as file:
                await _copy(response.content.iter_chunked(_BLOCK_BYTES), file)
        part = {
            "file": str(name),
            "start": response.headers.get("Simpang-Start", start),
            "end": response.headers.get("Simpang-End", end),
        }
        written.append(part)
        note(f"{part['file']}: {part['start']} to {part['end']}")
        # A part that did not move on would be asked for again for ever.
        if following is None or following <= start:
            return written
        start = following


def _numbered(path: Path, number: int | None) -> Path:
    return path if number is None else path.with_name(f"{path.stem}-{number}{path.suffix or '.mp4'}")


@contextlib.asynccontextmanager
async def replacing(path: Path) -> AsyncIterator[BinaryIO]:
    """A file that takes its name only when it is whole; what breaks off leaves nothing behind."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with await asyncio.to_thread(fresh.open, "wb") as file:
            yield file
        await asyncio.to_thread(fresh.replace, path)
    except OSError as error:
        raise CliError(Exit.FAILED, f"{path} cannot be written: {error.strerror}") from error
    finally:
        # Where the folder is none there is nothing to remove either.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(fresh.unlink)


async def _copy(blocks: AsyncIterator[bytes], file: BinaryIO) -> None:
    """Writes in a thread: a disk that stalls must not stall the reading beyond its time limit."""
    async for block in blocks:
        await asyncio.to_thread(file.write, block)
    await asyncio.to_thread(file.flush)
