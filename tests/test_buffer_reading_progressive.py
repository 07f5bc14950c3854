"""A part served as one MP4: it plays, starts at zero, and any bytes asked for are those of the whole."""

from __future__ import annotations

import asyncio
import json
import random
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from media_files import decode_errors, probe
from media_samples import aac, g711
from recordings import FRAME_TICKS, KEY, SECOND_US, START_US, Take, recorded, written
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import GapReason
from simpang_buffer.reading.clips import Part, clips
from simpang_buffer.reading.errors import Altered, Vanished
from simpang_buffer.reading.layout import joined
from simpang_buffer.reading.progressive import ProgressiveMp4
from simpang_buffer.reading.tail import no_tail


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


async def parts(index: Index, start_s: float, end_s: float) -> tuple[Part, ...]:
    start_us, end_us = START_US + int(start_s * SECOND_US), START_US + int(end_s * SECOND_US)
    return (await clips(index, no_tail, KEY, start_us, end_us)).parts


async def content(mp4: ProgressiveMp4, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([block async for block in mp4.write(start, end)])


def ffprobe(path: Path, *options: str) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", *options, "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """(type, offset) of each top-level box; together they are all there is."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert size >= 8 and at + size <= len(data)
        yield kind, at
        at += size


def described(path: Path) -> dict[str, Any]:
    return ffprobe(path, "-show_format", "-show_packets")


TAKES = {
    "h264": Take("h264", 9, segment_s=4),
    "h265": Take("h265", 9, segment_s=4),
    "h264 with B-frames": Take("h264", 9, segment_s=4, b_frames=2),
    "h265 with B-frames": Take("h265", 9, segment_s=4, b_frames=2),
    "h264 with AAC": Take("h264", 9, segment_s=4, sound=aac(seconds=9)),
    "h265 with A-law": Take("h265", 9, segment_s=4, sound=g711("PCMA", seconds=9)),
}


@pytest.mark.parametrize("kind", TAKES)
@pytest.mark.parametrize(("start_s", "end_s", "pictures"), [(0, 9, 135), (2.5, 6.5, 75)])
async def test_a_clip_plays_from_zero_with_every_picture(
    index: Index, tmp_path: Path, kind: str, start_s: float, end_s: float, pictures: int
) -> None:
    """Across two or three files, from the middle of a group of pictures."""
    take = TAKES[kind]
    await recorded(index, take)
    (part,) = await parts(index, start_s, end_s)
    mp4 = await asyncio.to_thread(ProgressiveMp4.read, part)

    path = tmp_path / "clip.mp4"
    await asyncio.to_thread(path.write_bytes, await content(mp4))

    assert path.stat().st_size == mp4.total_bytes
    assert await asyncio.to_thread(decode_errors, path) == ""
    found = await asyncio.to_thread(probe, path)
    assert (found.frames, found.packets) == (pictures, pictures)
    assert found.codec == {"h264": "h264", "h265": "hevc"}[take.codec]
    shown = await asyncio.to_thread(described, path)
    # Where sound begins before the first picture, it is the sound that starts at zero.
    first_dts_s = min(float(packet["dts_time"]) for packet in shown["packets"])
    assert first_dts_s == 0
    assert found.dts[0] < (9000 if take.sound else 1)
    assert list(found.dts) == [found.dts[0] + FRAME_TICKS * number for number in range(pictures)]
    assert found.keys[0]
    assert float(shown["format"]["duration"]) == pytest.approx(pictures / 15, abs=0.25)
    if take.sound:
        assert found.audio_codec == {"MPEG4-GENERIC": "aac", "PCMA": "pcm_alaw"}[take.sound.encoding]
        # All sound of the pictures' time but for a frame at either end.
        seconds_heard = found.audio_packets * take.sound.frames[0].samples / take.sound.rate
        assert seconds_heard == pytest.approx(pictures / 15, abs=0.2)
        assert "mp4a.40.2" in mp4.mime or "alaw" in mp4.mime
    else:
        assert mp4.mime == f'video/mp4; codecs="{part.format.codec}"'


async def test_sound_and_pictures_are_moved_by_the_same(index: Index, tmp_path: Path) -> None:
    await recorded(index, Take(seconds=9, sound=aac(seconds=9)))
    offsets = []

    for number, start_s in enumerate((0, 3, 7)):
        (part,) = await parts(index, start_s, 9)
        path = tmp_path / f"{number}.mp4"
        await asyncio.to_thread(
            path.write_bytes, await content(await asyncio.to_thread(ProgressiveMp4.read, part))
        )
        shown = await asyncio.to_thread(described, path)
        ends = {
            stream: max(float(p["pts_time"]) for p in shown["packets"] if p["codec_type"] == stream)
            for stream in ("video", "audio")
        }
        offsets.append(ends["video"] - ends["audio"])

    # The last picture and the last sound are the same ones, so as far apart wherever the clip began.
    assert offsets == pytest.approx([offsets[0]] * 3, abs=0.0001)


async def test_bytes_in_any_slices_are_those_of_the_whole(index: Index) -> None:
    await recorded(index, Take(seconds=9, segment_s=4, sound=aac(seconds=9), width=320, height=240))
    (part,) = await parts(index, 2.5, 8.5)
    mp4 = await asyncio.to_thread(ProgressiveMp4.read, part)
    whole = await content(mp4)
    chosen = random.Random(1)
    borders = sorted({0, mp4.init_bytes, len(whole), *(at for kind, at in boxes(whole) if kind == b"moof")})

    # Around every border of a fragment and of its decode time, then anywhere.
    for border in borders:
        for shift in (-1, 0, 1, 30, 60, 61, 62, 63, 100):
            start = min(max(border + shift, 0), len(whole))
            end = min(start + chosen.randrange(1, 200), len(whole))
            assert await content(mp4, start, end) == whole[start:end]
    for _ in range(40):
        start = chosen.randrange(len(whole))
        end = chosen.randrange(start, len(whole) + 1)
        assert await content(mp4, start, end) == whole[start:end]
    assert await content(mp4, 5, 5) == b""
    with pytest.raises(ValueError, match="no bytes"):
        await content(mp4, 0, len(whole) + 1)


async def test_the_clip_of_a_part_is_the_part(index: Index) -> None:
    """So that an address with a part's own start and end serves the bytes that a playlist counted."""
    await recorded(index, Take(seconds=9, segment_s=4, b_frames=2))
    await recorded(index, Take("h265", 5, 2, START_US + 20_033_333, previous_end=GapReason.TIMEOUT))

    for part in await parts(index, 2.5, 30):
        again = (await clips(index, no_tail, KEY, part.start_us, part.end_us)).parts
        assert again == (part,)


async def test_only_decode_times_differ_from_what_was_recorded(index: Index) -> None:
    run = await recorded(index, Take(seconds=6, sound=aac(seconds=6)))
    (part,) = await parts(index, 2, 6)
    whole = await content(await asyncio.to_thread(ProgressiveMp4.read, part))
    recorded_bytes = run.files[0].path.read_bytes()

    pieces = list(part.pieces())
    moofs = [at for kind, at in boxes(whole) if kind == b"moof"]
    assert len(moofs) == len(pieces) == 4
    for piece, at in zip(pieces, moofs, strict=True):
        size = piece.fragment.size_bytes
        original = recorded_bytes[piece.fragment.offset :][:size]
        served = whole[at : at + size]
        differing = [at for at, (a, b) in enumerate(zip(served, original, strict=True)) if a != b]
        assert len(differing) <= 16
        assert max(differing) < original.index(b"mdat")


async def test_what_stands_between_fragments_is_skipped_and_no_seal_is_shown(index: Index) -> None:
    await recorded(index, Take(seconds=9, segment_s=4))
    (part,) = await parts(index, 0, 9)

    whole = await content(await asyncio.to_thread(ProgressiveMp4.read, part))

    kinds = [kind for kind, _ in boxes(whole)]
    assert set(kinds) == {b"ftyp", b"moov", b"sidx", b"moof", b"mdat", b"free"}
    assert kinds.count(b"moof") == kinds.count(b"mdat") == 9
    assert b"uuid" not in kinds


@pytest.mark.parametrize("kind", ["h264", "h264 with AAC", "h265 with A-law"])
async def test_players_seek_by_the_segment_index(index: Index, tmp_path: Path, kind: str) -> None:
    await recorded(index, replace(TAKES[kind], seconds=20))
    (part,) = await parts(index, 0, 20)
    mp4 = await asyncio.to_thread(ProgressiveMp4.read, part)
    whole = await content(mp4)
    path = tmp_path / "clip.mp4"
    # Besides the start only one fragment is there: who reads his way towards it finds nothing.
    moofs = [at for kind, at in boxes(whole) if kind == b"moof"]
    sparse = bytearray(len(whole))
    for start, end in ((0, moofs[10]), (moofs[15], moofs[16])):
        sparse[start:end] = whole[start:end]
    await asyncio.to_thread(path.write_bytes, sparse)

    first = ["-read_intervals", "15.5%+#1", "-select_streams", "v", "-show_entries", "packet=pts_time,flags"]
    found = await asyncio.to_thread(ffprobe, path, *first)

    assert [float(packet["pts_time"]) for packet in found["packets"]] == [pytest.approx(15, abs=0.1)]
    length = await asyncio.to_thread(ffprobe, path, "-show_format")
    assert float(length["format"]["duration"]) == pytest.approx(20, abs=0.1)


def test_a_month_of_key_frames_fits_the_segment_index() -> None:
    stretches = [(1000, 45_000, True, 0)] * 200_000

    together = joined(stretches)

    assert len(together) < 0xFFFF
    assert sum(one.size_bytes for one in together) == 200_000_000
    assert sum(one.duration for one in together) == 200_000 * 45_000


async def test_the_open_tail_plays_too(index: Index, tmp_path: Path) -> None:
    run = await written(index.media, Take(seconds=4), close=False)
    read = await clips(index, lambda key: run.tail, KEY, START_US + SECOND_US, START_US + 60 * SECOND_US)

    path = tmp_path / "clip.mp4"
    await asyncio.to_thread(
        path.write_bytes, await content(await asyncio.to_thread(ProgressiveMp4.read, read.parts[0]))
    )

    assert await asyncio.to_thread(decode_errors, path) == ""
    assert (await asyncio.to_thread(probe, path)).frames == 45


async def test_a_file_that_goes_or_changes_while_it_is_read_is_told(index: Index) -> None:
    run = await recorded(index, Take(seconds=4, segment_s=2))
    (part,) = await parts(index, 0, 4)
    mp4 = await asyncio.to_thread(ProgressiveMp4.read, part)
    first, second = (file.path for file in run.files)
    await asyncio.to_thread(second.rename, second.with_suffix(".away"))

    with pytest.raises(Vanished, match="ask for the range again"):
        await content(mp4)
    await asyncio.to_thread(second.write_bytes, bytes(100_000))
    with pytest.raises(Altered, match="buffer check"):
        await content(mp4)
    await asyncio.to_thread(second.write_bytes, second.with_suffix(".away").read_bytes()[:-3000])
    with pytest.raises(Altered, match="buffer check"):
        await content(mp4)
    whole = second.with_suffix(".away").read_bytes()
    for box in (b"tfdt", b"traf"):
        await asyncio.to_thread(second.write_bytes, whole.replace(box, b"free"))
        with pytest.raises(Altered, match="buffer check"):
            await content(mp4)
    assert first.exists()
