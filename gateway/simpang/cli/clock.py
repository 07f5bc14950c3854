"""`simpang clock`: whether the gateway's clock is trusted, and saying that it is right."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from simpang.cli.exits import Exit
from simpang.cli.verbs import Verbs, verb

if TYPE_CHECKING:
    from simpang.cli.client import Api

_PATH = "/api/v1/site/clock"


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    group = verb(
        verbs, shared, "clock", None, summary="show whether the gateway's clock is trusted; confirm or set it"
    )
    inner = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    verb(inner, shared, "show", show, summary="what the clock says, who keeps it, and whether it is trusted")
    trust_parser = verb(
        inner,
        shared,
        "trust",
        trust,
        summary="say that the clock is right: compare it first",
        text="Holds until the machine starts again, or something else sets the clock.",
        examples="""
            simpang clock show
            simpang clock trust
        """,
    )
    set_parser = verb(
        inner,
        shared,
        "set",
        set_,
        summary="set the clock, and trust it",
        text="The gateway needs CAP_SYS_TIME for it.",
        examples="""
            simpang clock set 2026-11-24T09:00:00+07:00
        """,
    )
    set_parser.add_argument("time", metavar="TIME", help="RFC 3339, such as 2026-11-24T02:00:00Z")
    for parser in (trust_parser, set_parser):
        parser.add_argument(
            "--although-earlier",
            action="store_true",
            help="although footage is there that is dated later: it was dated by a wrong clock",
        )


def show(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask

    async def fetch(api: Api) -> Any:
        return (await api.get("/api/v1/site"))["clock"]

    return _print(arguments, ask(arguments, fetch))


def trust(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask

    body = {"trust": True, "although_earlier": arguments.although_earlier}
    return _print(arguments, ask(arguments, lambda api: api.post(_PATH, body)))


def set_(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.when import format_time, now_us, parse_when

    now = format_time(parse_when(arguments.time, "TIME", now_us()))
    body = {"now": now, "although_earlier": arguments.although_earlier}
    return _print(arguments, ask(arguments, lambda api: api.post(_PATH, body)))


def _print(arguments: argparse.Namespace, clock: dict[str, Any]) -> int:
    from simpang.cli.output import print_json

    if arguments.json:
        print_json(clock)
        return Exit.DONE
    keepers = {"ntp": "kept by a time server", "installer": "confirmed by an installer"}
    print(f"{clock['now']}, {keepers.get(clock['source'], 'kept by nobody')}")
    if clock["offset_s"] is not None:
        print(f"off by {clock['offset_s'] * 1000:+.1f} ms, by what keeps it")
    print(
        "trusted" if clock["trusted"] else "not trusted: footage is dated by the time since boot until it is"
    )
    if clock["leapt_s"] is not None:
        print(f"it leapt by {clock['leapt_s'] / 86_400:+.1f} days; say `simpang clock trust` if it is right")
    if not clock["ages_believed"]:
        print("nothing is deleted by age now")
    return Exit.DONE
