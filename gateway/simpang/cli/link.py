"""`simpang link`: a fresh link to the page."""

from __future__ import annotations

import argparse

from simpang.cli.exits import Exit
from simpang.cli.verbs import Verbs, verb


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    parser = verb(
        verbs,
        shared,
        "link",
        link,
        summary="print a link to the page that signs in once, within the hour",
        text="Whoever opens it first is signed in, so give it to one person only.",
        examples="""
            simpang link
            simpang link --role viewer
        """,
    )
    parser.add_argument(
        "--role",
        choices=("viewer", "technician", "installer"),
        default="installer",
        help="viewer: states only; technician: also live and playback; installer: everything "
        "(default: installer)",
    )


def link(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.output import print_json

    made = ask(arguments, lambda api: api.post("/api/v1/login-link", {"role": arguments.role}))
    if arguments.json:
        print_json(made)
    else:
        print(made["url"])
    return Exit.DONE
