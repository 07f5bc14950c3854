"""How the runs of a range are dated, as the API tells it."""

from __future__ import annotations

from collections.abc import Collection

from simpang.web import schemas
from simpang.web.times import format_time
from simpang_buffer.index.clock_moves import is_dated
from simpang_buffer.index.index import Index
from simpang_buffer.index.rows import Run
from simpang_buffer.model import StreamKey


async def run_times(
    index: Index, key: StreamKey, numbers: Collection[int], start_us: int, end_us: int
) -> list[schemas.RunTime]:
    """Of the runs with these numbers, which have footage in the range; one that the index does not know yet
    is left out."""
    found = {run.run: run for run in await index.runs(key, start_us, end_us)}
    for number in numbers:
        # The one that is being recorded has no row of a file yet.
        if number not in found and (run := await index.run(key, number)) is not None:
            found[number] = run
    return [_run_time(found[number]) for number in sorted(numbers) if number in found]


def _run_time(run: Run) -> schemas.RunTime:
    offset_us = run.camera_offset_us
    return schemas.RunTime(
        run=run.run,
        anchor=format_time(run.anchor_us),
        anchor_source=run.anchor_source,
        trusted=is_dated(run.anchor_source, run.recorded_anchor_us),
        moved_s=run.moved_us / 1e6,
        camera_offset_s=None if offset_us is None else offset_us / 1e6,
        drift_ppm=run.drift_ppm,
    )
