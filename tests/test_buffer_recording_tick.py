"""One beat for all streams: a failing or greedy one takes nothing from the others."""

from __future__ import annotations

import asyncio

import pytest

from simpang_buffer.recording.tick import Tick


def always() -> bool:
    return True


async def test_a_pump_that_raises_ends_its_own_work_only() -> None:
    tick = Tick(period_s=0.001)
    beats = 0
    enough = asyncio.Event()

    def good() -> None:
        nonlocal beats
        beats += 1
        if beats > 5:
            enough.set()

    def bad() -> None:
        raise ValueError("bad")

    running = asyncio.create_task(tick.run())
    working = asyncio.create_task(tick.work(good, always))
    with pytest.raises(ValueError, match="bad"):
        await tick.work(bad, always)
    async with asyncio.timeout(5):
        await enough.wait()
    for task in (working, running):
        task.cancel()
    await asyncio.gather(working, running, return_exceptions=True)

    assert beats > 5


async def test_a_greedy_stream_gets_a_quarter_of_the_time_at_most() -> None:
    now = 0.0
    greedy_s = 0.0
    modest = 0

    def greedy() -> None:
        nonlocal now, greedy_s
        now += 0.1
        greedy_s += 0.1

    def frugal() -> None:
        nonlocal modest
        modest += 1

    tick = Tick(monotonic=lambda: now)
    tasks = [asyncio.create_task(tick.work(pump, always)) for pump in (greedy, frugal)]
    await asyncio.sleep(0)
    turns = 0
    while now < 100:
        tick.turn(now)
        turns += 1
        now += 0.03
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert greedy_s <= 0.26 * now
    assert modest == turns


async def test_nobody_working_means_no_beats() -> None:
    beats = 0

    def clock() -> float:
        nonlocal beats
        beats += 1
        return 0.0

    running = asyncio.create_task(Tick(period_s=0.0, monotonic=clock).run())
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert beats == 0


async def test_whoever_leaves_is_not_pumped_again() -> None:
    pumped = 0

    def pump() -> None:
        nonlocal pumped
        pumped += 1

    tick = Tick()
    task = asyncio.create_task(tick.work(pump, always))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    tick.turn(1e9)

    assert pumped == 0


async def test_what_nobody_watches_is_read_on_every_ninth_beat() -> None:
    now = 0.0
    pumped = {"watched": 0, "idle": 0}

    def pump(name: str) -> None:
        pumped[name] += 1

    tick = Tick(period_s=0.01, monotonic=lambda: now)
    tasks = [
        asyncio.create_task(tick.work(lambda: pump("watched"), always)),
        asyncio.create_task(tick.work(lambda: pump("idle"), lambda: False)),
    ]
    await asyncio.sleep(0)
    for _ in range(99):
        tick.turn(now)
        now += 0.0102
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert pumped == {"watched": 99, "idle": 11}
