"""`simpang status`: how the gateway and its cameras are doing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from simpang.cli.exits import Exit
from simpang.cli.verbs import Verbs, verb

if TYPE_CHECKING:
    from simpang.cli.client import Api


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    verb(
        verbs,
        shared,
        "status",
        status,
        summary="show what is recorded and what is wrong, with cause and remedy",
        text="Exit code 3 if no gateway runs; 0 otherwise, whatever is wrong.",
        examples="""
            simpang status
            simpang --lang id status
            simpang status --json | jq .health.severity
        """,
    )


def status(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.output import print_json

    found = ask(arguments, _fetch)
    if arguments.json:
        print_json(found)
    else:
        _print(found, arguments.lang)
    return Exit.DONE


async def _fetch(api: Api) -> dict[str, Any]:
    return {
        "site": await api.get("/api/v1/site"),
        "health": await api.get("/api/v1/health"),
        "cameras": (await api.get("/api/v1/cameras"))["items"],
        "discovery": await api.get("/api/v1/discovery"),
        "disks": await api.get("/api/v1/storage/disks"),
    }


def _print(found: dict[str, Any], language: str) -> None:
    from simpang.cli.output import plain, print_table, rate, size
    from simpang.cli.when import local

    site, health, discovery = found["site"], found["health"], found["discovery"]
    print(f"{plain(site['name'])} ({site['id']}), simpang {site['version']}: {health['severity']}")
    clock = site["clock"]
    print(f"clock {clock['now']}, {'trusted' if clock['trusted'] else 'not trusted'} ({clock['source']})")
    for item in health["items"]:
        print(f"\n{item['severity']}: {plain(item['cause'][language])}")
        print(f"  {plain(item['remedy'][language])}")
        if detail := item["evidence"].get("detail"):
            print(f"  {plain(detail)}")
    print()
    rows = [
        (
            camera["id"],
            camera["address"],
            camera["state"] if camera["reason"] is None else f"{camera['state']}: {camera['reason']}",
            stream["name"],
            stream["codec"],
            f"{stream['width']}x{stream['height']}" if stream["width"] else None,
            rate(stream["bps"]),
            size(stream["bytes"]),
            local(stream["oldest"]),
        )
        for camera in found["cameras"]
        for stream in camera["streams"]
    ]
    if rows:
        header = ("CAMERA", "ADDRESS", "STATE", "STREAM", "CODEC", "SIZE", "RATE", "KEPT", "SINCE")
        print_table(header, rows)
    else:
        print("No cameras.")
    _print_disks(found["disks"])
    others = [device for device in discovery["items"] if device["camera"] is None]
    if others:
        print("\nFound on the network, not recorded:")
        print_table(
            ("ADDRESS", "NAME", "PROBLEM"),
            [(device["address"], device["name"], device["problem"]) for device in others],
        )
    if discovery["where_looked"]:
        print(f"\nLooked on: {plain(', '.join(discovery['where_looked']))}")


def _print_disks(disks: dict[str, Any]) -> None:
    from simpang.cli.output import plain, print_table, size

    print(f"\nA power cut costs {disks['flush_s']:g} s of video ({plain(disks['flush_why'])}).")
    rows = [
        (
            disk["name"],
            disk["kind"],
            disk["model"] or None,
            None if disk["bytes_per_day"] is None else size(disk["bytes_per_day"]),
            None if disk["life_left"] is None else f"{disk['life_left']} %",
            ", ".join(disk["folders"]),
        )
        for disk in disks["items"]
    ]
    if rows:
        print_table(("DISK", "KIND", "MODEL", "WRITTEN A DAY", "LIFE LEFT", "FOLDERS"), rows)
