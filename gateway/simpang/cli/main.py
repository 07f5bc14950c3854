"""`simpang VERB`: finds the verb, runs it, turns what went wrong into a message and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import simpang
from simpang.cli import (
    buffer,
    cameras,
    centrals,
    clip,
    clock,
    config,
    discover,
    jobs,
    link,
    probe,
    run,
    snapshot,
    status,
)
from simpang.cli.exits import CliError, Exit
from simpang.demo import command as demo

_DESCRIPTION = """Records ONVIF cameras at one place and sends footage on request.

First steps: `simpang discover` shows the cameras on this network, `simpang config check` reads simpang.toml,
`simpang run` records. The other verbs ask the running gateway through its Unix socket."""

_EPILOG = """exit codes: 0 done; 1 failed or found faults; 2 usage or configuration; 3 gateway not reachable;
4 refused; 5 nothing recorded or not found; 75 try again later"""

# In the order of a first day.
_VERBS = (run, discover, probe, config, status, clock, cameras, link, clip, snapshot, buffer, jobs, centrals)

# A time relative to now, which argparse would take for an option.
_RELATIVE = re.compile(r"-\d+(\.\d+)?[smhd]")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code."""
    arguments = parser().parse_args(_joined(list(sys.argv[1:] if argv is None else argv)))
    try:
        return int(arguments.run(arguments))
    except CliError as error:
        sys.stderr.write(f"simpang: {error}\n")
        return int(error.code)
    except BrokenPipeError:
        # Whoever read us (head, less) has seen enough. Python would complain again when it flushes at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.DONE)
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="simpang",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"simpang {simpang.__version__}")
    _common(top, suppress=False)
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    _common(shared, suppress=True)
    for module in _VERBS:
        module.add(verbs, shared)
    demo.add_parsers(verbs)
    return top


def _common(to: argparse.ArgumentParser, *, suppress: bool) -> None:
    """Options that may stand before or after the verb. After it they are not repeated in the help."""
    hidden = argparse.SUPPRESS

    def default(value: object) -> object:
        return hidden if suppress else value

    to.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=default(None),
        help=hidden
        if suppress
        else "simpang.toml to use (default: ./simpang.toml, else /etc/simpang/simpang.toml)",
    )
    to.add_argument(
        "--socket",
        metavar="PATH",
        type=Path,
        default=default(None),
        help=hidden
        if suppress
        else "the gateway's Unix socket (default: /run/simpang/api.sock, else api.sock in the data folder)",
    )
    to.add_argument(
        "--json",
        action="store_true",
        default=default(False),
        help=hidden if suppress else "print JSON for programs instead of text for people",
    )
    to.add_argument(
        "--lang",
        choices=("en", "id"),
        default=default("en"),
        help=hidden if suppress else "language of causes and remedies: en or id (default: en)",
    )


def _joined(argv: list[str]) -> list[str]:
    """`--start -10m` as `--start=-10m`."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] in ("--start", "--end", "--until") and _RELATIVE.fullmatch(argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined
