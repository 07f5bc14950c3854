"""The media folders: where footage lies, how each is, and moving it from one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import ConfigDict, Field

from simpang.web.context import body_of, gateway_of, json_answer, now_us
from simpang.web.problems import Problem
from simpang.web.schemas import Answer, Asked, Time
from simpang.web.times import format_time
from simpang_buffer.index.folder_age import oldest_us
from simpang_buffer.index.folder_choice import Folder
from simpang_buffer.index.moving import BYTES_PER_S, Move, MoveRefused

if TYPE_CHECKING:
    from simpang.gateway import Gateway

_DAY_US = 86_400_000_000


class MediaFolder(Answer):
    """state: present draining full failing missing foreign. detail: what is the matter and what to do.

    id: None for a folder that was never used. bytes: footage there. max_bytes: what it may take. current:
    whether new files begin there now. days: how far its footage reaches back.
    """

    id: int | None
    path: str
    state: str
    detail: str
    since: Time
    current: bool
    total_bytes: int | None
    free_bytes: int | None
    bytes: int
    max_bytes: int | None
    oldest: Time | None
    days: float | None


class FolderMove(Answer):
    """state: moving, waiting (detail says for what), done: `from` is empty, and nothing is written there
    until the move is deleted. problems: files that could not be moved."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    source: int = Field(alias="from")
    target: int = Field(alias="to")
    state: str
    detail: str
    started: Time
    bytes_per_s: int
    total_bytes: int
    left_bytes: int
    problems: int


class MediaFolders(Answer):
    items: list[MediaFolder]
    move: FolderMove | None


class MoveAsked(Asked):
    source: int = Field(alias="from", ge=1, description="id of the folder to be emptied")
    target: int = Field(alias="to", ge=1, description="id of the folder that takes its footage")
    bytes_per_s: int = Field(BYTES_PER_S, ge=10_000, le=10**10, description="never faster")


async def get_storage(request: web.Request) -> web.Response:
    return json_answer(await storage_answer(gateway_of(request)))


async def post_move(request: web.Request) -> web.Response:
    """Begins a move in the background."""
    asked, gateway = await body_of(request, MoveAsked), gateway_of(request)
    try:
        await gateway.folders.mover.begin(asked.source, asked.target, asked.bytes_per_s)
    except MoveRefused as error:
        raise Problem("conflict", f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    return json_answer(await storage_answer(gateway), 202)


async def delete_move(request: web.Request) -> web.Response:
    """Stops the move, or, where it is done, lets the folder be written to again."""
    gateway = gateway_of(request)
    if gateway.folders.mover.move is None:
        raise Problem("not-found", "Nothing is being moved.")
    await gateway.folders.mover.stop()
    return web.Response(status=204)


async def storage_answer(gateway: Gateway) -> MediaFolders:
    watched = gateway.folders.folders
    current = watched.ordered[0].id if watched.ordered else None
    ages = await oldest_us(gateway.index)
    items = [_folder(one, one.id == current, ages.get(one.id)) for one in watched.folders]
    move = gateway.folders.mover.move
    return MediaFolders(items=items, move=None if move is None else _move(move))


def _folder(folder: Folder, current: bool, oldest: int | None) -> MediaFolder:
    space, limits = folder.space, folder.limits
    return MediaFolder(
        id=folder.id or None,
        path=str(folder.path),
        state=folder.state,
        detail=folder.words,
        since=format_time(folder.since_us),
        current=current,
        total_bytes=space.total_bytes if space is not None else None,
        free_bytes=space.free_bytes if space is not None else None,
        bytes=folder.used_bytes,
        max_bytes=limits.max_bytes if limits is not None else None,
        oldest=None if oldest is None else format_time(oldest),
        days=None if oldest is None else round(max(now_us() - oldest, 0) / _DAY_US, 2),
    )


def _move(move: Move) -> FolderMove:
    return FolderMove.model_validate(
        {
            "from": move.source,
            "to": move.target,
            "state": move.state,
            "detail": move.words,
            "started": format_time(move.started_us),
            "bytes_per_s": move.bytes_per_s,
            "total_bytes": move.total_bytes,
            "left_bytes": move.left_bytes,
            "problems": move.problems,
        }
    )
