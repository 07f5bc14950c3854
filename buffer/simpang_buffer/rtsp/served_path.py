"""From the address in a request to what it means: a mount, one of its tracks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from simpang_buffer.rtsp.mount import Mount

# No mount's path is nearly as long.
_LONGEST_PATH = 512


def find_mount(mounts: Mapping[str, Mount], url: str) -> tuple[str, Mount | None]:
    """The mount whose path the URL names or lies under, with that path."""
    path = _path(url)
    while path:
        if path in mounts:
            return path, mounts[path]
        path = path.rpartition("/")[0]
    return "", None


def find_track(mount: Mount, path: str, url: str) -> int | None:
    """Which track a SETUP means; the mount itself means the only one."""
    control = _path(url).removeprefix(path).strip("/")
    if not control and len(mount.tracks) == 1:
        return 0
    return next((i for i, track in enumerate(mount.tracks) if track.control == control), None)


def content_base(url: str) -> str:
    """What tracks' controls are relative to. Some clients put the password into the address: it stays out."""
    scheme, slashes, rest = url.partition("?")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}".rstrip("/") + "/"


def _path(url: str) -> str:
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return unquote(path).rstrip("/") if len(path) <= _LONGEST_PATH else ""
