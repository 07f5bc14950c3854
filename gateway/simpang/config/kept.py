"""How long each stream is kept, from the keys that say so: the camera's stream, the camera, the kind of
stream, all. What is nearest counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from simpang.config.lines import Location
from simpang.config.model import Buffer, Config, Keep

STREAMS = ("main", "sub")


@dataclass(frozen=True, slots=True)
class Kept:
    """max_from and min_from: the keys that say so."""

    max_days: float
    min_days: float
    weight: float
    max_from: Location
    min_from: Location


def kept(config: Config, camera: str, stream: str) -> Kept:
    """Of any stream, also of a camera that is not in the file."""
    layers = list(_layers(config, camera, stream))
    max_days, max_from = next(_said(layers, "max_days"), (config.buffer.max_days, ("buffer", "max_days")))
    min_days, min_from = next(_said(layers, "min_days"), (config.buffer.min_days, ("buffer", "min_days")))
    weight, _ = next(_said(layers, "weight"), (1.0, ()))
    return Kept(max_days, min_days, weight, max_from, min_from)


def contradictions(config: Config) -> Iterator[tuple[Location, str, str]]:
    """Ages that cannot both be kept; as the faults of a file are told."""
    found = set()
    for camera in (*(one.id for one in config.camera), ""):
        for stream in STREAMS:
            one = kept(config, camera, stream)
            if one.min_days > one.max_days:
                # At the more particular of the two, which somebody wrote in view of the other.
                where = max(one.min_from, one.max_from, key=len)
                said = f"min_days {one.min_days:g} is more than max_days {one.max_days:g} of {stream} streams"
                found.add((where, said, "make min_days smaller or max_days larger"))
    yield from sorted(found, key=str)
    for number, promise in enumerate(config.promise):
        for camera in promise.cameras or (*(one.id for one in config.camera), ""):
            for stream in promise.streams or STREAMS:
                one = kept(config, camera, stream)
                if promise.days > one.max_days:
                    what = f"{camera}/{stream}" if camera else f"footage of {stream} streams"
                    said = f"promises {promise.days:g} days, but {what} goes after {one.max_days:g}"
                    yield ("promise", number, "days"), said, "promise less, or make max_days larger"


def _layers(config: Config, camera: str, stream: str) -> Iterator[tuple[Keep, Location]]:
    """The nearest first."""
    for number, one in enumerate(config.camera):
        if one.id == camera:
            own = {"main": one.keep.main, "sub": one.keep.sub}.get(stream)
            if own is not None:
                yield own, ("camera", number, "keep", stream)
            yield one.keep, ("camera", number, "keep")
    kind = of_kind(config.buffer, stream)
    if kind is not None:
        yield kind, ("buffer", stream)


def of_kind(buffer: Buffer, stream: str) -> Keep | None:
    return {"main": buffer.main, "sub": buffer.sub}.get(stream)


def _said(layers: list[tuple[Keep, Location]], key: str) -> Iterator[tuple[float, Location]]:
    for keep, location in layers:
        value = getattr(keep, key)
        if value is not None:
            yield value, (*location, key)
