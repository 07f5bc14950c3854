"""What the configuration asks of retention: rules, quotas and promises of each stream."""

from __future__ import annotations

from collections.abc import Iterator

from simpang.config.kept import STREAMS, kept, of_kind
from simpang.config.model import Config, Keep
from simpang.config.values import Size
from simpang_buffer.index.eviction import Rule
from simpang_buffer.index.promises import Promise, least_us
from simpang_buffer.index.retention import DAY_US, Limits, Policy
from simpang_buffer.index.space import Quota
from simpang_buffer.model import StreamKey


def limits(config: Config, total_bytes: int) -> Limits:
    """Of a file system of that size."""
    return Limits(
        max_bytes=config.buffer.max_bytes.of(total_bytes),
        min_free_bytes=config.buffer.min_free.of(total_bytes),
        max_days=config.buffer.max_days,
    )


def policy(config: Config) -> Policy:
    return Policy(
        rules=lambda key: rule(config, key),
        quotas=lambda keys, total_bytes: quotas(config, keys, total_bytes),
        margin_us=margin_us(config),
    )


def margin_us(config: Config) -> int:
    return int(config.buffer.event_margin_s * 1_000_000)


def rule(config: Config, key: StreamKey) -> Rule:
    """A promise is a minimum age as well."""
    found = kept(config, key.camera, key.stream)
    event_days = config.buffer.event_days or 0
    return Rule(
        max_us=int(found.max_days * DAY_US),
        min_us=max(int(found.min_days * DAY_US), least_us(promises(config), key)),
        event_us=int(event_days * DAY_US),
        weight=found.weight,
    )


def promises(config: Config) -> list[Promise]:
    return [
        Promise(one.party, frozenset(one.cameras), frozenset(one.streams), one.days) for one in config.promise
    ]


def quotas(config: Config, keys: frozenset[StreamKey], total_bytes: int) -> list[Quota]:
    """Those that are about some stream of `keys`."""
    found = []
    for name, size, cameras, stream in _written(config):
        members = frozenset(
            key for key in keys if cameras in (None, key.camera) and stream in (None, key.stream)
        )
        if members:
            found.append(Quota(name, members, size.of(total_bytes)))
    return found


def promised_bytes(config: Config, total_bytes: int) -> list[tuple[str, int]]:
    """Quotas that are side by side, so that their sum should fit: of kinds of streams, or else of cameras."""
    written = list(_written(config))
    kinds = [(name, size.of(total_bytes)) for name, size, camera, _ in written if camera is None]
    own = [(name, size.of(total_bytes)) for name, size, camera, stream in written if camera and not stream]
    streams = [
        (name, size.of(total_bytes))
        for name, size, camera, stream in written
        if camera and stream and not any(other[2] == camera and not other[3] for other in written)
    ]
    return max((kinds, own + streams), key=lambda listed: sum(size for _, size in listed))


def _written(config: Config) -> Iterator[tuple[str, Size, str | None, str | None]]:
    """(key, size, camera or None for all, stream or None for all)"""
    for stream in STREAMS:
        kind = of_kind(config.buffer, stream)
        if kind is not None and kind.quota is not None:
            yield f"buffer.{stream}.quota", kind.quota, None, stream
    for camera in config.camera:
        layers: list[tuple[str, Keep | None, str | None]] = [
            ("keep", camera.keep, None),
            ("keep.main", camera.keep.main, "main"),
            ("keep.sub", camera.keep.sub, "sub"),
        ]
        for name, keep, own in layers:
            if keep is not None and keep.quota is not None:
                yield f"camera {camera.id} {name}.quota", keep.quota, camera.id, own
