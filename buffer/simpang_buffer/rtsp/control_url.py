"""Which URL names a track (RFC 2326 appendix C.1.1), in the forms that cameras answer to.

Whatever is named here is only text in a request: every request goes to the one pinned address.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from simpang_buffer.rtsp.errors import RefusedByPolicy

_LONGEST = 2048
# The best form first; a camera that refuses four knows none of ours.
_MOST_FORMS = 4


def base_url(request_url: str, content_base: str | None) -> str:
    """The URL that controls are relative to: Content-Base, repaired by the URL that was asked for.

    Only its path and query count: the host it names may lack its scheme (Anjvision), be relative, or be one
    that the camera has on its other side.
    """
    stated = (content_base or "").strip()
    asked = _split(request_url)
    if asked is None or not stated or not is_writable(stated):
        return request_url
    if "://" not in stated and not stated.startswith("/"):
        host = stated.partition("/")[0]
        # "10.0.4.21/stream/" or "camera:554/stream/", else a relative address.
        if "/" in stated and ("." in host or ":" in host):
            stated = f"{asked.scheme}://{stated}"
    split = _split(_joined(request_url, stated))
    if split is None or split.scheme not in ("rtsp", "rtsps"):
        return request_url
    return urlunsplit((asked.scheme, asked.netloc, split.path, split.query, ""))


def aggregate_urls(request_url: str, base: str, control: str) -> tuple[str, ...]:
    """The URLs to try for the whole presentation (PLAY, keepalive, TEARDOWN), the likeliest first."""
    stated = control.strip()
    absolute = (stated,) if re.match(r"rtsps?://", stated, re.IGNORECASE) and is_writable(stated) else ()
    return _distinct(*absolute, base, request_url)


def track_urls(request_url: str, base: str, control: str) -> tuple[str, ...]:
    """The URLs to try for a track, the likeliest first. Raises RefusedByPolicy if it is no RTSP address."""
    stated = control.strip()
    if re.match(r"rtsps?://", stated, re.IGNORECASE):
        split = _split(stated)
        asked = _split(request_url)
        if split is None or asked is None or not is_writable(stated):
            return (base,)
        ours = urlunsplit((asked.scheme, asked.netloc, split.path, split.query, ""))
        return _distinct(stated, ours)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", stated) or stated.lower().startswith("file:"):
        raise RefusedByPolicy("the camera names a track at an address that is not RTSP")
    if stated in ("", "*") or not is_writable(stated):
        return _distinct(base, request_url)
    return _distinct(
        _appended(base, stated),
        _joined(base, stated),
        _before_query(base, stated),
        _appended(request_url, stated),
    )


def is_writable(url: str) -> bool:
    """Whether it can stand in a request: no blank, no control character, of bearable length."""
    return len(url) <= _LONGEST and url.isascii() and url.isprintable() and " " not in url


def _appended(base: str, control: str) -> str:
    return f"{base.rstrip('/')}/{control.lstrip('/')}"


def _joined(base: str, control: str) -> str:
    try:
        return urljoin(base, control)
    except ValueError:
        return base


def _before_query(base: str, control: str) -> str:
    # Axis Companion needs the query behind the track's name.
    path, mark, query = base.partition("?")
    return _appended(path, control) + mark + query


def _distinct(*urls: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(url for url in urls if is_writable(url)))[:_MOST_FORMS]


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None
