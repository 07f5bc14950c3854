"""The cameras that state.db remembers, and the sign-ins they refused lately."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import Literal

from simpang.state.database import State

HOUR_US = 3600 * 1_000_000


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


_COLUMNS = ", ".join(field.name for field in fields(Known))


class KnownCameras:
    """The only reader and writer of the tables `camera` and `refused_sign_in`."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def all(self) -> list[Known]:
        async with self._state.connection.execute(f"select {_COLUMNS} from camera order by id") as cursor:
            return [Known(*row) for row in await cursor.fetchall()]

    async def put(self, camera: Known) -> None:
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

    async def refused(self, camera_id: str, now_us: int) -> list[int]:
        """When the camera refused a sign-in during the last hour, oldest first."""
        async with self._state.connection.execute(
            "select time_us from refused_sign_in where camera_id = ? and time_us > ? and time_us <= ? order by 1",
            (camera_id, now_us - HOUR_US, now_us),
        ) as cursor:
            return [row[0] for row in await cursor.fetchall()]

    async def note_refused(self, camera_id: str, now_us: int) -> None:
        async with self._state.transaction() as db:
            await db.execute("delete from refused_sign_in where time_us <= ?", (now_us - HOUR_US,))
            await db.execute("insert or ignore into refused_sign_in values (?, ?)", (camera_id, now_us))

    async def note_accepted(self, camera_id: str) -> None:
        async with self._state.transaction() as db:
            await db.execute("delete from refused_sign_in where camera_id = ?", (camera_id,))
