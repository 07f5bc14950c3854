"""The one route table: what is served, to whom, and what OpenAPI says of it.

A Route cannot be written without its role; nothing else adds a route to the application.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

from simpang.web import (
    cameras,
    clip,
    clock,
    disks,
    footage,
    frame,
    index,
    jobs,
    live,
    media_folders,
    metrics,
    openapi,
    page,
    retained,
    schemas,
    site,
    snapshot,
)
from simpang.web import retained_schemas as kept
from simpang.web.roles import Role


@dataclass(frozen=True, slots=True)
class Route:
    """answer: the model of the good answer, or its media type where it is no JSON. query: of QUERIES."""

    method: str
    path: str
    role: Role
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    summary: str
    answer: type[BaseModel] | str | None = None
    status: int = 200
    query: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    problems: tuple[str, ...] = ()

    @property
    def documented(self) -> bool:
        """Pages and their files are for browsers, not for programs."""
        return not (self.path == "/" or self.path.startswith("/static/"))


_CAMERA = "/api/v1/cameras/{id}"
_STREAM = _CAMERA + "/streams/{stream}"
_FOUND = ("not-found",)
_TIMES = ("malformed", "not-found")
_CLIP = (*_TIMES, "nothing-recorded")

ROUTES: tuple[Route, ...] = (
    Route("GET", "/", Role.OPEN, page.get_page, "The page", "text/html"),
    Route("GET", "/static/{version}/{name}", Role.OPEN, page.get_static, "A file of the page", "*/*"),
    Route("GET", "/healthz", Role.OPEN, site.get_healthz, "Whether the gateway serves", "application/json"),
    Route("GET", "/readyz", Role.OPEN, site.get_readyz,
          "200 when every enabled camera is being written, else 503", schemas.Ready),
    Route("GET", "/metrics", Role.LOCAL, metrics.get_metrics, "Figures for Prometheus", "text/plain"),
    Route("GET", "/api/v1/openapi.json", Role.OPEN, openapi.get_openapi, "This description",
          "application/json"),
    Route("POST", "/api/v1/session", Role.OPEN, site.post_session, "Sign in with the token of a link",
          status=204, body=schemas.SignIn, problems=("malformed", "signed-out", "use-https")),
    Route("DELETE", "/api/v1/session", Role.VIEWER, site.delete_session, "Sign out", None, 204),
    Route("POST", "/api/v1/login-link", Role.INSTALLER, site.post_login_link, "A link that signs in once",
          schemas.Link, 201, body=schemas.LinkAsked, problems=("malformed",)),
    Route("GET", "/api/v1/site", Role.VIEWER, site.get_site, "Who this gateway is", schemas.Site),
    Route("POST", "/api/v1/site/clock", Role.INSTALLER, clock.post_clock, "Confirm the clock, or set it",
          schemas.Clock, body=schemas.ClockAsked, problems=("malformed", "conflict")),
    Route("GET", "/api/v1/health", Role.VIEWER, site.get_health, "What is wrong, why, and what to do",
          schemas.Health),
    Route("GET", "/api/v1/cameras", Role.VIEWER, cameras.get_cameras, "Every camera", schemas.Cameras),
    Route("GET", _CAMERA, Role.VIEWER, cameras.get_camera, "One camera", schemas.Camera, problems=_FOUND),
    Route("POST", _CAMERA + "/trust", Role.INSTALLER, cameras.post_trust,
          "Believe the TLS certificate that the camera shows next", schemas.Camera, problems=_FOUND),
    Route("GET", _CAMERA + "/snapshot.jpg", Role.TECHNICIAN, snapshot.get_snapshot,
          "The last key frame, or the one at `at`, as a still picture", "image/jpeg",
          query=("at?", "stream?"), problems=(*_CLIP, "busy", "unavailable")),
    Route("GET", "/api/v1/index", Role.VIEWER, index.get_index, "How the index of the footage is",
          schemas.IndexState),
    Route("POST", "/api/v1/index/rebuild", Role.INSTALLER, index.post_rebuild,
          "Rebuild it from the media files, while recording goes on", schemas.IndexState, 202),
    Route("GET", "/api/v1/index/open-files", Role.INSTALLER, index.get_open_files,
          "Media files that are being written", schemas.OpenFiles),
    Route("GET", "/api/v1/discovery", Role.VIEWER, cameras.get_discovery, "Devices seen on the network",
          schemas.Discovery),
    Route("GET", _STREAM + "/coverage", Role.VIEWER, footage.get_coverage, "What was recorded, and why not",
          schemas.Coverage, query=("start", "end"), problems=_TIMES),
    Route("GET", _STREAM + "/clip.mp4", Role.TECHNICIAN, clip.get_clip,
          "What was recorded, from the key frame at or before start; HEAD and Range work", "video/mp4",
          query=("start", "end", "exact?", "form?", "audio?"),
          problems=(*_CLIP, "range-not-satisfiable", "busy", "unavailable")),
    Route("GET", _STREAM + "/playlist.m3u8", Role.TECHNICIAN, footage.get_playlist,
          "The same for HLS players", "application/vnd.apple.mpegurl",
          query=("start", "end", "audio?"), problems=(*_CLIP, "busy")),
    Route("GET", _STREAM + "/frame.jpg", Role.TECHNICIAN, frame.get_frame,
          "The key frame at or before `at` in full size, or with exact the very picture", "image/jpeg",
          query=("at?", "exact?", "width?"), problems=(*_CLIP, "busy", "unavailable")),
    Route("GET", _STREAM + "/live", Role.TECHNICIAN, live.get_live,
          "WebSocket: text init, binary header, then a binary fragment per frame", None, 101,
          problems=("not-found", "upgrade-required", "busy")),
    Route("DELETE", _STREAM + "/footage", Role.INSTALLER, retained.delete_footage,
          "Delete what lies in the range, but for what is held", kept.Deleted,
          query=("start", "end", "who", "reason"), problems=(*_CLIP, "conflict")),
    Route("GET", "/api/v1/holds", Role.TECHNICIAN, retained.get_holds, "What nobody may evict", kept.Holds,
          query=("camera?", "ended?", "after?"), problems=("malformed",)),
    Route("POST", "/api/v1/holds", Role.INSTALLER, retained.post_hold, "Hold footage", kept.Hold, 201,
          body=kept.HoldAsked, problems=("malformed", "not-found", "conflict")),
    Route("DELETE", "/api/v1/holds", Role.INSTALLER, retained.delete_holds, "Release all holds of a case",
          kept.Holds, query=("case", "who", "reason?"), problems=_TIMES),
    Route("DELETE", "/api/v1/holds/{id}", Role.INSTALLER, retained.delete_hold,
          "Release a hold; its record stays", kept.Hold, query=("who", "reason?"), problems=_TIMES),
    Route("GET", "/api/v1/events", Role.VIEWER, retained.get_events, "What happened before the cameras",
          kept.Events, query=("start", "end", "camera?", "kind?", "after?"), problems=("malformed",)),
    Route("POST", "/api/v1/events", Role.TECHNICIAN, retained.post_event, "Mark a moment", kept.Event, 201,
          body=kept.EventAsked, problems=("malformed", "not-found", "conflict")),
    Route("GET", "/api/v1/deletions", Role.TECHNICIAN, retained.get_deletions,
          "What was removed, when, by which rule, and at whose wish", kept.Deletions,
          query=("start", "end", "camera?", "after?"), problems=("malformed",)),
    Route("GET", "/api/v1/storage/disks", Role.VIEWER, disks.get_disks,
          "The disks under the footage: what is written to them, what life is left", disks.Disks),
    Route("GET", "/api/v1/storage", Role.VIEWER, media_folders.get_storage,
          "The folders that footage lies in, and the move that goes on", media_folders.MediaFolders),
    Route("POST", "/api/v1/storage/moves", Role.INSTALLER, media_folders.post_move,
          "Move all footage of one folder to another", media_folders.MediaFolders, 202,
          body=media_folders.MoveAsked, problems=("malformed", "conflict")),
    Route("DELETE", "/api/v1/storage/moves", Role.INSTALLER, media_folders.delete_move,
          "Stop the move, or let the emptied folder be written to again", None, 204, problems=_FOUND),
    Route("GET", "/api/v1/storage/forecast", Role.VIEWER, retained.get_forecast,
          "How many days the footage will last, now and after a change", kept.Forecast,
          query=("max_bytes?", "max_days?", "camera?", "stream?", "bps?"), problems=("malformed",)),
    Route("GET", "/api/v1/uplinks", Role.VIEWER, jobs.get_uplinks, "Where footage can be sent",
          schemas.Uplinks),
    Route("GET", "/api/v1/jobs", Role.VIEWER, jobs.get_jobs, "What is sent, newest first", schemas.Jobs,
          query=("state?",), problems=("malformed",)),
    Route("POST", "/api/v1/jobs", Role.INSTALLER, jobs.post_job, "Send footage to a central",
          schemas.Job, 201, body=schemas.JobAsked,
          problems=("malformed", "nothing-recorded", "conflict", "busy")),
    Route("GET", "/api/v1/jobs/{id}", Role.VIEWER, jobs.get_job, "One job", schemas.Job, problems=_FOUND),
    Route("DELETE", "/api/v1/jobs/{id}", Role.INSTALLER, jobs.delete_job, "Cancel it", schemas.Job,
          problems=_FOUND),
)  # fmt: skip
