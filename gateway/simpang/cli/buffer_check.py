"""`simpang buffer check | rebuild`: whether what is kept is whole, and the index made anew from the files."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import sys
import time
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, verb

if TYPE_CHECKING:
    from simpang.cli.client import Api
    from simpang_buffer.index.check import Finding

T = TypeVar("T")

# Of one kind; a disk that lost a folder has thousands, and --json has them all.
_MOST_PRINTED = 20
_PROGRESS_S = 0.5
_POLL_S = 0.5


def add(inner: Verbs, shared: argparse.ArgumentParser) -> None:
    parser = verb(
        inner,
        shared,
        "check",
        check,
        summary="prove that index and media files agree; name every fault",
        text="Works beside a running gateway, and without one. Exit code 1 if there are faults. "
        "--repair needs the gateway stopped, and never removes a file that holds footage.",
        examples="""
            simpang buffer check
            simpang buffer check --depth boxes
            simpang buffer check --deep --data /srv/footage
            systemctl stop simpang; simpang buffer check --repair; systemctl start simpang
        """,
    )
    _data_option(parser)
    parser.add_argument(
        "--depth",
        choices=("rows", "boxes", "seals"),
        default="rows",
        help="rows: every file is there and of its size; boxes: also what each file says of itself, a few "
        "kilobytes a file; seals: also every byte, which finds later edits and bad sectors and takes as long "
        "as reading the whole disk (default: rows)",
    )
    parser.add_argument(
        "--deep", dest="depth", action="store_const", const="seals", help="the same as --depth seals"
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="take in files that no row names, and drop rows whose file is gone; what cannot be judged is "
        "set aside under another name",
    )

    parser = verb(
        inner,
        shared,
        "rebuild",
        rebuild,
        summary="make the index anew from the media files alone, newest first",
        text="A running gateway does it beside recording, and begins by itself where its index is missing, "
        "damaged or another's. Footage of another site keeps its camera ids, or is named CAMERA-SITE where "
        "they are taken.",
        examples="""
            simpang buffer rebuild
            simpang buffer rebuild --data /mnt/old-disk --site digulis
        """,
    )
    _data_option(parser)
    parser.add_argument(
        "--site", metavar="ID", help="whose footage is ours, where no gateway runs (default: [site].id)"
    )
    parser.add_argument("--wait", action="store_true", help="with a running gateway: until it is done")


def _data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", type=Path, help="the data folder (default: [buffer].path)")


def check(arguments: argparse.Namespace) -> int:
    from simpang.cli.output import print_json

    data = _data(arguments)
    findings = _run(_check(arguments, data))
    left = [finding for finding in findings if not finding.repaired]
    if arguments.json:
        found = [_object(finding) for finding in findings]
        print_json({"data": str(data), "depth": arguments.depth, "findings": found})
    else:
        _print_findings(findings)
        if left and not arguments.repair:
            print(f"{len(left)} faults; stop the gateway and run `simpang buffer check --repair`")
        else:
            print(f"{data}: {len(left)} faults left" if left else f"{data}: no faults")
    return Exit.FAILED if left else Exit.DONE


def rebuild(arguments: argparse.Namespace) -> int:
    from simpang.cli.output import print_json

    data = _data(arguments)
    done = _run(_rebuild(arguments, data))
    if arguments.json:
        print_json(done)
        return Exit.FAILED if done["problems"] else Exit.DONE
    if done["state"] == "rebuilding":
        print("the gateway rebuilds its index beside recording; `simpang status` says how far it is")
    else:
        print(f"{data}: the index is whole: {done['done']} files read, {done['problems']} could not be")
    for stream in done["foreign"]:
        print(f"{stream['camera']}/{stream['stream']}: recorded by site {stream['site']}")
    return Exit.FAILED if done["problems"] else Exit.DONE


async def _check(arguments: argparse.Namespace, data: Path) -> list[Finding]:
    from simpang_buffer.index.check import Depth
    from simpang_buffer.index.check import check as prove
    from simpang_buffer.index.folder_rows import folders_there
    from simpang_buffer.index.index import open_index

    if not await asyncio.to_thread((data / "index.db").exists):
        raise CliError(Exit.NOTHING, f"there is no index.db in {data}; name the data folder with --data")
    repair, depth = arguments.repair, Depth[arguments.depth.upper()]
    async with _alone(data, needed="--repair" if repair else None) as alone:
        open_files = None if alone else await _open_files(arguments, data)
        async with open_index(data / "index.db", read_only=not repair) as index:
            # What a killed gateway left open is taken in at its next start: no fault, and to be expected.
            pending = open_files is None and (not alone or await index.meta("stopped") != "clean")
            with _progress("looked at") as progress:
                return await prove(
                    data / "media",
                    index,
                    depth=depth,
                    repair=repair,
                    open_files=[Path(path) for path in open_files or ()],
                    recording=pending and not repair,
                    folders=await folders_there(index),
                    progress=progress,
                )


async def _rebuild(arguments: argparse.Namespace, data: Path) -> dict[str, Any]:
    from simpang_buffer.index.folder_rows import folders_there
    from simpang_buffer.index.foreign import foreign_streams
    from simpang_buffer.index.opening import open_whole_index
    from simpang_buffer.index.owners import note_site
    from simpang_buffer.index.rebuild import Rebuild
    from simpang_buffer.index.recovery import Due, drop_due, note_due

    async with contextlib.AsyncExitStack() as stack:
        if not await stack.enter_async_context(_alone(data, hold=True)):
            return await _ask_for_rebuild(arguments, data)
        if not await asyncio.to_thread((data / "media").is_dir):
            raise CliError(
                Exit.NOTHING, f"there is no folder media in {data}; name the data folder with --data"
            )
        site, now_us = _site(arguments), time.time_ns() // 1000
        index, due = await stack.enter_async_context(
            open_whole_index(data / "index.db", data / "media", site, now_us)
        )
        await asyncio.to_thread(note_due, index.db.path, due or Due("by-hand", now_us))
        await note_site(index, site)
        work = Rebuild(index, {one.folder: one for one in await folders_there(index)}, site, rest=0)
        with _progress("read") as progress:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(work.run(), name="rebuild")
                while not running.done():
                    progress(work.done, work.total or 0)
                    await asyncio.wait([running], timeout=_PROGRESS_S)
        report = running.result()
        await asyncio.to_thread(drop_due, index.db.path)
        for problem in report.problems:
            sys.stderr.write(f"{problem.path}: {problem.words}\n")
        return {
            "state": "ok",
            "done": work.done,
            "total": work.total,
            "adopted": len(report.adopted),
            "aside": [str(path) for path in report.aside],
            "problems": len(report.problems),
            "foreign": [
                {"camera": key.camera, "stream": key.stream, "site": site}
                for key, site in sorted((await foreign_streams(index.db)).items())
            ],
        }


async def _ask_for_rebuild(arguments: argparse.Namespace, data: Path) -> dict[str, Any]:
    async def work(api: Api) -> dict[str, Any]:
        found: dict[str, Any] = await api.post("/api/v1/index/rebuild", {})
        with _progress("read") as progress:
            while arguments.wait and found["state"] == "rebuilding":
                progress(found["done"], found["total"] or 0)
                await asyncio.sleep(_POLL_S)
                found = await api.get("/api/v1/index")
        return found

    return await _with_gateway(arguments, data, work)


async def _open_files(arguments: argparse.Namespace, data: Path) -> list[str] | None:
    """What the running gateway is writing; None where it does not say."""

    async def work(api: Api) -> list[str]:
        found: list[str] = (await api.get("/api/v1/index/open-files"))["items"]
        return found

    with contextlib.suppress(CliError):
        return await _with_gateway(arguments, data, work)
    return None


async def _with_gateway(arguments: argparse.Namespace, data: Path, work: Callable[[Api], Awaitable[T]]) -> T:
    from simpang.cli.client import ask_at, find_socket

    own = data / "api.sock"
    use_own = arguments.socket is None and await asyncio.to_thread(own.is_socket)
    return await ask_at(own if use_own else find_socket(arguments), work)


@contextlib.asynccontextmanager
async def _alone(data: Path, *, needed: str | None = None, hold: bool = False) -> AsyncIterator[bool]:
    """Whether no gateway works in the folder; while it is `needed` or held, none can start."""
    from simpang.lock import LockHeld, hold_lock

    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(hold_lock(data / "lock", wait_s=0))
        except LockHeld as error:
            if needed:
                raise CliError(Exit.REFUSED, f"{needed}: {error}") from None
            yield False
            return
        if not (needed or hold):
            await stack.aclose()
        yield True


def _data(arguments: argparse.Namespace) -> Path:
    from simpang.cli.client import configured_data

    return Path(arguments.data or configured_data(arguments)).absolute()


def _site(arguments: argparse.Namespace) -> str:
    from simpang.config.boot import default_file
    from simpang.config.faults import ConfigFaults
    from simpang.config.load import read

    if arguments.site is not None:
        return str(arguments.site)
    with contextlib.suppress(ConfigFaults, tomllib.TOMLDecodeError):
        site = tomllib.loads(read(arguments.config or default_file())).get("site")
        if isinstance(site, dict) and isinstance(site.get("id"), str):
            return str(site["id"])
    raise CliError(
        Exit.USAGE, "whose footage is this? Name the site with --site ID, or its file with --config"
    )


def _run(work: Coroutine[Any, Any, T]) -> T:
    from simpang_buffer.index.errors import StorageError

    try:
        return asyncio.run(work)
    except (StorageError, OSError, sqlite3.Error) as error:
        raise CliError(Exit.FAILED, str(error)) from None


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Says how far it is, where a person watches."""
    watched = sys.stderr.isatty()
    said_s = 0.0

    def say(done: int, total: int) -> None:
        nonlocal said_s
        if watched and time.monotonic() - said_s > _PROGRESS_S:
            said_s = time.monotonic()
            sys.stderr.write(f"\r{done}/{total or '?'} files {what}")
            sys.stderr.flush()

    try:
        yield say
    finally:
        if said_s:
            sys.stderr.write("\r\033[K")


def _print_findings(findings: list[Finding]) -> None:
    printed: Counter[str] = Counter()
    for finding in findings:
        printed[finding.code] += 1
        if printed[finding.code] <= _MOST_PRINTED:
            repaired = " (repaired)" if finding.repaired else ""
            print(f"{finding.code}: {finding.path or 'index.db'}: {finding.words}{repaired}")
    for code, count in printed.items():
        if count > _MOST_PRINTED:
            print(f"{code}: and {count - _MOST_PRINTED} more; --json names them all")


def _object(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "path": str(finding.path) if finding.path is not None else None,
        "folder": finding.folder,
        "words": finding.words,
        "repaired": finding.repaired,
    }
