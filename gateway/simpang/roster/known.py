"""The cameras that state.db remembers, and the sign-ins they refused lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Literal

from simpang.state.database import State

# Refusals older than this say nothing about a password that somebody may have set since.
KEPT_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Known:
    """A row of `camera`: see state/schema.sql. address: what its device service was last reached at."""

    id: str
    origin: Literal["config", "adopted"]
    epr: str
    address: str
    name: str
    make: str
    model: str
    firmware: str
    serial: str
    mac: str
    adopted_us: int
    seen_us: int


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A row of `stream_source` or `tls_stream_source`: where a stream was last found.

    url holds no user and no password.
    """

    stream: str
    url: str
    host: str
    port: int


_COLUMNS = ", ".join(field.name for field in fields(Known))


class KnownCameras:
    """The only reader and writer of `camera`, `stream_source`, `tls_stream_source`, `refused_sign_in`."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def all(self) -> list[Known]:
        async with self._state.connection.execute(f"select {_COLUMNS} from camera order by id") as cursor:
            return [Known(*row) for row in await cursor.fetchall()]

    async def sources(self, camera_id: str) -> list[KnownSource]:
        """Where the camera's streams were last found, main first."""
        columns = "select stream, url, host, port from"
        async with self._state.connection.execute(
            f"{columns} stream_source where camera_id = ?1 union all "
            f"{columns} tls_stream_source where camera_id = ?1 order by stream",
            (camera_id,),
        ) as cursor:
            return [KnownSource(*row) for row in await cursor.fetchall()]

    async def put(self, camera: Known, sources: Sequence[KnownSource]) -> None:
        """Adds the camera, or brings what is known of it up to date; when it was adopted stays as it was."""
        values = ", ".join("?" for _ in fields(Known))
        changes = ", ".join(
            f"{field.name} = excluded.{field.name}"
            for field in fields(Known)
            if field.name not in ("id", "adopted_us")
        )
        async with self._state.transaction() as db:
            await db.execute(
                f"insert into camera ({_COLUMNS}) values ({values}) on conflict (id) do update set {changes}",
                astuple(camera),
            )
            for table, scheme in (("stream_source", "rtsp:"), ("tls_stream_source", "rtsps:")):
                await db.execute(f"delete from {table} where camera_id = ?", (camera.id,))
                await db.executemany(
                    f"insert into {table} (camera_id, stream, url, host, port) values (?, ?, ?, ?, ?)",
                    [(camera.id, *astuple(source)) for source in sources if source.url.startswith(scheme)],
                )

    async def note_epr(self, camera_id: str, epr: str) -> None:
        """Its endpoint reference, where it became known after the camera."""
        async with self._state.transaction() as db:
            await db.execute("update camera set epr = ? where id = ?", (epr, camera_id))

    async def refused(self, camera_id: str, now_us: int) -> list[int]:
        """When the camera refused a sign-in since it last accepted one, at most a day ago; oldest first."""
        async with self._state.connection.execute(
            "select time_us from refused_sign_in where camera_id = ? and time_us > ? order by 1",
            (camera_id, now_us - KEPT_US),
        ) as cursor:
            return [row[0] for row in await cursor.fetchall()]

    async def note_refused(self, camera_id: str, now_us: int) -> None:
        async with self._state.transaction() as db:
            await db.execute("delete from refused_sign_in where time_us <= ?", (now_us - KEPT_US,))
            await db.execute("insert or ignore into refused_sign_in values (?, ?)", (camera_id, now_us))

    async def note_accepted(self, camera_id: str) -> None:
        async with self._state.transaction() as db:
            await db.execute("delete from refused_sign_in where camera_id = ?", (camera_id,))
