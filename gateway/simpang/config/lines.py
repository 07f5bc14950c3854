"""Which line of a TOML text a key stands on. tomllib does not say."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

# ("camera", 0, "address"): names and positions in arrays of tables.
Location = tuple[str | int, ...]


def key_lines(text: str) -> dict[Location, int]:
    """The line (from 1) of every key and table header of a valid TOML text.

    A value that spans lines counts where it begins; keys of an inline table share its line.
    """
    lines: dict[Location, int] = {}
    arrays: dict[Location, int] = {}
    table: Location = ()
    for number, statement in _statements(text):
        stripped = statement.strip()
        if stripped.startswith("["):
            table = _header(statement, arrays)
            lines.setdefault(table, number)
        else:
            for location in _paths(tomllib.loads(statement)):
                lines.setdefault(table + location, number)
    return lines


def line_of(lines: dict[Location, int], location: Location) -> int:
    """The line of `location`, or of the nearest thing around it; 1 where nothing is known."""
    for length in range(len(location), 0, -1):
        if location[:length] in lines:
            return lines[location[:length]]
    return 1


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Headers and `key = value` statements with their first line; lines are added until TOML accepts them."""
    pending: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        if not pending:
            first = number
        pending.append(line)
        statement = "\n".join(pending)
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield first, statement
        pending.clear()


def _header(statement: str, arrays: dict[Location, int]) -> Location:
    """The full location of `[a.b]` or `[[a.b]]`, given how many elements each array has so far."""
    value: Any = tomllib.loads(statement)
    location: Location = ()
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        location += (name,)
        if isinstance(value, list):
            arrays[location] = arrays.get(location, -1) + 1
            return (*location, arrays[location])
        if location in arrays:
            location += (arrays[location],)
    return location


def _paths(value: Any) -> Iterator[Location]:
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for name, inner in items:
        yield (name,)
        for rest in _paths(inner):
            yield (name, *rest)
