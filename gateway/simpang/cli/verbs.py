"""Small things that every verb's declaration needs."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Verbs = object

Handler: TypeAlias = Callable[[argparse.Namespace], int]


def verb(
    verbs: Verbs,
    shared: argparse.ArgumentParser,
    name: str,
    handler: Handler | None,
    *,
    summary: str,
    text: str = "",
    examples: str = "",
) -> argparse.ArgumentParser:
    """A verb with its line of help, its longer text and its examples. No handler: it has verbs of its own."""
    examples = textwrap.indent(textwrap.dedent(examples).strip(), "  ")
    parser = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {text}".strip(),
        epilog=f"examples:\n{examples}" if examples else None,
        parents=[shared],
        formatter_class=_Formatter,
    )
    if handler is not None:
        parser.set_defaults(run=handler)
    return parser


def stream_options(parser: argparse.ArgumentParser, *, camera_needed: bool) -> None:
    parser.add_argument(
        "--camera", metavar="ID", required=camera_needed, help="the camera's id, as `simpang status` shows it"
    )
    parser.add_argument(
        "--stream",
        choices=("main", "sub"),
        default="main",
        help="main: full picture; sub: small one (default: main)",
    )


def range_options(parser: argparse.ArgumentParser, *, needed: bool) -> None:
    for name, what in (("--start", "from when"), ("--end", "until when")):
        parser.add_argument(
            name,
            metavar="T",
            required=needed,
            help=f"{what}: 2026-11-24T02:00:00Z, or -10m, -2h, -1d before now, or now",
        )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the examples' lines, wraps the description."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return super()._fill_text(text, width, indent)
        return textwrap.fill(" ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent)
