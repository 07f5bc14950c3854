"""How many days the footage will last, and when a promise will break: pure functions of measured rates, rules
and space.

The rules of eviction, run forward: where space is short every stream keeps the same share of its life, none
more than its maximum age or its quota allows, and none less than its minimum age as long as another can give;
where nobody can, all are cut at the same age.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from simpang_buffer.index.eviction import Rule
from simpang_buffer.index.space import Quota
from simpang_buffer.model import StreamKey

DAY_US = 86_400_000_000
# Halvings of what is looked for, until its error is below a second in ten years.
_HALVINGS = 48


@dataclass(frozen=True, slots=True)
class Load:
    """One stream as a forecast sees it. stored_bytes and oldest_us: what there is of it now."""

    key: StreamKey
    bytes_a_day: int
    rule: Rule
    event_share: float = 0.0
    oldest_us: int | None = None
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """days: how old footage gets once everything is full; event_days: the same of events' footage.

    limited_by: age, space, the quota's name, or minimum: space is so short that the minimum age is all that
    it gets, or not even that.
    """

    key: StreamKey
    bytes_a_day: int
    days: float
    event_days: float
    limited_by: str


def forecast(loads: Sequence[Load], capacity_bytes: int, quotas: Sequence[Quota]) -> list[Outlook]:
    """capacity_bytes: what all together may take."""
    caps: dict[StreamKey, tuple[float, str]] = {}
    for quota in quotas:
        members = [load for load in loads if load.key in quota.keys]
        cut = _cut(members, quota.max_bytes, {})
        for load in members:
            # A quota never takes what is below its minimum age.
            caps[load.key] = min(caps.get(load.key, (float("inf"), "")), (cut.share, quota.name))
    whole = _cut(loads, capacity_bytes, {key: cap for key, (cap, _) in caps.items()})
    return [_outlook(load, whole, caps.get(load.key)) for load in loads]


def breaks_at(
    days: float, load: Load, outlook: Outlook, loads: Sequence[Load], capacity_bytes: int, now_us: int
) -> int | None:
    """When the first of the stream's footage goes that is younger than so many days, None for never at these
    rates: once the room that is left is filled, and footage is as old as it is going to get."""
    if outlook.days >= days - 1e-6:
        return None
    kept_days = 0.0 if load.oldest_us is None else max(0, now_us - load.oldest_us) / DAY_US
    # A stream that has reached its maximum age gives up as much as it takes.
    growing = sum(
        one.bytes_a_day for one in loads if one.oldest_us is None or now_us - one.oldest_us < one.rule.max_us
    )
    free_bytes = max(0, capacity_bytes - sum(one.stored_bytes for one in loads))
    if free_bytes and not growing:
        return None
    filled_days = free_bytes / growing if free_bytes else 0.0
    return now_us + int(max(filled_days, outlook.days - kept_days, 0.0) * DAY_US)


def with_rates(
    loads: Sequence[Load], rates: Mapping[StreamKey, int], rules: Callable[[StreamKey], Rule]
) -> list[Load]:
    """The same with other rates, in bytes a day: of streams that there are, and of new ones."""
    known = {load.key for load in loads}
    changed = [replace(load, bytes_a_day=rates.get(load.key, load.bytes_a_day)) for load in loads]
    return changed + [Load(key, rate, rules(key)) for key, rate in rates.items() if key not in known]


@dataclass(frozen=True, slots=True)
class _Cut:
    """share: of its life that each stream keeps. young_us: where those below their minimum age are cut."""

    share: float
    young_us: float = float("inf")


def _cut(loads: Sequence[Load], capacity_bytes: int, caps: Mapping[StreamKey, float]) -> _Cut:
    """What fits."""
    top = max((1.0 / load.rule.weight for load in loads), default=1.0)
    if _bytes(loads, _Cut(top), caps) <= capacity_bytes:
        return _Cut(top)
    if _bytes(loads, _Cut(0.0), caps) <= capacity_bytes:
        return _Cut(_largest(top, lambda share: _bytes(loads, _Cut(share), caps) <= capacity_bytes))
    longest_us = float(max(load.rule.min_us for load in loads))
    return _Cut(0.0, _largest(longest_us, lambda age: _bytes(loads, _Cut(0.0, age), caps) <= capacity_bytes))


def _largest(top: float, fits: Callable[[float], bool]) -> float:
    """The largest value between 0 and top that fits, where all below one that fits do."""
    low, high = 0.0, top
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _outlook(load: Load, cut: _Cut, cap: tuple[float, str] | None) -> Outlook:
    share = cap[0] if cap is not None else None
    days, event_days = (_days(load, cut, share, event=event) for event in (False, True))
    if days >= load.rule.max_us / DAY_US - 1e-6:
        why = "age"
    elif load.rule.min_us and days <= load.rule.min_us / DAY_US + 1e-6:
        why = "minimum"
    else:
        why = cap[1] if cap is not None and cap[0] <= cut.share else "space"
    return Outlook(load.key, load.bytes_a_day, days, event_days, why)


def _bytes(loads: Sequence[Load], cut: _Cut, caps: Mapping[StreamKey, float]) -> float:
    total = 0.0
    for load in loads:
        plain, event = (_days(load, cut, caps.get(load.key), event=event) for event in (False, True))
        total += load.bytes_a_day * ((1 - load.event_share) * plain + load.event_share * event)
    return total


def _days(load: Load, cut: _Cut, cap: float | None, *, event: bool) -> float:
    life_us = load.rule.life_us(event)
    share = cut.share if cap is None else min(cut.share, cap)
    wanted_us = min(life_us * load.rule.weight * share, life_us)
    return max(wanted_us, min(load.rule.min_us, cut.young_us)) / DAY_US
