"""Asks one camera who it is and where its streams are. Errors: OnvifError, with its reason."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

import simpang_buffer.rtsp.auth as rtsp_auth
from simpang.roster.known import KnownSource
from simpang.roster.plan import Wanted
from simpang.roster.view import DeviceFacts
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.rtsp.session import Source
from simpang_buffer.rtsp.tls import Trust
from simpang_onvif.adapter import choose, connect
from simpang_onvif.device import CheckedUri, Credentials, Profile
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.uri_policy import UriPolicy

# A resolver that knows the name answers at once; one that is unreachable must not hold a camera up.
RESOLVE_S = 5.0
_PORTS = {"rtsp": 554, "rtsps": 322}


@dataclass(frozen=True, slots=True)
class Onboarded:
    """facts: what the camera says it is. sources: where its wished-for streams are, main first."""

    facts: DeviceFacts
    clock_offset_s: float | None
    sources: tuple[KnownSource, ...]


async def onboard(wanted: Wanted, credentials: Credentials | None, policy: UriPolicy) -> Onboarded:
    """The camera's identity and its streams. Raises OnvifError within about 10 s."""
    if wanted.url:
        return await _by_url(wanted)
    async with connect(wanted.target, credentials, policy) as camera:
        information = await camera.information()
        main, sub = choose(await camera.profiles())
        sources = []
        for stream, profile in _to_record(wanted, main, sub):
            sources.append(_source(stream, await camera.stream_uri(profile)))
        facts = DeviceFacts(
            make=information.make or None,
            model=information.model or None,
            firmware=information.firmware or None,
            serial=information.serial or None,
            epr=wanted.epr or None,
            mac=information.mac,
        )
        return Onboarded(facts, camera.clock_offset_s, tuple(sources))


def specs(
    wanted: Wanted,
    sources: tuple[KnownSource, ...],
    credentials: Credentials | None,
    clock_offset_s: float | None,
    trust: Trust,
) -> tuple[StreamSpec, ...]:
    """The streams as the recorder wants them."""
    sign_in = rtsp_auth.Credentials(credentials.user, credentials.password) if credentials else None
    offset_us = None if clock_offset_s is None else round(clock_offset_s * 1_000_000)
    return tuple(
        StreamSpec(
            StreamKey(wanted.id, source.stream),
            Source(
                url=source.url,
                host=source.host,
                port=source.port,
                credentials=sign_in,
                allow_basic=wanted.allow_basic,
                transport=wanted.transport,
                audio=wanted.audio,
                # Once is enough: what the camera sees is the same in both streams.
                metadata=wanted.metadata and source.stream == "main",
                trust=trust,
            ),
            offset_us,
        )
        for source in sources
    )


def userinfo(url: str) -> Credentials | None:
    """The user and password that an rtsp:// address carries, decoded (RFC 3986 section 3.2.1)."""
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return Credentials(unquote(parts.username), unquote(parts.password or ""))


def _to_record(wanted: Wanted, main: Profile, sub: Profile | None) -> list[tuple[str, Profile]]:
    offered = {"main": main, "sub": sub}
    found = [
        (stream, profile) for stream in sorted(wanted.record) if (profile := offered[stream]) is not None
    ]
    if not found:
        raise OnvifError(Reason.UNSUPPORTED, "the camera has no sub stream", 'set record = ["main"]')
    return found


def _source(stream: str, uri: CheckedUri) -> KnownSource:
    return KnownSource(stream, uri.url, uri.host, uri.port)


async def _by_url(wanted: Wanted) -> Onboarded:
    urls = {"main": wanted.url, "sub": wanted.sub_url}
    wished = [(stream, urls[stream]) for stream in sorted(wanted.record) if urls[stream]]
    sources = [await _resolved(stream, url) for stream, url in wished]
    if not sources:
        raise OnvifError(Reason.UNSUPPORTED, "no address of a stream that is to be recorded", "set sub_url")
    return Onboarded(DeviceFacts(), None, tuple(sources))


async def _resolved(stream: str, url: str) -> KnownSource:
    """The address without userinfo, its host resolved once: from now on the stream is at that IP."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        raise OnvifError(
            Reason.UNREACHABLE, f"the name {host} cannot be resolved", "give the camera's IP address"
        ) from error
    clean = urlunsplit((parts.scheme.lower(), parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
    return KnownSource(stream, clean, str(found[0][4][0]), port)
