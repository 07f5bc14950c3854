"""What is wrong in a file, in words an installer can act on: `FILE:LINE: key: what; try this`."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from simpang.config.lines import Location
from simpang.config.model import Config
from simpang.config.values import ValueFault, nearest


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake. line counts from 1; key is dotted, arrays count from 1: `camera[2].address`."""

    file: str
    line: int
    key: str
    what: str
    try_this: str

    def __str__(self) -> str:
        where = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}: {where}{self.what}; {self.try_this}"


class ConfigFaults(Exception):
    """Every fault of a configuration at once."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def words(error: ErrorDetails) -> tuple[str, str]:
    """What is wrong and what to try, for one fault that pydantic found."""
    location: Location = error["loc"]
    given, context = error.get("input"), error.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, ValueFault):
        return cause.what, cause.try_this
    match error["type"]:
        case "extra_forbidden":
            return "unknown key", _instead_of(location)
        case "missing":
            return "is missing", f'add {location[-1]} = "..." ({description(location)})'
        case "literal_error":
            known = {
                choice.strip("' ") for choice in str(context["expected"]).replace(" or ", ", ").split(",")
            }
            near = nearest(str(given), known)
            choices = " or ".join(f'"{choice}"' for choice in sorted(known))
            return (
                f"{shown(given)} is not one of the choices",
                f'did you mean "{near}"?' if near else f"write {choices}",
            )
        case "string_pattern_mismatch" if str(location[-1]).endswith("_file"):
            # Who writes the password itself here must not find it on the page.
            return "this is no name of a file", f"it must be: {description(location)}"
        case "string_pattern_mismatch":
            return f"{shown(given)} will not do", f"it must be: {description(location) or context['pattern']}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return f"{shown(given)} is out of range", _range(error)
        case "bool_type":
            return f"{shown(given)} is not true or false", "write true or false, without quotes"
        case "float_type" | "int_type" | "int_from_float":
            return f"{shown(given)} is not a number", "write a number without quotes"
        case "string_type":
            return f"{shown(given)} is not text", f'write "{given}"'
        case "tuple_type" | "list_type":
            return f"{shown(given)} is not a list", 'write ["...", "..."]'
        case "model_type" | "model_attributes_type" | "dict_type":
            return "is not a table", f"begin it with [{name(location)}] on a line of its own"
        case _:
            return error["msg"], f"it must be: {description(location)}"


def shown(given: object) -> str:
    """What somebody wrote, for a message that others read: a user and password before an @ are left out."""
    return repr(f"...@{given.rpartition('@')[2]}" if isinstance(given, str) and "@" in given else given)


def name(location: Location) -> str:
    """`camera[2].address` for ("camera", 1, "address")."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def description(location: Location) -> str:
    """What the key at `location` is for."""
    *parents, last = [part for part in location if not isinstance(part, int)] or [""]
    section = _section(tuple(parents))
    field = section.model_fields.get(last) if section else None
    return (field.description if field else None) or "see README.md for the keys"


def _instead_of(location: Location) -> str:
    *parents, word = [str(part) for part in location if not isinstance(part, int)]
    section = _section(tuple(parents))
    known = set(section.model_fields) if section else set()
    if (near := nearest(word, known)) is not None:
        return f'did you mean "{near}"?'
    for other, model in _sections().items():
        if word in model.model_fields and other:
            return f"it belongs under [{other}]"
    everywhere = {key for model in _sections().values() for key in model.model_fields}
    if (near := nearest(word, everywhere)) is not None:
        home = next(other for other, model in _sections().items() if near in model.model_fields)
        return f'did you mean "{near}" under [{home}]?' if home else f'did you mean "{near}"?'
    return f"known here: {', '.join(sorted(known))}"


def _range(error: ErrorDetails) -> str:
    context = error["ctx"]
    for key, word in (("gt", "more than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most")):
        if key in context:
            return f"use {word} {context[key]:g}"
    return error["msg"]


def _section(path: tuple[str | int, ...]) -> type[BaseModel] | None:
    return _sections().get(".".join(str(part) for part in path))


def _sections() -> dict[str, type[BaseModel]]:
    """Every table by its dotted name; "" is the file itself."""
    found: dict[str, type[BaseModel]] = {}

    def visit(path: str, model: type[BaseModel]) -> None:
        found[path] = model
        for key, field in model.model_fields.items():
            for inner in _models(field.annotation):
                visit(f"{path}.{key}".lstrip("."), inner)

    visit("", Config)
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (tuple, typing.Annotated, typing.Union, types.UnionType):
        return [model for argument in typing.get_args(annotation) for model in _models(argument)]
    return []


def fault(file: Path, line: int, location: Location, what: str, try_this: str) -> Fault:
    return Fault(str(file), line, name(location), what, try_this)
