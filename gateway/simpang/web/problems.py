"""Every error in one shape: RFC 9457 problem details, decided in one middleware.

Problem is the whole tree: handlers raise it with a code, and nothing else leaves the API as an error. What
aiohttp raises itself (no such route, wrong method, body too large) is translated here; anything unforeseen is
logged and answered as `internal` without a word of what it was.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

# code -> (status, title). A closed list: OpenAPI names it and a test walks it.
PROBLEMS: Mapping[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be understood"),
    "signed-out": (401, "Not signed in"),
    "forbidden": (403, "Not allowed for your role"),
    "wrong-host": (403, "This gateway does not go by that name"),
    "wrong-origin": (403, "Asked for by another site"),
    "use-https": (403, "Only over HTTPS or from this machine"),
    "not-found": (404, "No such thing"),
    "nothing-recorded": (404, "Nothing was recorded in that time"),
    "method-not-allowed": (405, "That cannot be done to this address"),
    "conflict": (409, "Not possible in the present state"),
    "too-large": (413, "The request is too large"),
    "range-not-satisfiable": (416, "No such byte range"),
    "upgrade-required": (426, "Only as a WebSocket"),
    "internal": (500, "Something broke here"),
    "busy": (503, "Too busy; try again soon"),
    "unavailable": (503, "Not available now"),
}

_BY_STATUS = {
    400: "malformed", 401: "signed-out", 403: "forbidden", 404: "not-found", 405: "method-not-allowed",
    413: "too-large", 426: "upgrade-required",
}  # fmt: skip


class Problem(Exception):
    """An answer that is an error. errors: (path, message) pairs; extra: its own members, as "gaps"."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[tuple[str, str]] = (),
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code = code
        self.status, self.title = PROBLEMS[code]
        self.detail = detail
        self.errors = tuple(errors)
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        super().__init__(f"{code}: {detail}")

    def body(self) -> dict[str, Any]:
        return {
            "type": f"urn:simpang:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "errors": [{"path": path, "message": message} for path, message in self.errors],
            **self.extra,
        }

    def response(self) -> web.Response:
        body = json.dumps(self.body(), ensure_ascii=False).encode()
        return web.Response(status=self.status, body=body, content_type=MEDIA_TYPE, headers=self.headers)


@web.middleware
async def problems_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into an answer; a redirect passes."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _translated(error).response()
    except ConnectionError:
        return web.Response(status=499)  # the reader left; nobody is there to read this either
    except Exception:  # noqa: BLE001 - each request is supervised here; the next one must be served
        _log.exception("%s %s failed", request.method, request.path)
        return Problem("internal", f"See the log for {request.method} {request.path}.").response()


def _translated(error: web.HTTPException) -> Problem:
    code = _BY_STATUS.get(error.status, "malformed" if error.status < 500 else "internal")
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Problem(code, f"{HTTPStatus(error.status).phrase}.", headers=headers)
