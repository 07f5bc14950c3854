"""Hostile bytes by the thousand: inputs that worked, mutated, kept where something new came of them."""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

CORPUS = Path(__file__).with_name("corpus")
# Of one kind so many inputs are kept as seeds, the newest instead of a chance one.
_MOST_SEEDS = 200
_MOST_BYTES = 16 << 10
_INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


@dataclass(frozen=True)
class Target:
    """run: takes hostile bytes; may raise `refusals`, which are its contract, and nothing else.

    words: pieces of its language, put where mutation alone would hardly find them.
    """

    name: str
    seeds: Sequence[bytes]
    run: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = ()
    words: Sequence[bytes] = ()


@dataclass(frozen=True)
class Outcome:
    """slowest_s: CPU time. grown_bytes: resident memory at the end, beyond that after a tenth."""

    executions: int
    outcomes: int
    slowest_s: float
    slowest: bytes
    grown_bytes: int


def fuzz(target: Target, executions: int, seed: int) -> Outcome:
    """Raises what the target must not: a note holds the input, to be kept in the corpus."""
    chance = random.Random(seed)
    seeds = [*target.seeds, *kept(target.name)]
    seen: set[str] = set()
    slowest_s, slowest, early_bytes = 0.0, b"", 0
    for number in range(executions):
        data = seeds[number] if number < len(seeds) else _mutated(seeds, target.words, chance)
        began_s = time.thread_time()
        said = _run(target, data)
        took_s = time.thread_time() - began_s
        if took_s > slowest_s:
            slowest_s, slowest = took_s, data
        if said not in seen and number >= len(target.seeds):
            seen.add(said)
            _keep(target.name, seeds, data, chance)
        if number == executions // 10:
            early_bytes = psutil.Process().memory_info().rss
    grown_bytes = psutil.Process().memory_info().rss - early_bytes
    return Outcome(executions, len(seen), slowest_s, slowest, grown_bytes)


def kept(name: str) -> Iterator[bytes]:
    """The corpus of a target: what once did something new, or broke it."""
    for path in sorted((CORPUS / name).glob("*")):
        yield path.read_bytes()


def packets(data: bytes) -> list[bytes]:
    """Many packets in one input: each behind two bytes of length, a last one cut short."""
    found: list[bytes] = []
    at = 0
    while at + 2 <= len(data) and len(found) < 400:
        length = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return found


def packed(many: Sequence[bytes]) -> bytes:
    return b"".join(len(one).to_bytes(2, "big") + one for one in many)


def _run(target: Target, data: bytes) -> str:
    """What came of it, in words without numbers."""
    try:
        result = target.run(data)
    except target.refusals as refusal:
        return f"{type(refusal).__name__}: {_plain(str(refusal))}"
    except BaseException as error:
        error.add_note(f"{target.name}: bytes.fromhex({data.hex()!r})")
        raise
    return _plain(repr(result))


def _plain(text: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"|b'.*|\d+", "#", text)[:200]


def _keep(name: str, seeds: list[bytes], data: bytes, chance: random.Random) -> None:
    if len(data) > _MOST_BYTES:
        return
    if len(seeds) < _MOST_SEEDS:
        seeds.append(data)
    else:
        seeds[chance.randrange(len(seeds))] = data
    # For a person who fuzzes: what is worth keeping is committed by hand.
    folder = os.environ.get("SIMPANG_CORPUS")
    if folder and len(data) <= 2048:
        place = Path(folder) / name
        place.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (place / f"{len(seeds):04}-{len(data)}").write_bytes(data)


def _mutated(seeds: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> bytes:
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 10))):
        _mutate(data, seeds, words, chance)
    return bytes(data[: 4 * _MOST_BYTES])


def _mutate(data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    size = min(chance.choice((1, 1, 2, 4, 8, 32, 256)), len(data) - at)
    match chance.randrange(9):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            del data[at : at + size]
        case 2:
            data[at:at] = data[at : at + size] * chance.choice((1, 2, 10))
        case 3:
            data[at : at + size] = chance.randbytes(size)
        case 4:
            number = chance.choice(_INTERESTING)
            width = chance.choice((1, 2, 4, 8))
            data[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, "big")
        case 5 if words:
            data[at : at + chance.choice((0, size))] = chance.choice(words)
        case 6:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            data[at:] = other[start : start + _MOST_BYTES]
        case 7:
            del data[at:]
        case _:
            to = chance.randrange(len(data) + 1)
            data[to:to] = data[at : at + size]
