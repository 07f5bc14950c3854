"""What a recorder takes from itself, and that it says so when it could not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simpang.confinement_health import confinement_items
from simpang_buffer.recording.sandbox.confinement import Confinement, confinement_fields, confinement_of
from simpang_buffer.recording.sandbox.seccomp import Instruction, program
from simpang_buffer.recording.sandbox.self_test import actions
from simpang_buffer.recording.sandbox.syscalls import AUDIT_ARCH, CALLS

ALLOWED, DENIED, ABSENT = 0x7FFF0000, 0x00050001, 0x00050026
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
STREAM, DGRAM, RAW, NONBLOCK = 1, 2, 3, 0o4000
CLONE_THREAD = 0x10000
PID = 4242


def run_confined(folder: Path, how: str) -> dict[str, Any]:
    media = folder / "media"
    media.mkdir()
    (media / "simpang-folder").write_text("{}")
    (folder / "secrets").mkdir()
    (folder / "index.db").write_bytes(b"SQLite")
    helper = Path(__file__).with_name("confined.py")
    done = subprocess.run(
        [sys.executable, "-P", str(helper), str(media), how], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_recorder_can_do_its_work_and_nothing_hostile(tmp_path: Path) -> None:
    found = run_confined(tmp_path, "fully")

    assert found["escaped"] == []
    # Not even to its own: who takes over a recorder must not unmake what was recorded before.
    assert (found["thread"], found["does_to_footage"], found["lacks"]) == (True, [], [])


def test_each_hostile_action_works_where_nothing_stops_it(tmp_path: Path) -> None:
    found = run_confined(tmp_path, "not at all")

    # What anybody may do, root or not: were these not found here, the self-test could not fail.
    assert {
        "read a file of the system",
        "read the secrets",
        "read the index",
        "write into the data folder",
        "write into the temporary folder",
        "read another process's environment",
        "write into a file that is there",
        "delete a file",
        "limit the daemon",
        "run a program",
        "start a process",
        "signal the daemon",
        "open a Unix socket",
        "open a netlink socket",
        "let somebody connect",
        "become somebody else",
        "change a file's rights",
        "rename a folder",
        "link a file into the media folder",
    } <= set(found["escaped"])
    assert len(list(actions([tmp_path / "media"]))) >= 20


def test_a_kernel_without_the_means_is_said_and_recorded_on(tmp_path: Path) -> None:
    found = run_confined(tmp_path, "by an old kernel")

    assert (found["landlock"], found["seccomp"], found["thread"]) == (0, False, True)
    assert [lack.split(":")[0] for lack in found["lacks"]] == ["Landlock", "seccomp"]
    assert "read the secrets" in found["escaped"]
    items = list(confinement_items([confinement_of(found)]))
    assert [item.code for item in items] == ["sandbox-weak"]
    assert "Landlock" in items[0].cause.en


def test_an_action_that_gets_out_is_critical() -> None:
    sound = Confinement(7, True, (), ())
    leaky = Confinement(7, True, (), ("run a program",))

    assert list(confinement_items([sound, sound])) == []
    (item,) = confinement_items([sound, leaky])

    assert (item.code, item.severity) == ("sandbox-open", "critical")
    assert "run a program" in item.cause.en
    assert "run a program" in item.cause.id
    assert confinement_of(json.loads(json.dumps(confinement_fields(leaky)))) == leaky


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_tells_a_recorders_calls_from_others(machine: str) -> None:
    code = program(machine, PID)
    calls = CALLS[machine]

    def verdict(name: str | int, *arguments: int, arch: int = AUDIT_ARCH[machine]) -> int:
        number = calls[name] if isinstance(name, str) else name
        return judged(code, number, arch, arguments)

    absent = {"clone3", "openat2"}
    partly = {"clone", "tgkill", "socket", "prlimit64", "fcntl", "ioctl", "open", "openat"} | absent
    assert {verdict(name) for name in calls if name not in partly} == {DENIED}
    assert verdict("clone", CLONE_THREAD | 0x3D0F00) == ALLOWED
    assert verdict("clone", 0x11) == DENIED
    assert {verdict(name) for name in absent} == {ABSENT}
    assert verdict("tgkill", PID, 4243) == ALLOWED
    assert verdict("tgkill", PID + 1, 4243) == DENIED
    assert (verdict("prlimit64", 0), verdict("prlimit64", PID - 1)) == (ALLOWED, DENIED)
    assert [verdict("fcntl", 3, command) for command in (1, 4, 8, 10, 15, 1030)] == [
        ALLOWED, ALLOWED, DENIED, DENIED, DENIED, ALLOWED
    ]  # fmt: skip
    assert [verdict("ioctl", 0, request) for request in (0x5421, 0x8901, 0x8902, 0x5412, 0x541C)] == [
        ALLOWED, DENIED, DENIED, DENIED, DENIED
    ]  # fmt: skip
    for flags, expected in (
        (os.O_RDONLY | os.O_CLOEXEC, ALLOWED),
        (os.O_RDONLY | os.O_DIRECTORY, ALLOWED),
        (os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, ALLOWED),
        (os.O_WRONLY, DENIED),
        (os.O_RDWR | os.O_CREAT, DENIED),
        (os.O_WRONLY | os.O_EXCL, DENIED),
        (os.O_RDONLY | os.O_TRUNC, DENIED),
        (os.O_RDONLY | os.O_CREAT, DENIED),
        (os.O_RDWR | os.O_TMPFILE, DENIED),
    ):
        assert verdict("openat", -100 & 0xFFFFFFFF, 0, flags) == expected, oct(flags)
        if "open" in calls:
            assert verdict("open", 0, flags) == expected, oct(flags)
    for family, kind, expected in (
        (AF_INET, STREAM, ALLOWED),
        (AF_INET, STREAM | NONBLOCK, ALLOWED),
        (AF_INET6, DGRAM | NONBLOCK, ALLOWED),
        (AF_INET, RAW, DENIED),
        (AF_UNIX, STREAM, DENIED),
        (AF_NETLINK, RAW, DENIED),
        (AF_NETLINK, STREAM, DENIED),
    ):
        assert verdict("socket", family, kind) == expected, (family, kind)
    # What every program needs; the numbers differ, and none is on the list.
    assert verdict(999) == ALLOWED
    assert verdict(999, arch=0x40000003) == DENIED
    assert verdict(0x40000000 + 1) == DENIED


def judged(code: list[Instruction], number: int, arch: int, arguments: tuple[int, ...]) -> int:
    """What the kernel's interpreter would return for a call (Documentation/networking/filter.rst)."""
    words = {0: number, 4: arch} | {16 + 8 * at: value for at, value in enumerate(arguments)}
    at = value = 0
    while True:
        operation, jump, jump_else, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                value = words.get(constant, 0)
            case 0x54:
                value &= constant
            case 0x15:
                at += jump if value == constant else jump_else
            case 0x35:
                at += jump if value >= constant else jump_else
            case 0x45:
                at += jump if value & constant else jump_else
            case 0x06:
                return constant
            case _:
                raise AssertionError(f"operation {operation:#x}")
