"""The index: what is added is found, what goes is noted, and a damaged or newer database says what to do."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from simpang_buffer.index.errors import CorruptIndex, HoldsFull, NewerSchema, ReadOnly
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.rows import Doomed, Gone, StreamTotals
from simpang_buffer.model import ROW_SEAL_BYTES, AnchorSource, GapReason, RunHeader, Segment, StreamKey

KEY = StreamKey("gate", "main")
T0 = 1_763_000_000_000_000
MINUTE_US = 60_000_000


def header(run: int = 1, key: StreamKey = KEY, previous_end: GapReason | None = None) -> RunHeader:
    return RunHeader(
        "site", key.camera, key.stream, run, 0, "avc1", T0, AnchorSource.RTCP, -250, previous_end, 0
    )


def segment(
    seq: int, *, run: int = 1, key: StreamKey = KEY, at_us: int | None = None, minutes: int = 1
) -> Segment:
    start_us = T0 + seq * MINUTE_US if at_us is None else at_us
    return Segment(
        key=key,
        run=run,
        seq=seq,
        start_us=start_us,
        end_us=start_us + minutes * MINUTE_US,
        size_bytes=1000 + seq,
        fragments=60,
        frames=900,
        first_chunk=seq * 15,
        chunks=15,
        codec="avc1.640028",
        width=1920,
        height=1080,
        header_sha256=bytes([run]) * 32,
        seal=bytes([seq % 256]) * ROW_SEAL_BYTES,
    )


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        yield opened


async def test_segments_are_found_by_time_in_the_order_recorded(index: Index) -> None:
    await index.add_run(header(), 1920, 1080)
    rows = [segment(seq) for seq in range(5)]
    for row in rows:
        await index.add_segment(row)

    inside = await index.segments(KEY, T0 + MINUTE_US, T0 + 3 * MINUTE_US)
    touching = await index.segments(KEY, T0 - 9, T0)
    one_microsecond = await index.segments(KEY, T0 + MINUTE_US - 1, T0 + MINUTE_US)

    assert inside == rows[1:3]
    assert touching == []
    assert one_microsecond == rows[:1]
    assert (await index.oldest(KEY), await index.newest(KEY)) == (rows[0], rows[-1])


async def test_a_long_segment_is_found_from_its_last_second(index: Index) -> None:
    await index.add_run(header(), 1920, 1080)
    long = segment(0, minutes=90)
    await index.add_segment(long)
    await index.add_segment(segment(1, at_us=T0 + 90 * MINUTE_US))

    assert await index.segments(KEY, T0 + 89 * MINUTE_US, T0 + 90 * MINUTE_US) == [long]


async def test_adding_twice_changes_nothing(index: Index) -> None:
    await index.add_run(header(), 1920, 1080)
    await index.add_run(replace(header(), anchor_us=5), 1, 1)
    await index.add_segment(segment(0))
    await index.add_segment(segment(0))

    totals = await index.stream_totals()
    run = await index.run(KEY, 1)

    assert totals == {KEY: StreamTotals(1000, 1, T0, T0 + MINUTE_US)}
    assert run is not None and (run.anchor_us, run.last_seq, run.camera_offset_us) == (T0, 0, -250)
    assert await index.faults() == []


async def test_a_run_number_is_never_given_twice(index: Index) -> None:
    assert await index.next_run(KEY) == 1
    await index.add_run(header(6), 0, 0)
    await index.add_segment(segment(0, run=6))
    await index.add_run(header(7), 0, 0)
    await index.add_segment(segment(1, run=7))

    await index.condemn([segment(0, run=6), segment(1, run=7)], GapReason.EVICTED)

    assert await index.next_run(KEY) == 8


async def test_condemned_segments_are_garbage_and_what_is_gone_is_noted_once(index: Index) -> None:
    await index.add_run(header(), 1920, 1080)
    rows = [segment(seq) for seq in range(6)]
    for row in rows:
        await index.add_segment(row)

    await index.condemn(rows[:2], GapReason.EVICTED)
    await index.condemn([rows[3]], GapReason.DELETED)
    apart = await index.gone(KEY, T0, T0 + 60 * MINUTE_US)
    await index.condemn([rows[2]], GapReason.EVICTED)
    await index.condemn([rows[4]], GapReason.EVICTED)

    assert apart == [
        Gone(T0, T0 + 2 * MINUTE_US, GapReason.EVICTED),
        Gone(T0 + 3 * MINUTE_US, T0 + 4 * MINUTE_US, GapReason.DELETED),
    ]
    # What follows without a hole is one stretch; what lies between has its own reason.
    assert await index.gone(KEY, T0, T0 + 60 * MINUTE_US) == [
        Gone(T0, T0 + 3 * MINUTE_US, GapReason.EVICTED),
        Gone(T0 + 3 * MINUTE_US, T0 + 4 * MINUTE_US, GapReason.DELETED),
        Gone(T0 + 4 * MINUTE_US, T0 + 5 * MINUTE_US, GapReason.EVICTED),
    ]
    assert await index.garbage() == [row.path for row in rows[:5]]
    assert await index.stream_totals() == {KEY: StreamTotals(1005, 1, rows[5].start_us, rows[5].end_us)}
    await index.drop_garbage([Doomed(rows[0].key, rows[0].run, rows[0].seq)])
    assert await index.garbage() == [row.path for row in rows[1:5]]


async def test_a_day_of_eviction_leaves_one_note(index: Index) -> None:
    for run in range(1, 30):
        await index.add_run(header(run), 1920, 1080)
        await index.add_segment(segment(run, run=run))

    for run in range(1, 29):
        await index.condemn([segment(run, run=run)], GapReason.EVICTED)

    assert len(await index.gone(KEY, 0, T0 * 2)) == 1


async def test_pinned_footage_is_neither_evicted_nor_deleted(index: Index) -> None:
    await index.add_run(header(), 1920, 1080)
    rows = [segment(seq) for seq in range(3)]
    for row in rows:
        await index.add_segment(row)
    await index.pin("job", KEY, T0 + MINUTE_US + 5, T0 + MINUTE_US + 6)
    await index.pin("job", KEY, T0 + MINUTE_US + 5, T0 + MINUTE_US + 6)

    evicted = await index.condemn(rows[:2], GapReason.EVICTED)
    deleted = await index.condemn([rows[1]], GapReason.DELETED)
    pins = await index.pins()
    await index.unpin("job")
    later = await index.condemn([rows[1]], GapReason.EVICTED)

    assert (evicted, deleted, len(pins), later) == (1, 0, 1, 1)


async def test_a_pin_beyond_what_holds_may_take_is_refused_and_not_made(index: Index) -> None:
    await index.add_run(header(), 1920, 1080)
    for seq in range(3):
        await index.add_segment(segment(seq))
    await index.pin("first", KEY, T0, T0 + MINUTE_US, max_bytes=2500)

    with pytest.raises(HoldsFull, match="gate/main"):
        await index.pin("second", KEY, T0 + MINUTE_US, T0 + 3 * MINUTE_US, max_bytes=2500)

    assert [pin.job for pin in await index.pins()] == ["first"]


async def test_a_cancelled_write_leaves_nothing_half_done(index: Index) -> None:
    await index.add_run(header(), 1920, 1080)
    rows = [segment(seq) for seq in range(200)]

    async def add_all() -> None:
        for row in rows:
            await index.add_segment(row)

    # Cancelled in each of its steps, the first (`begin`) and the last (`commit`) among them.
    for turns, delay_s in [(turns, 0.0) for turns in range(20)] + [(turns, 0.0002) for turns in range(40)]:
        adding = asyncio.create_task(add_all())
        for _ in range(turns):
            await asyncio.sleep(delay_s)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert await index.faults() == []

    await index.add_segment(segment(500))
    assert (await index.newest(KEY)) == segment(500)


async def test_a_reader_sees_whole_transactions_only(index: Index) -> None:
    await index.add_run(header(), 1920, 1080)
    rows = [segment(seq) for seq in range(50)]
    for row in rows:
        await index.add_segment(row)
    seen: set[int] = set()

    async with asyncio.TaskGroup() as group:
        condemning = group.create_task(index.condemn(rows, GapReason.EVICTED))
        while not condemning.done():
            seen.add(len(await index.segments(KEY, T0, T0 + 60 * MINUTE_US)))

    assert seen <= {50, 0}


async def test_another_process_can_look_while_this_one_writes(index: Index, tmp_path: Path) -> None:
    await index.add_run(header(), 1920, 1080)
    await index.add_segment(segment(0))

    async with open_index(tmp_path / "index.db", read_only=True) as other:
        found = await other.segments(KEY, T0, T0 + 1)
        with pytest.raises(ReadOnly):
            await other.set_meta("a", "b")

    assert found == [segment(0)]


async def test_rows_survive_the_process(tmp_path: Path) -> None:
    async with open_index(tmp_path / "index.db") as first:
        await first.add_run(header(previous_end=GapReason.POWER), 1920, 1080)
        await first.add_segment(segment(0))
        await first.set_meta("boot_id", "one")
        await first.set_meta("boot_id", "two")

    async with open_index(tmp_path / "index.db") as second:
        run = await second.newest_run(KEY)
        assert run is not None and run.previous_end is GapReason.POWER
        assert await second.newest(KEY) == segment(0)
        assert await second.meta("boot_id") == "two"
        assert await second.meta("other") is None


async def test_a_damaged_index_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    path.write_bytes(b"not a database" * 1000)

    with pytest.raises(CorruptIndex, match="move the file aside"):
        async with open_index(path):
            pytest.fail("opened")


async def test_a_newer_index_is_refused_unless_it_says_that_we_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    async with open_index(path) as index:
        await index.set_meta("readable_by", "7")
    with sqlite3.connect(path) as raw:
        raw.execute("pragma user_version = 9")
    raw.close()

    with pytest.raises(NewerSchema, match="newer simpang"):
        async with open_index(path):
            pytest.fail("opened")
    with sqlite3.connect(path) as raw:
        raw.execute("update meta set value = '1' where key = 'readable_by'")
    raw.close()
    async with open_index(path) as index:
        assert await index.streams() == []


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadOnly, match="missing"):
        async with open_index(tmp_path / "missing" / "index.db"):
            pytest.fail("opened")
    with pytest.raises(ReadOnly, match="does not exist"):
        async with open_index(tmp_path / "index.db", read_only=True):
            pytest.fail("opened")


async def test_a_garbage_row_never_leads_out_of_the_media_folder(index: Index, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "index.db") as raw:
        raw.execute("insert into stream (camera, stream) values ('..', '..')")
        raw.execute("insert into garbage values (1, last_insert_rowid(), 1, 1)")
    raw.close()
    outside = tmp_path.parent / "000001"
    outside.mkdir()
    (outside / "000001.mp4").touch()

    with pytest.raises(ValueError, match="outside"):
        await empty_garbage(index, index.files())

    assert (outside / "000001.mp4").exists()
