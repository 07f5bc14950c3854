"""Runs whose rows say a time that is not when they were recorded, and when that was at the latest.

Ages are judged by that, so that nothing goes for being old that may not be: what nobody has dated yet (of a
boot whose clock was never right, or taken in a moment ago by a rebuild) was recorded before the first run
behind it that a trusted clock dated, and a run of this boot not before the boot.
"""

from __future__ import annotations

from dataclasses import dataclass

from simpang_buffer.index.database import Database
from simpang_buffer.model import StreamKey

_FAR_US = 1 << 62


@dataclass(frozen=True, slots=True)
class Misdated:
    """latest_us: the row's end counts as this. below_us: of those of its rows that end before."""

    latest_us: int
    below_us: int = _FAR_US


async def misdated_runs(
    database: Database, now_us: int, booted_us: int | None
) -> dict[StreamKey, dict[int, Misdated]]:
    """By stream and run, in order. Only to be asked under a trusted clock. booted_us: when this machine
    booted, by its clock of now."""
    found: dict[StreamKey, dict[int, Misdated]] = {}
    latest: dict[StreamKey, int] = {}
    rows = await database.read(
        """select c.camera, c.stream, r.run, r.start_us,
                  r.anchor_source = 'boot' and r.recorded_anchor_us is null,
                  r.boot_id is (select value from meta where key = 'boot_id')
           from run r join stream c on c.id = r.stream_id
           where r.start_us is not null and r.run >= (
             select min(t.run) from run t where t.stream_id = r.stream_id
               and ((t.anchor_source = 'boot' and t.recorded_anchor_us is null)
                    or (t.boot_id is (select value from meta where key = 'boot_id') and t.start_us < ?)))
           order by r.stream_id, r.run desc""",
        (-_FAR_US if booted_us is None else booted_us,),
    )
    for camera, stream, run, start_us, undated, of_this_boot in rows:
        key = StreamKey(camera, stream)
        if undated:
            found.setdefault(key, {})[run] = Misdated(min(latest.get(key, now_us), now_us))
            continue
        latest[key] = start_us
        if of_this_boot and booted_us is not None and start_us < booted_us:
            found.setdefault(key, {})[run] = Misdated(booted_us, booted_us)
    return {key: dict(sorted(runs.items())) for key, runs in found.items()}
