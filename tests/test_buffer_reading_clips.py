"""`clips` and `coverage`: what there is of a range, where parts begin, and a reason for every gap."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from recordings import KEY, SECOND_US, START_US, Recording, Take, index_all, recorded, tail_of, written
from simpang_buffer.index.garbage import empty_garbage
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.rows import Gone
from simpang_buffer.model import Fragment, FragmentFlags, GapReason, StreamKey
from simpang_buffer.reading import sources
from simpang_buffer.reading.clips import Clip, Gap, clips
from simpang_buffer.reading.coverage import Span, coverage
from simpang_buffer.reading.gaps import RunStart, Stretch, explain
from simpang_buffer.reading.tail import Tail, Tails, no_tail
from simpang_buffer.recording.segment_writer import FileLimits

NOW_US = START_US + 1000 * SECOND_US


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


def at(seconds: float) -> int:
    return START_US + int(seconds * SECOND_US)


async def clip(index: Index, start_s: float, end_s: float, tails: Tails = no_tail) -> Clip:
    return await clips(
        index, tails, KEY, at(start_s), at(end_s), current_reason=GapReason.UNREACHABLE, now_us=NOW_US
    )


def seconds(gaps: Sequence[Gap]) -> list[tuple[float, float, str]]:
    return [
        ((gap.start_us - START_US) / SECOND_US, (gap.end_us - START_US) / SECOND_US, str(gap.reason))
        for gap in gaps
    ]


def extent(found: Clip) -> list[tuple[float, float]]:
    return [
        ((part.start_us - START_US) / SECOND_US, (part.end_us - START_US) / SECOND_US) for part in found.parts
    ]


def tails_of(tail: Tail | None) -> Tails:
    return lambda key: tail if key == KEY else None


@pytest.mark.parametrize(
    ("start_s", "end_s", "found"),
    [
        (0, 9, (0, 9)),
        (2.5, 3.5, (2, 4)),  # key frames at each second: from the one before, to the end of the fragment
        (3, 4, (3, 4)),
        (2.999999, 3, (2, 3)),
        (4, 4.000001, (4, 5)),  # across the border of two files
        (3.5, 4.5, (3, 5)),
        (-5, 1, (0, 1)),
        (8.5, 50, (8, 9)),
    ],
)
async def test_a_clip_starts_with_the_key_frame_before_and_holds_whole_fragments(
    index: Index, start_s: float, end_s: float, found: tuple[float, float]
) -> None:
    await recorded(index, Take(seconds=9, segment_s=4))

    read = await clip(index, start_s, end_s)

    assert extent(read) == [found]
    assert FragmentFlags.KEY in next(read.parts[0].pieces()).fragment.flags


async def test_a_start_between_distant_key_frames_goes_back_to_the_last_one(index: Index) -> None:
    await recorded(index, Take(seconds=12, key_every=60))

    read = await clip(index, 6.5, 7)

    assert extent(read) == [(4, 7)]


async def test_parts_end_with_the_run_and_with_the_codec_parameters(index: Index) -> None:
    await recorded(index, Take(seconds=3, run=1))
    await recorded(index, Take("h265", 3, 2, at(3.2), previous_end=GapReason.TIMEOUT))
    await recorded(index, Take("h265", 3, 3, at(10), previous_end=GapReason.AUTH))

    read = await clip(index, 0, 20)

    assert extent(read) == [(0, 3), (3.2, 6.2), (10, 13)]
    assert [part.format.codec[:4] for part in read.parts] == ["avc1", "hvc1", "hvc1"]
    assert seconds(read.gaps) == [
        (3, 3.2, "timeout"),
        (6.2, 10, "auth"),
        (13, 20, "unreachable"),
    ]


async def test_a_file_missing_in_the_middle_parts_the_clip(index: Index) -> None:
    run = await recorded(index, Take(seconds=6, segment_s=2))
    await index.condemn([run.rows[1]], GapReason.DELETED)

    read = await clip(index, 0, 6)

    assert extent(read) == [(0, 2), (4, 6)]
    assert seconds(read.gaps) == [(2, 4, "deleted")]


async def test_nothing_recorded_is_an_empty_clip_with_its_gap(index: Index) -> None:
    unknown = await clips(index, no_tail, StreamKey("no", "main"), at(0), at(9))
    await recorded(index, Take(seconds=2))
    before = await clip(index, -9, -3)

    assert (unknown.parts, seconds(unknown.gaps)) == ((), [(0, 9, "disabled")])
    assert (before.parts, seconds(before.gaps)) == ((), [(-9, -3, "disabled")])


async def test_the_open_tail_is_read_like_a_closed_file(index: Index) -> None:
    run = await written(index.media, Take(seconds=6, segment_s=4), close=False)
    await index_all(index, run)

    read = await clip(index, 1, 100, tails_of(run.tail))

    assert extent(read) == [(1, 6)]
    # It is being recorded, so what follows is no gap yet.
    assert read.gaps == ()


async def test_no_fragment_is_missed_or_doubled_while_a_file_is_closed(index: Index) -> None:
    """Committed and still shown as a tail; closed and waiting for its row; open: each fragment once."""
    run = await written(index.media, Take(seconds=9, segment_s=3), close=False)
    assert run.tail is not None
    first, second = (tail_of(file) for file in run.files[:2])
    await index_all(index, Recording(run.rows[:1], run.files))
    tails = tails_of(replace(run.tail, before=(first, second)))

    read = await clip(index, 0, 9, tails)
    covered = await coverage(index, tails, KEY, at(0), at(9), at(9), GapReason.AUTH)

    times = [piece.fragment.decode_time for part in read.parts for piece in part.pieces()]
    assert times == [90_000 * second for second in range(9)]
    assert extent(read) == [(0, 9)]
    assert [(span.start_us, span.end_us) for span in covered.spans] == [(at(0), at(9))]


async def test_a_tail_that_grows_while_it_is_read_is_copied_once(index: Index) -> None:
    run = await written(index.media, Take(seconds=4), close=False)
    assert run.tail is not None
    fragments = list(run.tail.fragments)
    growing: list[Fragment] = fragments[:2]

    def tails(key: StreamKey) -> Tail | None:
        return replace(run.tail, fragments=growing) if run.tail else None

    reading = asyncio.create_task(clip(index, 0, 9, tails))
    await asyncio.sleep(0)
    growing += fragments[2:]
    read = await reading

    assert len(list(read.parts[0].pieces())) in (2, 4)


async def test_eviction_while_a_clip_is_looked_up_shortens_it(index: Index) -> None:
    run = await recorded(index, Take(seconds=6, segment_s=2))

    class Racing(Index):
        """Evicts after the rows were read, before their files are."""

        raced = False

        async def segments(self, key: StreamKey, start_us: int, end_us: int) -> list[object]:  # type: ignore[override]  # the rows pass through
            found = await index.segments(key, start_us, end_us)
            if not self.raced:
                self.raced = True
                await index.condemn([run.rows[0]], GapReason.EVICTED)
                await empty_garbage(index, MediaFiles(index.media))
            return list(found)

    racing = Racing(index.db, index.media)
    read = await clip(racing, 0, 6)

    assert extent(read) == [(2, 6)]
    assert seconds(read.gaps) == [(0, 2, "evicted")]


@pytest.mark.parametrize("damage", ["table gone", "header gone", "first header gone", "cut in half"])
async def test_a_damaged_file_costs_itself_alone(index: Index, damage: str) -> None:
    run = await recorded(index, Take(seconds=12, segment_s=4))
    path = run.files[damage != "first header gone"].path
    content = path.read_bytes()
    if damage == "table gone":
        os.truncate(path, path.stat().st_size - 30)
        expected: list[tuple[float, float]] = [(0, 12)]
        gaps: list[tuple[float, float, str]] = []
    elif damage == "header gone":
        # The file before it has the same header, so nothing of this one is missed.
        path.write_bytes(bytes(600) + content[600:])
        expected, gaps = [(0, 12)], []
    elif damage == "first header gone":
        path.write_bytes(bytes(600) + content[600:])
        expected, gaps = [(4, 12)], [(0, 4, "disk-error")]
    else:
        os.truncate(path, run.files[1].fragments[2].offset + 9)
        expected, gaps = [(0, 6), (8, 12)], [(6, 8, "disk-error")]

    read = await clip(index, 0, 12)

    assert extent(read) == expected
    assert seconds(read.gaps) == gaps


async def test_a_row_without_its_file_costs_that_file_alone(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody cleaned up by hand: what stands behind, in later batches, is read all the same."""
    monkeypatch.setattr(sources, "_BATCH", 1)
    run = await recorded(index, Take(seconds=12, segment_s=4))
    run.files[1].path.unlink()

    read = await clip(index, 0, 12)

    assert extent(read) == [(0, 4), (8, 12)]
    assert seconds(read.gaps) == [(4, 8, "disk-error")]


async def test_a_long_range_reads_only_the_files_at_its_ends(index: Index) -> None:
    """A month is 43,200 files: all others are what their rows say until somebody reads the clip."""
    await recorded(index, Take(seconds=30, segment_s=4))
    run = await written(index.media, Take(seconds=4, run=2, start_us=at(31)), close=False)
    tails = tails_of(run.tail)

    short = await clips(index, tails, KEY, at(5.5), at(34.5), detail=True)
    long = await clips(index, tails, KEY, at(5.5), at(34.5), detail=False)

    read = [[one.source.fragments is not None for one in part.slices] for part in long.parts]
    assert read == [[True] + [False] * 6, [True]]
    assert extent(long) == extent(short) == [(5, 30), (31, 35)]
    assert [list(part.pieces()) for part in long.parts] == [list(part.pieces()) for part in short.parts]
    assert long.gaps == short.gaps


async def test_a_range_of_many_days_is_read_page_by_page(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    await recorded(index, Take(seconds=30, segment_s=4))
    whole = await clip(index, 1.5, 29.5)

    monkeypatch.setattr(sources, "_PAGE_US", 3 * SECOND_US)

    assert await clip(index, 1.5, 29.5) == whole


async def test_a_start_in_a_file_without_a_key_frame_goes_back_to_the_file_that_has_one(
    index: Index,
) -> None:
    """A camera that sends one key frame and never another (8.9): its files end at a limit, not before one."""
    await recorded(index, Take(seconds=12, key_every=1000, limits=FileLimits(ticks=3 * 90_000)))

    read = await clip(index, 10.5, 11)

    assert extent(read) == [(0, 11)]
    assert FragmentFlags.KEY in next(read.parts[0].pieces()).fragment.flags
    assert len(read.parts) == 1


async def test_a_run_whose_clock_was_put_right_is_found_at_its_new_times(index: Index) -> None:
    """Its files say what the clock said then; the index has moved its rows."""
    await recorded(index, Take(seconds=9, segment_s=4))
    moved_us = 3600 * SECOND_US
    async with index.db.transaction() as tx:
        await tx.run("update run set recorded_anchor_us = anchor_us, anchor_us = anchor_us + ?", (moved_us,))
        await tx.run("update run set start_us = start_us + ?1, end_us = end_us + ?1", (moved_us,))
        await tx.run("update segment set start_us = start_us + ?1", (moved_us,))

    read = await clip(index, 3602.5, 3606.5)

    assert extent(read) == [(3602, 3607)]
    assert [piece.fragment.start_us for piece in read.parts[0].pieces()] == [
        at(3600 + second) for second in range(2, 7)
    ]
    assert (await clip(index, 0, 100)).parts == ()


async def test_files_of_a_folder_that_is_not_there_are_a_gap(index: Index) -> None:
    run = await written(index.media, Take(seconds=9, segment_s=3))
    for file in run.files:
        await index.add_run(file.head.header, 160, 120)
    for row in run.rows:
        await index.add_segment(replace(row, folder=7) if row.seq == 1 else row)

    for detail in (True, False):
        read = await clips(
            index, no_tail, KEY, at(0), at(9), current_reason=GapReason.AUTH, now_us=NOW_US, detail=detail
        )

        assert extent(read) == [(0, 3), (6, 9)]
        assert seconds(read.gaps) == [(3, 6, "disk-error")]


async def test_a_clock_set_back_makes_overlapping_parts_and_loses_nothing(index: Index) -> None:
    await recorded(index, Take(seconds=6, segment_s=2, run=1))
    await recorded(
        index, Take(seconds=6, segment_s=2, run=2, start_us=at(3), previous_end=GapReason.CLOCK_STEP)
    )

    read = await clip(index, 0, 9)
    covered = await coverage(index, no_tail, KEY, at(0), at(9), NOW_US, GapReason.AUTH)

    assert extent(read) == [(0, 6), (3, 9)]
    assert read.gaps == ()
    assert [(span.run, span.start_us, span.end_us) for span in covered.spans] == [
        (1, at(0), at(6)),
        (2, at(3), at(9)),
    ]
    assert covered.gaps == ()


async def test_coverage_joins_files_and_names_every_gap(index: Index) -> None:
    first = await recorded(index, Take(seconds=8, segment_s=2, run=1, start_us=at(10)))
    await recorded(index, Take(seconds=4, run=2, start_us=at(30), previous_end=GapReason.POWER))
    await index.condemn(first.rows[:2], GapReason.EVICTED)

    found = await coverage(index, no_tail, KEY, at(0), at(100), at(60), GapReason.AUTH)

    kept_bytes = sum(row.size_bytes for row in first.rows[2:])
    assert found.spans[0] == Span(at(14), at(18), 1, kept_bytes)
    assert [(span.start_us, span.end_us, span.run) for span in found.spans] == [
        (at(14), at(18), 1),
        (at(30), at(34), 2),
    ]
    assert seconds(found.gaps) == [
        (0, 10, "disabled"),
        (10, 14, "evicted"),
        (18, 30, "power"),
        (34, 60, "auth"),
    ]


async def test_spans_and_gaps_fill_the_range_exactly(index: Index) -> None:
    for run in range(1, 6):
        await recorded(
            index,
            Take(
                seconds=4,
                segment_s=2,
                run=run,
                start_us=at(run * 7.5),
                previous_end=GapReason.RESTART if run > 1 else None,
            ),
        )
    evicted = await index.segments(KEY, at(0), at(18))
    await index.condemn(evicted, GapReason.EVICTED)

    for start_s, end_s in ((0, 60), (8, 9), (12.3, 41.7), (22.5, 26.5), (50, 55), (31, 31.5)):
        found = await coverage(index, no_tail, KEY, at(start_s), at(end_s), NOW_US, GapReason.DISK_FULL)

        pieces = sorted(
            [(span.start_us, span.end_us) for span in found.spans]
            + [(gap.start_us, gap.end_us) for gap in found.gaps]
        )
        borders = [border for piece in pieces for border in piece]
        assert borders[0] == at(start_s) and borders[-1] == at(end_s)
        assert borders[1:-1:2] == borders[2::2]


async def test_coverage_shows_a_stream_that_records_without_a_gap_at_its_end(index: Index) -> None:
    run = await written(index.media, Take(seconds=4, run=1, previous_end=GapReason.RESTART), close=False)
    await index_all(index, run)

    recording = await coverage(index, tails_of(run.tail), KEY, at(-5), at(60), at(5), GapReason.AUTH)
    # Between two files there is a moment without a tail; what came so lately is not called a gap.
    assert run.tail is not None
    closed = await recorded(index, Take(seconds=4, run=2, start_us=at(10)))
    between = await coverage(index, no_tail, KEY, at(10), at(60), at(15), GapReason.AUTH)
    stopped = await coverage(index, no_tail, KEY, at(10), at(60), at(40), GapReason.AUTH)

    assert seconds(recording.gaps) == [(-5, 0, "restart")]
    assert [(span.start_us, span.end_us) for span in recording.spans] == [(at(0), at(4))]
    assert len(closed.rows) == 1
    assert between.gaps == ()
    assert seconds(stopped.gaps) == [(14, 40, "auth")]


async def test_the_future_is_no_gap(index: Index) -> None:
    found = await coverage(index, no_tail, KEY, at(10), at(20), at(5), GapReason.AUTH)

    assert (found.spans, found.gaps) == ((), ())


def test_what_is_gone_is_told_from_what_was_never_recorded() -> None:
    runs = [RunStart(at(0), at(100), None), RunStart(at(200), at(300), GapReason.CAMERA_REBOOT)]
    gone = [Gone(at(20), at(60), GapReason.EVICTED), Gone(at(60), at(70), GapReason.DELETED)]
    left = [Stretch(at(0), at(20), 1), Stretch(at(70), at(100), 1), Stretch(at(200), at(300), 2)]

    found = list(explain(at(-10), at(500), left, runs, gone, None))

    assert seconds(found) == [
        (-10, 0, "disabled"),
        (20, 60, "evicted"),
        (60, 70, "deleted"),
        (100, 200, "camera-reboot"),
    ]
