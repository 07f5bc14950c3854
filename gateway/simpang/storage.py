"""How long the footage lasts, and whether what was promised is kept: measured now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from simpang.config.model import Config
from simpang.config.values import Size
from simpang.keeping import limits, margin_us, promised_bytes, promises, quotas, rule
from simpang_buffer.index.events import Events
from simpang_buffer.index.eviction import Rule
from simpang_buffer.index.forecast import DAY_US, Load, Outlook, forecast, with_rates
from simpang_buffer.index.holds import all_held_bytes
from simpang_buffer.index.index import Index
from simpang_buffer.index.promises import Risk, risks
from simpang_buffer.index.rates import Rate, rates
from simpang_buffer.index.retention import Retention, RetentionStatus
from simpang_buffer.index.space import Space, Usage
from simpang_buffer.model import StreamKey

# A week of 44 streams is summed in a tenth of a second; rates do not change faster than this.
_EVERY_S = 600.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change to try; None is as it is. rates_bps: by stream, also of streams to come."""

    max_bytes: Size | None = None
    max_days: float | None = None
    rates_bps: Mapping[StreamKey, int] | None = None


@dataclass(frozen=True, slots=True)
class Prospect:
    """outlooks: how long each stream lasts. capacity_bytes: what footage may take, held_bytes of it held."""

    capacity_bytes: int
    held_bytes: int
    outlooks: tuple[Outlook, ...]
    risks: tuple[Risk, ...]


@dataclass(frozen=True, slots=True)
class StorageCondition:
    """For health. risks: of promises, the first first. quotas: those side by side, with their bytes."""

    retention: RetentionStatus
    risks: tuple[Risk, ...] = ()
    quotas: tuple[tuple[str, int], ...] = ()
    max_bytes: int = 0
    refused_events: Mapping[str, int] | None = None


class Storage:
    """`run` forever, or `measure` by hand."""

    def __init__(
        self,
        config: Config,
        index: Index,
        retention: Retention,
        events: Events,
        *,
        now_us: Callable[[], int],
        clock_trusted: Callable[[], bool],
    ) -> None:
        self.events = events
        self.retention = retention
        self._config = config
        self._index = index
        self._now_us = now_us
        self._clock_trusted = clock_trusted
        self._risks: tuple[Risk, ...] = ()

    async def run(self) -> None:
        while True:
            await self.measure()
            await asyncio.sleep(_EVERY_S)

    async def measure(self) -> None:
        """Judges the promises; drops events whose footage is gone by age."""
        _, now = await self.prospects(Proposal())
        self._risks = now.risks
        if not self._clock_trusted():
            return
        longest_us = max(
            (max(one.max_us, one.event_us) for one in map(self._rule, await self._index.streams())), default=0
        )
        if longest_us:
            while await self.events.forget_before(self._now_us() - longest_us - DAY_US):
                continue

    def condition(self) -> StorageCondition:
        """What is known; never waits."""
        status = self.retention.status
        total_bytes = sum(space.total_bytes for space in status.spaces.values())
        return StorageCondition(
            status,
            self._risks,
            tuple(promised_bytes(self._config, total_bytes)) if total_bytes else (),
            self._config.buffer.max_bytes.of(total_bytes),
            dict(self.events.refused),
        )

    async def rates(self) -> list[Rate]:
        event_days = self._config.buffer.event_days
        return await rates(
            self._index.db, self._now_us(), None if event_days is None else margin_us(self._config)
        )

    async def prospects(self, proposal: Proposal) -> tuple[Prospect, Prospect]:
        """As it is, and as it would be."""
        measured = await self.rates()
        spaces, usage = await self.retention.spaces(), await self.retention.usage()
        held = await all_held_bytes(self._index.db)
        loads = [
            Load(one.key, one.bytes_a_day, self._rule(one.key), one.event_share, one.oldest_us,
                 one.stored_bytes) for one in measured
        ]  # fmt: skip
        before = self._prospect(self._config, loads, spaces, usage, held)
        config = _changed(self._config, proposal)
        rates_a_day = {key: bps * DAY_US // 8_000_000 for key, bps in (proposal.rates_bps or {}).items()}
        changed = [replace(load, rule=rule(config, load.key)) for load in loads]
        changed = with_rates(changed, rates_a_day, lambda key: rule(config, key))
        return before, self._prospect(config, changed, spaces, usage, held)

    def _prospect(
        self,
        config: Config,
        loads: Sequence[Load],
        spaces: Mapping[int, Space],
        usage: Usage,
        held_bytes: int,
    ) -> Prospect:
        total_bytes = sum(space.total_bytes for space in spaces.values())
        capacity = capacity_bytes(config, spaces, usage)
        # What is held is room that nobody else can have.
        free = max(0, capacity - held_bytes)
        asked = quotas(config, frozenset(load.key for load in loads), total_bytes)
        outlooks = forecast(loads, free, asked)
        at_risk = risks(promises(config), loads, outlooks, capacity, self._now_us())
        return Prospect(capacity, held_bytes, tuple(outlooks), tuple(at_risk))

    def _rule(self, key: StreamKey) -> Rule:
        return rule(self._config, key)


def capacity_bytes(config: Config, spaces: Mapping[int, Space], usage: Usage) -> int:
    """What footage may take in the folders that are there: what others leave, and no more than allowed."""
    room = 0
    for folder, space in spaces.items():
        asked = limits(config, space.total_bytes)
        room += max(
            0, min(asked.max_bytes, usage.in_folder(folder) + space.free_bytes - asked.min_free_bytes)
        )
    return min(room, config.buffer.max_bytes.of(sum(space.total_bytes for space in spaces.values())))


def _changed(config: Config, proposal: Proposal) -> Config:
    changes: dict[str, object] = {}
    if proposal.max_bytes is not None:
        changes["max_bytes"] = proposal.max_bytes
    if proposal.max_days is not None:
        changes["max_days"] = proposal.max_days
    return config.model_copy(update={"buffer": config.buffer.model_copy(update=changes)})
