"""Runs that were dated by a wrong clock are dated anew once it is known to be right.

Such a run is anchored to the time since boot, which no setting of the clock changes. Where UTC minus that
time is known, of the clock of now or of another run of the same boot that was dated by a trusted clock, so is
the run's true anchor. The files alone tell as much, so a rebuilt index is put right in the same way. Files
are never changed: `run.recorded_anchor_us` keeps what they say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simpang_buffer.index.changes import names
from simpang_buffer.index.database import Transaction
from simpang_buffer.index.index import Index
from simpang_buffer.model import AnchorSource, StreamKey

# Runs that are to be dated anew and are looked at in one go: a camera that flaps while nobody sets the clock.
_MOST = 1000
# Two clocks are not read in one moment: a run that was right is not written anew for that.
_SAME_US = 1_000
# What is gone was closed to its neighbours by so much (deletions.py).
_JOINED_US = 1_000_000


@dataclass(frozen=True, slots=True)
class BootClock:
    """The clock of now: wall_less_boot_us is UTC minus the time since boot. trusted: and it is right."""

    boot_id: str
    wall_less_boot_us: int
    trusted: bool


@dataclass(frozen=True, slots=True)
class Move:
    """anchor_us: where the run's decode time 0 is to be."""

    key: StreamKey
    run: int
    anchor_us: int


async def move_due(index: Index, now: BootClock, is_open: Callable[[StreamKey, int], bool]) -> list[Move]:
    """Dates anew all runs that can be; returns them. is_open: whether a file of the run has no row yet (then
    it waits for the next call). Each is one transaction. Raises StorageError.
    """
    done = []
    for move in await due_moves(index, now):
        if not is_open(move.key, move.run):
            await move_run(index, move.key, move.run, move.anchor_us)
            done.append(move)
    return done


async def due_moves(index: Index, now: BootClock) -> list[Move]:
    """Runs anchored to boot time whose boot's clock is known, the oldest first.

    By the first later run of that boot that a trusted clock dated, or the clock of now: it was set because
    what was before was wrong. Where there is none, by the last before it.
    """
    rows = await index.db.read(
        f"""select c.camera, c.stream, r.run, r.anchor_us, r.anchor_boot_us, r.boot_id,
              (select t.anchor_us - t.anchor_boot_us from run t
               where t.boot_id = r.boot_id and t.anchor_boot_us >= r.anchor_boot_us and {_DATED}
               order by t.anchor_boot_us limit 1),
              (select t.anchor_us - t.anchor_boot_us from run t
               where t.boot_id = r.boot_id and t.anchor_boot_us < r.anchor_boot_us and {_DATED}
               order by t.anchor_boot_us desc limit 1)
            from run r join stream c on c.id = r.stream_id
            where r.anchor_source = 'boot' and r.recorded_anchor_us is null and r.anchor_boot_us is not null
            order by r.stream_id, r.run limit ?""",
        (_MOST,),
    )
    moves = []
    for camera, stream, run, anchor_us, anchor_boot_us, boot_id, later, earlier in rows:
        less_us = later
        if less_us is None and boot_id == now.boot_id:
            # While this boot's clock is wrong, what it was before is no reason: it may be set rightly yet.
            less_us = now.wall_less_boot_us if now.trusted else None
        elif less_us is None:
            less_us = earlier
        if less_us is not None:
            found_us = anchor_boot_us + less_us
            stays = abs(found_us - anchor_us) < _SAME_US
            moves.append(Move(StreamKey(camera, stream), run, anchor_us if stays else found_us))
    return moves


_DATED = "t.anchor_boot_us is not null and (t.anchor_source <> 'boot' or t.recorded_anchor_us is not null)"


async def dated_until(index: Index) -> int | None:
    """When the newest footage ends that a trusted clock has dated; None where there was never any."""
    rows = await index.db.read(
        "select max(t.end_us) from run t where t.anchor_source <> 'boot' or t.recorded_anchor_us is not null"
    )
    found: int | None = rows[0][0]
    return found


async def move_run(index: Index, key: StreamKey, run: int, anchor_us: int) -> int:
    """Everything of the run is moved so that its decode time 0 stands at anchor_us; returns by how much.

    Rows of its files, what is gone of it, and the pins, holds and events that are about its footage, in one
    transaction. Idempotent: the run then counts as dated, with a move of 0 where it was right. A run that
    there is not is passed over.
    """
    async with index.db.transaction() as tx:
        rows = await tx.rows(
            """select stream_id, anchor_us, start_us, end_us from run r join stream c on c.id = r.stream_id
               where c.camera = ? and c.stream = ? and run = ?""",
            (*names(key), run),
        )
        if not rows:
            return 0
        stream_id, old_us, start_us, end_us = rows[0]
        shift_us: int = anchor_us - old_us
        if shift_us and start_us is not None:
            # (run, seq) tells the rows of a stream apart wherever they stand, so none meets another.
            await tx.run(
                """update segment set start_us = start_us + ?1
                   where stream_id = ?2 and start_us between ?3 and ?4 and run = ?5""",
                (shift_us, stream_id, start_us, end_us, run),
            )
        await tx.run(
            """update run set anchor_us = anchor_us + ?1, start_us = start_us + ?1, end_us = end_us + ?1,
                              camera_offset_us = camera_offset_us - ?1,
                              recorded_anchor_us = coalesce(recorded_anchor_us, anchor_us)
               where stream_id = ?2 and run = ?3""",
            (shift_us, stream_id, run),
        )
        if shift_us and start_us is not None:
            moved = _Moved(key, stream_id, run, start_us, end_us, shift_us)
            await _move_gone(tx, moved)
            await _copy_pins(tx, moved)
            await _move_holds(tx, moved)
            await _move_events(tx, moved)
    return shift_us


async def note_time(
    tx: Transaction, key: StreamKey, run: int, drift_ppm: float | None, camera_offset_us: int | None
) -> None:
    """What was measured of the camera's clock in the run, where something was."""
    await tx.run(
        """update run set drift_ppm = coalesce(?, drift_ppm), camera_offset_us = coalesce(?, camera_offset_us)
           where run = ? and stream_id = (select id from stream where camera = ? and stream = ?)
             and recorded_anchor_us is null""",
        (drift_ppm, camera_offset_us, run, *names(key)),
    )


@dataclass(frozen=True, slots=True)
class _Moved:
    """A run that was moved. start_us, end_us: where it was."""

    key: StreamKey
    stream_id: int
    run: int
    start_us: int
    end_us: int
    shift_us: int


async def _move_gone(tx: Transaction, moved: _Moved) -> None:
    """Stretches do not say of which run they are: those move that can be of no other."""
    columns = "reason, bytes, segments, first_at_us, last_at_us, rule, who, why"
    which = """where g.stream_id = ?1 and g.start_us >= ?2 - ?4 and g.end_us <= ?3 + ?4 and g.start_us <= ?3
               and not exists (select 1 from run r where r.stream_id = ?1 and r.start_us < g.end_us
                               and r.end_us > g.start_us)"""
    values = (moved.stream_id, moved.start_us, moved.end_us, _JOINED_US)
    rows = await tx.rows(f"select start_us, end_us, {columns} from gone g {which}", values)
    await tx.run(f"delete from gone as g {which}", values)
    await tx.run_many(
        f"""insert into gone (stream_id, start_us, end_us, {columns}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            on conflict do update set end_us = max(end_us, excluded.end_us), bytes = bytes + excluded.bytes,
              segments = segments + excluded.segments""",
        [
            (moved.stream_id, start + moved.shift_us, end + moved.shift_us, *rest)
            for start, end, *rest in rows
        ],
    )


async def _copy_pins(tx: Transaction, moved: _Moved) -> None:
    """A job's pin goes on to hold what it held, also where it holds more than this run."""
    await tx.run(
        """insert into pin select job, stream_id, max(start_us, ?2) + ?4, min(end_us, ?3) + ?4 from pin
           where stream_id = ?1 and start_us < ?3 and end_us > ?2 on conflict do nothing""",
        (moved.stream_id, moved.start_us, moved.end_us, moved.shift_us),
    )


async def _move_holds(tx: Transaction, moved: _Moved) -> None:
    """A hold moves with the footage that it holds. Where it holds other footage too it stays, and one like it
    is made: of the same person, reason and case, so that it is seen and released like any other.

    A date at which it ends by itself moves where it was given by the wrong clock: it is nearer to the old
    times than to the new ones.
    """
    holds = await tx.rows(
        """select id, stream, start_us, end_us, until_us from hold
           where camera = ?1 and (stream is null or stream = ?2) and start_us < ?4 and end_us > ?3""",
        (*names(moved.key), moved.start_us, moved.end_us),
    )
    for id_, stream, start_us, end_us, until_us in holds:
        by_old_clock = until_us is not None and abs(until_us - moved.start_us) < abs(
            until_us - moved.start_us - moved.shift_us
        )
        until_us = until_us + moved.shift_us if by_old_clock else until_us
        place = (start_us + moved.shift_us, end_us + moved.shift_us, until_us)
        alike = await tx.value(
            """select other.id from hold h join hold other on other.id <> h.id and other.camera = h.camera
                 and other.stream is h.stream and other.reason = h.reason and other.case_ref = h.case_ref
                 and other.who = h.who and other.made_us = h.made_us
                 and other.released_us is h.released_us
               where h.id = ? and other.start_us = ? and other.end_us = ?""",
            (id_, *place[:2]),
        )
        stays = await _holds_other_footage(tx, moved.key.camera, stream, start_us, end_us)
        if not stays:
            if alike is not None:
                await tx.run("delete from hold where id = ?", (alike,))
            await tx.run("update hold set start_us = ?, end_us = ?, until_us = ? where id = ?", (*place, id_))
        elif alike is None:
            await tx.run(
                """insert into hold (camera, stream, start_us, end_us, reason, case_ref, who, legal, until_us,
                                     made_us, released_us, released_by, released_why)
                   select camera, stream, ?2, ?3, reason, case_ref, who, legal, ?4, made_us, released_us,
                          released_by, released_why from hold where id = ?1""",
                (id_, *place),
            )


async def _move_events(tx: Transaction, moved: _Moved) -> None:
    """Events move once no footage of their camera is left where they stand: with the last of its streams."""
    events = await tx.rows(
        """select id, start_us, coalesce(end_us, start_us) from event
           where camera = ? and start_us between ? and ?""",
        (moved.key.camera, moved.start_us, moved.end_us),
    )
    for id_, start_us, end_us in events:
        if not await _holds_other_footage(tx, moved.key.camera, None, start_us, max(end_us, start_us + 1)):
            await tx.run(
                "update event set start_us = start_us + ?1, end_us = end_us + ?1 where id = ?2",
                (moved.shift_us, id_),
            )


async def _holds_other_footage(
    tx: Transaction, camera: str, stream: str | None, start_us: int, end_us: int
) -> bool:
    """Whether footage of the camera (of this stream of it) is in the range."""
    return bool(
        await tx.value(
            """select 1 from stream c join segment s on s.stream_id = c.id
               where c.camera = ?1 and (?2 is null or c.stream = ?2) and s.start_us < ?4 and s.end_us > ?3
                 and s.start_us >= ?3 - c.longest_us limit 1""",
            (camera, stream, start_us, end_us),
        )
    )


def is_dated(source: AnchorSource, recorded_anchor_us: int | None) -> bool:
    """Whether a run's times can be trusted: it was dated by a trusted clock, at once or later."""
    return source is not AnchorSource.BOOT or recorded_anchor_us is not None
