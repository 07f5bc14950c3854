"""Prints for people (aligned columns) and for programs (JSON)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def print_json(value: Any) -> None:
    """One JSON document, readable."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_line(value: Any) -> None:
    """One JSON object on one line, at once: for lists that come bit by bit."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as they need; `-` for what is not known."""
    lines = [list(header), *[[plain(cell) for cell in row] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())


def plain(value: object) -> str:
    """Text that cannot move the cursor or begin a line: names come from devices."""
    text = "-" if value is None else str(value)
    return "".join(character if character.isprintable() else "?" for character in text)


def size(size_bytes: int) -> str:
    """`1.4 GB`."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def rate(bps: int | None) -> str:
    """`3.5 Mbit/s`."""
    if not bps:
        return "-"
    return f"{bps / 1e6:.1f} Mbit/s" if bps >= 1_000_000 else f"{bps / 1e3:.0f} kbit/s"


def note(text: str) -> None:
    """For the person, beside what is printed."""
    sys.stderr.write(f"{text}\n")
