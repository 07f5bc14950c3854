"""The verbs `demo` and `demo-camera`."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import signal
import sys
from pathlib import Path
from typing import Any

_DONE, _FAILED, _USAGE = 0, 1, 2


def add_parsers(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add both verbs; each sets `run`, which takes the arguments and returns the exit status."""
    demo = subparsers.add_parser(
        "demo",
        help="some demo cameras and a gateway that discovers and records them",
        description="Starts demo cameras on loopback and a gateway that discovers and records them. "
        "Prints the page's address. Ctrl-C ends it all.",
    )
    demo.add_argument("--cameras", type=_camera_count, default=2, metavar="N", help="how many (default 2)")
    demo.add_argument(
        "--data", type=Path, default=Path("data"), metavar="DIR", help="where footage goes (default ./data)"
    )
    demo.add_argument(
        "--listen", type=_address, default=("127.0.0.1", 8080), metavar="ADDR:PORT", help="the page's address"
    )
    demo.set_defaults(run=run_demo)
    camera = subparsers.add_parser(
        "demo-camera",
        help="one demo camera: ONVIF, discovery, RTSP",
        description="An ONVIF camera that shows a junction. It answers discovery on the interface of its "
        "address.",
    )
    camera.add_argument("--name", default="Demo", help="shown in its picture and in discovery")
    camera.add_argument(
        "--listen", type=_address, default=("127.0.1.1", 8000), metavar="ADDR:PORT", help="its ONVIF service"
    )
    camera.add_argument(
        "--rtsp-port", type=_port, default=8554, metavar="PORT", help="where its streams are (default 8554)"
    )
    camera.add_argument(
        "--codec", choices=("h264", "h265"), default="h264", help="of both its streams (default h264)"
    )
    camera.add_argument(
        "--audio", choices=("none", "aac", "pcma"), default="none", help="sound in its streams (default none)"
    )
    camera.add_argument(
        "--user", default="simpang", metavar="U", help="who may sign in, for ONVIF and RTSP (default simpang)"
    )
    camera.add_argument(
        "--password-stdin", action="store_true", required=True, help="read the password from standard input"
    )
    camera.add_argument("--time-zone", default="UTC", help="of the clock in the picture (default UTC)")
    camera.set_defaults(run=run_camera_command)


def run_camera_command(args: argparse.Namespace) -> int:
    """Be a camera until SIGTERM or SIGINT; prints "ready" when it answers."""
    from simpang.demo.camera import PainterEnded, run_camera
    from simpang.demo.identity import Identity

    password = sys.stdin.readline(1024).rstrip("\r\n")
    if not password:
        return _complain("no password came by standard input", _USAGE)
    host, port = args.listen
    identity = Identity(
        args.name, host, port, args.rtsp_port, args.codec, args.audio, args.user, password, args.time_zone
    )
    status = _DONE
    try:
        asyncio.run(_until_told(run_camera(identity, lambda: _say("ready"))))
    except* (PainterEnded, TimeoutError) as group:
        status = _complain(f"{args.name}: {group.exceptions[0] or 'the painter is too slow'}", _FAILED)
    except* OSError as group:
        status = _complain(f"{args.name} ({host}): {group.exceptions[0]}; is it running already?", _FAILED)
    return status


def run_demo(args: argparse.Namespace) -> int:
    """Run the demo until SIGTERM or SIGINT."""
    from simpang.demo.child import ChildFailed
    from simpang.demo.show import camera_plans, gateway_plan, local_time_zone, prepare, show

    host, port = args.listen
    try:
        demo = prepare(
            args.data.absolute(),
            args.cameras,
            f"{host}:{port}",
            local_time_zone(environment=os.environ.get("TZ")),
        )
    except OSError as error:
        return _complain(f"{args.data}: {error.strerror}; choose another folder with --data", _FAILED)
    status = _DONE
    try:
        asyncio.run(_until_told(show(camera_plans(demo), gateway_plan(demo))))
    except* ChildFailed as group:
        # It has said why itself.
        status = group.exceptions[0].status if isinstance(group.exceptions[0], ChildFailed) else _FAILED
    return status


async def _until_told(work: Any) -> None:
    """Run until it ends, or until SIGTERM, SIGINT or SIGHUP cancels it."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    told = False

    def stop() -> None:
        nonlocal told
        told = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not told:
            raise


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return str(ipaddress.IPv4Address(host)), _port(port)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS:PORT, as 127.0.0.1:8080") from None


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65_536:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return port


def _camera_count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 16:
        raise argparse.ArgumentTypeError("1 to 16 cameras")
    return count


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"simpang: {text}\n")
    return status
