"""Chunks: the same bytes whoever asked for what and when, each a file that plays, none of them altered."""

from __future__ import annotations

import asyncio
import hashlib
import struct
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from media_files import decode_errors, probe
from media_samples import aac
from recordings import FRAME_TICKS, KEY, SECOND_US, START_US, Take, index_all, record, recorded, written
from simpang_buffer.index.adoption import adopt
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.reading.chunks import Chunk, chunk_body, chunks
from simpang_buffer.reading.clips import clips
from simpang_buffer.reading.errors import Altered, Vanished
from simpang_buffer.reading.tail import Tail, Tails, no_tail


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


async def cut(index: Index, start_s: float, end_s: float, tails: Tails = no_tail) -> list[Chunk]:
    start_us, end_us = START_US + int(start_s * SECOND_US), START_US + int(end_s * SECOND_US)
    return await chunks(index, tails, await clips(index, tails, KEY, start_us, end_us))


def chunk_bytes(chunk: Chunk) -> bytes:
    """What is sent; its size and hash were known before."""
    body = chunk_body(chunk)
    content = b"".join(body.blocks())
    assert (len(content), hashlib.sha256(content).digest()) == (body.size_bytes, body.sha256)
    return content


async def contents(found: list[Chunk]) -> dict[tuple[int, int], bytes]:
    return {(one.run, one.number): await asyncio.to_thread(chunk_bytes, one) for one in found}


def boxes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """(type, offset, payload) of each top-level box."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert size >= 8 and at + size <= len(data)
        yield kind, at, data[at + 8 : at + size]
        at += size


@pytest.mark.parametrize(
    "take",
    [
        Take("h264", 14, segment_s=6, b_frames=2),
        Take("h265", 14, segment_s=6, sound=aac(seconds=14)),
    ],
    ids=["h264", "h265 with sound"],
)
async def test_each_chunk_plays_and_together_they_are_the_run(
    index: Index, tmp_path: Path, take: Take
) -> None:
    await recorded(index, take)

    found = await cut(index, 0, 14)

    assert [one.number for one in found] == [0, 1, 2, 3, 4]
    assert [one.duration_us // SECOND_US for one in found] == [4, 2, 4, 2, 2]
    assert all(after.start_us == before.start_us + before.duration_us for before, after in pairwise(found))
    dts: list[int] = []
    for one in found:
        path = tmp_path / f"{one.number}.mp4"
        await asyncio.to_thread(path.write_bytes, chunk_bytes(one))
        assert path.stat().st_size == one.size_bytes
        assert await asyncio.to_thread(decode_errors, path) == ""
        shown = await asyncio.to_thread(probe, path)
        assert shown.frames == one.duration_us * 15 // SECOND_US
        assert shown.keys[0]
        assert (shown.width, shown.height) == (one.width, one.height) == (160, 120)
        dts += shown.dts
    # Decode times run on through the run.
    assert dts == [FRAME_TICKS * number for number in range(14 * 15)]


async def test_a_chunk_is_the_same_whatever_was_asked_for(index: Index) -> None:
    await recorded(index, Take(seconds=14, segment_s=6))
    whole = await contents(await cut(index, 0, 14))

    for start_s, end_s, numbers in (
        (0, 0.1, [0]),
        (3.9, 4.1, [0, 1]),
        (5.5, 6.5, [1, 2]),
        (7, 8, [2]),
        (13.5, 99, [4]),
        (-9, 14, [0, 1, 2, 3, 4]),
    ):
        found = await contents(await cut(index, start_s, end_s))
        assert [number for _, number in found] == numbers
        assert all(found[one] == whole[one] for one in found)


async def test_a_chunk_of_the_open_tail_is_that_of_the_closed_file(index: Index) -> None:
    """While it grows, after it is closed, and after a power cut took its end."""
    take = Take(seconds=14, segment_s=60, sound=aac(seconds=14))
    run = await written(index.media, take, close=False)
    await index_all(index, run)
    growing = await cut(index, 0, 14, lambda key: run.tail)
    from_tail = await contents(growing)

    twin = index.media.parent / "twin"
    twin.mkdir()
    async with open_index(twin / "index.db") as other:
        other.media.mkdir()
        await recorded(other, take)
        from_closed = await contents(await cut(other, 0, 14))
    await adopt(index.media, index)
    from_adopted = await contents(await cut(index, 0, 14))

    # The last one may still grow, so it is not shown.
    assert [one.number for one in growing] == [0, 1, 2]
    assert [number for _, number in from_closed] == [0, 1, 2, 3]
    assert all(from_tail[one] == from_closed[one] for one in from_tail)
    assert from_adopted == from_closed


async def test_a_chunk_appears_when_the_next_one_has_begun(index: Index) -> None:
    run = await written(index.media, Take(seconds=10), close=False)
    tail = run.tail
    assert tail is not None
    shown = []

    for written_s in range(11):

        def tails(key: StreamKey, upto: int = written_s) -> Tail | None:
            assert tail is not None
            return replace(tail, fragments=tail.fragments[:upto])

        shown.append([one.number for one in await cut(index, 0, 100, tails)])

    assert shown == [[]] * 5 + [[0]] * 4 + [[0, 1]] * 2


async def test_closed_files_that_wait_for_their_rows_hold_complete_chunks(index: Index) -> None:
    run = await written(index.media, Take(seconds=9, segment_s=3), close=False)
    tail = run.tail
    assert tail is not None
    await index_all(index, replace(run, rows=run.rows[:1]))
    waiting = Tail(
        run.files[1].head.header, run.files[1].path, tail.init, tail.codec, 160, 120, run.files[1].fragments
    )

    found = await cut(index, 0, 9, lambda key: replace(tail, before=(waiting,)))

    assert [(one.number, one.path) for one in found] == [(0, run.files[0].path), (1, run.files[1].path)]


async def test_the_random_access_box_points_at_key_frames(index: Index) -> None:
    await recorded(index, Take(seconds=8, b_frames=2, key_every=30))
    first, second = await cut(index, 0, 8)

    for one in (first, second):
        data = await asyncio.to_thread(chunk_bytes, one)
        found = list(boxes(data))
        assert [kind for kind, _, _ in found] == [b"ftyp", b"moov", *[b"moof", b"mdat"] * 4, b"mfra"]
        assert struct.unpack(">I", data[-4:])[0] == len(found[-1][2]) + 8
        tfra, mfro = boxes(found[-1][2])
        assert (tfra[0], mfro[0]) == (b"tfra", b"mfro")
        version_flags, track, lengths, count = struct.unpack_from(">IIII", tfra[2])
        assert (version_flags, track, lengths, count) == (1 << 24, 1, 0, 2)
        entries = [struct.unpack_from(">QQBBB", tfra[2], 16 + 19 * number) for number in range(count)]
        assert len(tfra[2]) == 16 + 19 * count
        moofs = [at for kind, at, _ in found if kind == b"moof"]
        assert [entry[1] for entry in entries] == [moofs[0], moofs[2]]
        assert all(entry[2:] == (1, 1, 1) for entry in entries)
        # Presentation times: the first picture's composition offset is in them.
        path = index.media / "chunk.mp4"
        await asyncio.to_thread(path.write_bytes, data)
        shown = await asyncio.to_thread(probe, path)
        keys = [pts for pts, key in zip(shown.pts, shown.keys, strict=True) if key]
        assert [entry[0] for entry in entries] == keys


async def test_two_runs_have_their_own_numbers_and_the_first_is_known_to_have_ended(index: Index) -> None:
    await recorded(index, Take(seconds=8, run=1))
    alone = await cut(index, 0, 60)
    await recorded(index, Take("h265", 6, 2, START_US + 30 * SECOND_US, previous_end=GapReason.TIMEOUT))

    found = await cut(index, 0, 60)

    # Nobody can tell yet whether the run goes on.
    assert [(one.run, one.number, one.ends_run) for one in alone] == [
        (1, 0, False),
        (1, 1, False),
    ]
    assert [(one.run, one.number, one.ends_run) for one in found] == [
        (1, 0, False),
        (1, 1, True),
        (2, 0, False),
        (2, 1, False),
    ]
    assert [one.codec[:4] for one in found] == ["avc1", "avc1", "hvc1", "hvc1"]


async def test_the_seal_of_a_chunk_is_that_of_its_last_fragment(index: Index) -> None:
    run = await recorded(index, Take(seconds=9, segment_s=6))

    found = await cut(index, 0, 9)

    assert [found[1].seal[:16], found[2].seal[:16]] == [row.seal for row in run.rows]
    assert len({one.seal for one in found}) == 3


@pytest.mark.parametrize("where", ["first fragment", "last fragment", "its seal", "header", "seal before"])
async def test_altered_footage_is_not_sent(index: Index, where: str) -> None:
    run = await recorded(index, Take(seconds=9))
    first, second, third = await cut(index, 0, 9)
    file = run.files[0]
    chunk, at = {
        "first fragment": (second, second.fragments[0].offset + 900),
        "last fragment": (second, second.fragments[-1].offset + second.fragments[-1].size_bytes - 1),
        "its seal": (second, second.fragments[-1].offset + second.fragments[-1].size_bytes + 50),
        "header": (first, 400),
        "seal before": (second, second.fragments[0].offset - 5),
    }[where]
    content = bytearray(file.path.read_bytes())
    content[at] ^= 1
    await asyncio.to_thread(file.path.write_bytes, content)

    with pytest.raises(Altered, match="check --deep"):
        await asyncio.to_thread(chunk_bytes, chunk)
    # A seal is the end of one chunk and what the next one builds on.
    untouched = third if where in ("header", "seal before") else first
    assert await asyncio.to_thread(chunk_bytes, untouched)


async def test_a_chunk_whose_file_is_gone_says_so(index: Index) -> None:
    run = await recorded(index, Take(seconds=5))
    (first, _) = await cut(index, 0, 5)
    await asyncio.to_thread(run.files[0].path.unlink)

    with pytest.raises(Vanished, match="ask for the range again"):
        await asyncio.to_thread(chunk_bytes, first)


def test_the_writer_and_its_files_are_the_same_in_every_run_of_the_program(tmp_path: Path) -> None:
    """What makes hashes comparable between gateways and restarts."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run = record(tmp_path / name, Take(seconds=5, sound=aac(seconds=5)))
        found.append(run.files[0].path.read_bytes())

    assert found[0] == found[1]


async def test_a_chunk_of_any_size_is_sent_in_little_memory(index: Index) -> None:
    """A camera that sends a key frame every twenty seconds, with four megabytes between them."""
    shape = {"width": 640, "height": 480, "noise": 24_000}
    await recorded(index, Take(seconds=20, key_every=300, **shape))  # type: ignore[arg-type]  # its own fields
    await recorded(index, Take(seconds=2, run=2, start_us=START_US + 60 * SECOND_US))
    one, *_ = await cut(index, 0, 20)

    def send() -> tuple[int, int]:
        tracemalloc.start()
        try:
            sent = sum(len(block) for block in chunk_body(one).blocks())
            return sent, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    sent, peak = await asyncio.to_thread(send)

    assert sent == one.size_bytes > 4_000_000
    assert peak < 2_500_000
