"""`simpang central list | test ID`: where footage may be sent, and whether the way there works."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets as random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, verb

if TYPE_CHECKING:
    from simpang.config.model import Central, Config

# Each step by itself; a link that needs longer is no link for video.
_STEP_S = 15.0
# Enough for a rate that means something on 4 Mbit/s, little enough for a metered link.
_PROBE_BYTES = 512 * 1024


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    group = verb(verbs, shared, "central", None, summary="list the centrals, and test the way to one")
    inner = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    verb(inner, shared, "list", list_, summary="every [[central]] of simpang.toml with its store")
    parser = verb(
        inner,
        shared,
        "test",
        test,
        summary="resolve, connect, put and get an object; say where it fails and how fast it went",
        text="Needs no running gateway. Sends and fetches half a megabyte under SITE/connection-test/ in the "
        "store; one small object stays there.",
        examples="simpang central test pontive",
    )
    parser.add_argument("id", metavar="ID", help="id of a [[central]] in simpang.toml")
    parser.add_argument("--data", metavar="DIR", type=Path, help="data folder whose secrets/ to use")


def list_(arguments: argparse.Namespace) -> int:
    from simpang.cli.output import print_json, print_table

    config, _ = _config(arguments)
    rows = [
        {
            "id": central.id,
            "party": central.party,
            "endpoint": central.store.endpoint if central.store else None,
            "bucket": central.store.bucket if central.store else None,
            "prefix": central.store.prefix if central.store else None,
            "mqtt": central.mqtt,
        }
        for central in config.central
    ]
    if arguments.json:
        print_json({"items": rows})
    else:
        names = ("id", "party", "endpoint", "bucket", "prefix", "mqtt")
        print_table([name.upper() for name in names], [[row[name] or None for name in names] for row in rows])
    return Exit.DONE


def test(arguments: argparse.Namespace) -> int:
    from simpang.cli.output import print_json

    config, file = _config(arguments)
    central = config.central_by_id(arguments.id)
    if central is None or central.store is None:
        known = ", ".join(one.id for one in config.central if one.store is not None) or "none"
        raise CliError(Exit.NOTHING, f"no central {arguments.id!r} with a store in {file} (there: {known})")
    steps = asyncio.run(_test(central, config, file.absolute().parent, arguments))
    if arguments.json:
        print_json({"central": central.id, "steps": steps})
    return Exit.DONE if all(step["good"] for step in steps) else Exit.FAILED


async def _test(
    central: Central, config: Config, folder: Path, arguments: argparse.Namespace
) -> list[dict[str, object]]:
    """One step after the other, up to the first that fails."""
    from simpang.config.secrets import SecretFault, Secrets, secret_folders
    from simpang.store.errors import StoreError
    from simpang.store.s3 import S3Store, StoreAddress, trusting
    from simpang.store.sigv4 import StoreKeys

    settings = central.store
    assert settings is not None
    parts = urlsplit(settings.endpoint)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    secrets = Secrets(
        secret_folders((arguments.data or config.buffer.path).absolute(), folder / "simpang.toml"),
        credentials=Path(given) if given else None,
        on_read=lambda secret: None,
    )
    tls: ssl.SSLContext | None = None
    body = random.token_bytes(_PROBE_BYTES)
    key = f"{config.site.id}/connection-test/object"

    async def trust() -> str:
        nonlocal tls
        tls = await asyncio.to_thread(trusting, folder / str(central.ca_file))
        return f"{central.ca_file} read"

    async def resolve() -> str:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return ", ".join(dict.fromkeys(str(one[4][0]) for one in found))

    async def connect() -> str:
        context = (tls or True) if parts.scheme == "https" else None
        _, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.close()
        return f"{host} port {port}" + (", TLS" if context else "")

    async def read_keys() -> str:
        keys()
        return "both read"

    def keys() -> StoreKeys:
        return StoreKeys(
            secrets.read(settings.access_key_file), secrets.read(settings.secret_key_file), settings.region
        )

    def store() -> S3Store:
        address = StoreAddress(settings.endpoint.rstrip("/"), settings.bucket, settings.prefix)
        return S3Store(address, keys(), tls=tls)

    async def put() -> str:
        begun_s = time.monotonic()
        async with store() as opened:
            await opened.put(key, body, content_type="application/octet-stream", overwrite=True)
        return _rate(begun_s)

    async def get() -> str:
        begun_s = time.monotonic()
        async with store() as opened:
            if await opened.get(key, len(body)) != body:
                raise CliError(Exit.FAILED, "what came back is not what was sent")
        return _rate(begun_s)

    steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        *([("ca_file", trust)] if central.ca_file is not None else []),
        ("resolve", resolve),
        ("connect", connect),
        ("keys", read_keys),
        ("put", put),
        ("get", get),
    ]
    done: list[dict[str, object]] = []
    for name, step in steps:
        try:
            async with asyncio.timeout(_STEP_S):
                words, good = await step(), True
        except TimeoutError:
            words, good = f"no answer within {_STEP_S:g} s", False
        except (OSError, StoreError, SecretFault, CliError) as error:
            words, good = str(error), False
        done.append({"step": name, "good": good, "words": words})
        if not arguments.json:
            print(f"{name:<8} {'good' if good else 'FAILED'}: {words}", flush=True)
        if not good:
            break
    return done


def _config(arguments: argparse.Namespace) -> tuple[Config, Path]:
    from simpang.config.boot import default_file
    from simpang.config.faults import ConfigFaults
    from simpang.config.load import load

    file = arguments.config or default_file()
    try:
        return load(file), file
    except ConfigFaults as error:
        raise CliError(Exit.USAGE, str(error)) from None


def _rate(begun_s: float) -> str:
    seconds = max(time.monotonic() - begun_s, 1e-6)
    return f"{_PROBE_BYTES // 1024} kB in {seconds:.2f} s, {_PROBE_BYTES * 8 / seconds / 1e6:.1f} Mbit/s"
