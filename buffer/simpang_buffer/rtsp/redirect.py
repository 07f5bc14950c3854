"""Where a redirect (RFC 2326 section 11.3) may lead: to another door of the same camera, never elsewhere."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from simpang_buffer.rtsp.connection import Source
from simpang_buffer.rtsp.control_url import is_writable
from simpang_buffer.rtsp.errors import RefusedByPolicy

_PORTS = {"rtsp": 554, "rtsps": 322}


def redirected(source: Source, location: str | None) -> Source:
    """The source that a Location field names. Raises RefusedByPolicy for every other host, and where what
    was encrypted would no longer be.

    Behind another port may be another device (a router forwards), so the password goes there hashed only.
    """
    stated = (location or "").strip()
    try:
        parts = urlsplit(stated)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise RefusedByPolicy("the camera redirects to what is no address") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not is_writable(stated) or port == 0:
        raise RefusedByPolicy("the camera redirects to what is no RTSP address")
    if source.encrypted and scheme == "rtsp":
        raise RefusedByPolicy("the camera redirects from rtsps:// to rtsp://, which anybody could read")
    if host != (urlsplit(source.url).hostname or "").lower() and not _same_ip(host, source.host):
        raise RefusedByPolicy(
            f"the camera redirects to {host[:64]}, which is another host and not followed; "
            "if that is where the stream is, enter its address"
        )
    port = port or _PORTS[scheme]
    netloc = parts.netloc.rpartition("@")[2]
    return replace(
        source,
        url=urlunsplit((scheme, netloc, parts.path, parts.query, "")),
        port=port,
        allow_basic=source.allow_basic and port == source.port,
    )


def _same_ip(host: str, pinned: str) -> bool:
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(pinned)
    except ValueError:
        return False
