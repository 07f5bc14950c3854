"""`simpang camera list | show ID | trust ID`."""

from __future__ import annotations

import argparse
from typing import Any

from simpang.cli.exits import Exit
from simpang.cli.verbs import Verbs, verb


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    group = verb(verbs, shared, "camera", None, summary="list the cameras, or show one in full")
    inner = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    verb(inner, shared, "list", list_, summary="one line for each camera: id, address, state, device")
    parser = verb(inner, shared, "show", show, summary="everything that is known of one camera")
    parser.add_argument("id", metavar="ID", help="the camera's id, as `simpang camera list` shows it")

    parser = verb(
        inner, shared, "trust", trust, summary="believe the TLS certificate that a camera shows from now on"
    )
    parser.add_argument("id", metavar="ID", help="the camera that was replaced or reset")


def list_(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.output import print_json, print_table

    found = ask(arguments, lambda api: api.get("/api/v1/cameras"))
    if arguments.json:
        print_json(found)
        return Exit.DONE
    print_table(
        ("CAMERA", "NAME", "ADDRESS", "STATE", "REASON", "DEVICE"),
        [
            (
                camera["id"],
                camera["name"],
                camera["address"],
                camera["state"],
                camera["reason"],
                " ".join(filter(None, (camera["device"]["make"], camera["device"]["model"]))) or None,
            )
            for camera in found["items"]
        ],
    )
    return Exit.DONE


def show(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.output import plain, print_json

    camera = ask(arguments, lambda api: api.get(f"/api/v1/cameras/{arguments.id}"))
    if arguments.json:
        print_json(camera)
        return Exit.DONE
    repairs = [(stream["name"], stream.pop("repairs")) for stream in camera["streams"]]
    for name, value in _lines(camera, ""):
        print(f"{name:<28} {plain(value)}")
    for stream, found in repairs:
        for repair in found:
            said = plain(repair["words"][arguments.lang])
            print(f"{f'streams.{stream}.repaired':<28} {repair['count']} x {said}")
    return Exit.DONE


def trust(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.output import print_json

    camera = ask(arguments, lambda api: api.post(f"/api/v1/cameras/{arguments.id}/trust", {}))
    if arguments.json:
        print_json(camera)
    else:
        print(f"the certificate that {camera['id']} shows next is the one it is known by")
    return Exit.DONE


def _lines(value: Any, name: str) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _lines(inner, f"{name}.{key}".lstrip("."))]
    if isinstance(value, list):
        return [line for inner in value for line in _lines(inner, f"{name}.{inner.get('name', '')}")]
    return [(name, value)]
