"""OpenAPI 3.1, written from the route table: it cannot say other than what is served."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from simpang.web.problems import MEDIA_TYPE, PROBLEMS
from simpang.web.roles import Role

if TYPE_CHECKING:
    from simpang.web.routes import Route

DOCUMENT: web.AppKey[dict[str, Any]] = web.AppKey("openapi")

_TIME = {"type": "string", "format": "date-time"}
# What a route may take in its query; "name?" in the table is optional.
QUERIES: dict[str, dict[str, Any]] = {
    "start": {"description": "from here on", "schema": _TIME},
    "end": {"description": "up to, not including", "schema": _TIME},
    "at": {"description": "the key frame at or before this; the newest where not given", "schema": _TIME},
    "stream": {
        "description": "which stream of the camera; the smallest where not given",
        "schema": {"type": "string"},
    },
    "exact": {
        "description": "1: show from the picture of start to the last before end, and not whole fragments",
        "schema": {"enum": ["0", "1"]},
    },
    "audio": {
        "description": "aac: G.711, which no browser plays in MP4, is made AAC on the way",
        "schema": {"enum": ["original", "aac"]},
    },
    "width": {
        "description": "at most so many pixels wide; 0: as it is",
        "schema": {"type": "integer", "minimum": 0, "maximum": 8192},
    },
    "form": {
        "description": "hls: without segment index, as a playlist counts its bytes",
        "schema": {"enum": ["file", "hls"]},
    },
    "state": {"description": "only jobs in this state", "schema": {"type": "string"}},
    "camera": {"description": "only this camera", "schema": {"type": "string"}},
    "kind": {"description": "only this kind of event", "schema": {"type": "string"}},
    "after": {"description": "`next` of the page before", "schema": {"type": "string"}},
    "ended": {"description": "true: also what no longer holds", "schema": {"type": "boolean"}},
    "case": {"description": "all holds of this case", "schema": {"type": "string"}},
    "who": {"description": "who asks, for the record", "schema": {"type": "string", "maxLength": 64}},
    "reason": {"description": "why, for the record", "schema": {"type": "string", "maxLength": 500}},
    "max_bytes": {
        "description": "instead of [buffer] max_bytes: `400 GB`, `80%`",
        "schema": {"type": "string"},
    },
    "max_days": {"description": "instead of [buffer] max_days", "schema": {"type": "number"}},
    "bps": {
        "description": "a rate of `stream` (main where not given) of `camera`: `2 Mbit/s`",
        "schema": {"type": "string"},
    },
}
_ID = {"type": "string", "pattern": "^[a-z0-9-]{1,32}$"}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"enum": sorted(PROBLEMS)},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


async def get_openapi(request: web.Request) -> web.Response:
    return web.json_response(request.app[DOCUMENT])


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The whole description."""
    listed = [route for route in routes if route.documented]
    models = {model for route in listed for model in (route.answer, route.body) if isinstance(model, type)}
    _, definitions = models_json_schema(
        sorted(((model, "serialization") for model in models), key=lambda pair: pair[0].__name__),
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "simpang",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**definitions.get("$defs", {}), "Problem": _PROBLEM},
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "simpang-8080",
                    "description": "set by POST /api/v1/session; the name ends in the port, over TLS it is "
                    "__Host-simpang. The Unix socket needs none.",
                }
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    answers: dict[str, Any] = {str(route.status): _answer(route)}
    for code in _problem_codes(route):
        status, title = PROBLEMS[code]
        answers.setdefault(
            str(status),
            {
                "description": title,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        )
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "x-role": route.role.word,
        "security": [{"session": []}] if route.role > Role.LOCAL else [],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": answers,
    }
    if route.body is not None:
        schema = {"$ref": f"#/components/schemas/{route.body.__name__}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _problem_codes(route: Route) -> list[str]:
    codes = list(route.problems)
    if route.role > Role.OPEN:
        codes.append("signed-out")
    # Host and Origin checks, and the role, stand before every route.
    return [*codes, "forbidden"]


def _answer(route: Route) -> dict[str, Any]:
    if route.answer is None:
        return {"description": route.summary}
    if isinstance(route.answer, str):
        return {"description": route.summary, "content": {route.answer: {}}}
    assert issubclass(route.answer, BaseModel)
    schema = {"$ref": f"#/components/schemas/{route.answer.__name__}"}
    return {"description": route.summary, "content": {"application/json": {"schema": schema}}}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", route.path)
    return [{"name": name, "in": "path", "required": True, "schema": _ID} for name in names]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name.rstrip("?"),
            "in": "query",
            "required": not name.endswith("?"),
            **QUERIES[name.rstrip("?")],
        }
        for name in route.query
    ]
