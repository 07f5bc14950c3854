"""The page: a shell rendered here, and its own files. What moves on it uses only the public API."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import hdrs, web

from simpang.web.cameras import camera_answer
from simpang.web.context import gateway_of, now_us
from simpang.web.guards import CALLER, Listener, listener_of
from simpang.web.problems import Problem
from simpang.web.roles import Role
from simpang.web.site import health_answer, sign_in, site_answer

PAGE: web.AppKey[Page] = web.AppKey("page")
HTTPS: web.AppKey[Https] = web.AppKey("https")

_HERE = Path(__file__).parent
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# The address changes with the content, so what is cached is right for ever.
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Https:
    """The TLS listener, if there is one. fingerprint: SHA-256 of its certificate, as browsers show it."""

    port: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class StaticFile:
    media_type: str
    body: bytes
    gzipped: bytes


@dataclass(frozen=True)
class Page:
    """Templates and files, read once. version: of all files together; it stands in their addresses."""

    templates: jinja2.Environment
    files: Mapping[str, StaticFile]
    version: str

    @classmethod
    def load(cls) -> Page:
        files = {path.name: _static_file(path) for path in sorted((_HERE / "static").iterdir())}
        digest = hashlib.sha256(b"".join(name.encode() + file.body for name, file in files.items()))
        templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        for name in templates.list_templates():
            templates.get_template(name)  # compiled now, not in the loop at the first request
        return cls(templates, files, digest.hexdigest()[:12])

    def render(self, template: str, **values: Any) -> str:
        return self.templates.get_template(template).render(static=f"/static/{self.version}", **values)


async def get_page(request: web.Request) -> web.StreamResponse:
    """The page; the way in with a token; words for who is not signed in; over bare HTTP the state and no
    more.
    """
    if listener_of(request) is Listener.BARE:
        return _html(request, "bare.html", **_state(request))
    token = request.query.get("token")
    # HEAD is what programs send that look at links before people do: it must not spend the token.
    if token is not None and request.method == hdrs.METH_GET:
        return _enter(request, token)
    if request[CALLER] < Role.VIEWER:
        return _signed_out(request, refused=False)
    gateway = gateway_of(request)
    return _html(
        request,
        "page.html",
        site=site_answer(gateway),
        role=request[CALLER].word,
        pictures=request[CALLER] >= Role.TECHNICIAN,
        cameras=[camera_answer(camera) for camera in gateway.roster.cameras()],
        where_looked=list(gateway.roster.where_looked()),
    )


async def get_static(request: web.Request) -> web.Response:
    page = request.app[PAGE]
    file = page.files.get(request.match_info["name"])
    if file is None or request.match_info["version"] != page.version:
        raise Problem("not-found", "The page has no such file; load it anew.")
    headers: dict[str, str] = {
        hdrs.CONTENT_TYPE: f"{file.media_type}; charset=utf-8",
        hdrs.CACHE_CONTROL: _FOR_EVER,
    }
    return _compressed(request, file.body, file.gzipped, headers)


def _enter(request: web.Request, token: str) -> web.StreamResponse:
    response = web.Response(status=303, headers={hdrs.LOCATION: "/"})
    if not sign_in(request, response, token):
        if request[CALLER] >= Role.VIEWER:
            return response  # the link was clicked twice
        return _signed_out(request, refused=True)
    return response


def _signed_out(request: web.Request, *, refused: bool) -> web.Response:
    # Who reads it on this machine may know where the socket lies; over the network that is nobody's business.
    local = listener_of(request) is Listener.LOOPBACK
    socket = gateway_of(request).data / "api.sock" if local else "DATA/api.sock"
    values = {"refused": refused, "site": _site_name(request), "socket": socket}
    return _html(request, "signed_out.html", status=401, **values)


def _state(request: web.Request) -> dict[str, Any]:
    gateway = gateway_of(request)
    https = request.app.get(HTTPS)
    host = request.url.host or ""
    return {
        "site": _site_name(request),
        "severity": health_answer(gateway).severity,
        "cameras": len(gateway.roster.cameras()),
        "recording": sum(camera.state == "recording" for camera in gateway.roster.cameras()),
        "fingerprint": https.fingerprint if https else None,
        "https": f"https://{f'[{host}]' if ':' in host else host}:{https.port}/" if https else None,
        "now_us": now_us(),
    }


def _site_name(request: web.Request) -> str:
    site = gateway_of(request).config.site
    return site.name or site.id


def _html(request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
    body = request.app[PAGE].render(template, **values).encode()
    # Level 1: made anew for every visit, and the difference is a few hundred bytes.
    compressed = gzip.compress(body, 1, mtime=0)
    response = _compressed(request, body, compressed, {hdrs.CONTENT_TYPE: "text/html; charset=utf-8"})
    response.set_status(status)
    return response


def _compressed(request: web.Request, body: bytes, gzipped: bytes, headers: dict[str, str]) -> web.Response:
    headers = {**headers, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        return web.Response(body=gzipped, headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})
    return web.Response(body=body, headers=headers)


def _static_file(path: Path) -> StaticFile:
    body = path.read_bytes()
    return StaticFile(_MEDIA_TYPES[path.suffix], body, gzip.compress(body, 9, mtime=0))
