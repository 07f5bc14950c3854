"""Talks to the running gateway through its Unix socket, whose every caller is an installer."""

from __future__ import annotations

import asyncio
import contextlib
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from simpang.cli.exits import CliError, Exit
from simpang.config.boot import STAND_IN, default_file
from simpang.config.faults import ConfigFaults
from simpang.config.load import buffer_path, load, read
from simpang.config.model import Buffer

# systemd's runtime folder, then the data folders of an installed and of a tried-out gateway.
_SERVICE_SOCKET = Path("/run/simpang/api.sock")
_TRIAL_DATA = Path("data")

# The gateway answers from memory; a clip begins within this and then flows.
ANSWER_S = 30.0

T = TypeVar("T")


class Api:
    """Requests to the gateway. Every failure is a CliError with its exit code."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return await self._json("GET", path, query=query)

    async def post(
        self, path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> Any:
        return await self._json("POST", path, body=body, headers=headers)

    async def delete(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return await self._json("DELETE", path, query=query)

    @contextlib.asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer whose body is still to be read."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=ANSWER_S)
        try:
            async with self._session.get(path, params=query, timeout=timeout) as response:
                if response.status >= 400:
                    raise await _problem(response)
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CliError(Exit.FAILED, f"the gateway broke off: {error}") from error

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        try:
            async with self._session.request(
                method, path, params=query, json=body, headers=headers
            ) as response:
                if response.status >= 400:
                    raise await _problem(response)
                return None if response.status == 204 else await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise CliError(Exit.UNREACHABLE, f"the gateway does not answer: {error}") from error


def ask(arguments: Namespace, work: Callable[[Api], Awaitable[T]]) -> T:
    """Runs `work` with the gateway's API. Raises CliError(unreachable), saying where it was looked for."""
    return asyncio.run(ask_at(find_socket(arguments), work))


def find_socket(arguments: Namespace) -> Path:
    """--socket; else the first that exists of the service's, the configured data folder's, ./data's."""
    if arguments.socket is not None:
        places = [arguments.socket]
    else:
        folders = [configured_data(arguments), _TRIAL_DATA, *_stand_ins(arguments)]
        places = [folder / "api.sock" for folder in folders]
        # A named configuration is about its own gateway, whatever else runs here.
        places.insert(len(places) if arguments.config is not None else 0, _SERVICE_SOCKET)
    for place in places:
        if place.is_socket():
            return Path(place)
    looked = ", ".join(map(str, places))
    raise CliError(
        Exit.UNREACHABLE,
        f"no gateway runs here (looked for {looked}); start it with `simpang run`, or name its --socket",
    )


async def ask_at(socket: Path, work: Callable[[Api], Awaitable[T]]) -> T:
    """As `ask`, of the gateway behind this socket."""
    connector = aiohttp.UnixConnector(path=str(socket))
    timeout = aiohttp.ClientTimeout(total=ANSWER_S, connect=5)
    # The host's name is of no meaning on a Unix socket, but it is one that the gateway calls its own.
    async with aiohttp.ClientSession("http://localhost", connector=connector, timeout=timeout) as session:
        try:
            async with session.get("/healthz"):
                return await work(Api(session))
        except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError) as error:
            raise CliError(
                Exit.UNREACHABLE,
                f"the gateway at {socket} does not answer ({error.__class__.__name__}); "
                "is it running, and are you its user or root?",
            ) from error


async def _problem(response: aiohttp.ClientResponse) -> CliError:
    """RFC 9457 problems as exit codes."""
    try:
        body = await response.json(content_type=None)
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    code = body.get("code", "")
    message = str(body.get("detail") or body.get("title") or f"status {response.status}")
    for fault in body.get("errors") or ():
        message += f"\n  {fault.get('path')}: {fault.get('message')}"
    if code in ("nothing-recorded", "not-found"):
        return CliError(Exit.NOTHING, message)
    if code == "malformed":
        return CliError(Exit.USAGE, message)
    if response.status in (429, 503):
        return CliError(Exit.TRY_LATER, message)
    if response.status in (401, 403, 409):
        return CliError(Exit.REFUSED, message)
    return CliError(Exit.FAILED, message)


def _stand_ins(arguments: Namespace) -> list[Path]:
    """Where a gateway works whose data folder is missing."""
    try:
        config = load(arguments.config or default_file())
    except ConfigFaults:
        return []
    return [folder.path / STAND_IN for folder in config.buffer.folder]


def configured_data(arguments: Namespace) -> Path:
    """Where the configuration says that the data lies, even if it is faulty elsewhere."""
    try:
        return buffer_path(read(arguments.config or default_file())) or Buffer().path
    except ConfigFaults:
        return Buffer().path
