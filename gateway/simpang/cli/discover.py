"""`simpang discover`: what is on the camera network."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, verb

if TYPE_CHECKING:
    from simpang_onvif.device import Device


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    parser = verb(
        verbs,
        shared,
        "discover",
        discover,
        summary="look for ONVIF cameras on this network and print each as it answers",
        text="Needs no configuration, no password and no running gateway. Exit code 5 if none answers. "
        "With --json one object a line.",
        examples="""
            simpang discover
            simpang discover --interface eth1 --seconds 8
            simpang discover --target 10.0.9.0/24
        """,
    )
    parser.add_argument(
        "--interface",
        metavar="IF",
        action="append",
        default=[],
        help="look only on this network interface; may be repeated (default: all but loopback)",
    )
    parser.add_argument(
        "--target",
        metavar="CIDR",
        action="append",
        default=[],
        help="also ask every address of this network one by one, where multicast does not reach; "
        "may be repeated",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=float,
        default=4.0,
        help="how long to listen, 1 to 60 seconds (default: 4)",
    )


def discover(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.seconds <= 60:
        raise CliError(Exit.USAGE, f"--seconds {arguments.seconds:g} is not between 1 and 60")
    return asyncio.run(_discover(arguments))


async def _discover(arguments: argparse.Namespace) -> int:
    from simpang.cli.output import note, print_line
    from simpang_onvif.discovery import discover as find
    from simpang_onvif.errors import OnvifError

    found = 0
    try:
        async for device in find(
            interfaces=arguments.interface or None, targets=arguments.target, seconds=arguments.seconds
        ):
            found += 1
            if arguments.json:
                print_line(_object(device))
            else:
                _print(device)
    except OnvifError as error:
        raise CliError(Exit.USAGE, str(error)) from None
    if found:
        return Exit.DONE
    if not arguments.json:
        note(
            "no camera answered; check that they have power and hang on this network, "
            "or ask by address: simpang discover --target 10.0.4.0/24"
        )
    return Exit.NOTHING


def _object(device: Device) -> dict[str, object]:
    return {
        "address": device.address,
        "name": device.name,
        "hardware": device.hardware,
        "location": device.location,
        "epr": device.epr,
        "xaddrs": list(device.xaddrs),
        "interface": device.interface,
        "problem": device.problem,
        "detail": device.detail,
    }


def _print(device: Device) -> None:
    from simpang.cli.output import plain

    line = f"{device.address:<16} {plain(device.name) or '-':<24} {plain(device.hardware) or '-':<20}"
    if device.problem is not None:
        line += f" {device.problem}: {plain(device.detail)}"
    print(line.rstrip(), flush=True)
