"""Two hundred thousand hostile inputs for everything that takes bytes from outside."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from fuzz_targets import targets
from fuzzing import Target, fuzz

EXECUTIONS = int(os.environ.get("SIMPANG_FUZZ", "200000"))
TARGETS = {target.name: target for target in targets(Path("/nowhere"))}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_two_hundred_thousand_hostile_inputs(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.randrange(1 << 32)

    outcome = fuzz(target, EXECUTIONS, seed)

    with capsys.disabled():
        print(
            f"\n{target.name}: {outcome.executions} inputs, {outcome.outcomes} outcomes, slowest "
            f"{outcome.slowest_s * 1000:.1f} ms of CPU, {outcome.grown_bytes / 1e6:+.1f} MB (seed {seed})"
        )
    assert outcome.slowest_s < 1, outcome.slowest.hex()
    assert outcome.grown_bytes < 48 << 20
