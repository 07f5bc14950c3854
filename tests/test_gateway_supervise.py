from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path

import pytest

from simpang.notify import Notifier
from simpang.supervise import HEALTHY_S, Supervisor


class Clock:
    """Time that passes only when somebody sleeps, and ends the test's loop after a number of sleeps."""

    def __init__(self, sleeps: int) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._sleeps = sleeps

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if len(self.slept) >= self._sleeps:
            raise asyncio.CancelledError


def supervisor(clock: Clock) -> Supervisor:
    return Supervisor(monotonic=clock.monotonic, wall_us=lambda: int(clock.now * 1e6), sleep=clock.sleep)


async def test_failing_part_is_tried_again_with_growing_waits() -> None:
    clock = Clock(9)

    async def fail() -> None:
        raise OSError("no")

    with pytest.raises(asyncio.CancelledError):
        await supervisor(clock).keep_running("part", fail)

    assert clock.slept == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_waits_start_over_after_a_minute_of_health() -> None:
    clock = Clock(4)

    async def run() -> None:
        if len(clock.slept) == 2:
            clock.now += HEALTHY_S
        raise OSError("no")

    with pytest.raises(asyncio.CancelledError):
        await supervisor(clock).keep_running("part", run)

    assert clock.slept == [1, 2, 1, 2]


async def test_trouble_is_known_while_it_lasts_and_gone_after_a_minute() -> None:
    clock = Clock(3)
    watched = supervisor(clock)

    async def fail() -> None:
        raise OSError("no")

    with pytest.raises(asyncio.CancelledError):
        await watched.keep_running("part", fail)
    (trouble,) = watched.troubles()
    assert (trouble.part, trouble.times, trouble.last) == ("part", 3, "OSError: no")

    clock.now += HEALTHY_S + 60
    assert watched.troubles() == []


async def test_first_failure_is_a_warning_and_its_repeats_are_quiet(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(5)

    async def run() -> None:
        if len(clock.slept) < 3:
            raise OSError("no")

    caplog.set_level(logging.DEBUG)
    with pytest.raises(asyncio.CancelledError):
        await supervisor(clock).keep_running("part", run)

    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "DEBUG", "DEBUG", "INFO"]
    assert "works again" in caplog.records[-1].message


async def test_one_failing_part_never_stops_another() -> None:
    watched = Supervisor()
    ran = asyncio.Event()

    async def fail() -> None:
        raise ExceptionGroup("broken", [ValueError("deep inside")])

    async def work() -> None:
        ran.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(watched.keep_running("bad", fail), name="bad"),
            group.create_task(watched.keep_running("good", work), name="good"),
        ]
        async with asyncio.timeout(5):
            await ran.wait()
            while not watched.troubles():
                await asyncio.sleep(0.01)
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()


async def test_systemd_hears_ready_watchdog_and_stopping(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.setblocking(False)
        notifier = Notifier(
            {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
        )

        notifier.ready("site digulis")
        watchdog = asyncio.create_task(notifier.keep_watchdog(), name="watchdog")
        heard: list[bytes] = []
        async with asyncio.timeout(5):
            while heard.count(b"WATCHDOG=1") < 2:
                heard.append(await asyncio.get_running_loop().sock_recv(systemd, 200))
        watchdog.cancel()
        notifier.stopping()
        heard.append(await asyncio.get_running_loop().sock_recv(systemd, 200))

    assert heard[0] == b"READY=1\nSTATUS=site digulis"
    assert heard[-1] == b"STOPPING=1"


async def test_notifier_is_silent_outside_systemd(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}, {"NOTIFY_SOCKET": "relative"}):
        notifier = Notifier(environment)
        notifier.ready("x")
        assert notifier.watchdog_s is None
        await notifier.keep_watchdog()
    other = Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    assert other.watchdog_s is None
