"""The demo's processes: started again when killed, and never left behind, whatever ends the demo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
from pathlib import Path

import psutil
import pytest

from simpang.cli.main import parser
from simpang.config.load import load
from simpang.demo.child import ChildFailed, ChildPlan, keep_running, run_once
from simpang.demo.show import camera_plans, gateway_plan, local_time_zone, prepare, show

# Notes its process number, and what it was given, then stays.
_STAYS = (
    "import os, sys, time; given = sys.stdin.readline();"
    "open(sys.argv[1], 'a').write(f'{os.getpid()} {given!r}\\n'); time.sleep(60)"
)
_STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_STAYS}"


def plan(note: Path, code: str = _STAYS, *, pause_s: float = 0.0, stop_s: float = 5.0) -> ChildPlan:
    command = [sys.executable, "-c", code, str(note)]
    return ChildPlan("a child", command, b"rahasia\n", pause_s, quiet=True, stop_s=stop_s)


async def noted(note: Path, count: int) -> list[int]:
    """The process numbers in a note, once it has so many."""
    async with asyncio.timeout(15):
        while True:
            with contextlib.suppress(FileNotFoundError):
                lines = note.read_text().splitlines()
                if len(lines) >= count:
                    return [int(line.split()[0]) for line in lines]
            await asyncio.sleep(0.02)


def lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def dies(pid: int, within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while lives(pid):
            await asyncio.sleep(0.02)


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_killed_child_is_started_again_after_its_pause(tmp_path: Path) -> None:
    note = tmp_path / "note"
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    task = asyncio.create_task(keep_running(plan(note, pause_s=10), sleep=sleep))
    for count in range(1, 4):
        os.kill((await noted(note, count))[-1], signal.SIGKILL)
    last = (await noted(note, 4))[-1]
    await stopped(task)

    assert pauses == [10, 20, 30]
    assert note.read_text().count("'rahasia\\n'") == 4
    assert not lives(last)


async def test_the_gateway_is_started_again_at_once(tmp_path: Path) -> None:
    note = tmp_path / "note"
    task = asyncio.create_task(show([], plan(note)))
    loop = asyncio.get_running_loop()

    os.kill((await noted(note, 1))[0], signal.SIGKILL)
    killed_s = loop.time()
    await noted(note, 2)

    assert loop.time() - killed_s < 3
    await stopped(task)


async def test_who_gives_up_at_its_first_start_ends_the_demo_with_its_status(tmp_path: Path) -> None:
    note = tmp_path / "note"
    gives_up = ChildPlan("the gateway", [sys.executable, "-c", "raise SystemExit(2)"])

    with pytest.raises(ExceptionGroup) as caught:
        await show([plan(note)], gives_up)

    failed = caught.value.exceptions[0]
    assert isinstance(failed, ChildFailed)
    assert failed.status == 2
    # The other child may have been ended at any moment, also before it could note anything.
    for line in note.read_text().splitlines() if note.exists() else []:
        await dies(int(line.split()[0]))


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "note"
    task = asyncio.create_task(keep_running(plan(note, _STUBBORN, stop_s=0.2)))
    [pid] = await noted(note, 1)

    await stopped(task)

    assert not lives(pid)


async def test_a_program_that_does_not_exist_is_a_failure_and_no_hang() -> None:
    async with asyncio.timeout(10):
        assert await run_once(ChildPlan("nobody", ["/nonexistent/program"]), lambda pid: None) != 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_children_die_with_the_demo_however_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    camera, gateway = tmp_path / "camera", tmp_path / "gateway"
    code = (
        "import asyncio, sys; from simpang.demo.child import ChildPlan; from simpang.demo.show import show;"
        "p = lambda note: ChildPlan('x', [sys.executable, '-c', sys.argv[1], note], quiet=True);"
        "asyncio.run(show([p(sys.argv[2])], p(sys.argv[3])))"
    )
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, _STUBBORN, str(camera), str(gateway)), stderr=asyncio.subprocess.DEVNULL
    )
    children = await noted(camera, 1) + await noted(gateway, 1)

    demo.send_signal(number)

    await demo.wait()
    for pid in children:
        await dies(pid)


def test_the_configuration_is_one_that_the_gateway_takes(tmp_path: Path) -> None:
    demo = prepare(tmp_path / "data", 2, "127.0.0.1:18080", "Asia/Pontianak")

    config = load(tmp_path / "data" / "simpang.toml")

    assert (config.site.time_zone, config.discovery.adopt, config.discovery.interfaces) == (
        "Asia/Pontianak",
        "all",
        ("lo",),
    )
    assert config.web.listen == ()
    assert [(each.host, each.port) for each in config.web.plain_listen] == [("127.0.0.1", 18080)]
    assert config.credentials is not None
    secret = tmp_path / "data" / "secrets" / config.credentials.password_file
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text() == demo.password
    assert len(demo.password) >= 16
    assert demo.password not in (tmp_path / "data" / "simpang.toml").read_text()


def test_the_password_stays_the_same_and_differs_from_demo_to_demo(tmp_path: Path) -> None:
    first, again, other = (prepare(tmp_path / name, 2, "127.0.0.1:1", "UTC") for name in ("a", "a", "b"))

    assert first.password == again.password != other.password


def test_cameras_differ_in_address_and_codec_and_no_command_line_shows_the_password(tmp_path: Path) -> None:
    demo = prepare(tmp_path, 16, "127.0.0.1:18080", "UTC")

    arguments = [parser().parse_args(each.command[3:]) for each in camera_plans(demo)]
    gateway = parser().parse_args(gateway_plan(demo).command[3:])

    assert len({each.listen for each in arguments}) == len({each.name for each in arguments}) == 16
    assert [each.codec for each in arguments[:2]] == ["h264", "h265"]
    assert {each.audio for each in arguments} == {"none", "aac", "pcma"}
    assert gateway.data == tmp_path
    for each in (*camera_plans(demo), gateway_plan(demo)):
        assert demo.password not in " ".join(each.command)
        assert demo.password not in repr(each)


@pytest.mark.parametrize(
    ("environment", "target", "name"),
    [
        ("Asia/Pontianak", "", "Asia/Pontianak"),
        (":Asia/Jakarta", "", "Asia/Jakarta"),
        ("", "/usr/share/zoneinfo/Asia/Makassar", "Asia/Makassar"),
        ("", "/etc/other", "UTC"),
        ("WIB-7", "", "UTC"),
        ("../../etc/passwd", "", "UTC"),
    ],
)
def test_the_time_zone_is_the_computer_s(environment: str, target: str, name: str, tmp_path: Path) -> None:
    localtime = tmp_path / "localtime"
    localtime.symlink_to(target or "/nonexistent")

    assert local_time_zone(localtime, environment) == name
