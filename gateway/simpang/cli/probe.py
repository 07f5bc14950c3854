"""`simpang probe ADDRESS`: asks one camera everything that matters, and tries its streams."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, verb

if TYPE_CHECKING:
    from simpang_onvif.device import CheckedUri, Credentials, Profile

# How long a stream may take to deliver its first packets once it plays.
_MEDIA_S = 5.0
_MAX_PASSWORD_BYTES = 4096


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    parser = verb(
        verbs,
        shared,
        "probe",
        probe,
        summary="ask one camera who it is, how its clock stands, and whether its streams play",
        text="Needs no running gateway. Exit code 1 with one reason if anything that recording needs fails. "
        "A refused password is tried once and not again.",
        examples="""
            simpang probe 10.0.4.21
            simpang probe 10.0.4.21:8000 --user simpang --password-stdin < password.txt
        """,
    )
    parser.add_argument(
        "address", metavar="ADDRESS", help="HOST, HOST:PORT or the address of its device service"
    )
    parser.add_argument("--user", metavar="U", help="user of its ONVIF account (default: without signing in)")
    parser.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the password from standard input, one line; as an argument every user of this machine "
        "could see it",
    )


def probe(arguments: argparse.Namespace) -> int:
    from simpang_onvif.device import Credentials
    from simpang_onvif.errors import OnvifError

    credentials = None
    if arguments.password_stdin != (arguments.user is not None):
        raise CliError(Exit.USAGE, "--user and --password-stdin go together")
    if arguments.user is not None:
        credentials = Credentials(arguments.user, _password())
    try:
        return asyncio.run(_probe(arguments, credentials))
    except OnvifError as error:
        if arguments.json:
            from simpang.cli.output import print_json

            print_json({"address": arguments.address, "reason": error.reason, "detail": error.detail})
        raise CliError(
            Exit.FAILED, f"{arguments.address}: {error.reason}: {error.detail}; {error.remedy}"
        ) from None


async def _probe(arguments: argparse.Namespace, credentials: Credentials | None) -> int:
    from simpang.cli.output import print_json
    from simpang_onvif.adapter import choose, connect
    from simpang_onvif.uri_policy import UriPolicy

    # Who types an address means it, loopback included.
    async with connect(arguments.address, credentials, UriPolicy(allow_loopback=True)) as camera:
        information = await camera.information()
        profiles = await camera.profiles()
        main, sub = choose(profiles)
        chosen = [("main", main)] + ([("sub", sub)] if sub is not None else [])
        uris = [(name, await camera.stream_uri(profile)) for name, profile in chosen]
        offset_s = camera.clock_offset_s
    found: dict[str, Any] = {
        "address": arguments.address,
        "make": information.make,
        "model": information.model,
        "firmware": information.firmware,
        "serial": information.serial,
        "mac": information.mac,
        "clock_offset_s": offset_s,
        "profiles": [_profile(profile) for profile in profiles],
        "streams": [],
    }
    found["streams"] = await try_each(uris, lambda uri: _play(uri, credentials))
    failed = next((stream for stream in found["streams"] if stream["reason"] is not None), None)
    if arguments.json:
        print_json(found)
    else:
        _print(found)
    if failed is not None:
        raise CliError(
            Exit.FAILED,
            f"{arguments.address}: {failed['reason']}: stream {failed['name']}: {failed['detail']}",
        )
    return Exit.DONE


async def try_each(
    uris: Sequence[tuple[str, CheckedUri]], play: Callable[[CheckedUri], Awaitable[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Each stream by itself; the password is not tried again once it was refused."""
    tried: list[dict[str, Any]] = []
    refused: dict[str, Any] | None = None
    for name, uri in uris:
        played = refused or await play(uri)
        refused = played if played["reason"] == "auth" else None
        tried.append({"name": name, "url": uri.url, **played})
    return tried


async def _play(uri: CheckedUri, credentials: Credentials | None) -> dict[str, Any]:
    """Plays a stream until its first packets."""
    from simpang_buffer.rtsp.auth import Credentials as StreamCredentials
    from simpang_buffer.rtsp.errors import StreamError
    from simpang_buffer.rtsp.session import Source, open_session

    sign_in = StreamCredentials(credentials.user, credentials.password) if credentials else None
    source = Source(url=uri.url, host=uri.host, port=uri.port, credentials=sign_in)
    begun_s = time.monotonic()
    try:
        async with open_session(source) as session:
            tracks = [track.track.encoding for track in session.tracks]
            while time.monotonic() - begun_s < _MEDIA_S:
                if session.read_available(1 << 20):
                    return {"reason": None, "detail": "", "tracks": tracks, "first_packet_s": _since(begun_s)}
                await asyncio.sleep(0.02)
            return {"reason": "timeout", "detail": "it plays and sends nothing", "tracks": tracks}
    except StreamError as error:
        return {"reason": error.reason, "detail": error.detail, "tracks": []}


def _since(begun_s: float) -> float:
    return round(time.monotonic() - begun_s, 3)


def _profile(profile: Profile) -> dict[str, object]:
    return {
        "name": profile.name,
        "service": profile.service,
        "encoding": profile.encoding,
        "width": profile.width,
        "height": profile.height,
        "fps": profile.fps,
        "bps": profile.bps,
    }


def _print(found: dict[str, Any]) -> None:
    from simpang.cli.output import plain, print_table, rate

    print(f"camera    {plain(found['make'])} {plain(found['model'])}, firmware {plain(found['firmware'])}")
    print(f"serial    {plain(found['serial'])}, MAC {plain(found['mac'])}")
    offset_s = found["clock_offset_s"]
    print(f"clock     {'not told' if offset_s is None else f'{offset_s:+.1f} s against this machine'}")
    print()
    print_table(
        ("PROFILE", "CODEC", "SIZE", "FPS", "RATE"),
        [
            (p["name"], p["encoding"], f"{p['width']}x{p['height']}", f"{p['fps']:g}", rate(p["bps"]))
            for p in found["profiles"]
        ],
    )
    print()
    print_table(
        ("STREAM", "PLAYS", "TRACKS", "ADDRESS"),
        [
            (
                stream["name"],
                "yes" if stream["reason"] is None else stream["reason"],
                ",".join(stream["tracks"]),
                stream["url"],
            )
            for stream in found["streams"]
        ],
    )


def _password() -> str:
    given = sys.stdin.buffer.read(_MAX_PASSWORD_BYTES + 1)
    if len(given) > _MAX_PASSWORD_BYTES:
        raise CliError(Exit.USAGE, "the password on standard input is longer than 4096 bytes")
    try:
        password = given.decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise CliError(Exit.USAGE, "the password on standard input is not UTF-8 text") from None
    if not password:
        raise CliError(Exit.USAGE, "--password-stdin: nothing came on standard input")
    return password
