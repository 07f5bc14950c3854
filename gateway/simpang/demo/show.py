"""The demo: some cameras on loopback and a gateway that discovers them, each a process of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from simpang.demo.child import ChildPlan, keep_running

USER = "simpang"
MOST_CAMERAS = 16
# Every camera has an address of its own, 127.0.1.1 and up, so all may have the ports that cameras have.
HTTP_PORT = 8000
RTSP_PORT = 8554
SECRET = "cameras"  # noqa: S105 - the name of the secret, not the secret
# Long enough for a person to see on the page that a camera is gone.
CAMERA_PAUSE_S = 10.0

_NAMES = ("Digulis Utara", "Digulis Timur", "Digulis Selatan", "Digulis Barat")

_CONFIG = Template(
    """\
# Written by `simpang demo` at every start.
[site]
id = "demo"
name = "Simpang Digulis"
time_zone = "$time_zone"

[buffer]
max_bytes = "4 GB"     # about two hours of two cameras
min_free = "500 MB"

[web]
listen = []
plain_listen = ["$listen"]

[discovery]
adopt = "all"
interfaces = ["lo"]    # the demo's cameras are on loopback
every_s = 10

[credentials]
user = "$user"
password_file = "$secret"
"""
)


@dataclass(frozen=True, slots=True)
class Demo:
    """What to show. data: where the gateway keeps everything. listen: address and port of the page."""

    data: Path
    cameras: int
    listen: str
    time_zone: str
    password: str = field(repr=False)


def prepare(data: Path, cameras: int, listen: str, time_zone: str) -> Demo:
    """Write the configuration and, at the first start, a random password. Raises OSError."""
    secret = data / "secrets" / SECRET
    secret.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(12))
    except FileExistsError:
        # Kept over restarts, so that a camera that outlived the demo could still be signed in to.
        secret.chmod(0o600)
    text = _CONFIG.substitute(time_zone=time_zone, listen=listen, user=USER, secret=SECRET)
    (data / "simpang.toml").write_text(text, encoding="utf-8")
    return Demo(data, cameras, listen, time_zone, secret.read_text(encoding="utf-8").strip())


def camera_plan(demo: Demo, number: int) -> ChildPlan:
    """The number-th camera, from 1: H.264 and H.265 in turn, the last of three with sound."""
    host = f"127.0.1.{number}"
    name = _NAMES[number - 1] if number <= len(_NAMES) else f"Digulis {number}"
    command = [
        *(*simpang(), "demo-camera", "--name", name),
        *("--listen", f"{host}:{HTTP_PORT}", "--rtsp-port", str(RTSP_PORT)),
        *("--codec", "h264" if number % 2 else "h265", "--audio", ("aac", "none", "pcma")[(number - 1) % 3]),
        *("--user", USER, "--password-stdin", "--time-zone", demo.time_zone),
    ]
    return ChildPlan(name, command, demo.password.encode() + b"\n", CAMERA_PAUSE_S, quiet=True)


def gateway_plan(demo: Demo) -> ChildPlan:
    """`simpang run` over the demo's folder."""
    config = demo.data / "simpang.toml"
    return ChildPlan("the gateway", [*simpang(), "--config", str(config), "run", "--data", str(demo.data)])


def camera_plans(demo: Demo) -> list[ChildPlan]:
    return [camera_plan(demo, number + 1) for number in range(demo.cameras)]


async def show(cameras: Sequence[ChildPlan], gateway: ChildPlan) -> None:
    """Keep every process running until cancelled. Raises ChildFailed in a group.

    Ends the gateway first, so that it does not see its cameras vanish.
    """
    async with asyncio.TaskGroup() as tasks:
        for plan in cameras:
            tasks.create_task(keep_running(plan), name=f"demo:{plan.name}")
        await keep_running(gateway)


def simpang() -> list[str]:
    """The command that this program is, in the same Python."""
    return [sys.executable, "-m", "simpang"]


def local_time_zone(localtime: Path = Path("/etc/localtime"), environment: str | None = None) -> str:
    """The name of this computer's time zone; UTC where it does not say, or none that is known."""
    name = (environment or "").removeprefix(":") or os.path.realpath(localtime).partition("/zoneinfo/")[2]
    try:
        return zoneinfo.ZoneInfo(name).key
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return "UTC"
