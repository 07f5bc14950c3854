"""From the picture asked for to the picture asked for, with the key frame underneath: as players show it."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from media_samples import aac, g711
from numbered_pictures import HEIGHT, WIDTH, decoded, decoded_by_gstreamer, numbered
from recordings import KEY, SECOND_US, START_US, Take, recorded
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import GapReason
from simpang_buffer.reading.clips import Clip, clips
from simpang_buffer.reading.progressive import ProgressiveMp4
from simpang_buffer.reading.tail import no_tail

__all__ = ["numbered"]

pytestmark = pytest.mark.usefixtures("numbered")

TAKES = {
    "h264": Take("h264", 9, segment_s=4, width=WIDTH, height=HEIGHT),
    "h265": Take("h265", 9, segment_s=4, width=WIDTH, height=HEIGHT),
    "h264 with B-frames": Take("h264", 9, segment_s=4, b_frames=2, width=WIDTH, height=HEIGHT),
    "h264 with AAC": Take("h264", 9, segment_s=4, sound=aac(seconds=9), width=WIDTH, height=HEIGHT),
    "h265 with A-law": Take(
        "h265", 9, segment_s=4, sound=g711("PCMA", seconds=9), width=WIDTH, height=HEIGHT
    ),
    "rare key frames": Take("h264", 9, key_every=75, width=WIDTH, height=HEIGHT),
}


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


def at(picture: float) -> int:
    """When a picture is shown, rounded down to a microsecond as in every time that is told."""
    return START_US + int(picture * SECOND_US) // 15


async def clip(index: Index, start_us: int, end_us: int, *, detail: bool | None = None) -> Clip:
    return await clips(index, no_tail, KEY, start_us, end_us, detail=detail)


async def cut(index: Index, tmp_path: Path, start_us: int, end_us: int) -> tuple[ProgressiveMp4, Path]:
    part = (await clip(index, start_us, end_us)).parts[0]
    mp4 = await asyncio.to_thread(ProgressiveMp4.read, part, between=(start_us, end_us))
    path = tmp_path / "clip.mp4"
    await asyncio.to_thread(path.write_bytes, await asyncio.to_thread(mp4.block, 0, mp4.total_bytes))
    return mp4, path


def ffprobe(path: Path, *options: str) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", *options, "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# The first picture shown, and the first behind the last.
CUTS = [
    (0, 135),
    (7, 100),  # within the first fragment, across files
    (22, 52),  # neither begins nor ends with a fragment
    (59, 61),  # the last of a file and the first of the next
    (37, 41),  # begins and ends in one fragment
    (15, 16),  # one key frame
]


@pytest.mark.parametrize("kind", TAKES)
async def test_exactly_the_pictures_asked_for_are_shown(index: Index, tmp_path: Path, kind: str) -> None:
    take = TAKES[kind]
    await recorded(index, take)

    for first, behind in CUTS:
        mp4, path = await cut(index, tmp_path, at(first), at(behind))

        shown = await asyncio.to_thread(decoded, path)
        wanted = list(range(first, behind))
        assert shown[: len(wanted)] == wanted, (first, behind)
        # Where pictures are reordered, one that the last ones build on may be shown behind them.
        assert len(shown) - len(wanted) <= min(take.b_frames, 1), (first, behind)
        assert (
            abs(mp4.start_us - at(first)) <= 1 and abs(mp4.end_us - at(behind)) <= 67_000 * take.b_frames + 1
        )
        assert path.stat().st_size == mp4.total_bytes


@pytest.mark.parametrize("kind", ["h264", "h265"])
async def test_gstreamer_shows_the_same(index: Index, tmp_path: Path, kind: str) -> None:
    await recorded(index, TAKES[kind])

    _, path = await cut(index, tmp_path, at(22), at(70))

    assert await asyncio.to_thread(decoded_by_gstreamer, path, tmp_path / "grey") == list(range(22, 70))


async def test_a_moment_between_two_pictures_shows_the_one_on_the_screen_then(
    index: Index, tmp_path: Path
) -> None:
    await recorded(index, TAKES["h264"])

    mp4, path = await cut(index, tmp_path, at(22.6), at(25.4))

    assert await asyncio.to_thread(decoded, path) == [22, 23, 24, 25]
    assert abs(mp4.start_us - at(22)) <= 1 and abs(mp4.end_us - at(26)) <= 1


@pytest.mark.parametrize("kind", ["h264 with AAC", "h265 with A-law"])
async def test_sound_begins_and_ends_with_the_pictures(index: Index, tmp_path: Path, kind: str) -> None:
    take = TAKES[kind]
    assert take.sound
    await recorded(index, take)

    _, path = await cut(index, tmp_path, at(22), at(100))

    shown = await asyncio.to_thread(ffprobe, path, "-show_packets")
    sounds = [packet for packet in shown["packets"] if packet["codec_type"] == "audio"]
    frame_s = take.sound.frames[0].samples / take.sound.rate
    assert 0 <= float(sounds[0]["pts_time"]) < frame_s
    assert float(sounds[-1]["pts_time"]) + frame_s == pytest.approx((100 - 22) / 15, abs=frame_s)
    # No sound is lost on the way: each frame begins where the one before ended.
    starts = [float(packet["pts_time"]) for packet in sounds]
    steps = [after - before for before, after in itertools.pairwise(starts)]
    assert max(steps) - min(steps) < 0.001


async def test_the_place_of_every_byte_is_that_of_the_plain_clip(index: Index) -> None:
    """Only what is said about the recorded bytes differs: so sizes are known, and nothing is copied."""
    await recorded(index, TAKES["h264 with AAC"])
    part = (await clip(index, at(22), at(100))).parts[0]

    plain = await asyncio.to_thread(ProgressiveMp4.read, part)
    shown = await asyncio.to_thread(ProgressiveMp4.read, part, between=(at(22), at(100)))
    whole = [await asyncio.to_thread(mp4.block, 0, mp4.total_bytes) for mp4 in (plain, shown)]

    bodies = [content[content.index(b"sidx") :] for content in whole]
    pictures = [body[body.index(b"mdat") :] for body in bodies]
    differing = sum(a != b for a, b in zip(pictures[0], pictures[1], strict=True))
    assert len(pictures[0]) == len(pictures[1])
    assert 0 < differing < 3000


async def test_players_seek_in_it(index: Index, tmp_path: Path) -> None:
    await recorded(index, Take("h264", 30, segment_s=10, width=WIDTH, height=HEIGHT))
    _, path = await cut(index, tmp_path, at(22), at(440))

    first = ["-read_intervals", "20%+#1", "-select_streams", "v", "-show_entries", "packet=pts_time,flags"]
    found = await asyncio.to_thread(ffprobe, path, *first)
    length = await asyncio.to_thread(ffprobe, path, "-show_format")

    # The key frame before: picture 315, a second apart from each other.
    assert float(found["packets"][0]["pts_time"]) == pytest.approx((315 - 22) / 15, abs=0.01)
    assert float(length["format"]["duration"]) == pytest.approx((440 - 22) / 15, abs=1.6)


@pytest.mark.parametrize("kind", ["h264", "h264 with AAC"])
async def test_the_segment_index_says_where_the_first_fragment_is_and_when(index: Index, kind: str) -> None:
    """The pictures before it are listed in the moov, and are no fragments any more."""
    take = replace(TAKES[kind], seconds=30, sound=aac(seconds=30) if TAKES[kind].sound else None)
    await recorded(index, take)
    start_us, end_us = at(22), at(440)
    part = (await clip(index, start_us, end_us)).parts[0]
    mp4 = await asyncio.to_thread(ProgressiveMp4.read, part, between=(start_us, end_us))
    whole = await asyncio.to_thread(mp4.block, 0, mp4.total_bytes)

    indexes = [place for place in range(len(whole)) if whole.startswith(b"sidx", place)]
    assert len(indexes) == (2 if take.sound else 1)
    for place in indexes:
        size = struct.unpack_from(">I", whole, place - 4)[0]
        track, rate, earliest, offset = struct.unpack_from(">IIQQ", whole, place + 8)
        moof = place - 4 + size + offset
        assert whole[moof + 4 : moof + 8] == b"moof"
        # The first fragment that is one: the second of the run's, and picture 30.
        time = next(
            struct.unpack_from(">Q", whole, traf + 32)[0]
            for traf in range(moof, moof + 4000)
            if whole.startswith(b"traf", traf) and struct.unpack_from(">I", whole, traf + 16)[0] == track
        )
        assert abs(time - earliest) <= rate / 10
        assert earliest == (15 * 6000 if track == 1 else 8 * rate // 15)


async def test_a_part_that_begins_after_the_start_is_shown_from_its_beginning(
    index: Index, tmp_path: Path
) -> None:
    await recorded(index, Take("h264", 4, 1, width=WIDTH, height=HEIGHT))
    later = Take("h264", 6, 2, at(150), width=WIDTH, height=HEIGHT, previous_end=GapReason.TIMEOUT)
    await recorded(index, later)
    found = await clip(index, at(22), at(200))

    second = await asyncio.to_thread(ProgressiveMp4.read, found.parts[1], between=(at(22), at(200)))
    path = tmp_path / "second.mp4"
    await asyncio.to_thread(path.write_bytes, await asyncio.to_thread(second.block, 0, second.total_bytes))

    assert await asyncio.to_thread(decoded, path) == list(range(50))


async def test_a_long_clip_is_the_same_whether_its_files_were_read_before_or_not(index: Index) -> None:
    await recorded(index, Take("h264", 30, segment_s=4, width=WIDTH, height=HEIGHT, sound=aac(seconds=30)))
    contents = []

    for detail in (True, False):
        part = (await clip(index, at(22), at(440), detail=detail)).parts[0]
        mp4 = await asyncio.to_thread(ProgressiveMp4.read, part, between=(at(22), at(440)))
        content = await asyncio.to_thread(mp4.block, 0, mp4.total_bytes)
        contents.append(content[content.index(b"mdat") :])

    assert contents[0] == contents[1]
