"""Five thousand hostile inputs for everything that takes bytes from outside; tests/long has 200,000 each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz_targets import targets
from fuzzing import Target, fuzz, kept

EXECUTIONS = 5_000
# Beyond this an input holds up every camera of a process.
SLOWEST_S = 1.0
GROWN_BYTES = 48 << 20
TARGETS = {target.name: target for target in targets(Path("/nowhere"))}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_hostile_bytes_are_refused_or_taken_in_time_and_memory(target: Target) -> None:
    seed = random.randrange(1 << 32)

    outcome = fuzz(target, EXECUTIONS, seed)

    assert outcome.slowest_s < SLOWEST_S, (seed, outcome.slowest.hex())
    assert outcome.grown_bytes < GROWN_BYTES, seed
    assert outcome.outcomes > 1, "all inputs come to the same: the target is not reached"


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_once_broke_something_is_taken_now(target: Target) -> None:
    for data in [*target.seeds, *kept(target.name)]:
        try:
            target.run(data)
        except target.refusals:
            assert data not in target.seeds, "an input that works is refused"
