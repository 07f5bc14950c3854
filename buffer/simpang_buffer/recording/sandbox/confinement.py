"""What confining a recorder came to, as it tells the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Confinement:
    """landlock: the kernel's version of it, 0 for none. lacks: what could not be taken away, in words.

    escaped: hostile actions of the self-test that were not stopped.
    """

    landlock: int
    seccomp: bool
    lacks: tuple[str, ...]
    escaped: tuple[str, ...]


def confinement_fields(confinement: Confinement) -> dict[str, Any]:
    return asdict(confinement)


def confinement_of(fields: Mapping[str, Any]) -> Confinement:
    """From `confinement_fields`, read back. Raises KeyError, TypeError."""
    lacks, escaped = (tuple(str(one) for one in fields[name]) for name in ("lacks", "escaped"))
    return Confinement(int(fields["landlock"]), bool(fields["seccomp"]), lacks, escaped)
