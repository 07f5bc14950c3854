"""`simpang buffer folders | move`: the disks that footage lies on, and moving it from one to another."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, verb

if TYPE_CHECKING:
    from simpang.cli.client import Api


def add(inner: Verbs, shared: argparse.ArgumentParser) -> None:
    verb(
        inner,
        shared,
        "folders",
        folders,
        summary="the folders that footage lies in: state, space, and how far back they reach",
        text="* marks the folder in which new files begin. Folders are named in simpang.toml: the one under "
        "[buffer].path, and a [[buffer.folder]] for each further disk.",
        examples="simpang buffer folders",
    )
    parser = verb(
        inner,
        shared,
        "move",
        move,
        summary="move all footage of one folder to another, while recording goes on",
        text="Newest footage first. Nothing new is written to FROM from now on, also after the move, until "
        "--stop says so; to keep it out for good set drain = true, or take it out of simpang.toml. "
        "Without FROM and TO: how far the move is.",
        examples="""
            simpang buffer move 1 2
            simpang buffer move /mnt/old /mnt/new --rate "50 MB/s"
            simpang buffer move
            simpang buffer move --stop
        """,
    )
    parser.add_argument(
        "source", metavar="FROM", nargs="?", help="number or path of the folder to be emptied"
    )
    parser.add_argument("target", metavar="TO", nargs="?", help="number or path of the one that takes it")
    parser.add_argument("--rate", metavar="RATE", default="20 MB/s", help="never faster (default: 20 MB/s)")
    parser.add_argument(
        "--stop", action="store_true", help="stop moving, or let the emptied folder be written to again"
    )


def folders(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask

    return _show(arguments, ask(arguments, _storage))


def move(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask

    if arguments.stop:
        if arguments.source is not None:
            raise CliError(Exit.USAGE, "--stop takes no folders")

        async def stop(api: Api) -> None:
            await api.delete("/api/v1/storage/moves")

        ask(arguments, stop)
        return Exit.DONE
    if arguments.source is None:
        return _show_move(arguments, ask(arguments, _storage))
    if arguments.target is None:
        raise CliError(Exit.USAGE, "name both folders: FROM TO")
    bytes_per_s = _bytes_per_s(arguments.rate)

    async def begin(api: Api) -> dict[str, Any]:
        known = (await _storage(api))["items"]
        asked = {
            "from": _number(known, arguments.source),
            "to": _number(known, arguments.target),
            "bytes_per_s": bytes_per_s,
        }
        answer: dict[str, Any] = await api.post("/api/v1/storage/moves", asked)
        return answer

    return _show_move(arguments, ask(arguments, begin))


async def _storage(api: Api) -> dict[str, Any]:
    answer: dict[str, Any] = await api.get("/api/v1/storage")
    return answer


def _number(known: list[dict[str, Any]], name: str) -> int:
    for folder in known:
        if folder["id"] is not None and name in (str(folder["id"]), folder["path"], folder["path"] + "/"):
            return int(folder["id"])
    raise CliError(Exit.NOTHING, f"there is no media folder {name!r}; see `simpang buffer folders`")


def _bytes_per_s(text: str) -> int:
    from simpang.config.values import ValueFault, parse_bytes

    try:
        return parse_bytes(text.strip().removesuffix("/s"))
    except ValueFault:
        raise CliError(Exit.USAGE, f'--rate: {text!r} is not a rate; write "20 MB/s"') from None


def _show(arguments: argparse.Namespace, answer: dict[str, Any]) -> int:
    from simpang.cli.output import note, print_json, print_table, size

    if arguments.json:
        print_json(answer)
        return Exit.DONE
    print_table(
        ("", "NO", "PATH", "STATE", "FOOTAGE", "AT MOST", "FREE", "DAYS"),
        [
            (
                "*" if one["current"] else "",
                one["id"],
                one["path"],
                one["state"],
                size(one["bytes"]),
                _size(one["max_bytes"]),
                _size(one["free_bytes"]),
                one["days"],
            )
            for one in answer["items"]
        ],
    )
    for one in answer["items"]:
        if one["detail"]:
            note(f"{one['path']}: {one['detail']}")
    return Exit.DONE


def _show_move(arguments: argparse.Namespace, answer: dict[str, Any]) -> int:
    from simpang.cli.output import print_json, size

    found = answer["move"]
    if arguments.json:
        print_json(found)
    elif found is None:
        print("nothing is being moved")
    else:
        done = found["total_bytes"] - found["left_bytes"]
        print(
            f"{found['from']} to {found['to']}: {found['state']}, {size(max(done, 0))} of "
            f"{size(found['total_bytes'])}, {size(found['left_bytes'])} left"
        )
        if found["problems"]:
            print(f"{found['problems']} files could not be moved; the gateway's log names them")
        if found["detail"]:
            print(found["detail"])
    return Exit.DONE if found is not None else Exit.NOTHING


def _size(size_bytes: int | None) -> str | None:
    from simpang.cli.output import size

    return None if size_bytes is None else size(size_bytes)
