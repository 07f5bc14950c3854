"""G.711 for browsers: AAC of a constant rate, the same bytes however they are asked for, in time."""

from __future__ import annotations

import array
import asyncio
import itertools
import random
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import av
import pytest
import pytest_asyncio
from av.audio.codeccontext import AudioCodecContext

from media_files import decode_errors, probe
from media_samples import g711
from recordings import KEY, SECOND_US, START_US, Take, recorded, written
from simpang.picture import aac
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.reading.browser_sound import SoundFailed
from simpang_buffer.reading.clips import Part, clips
from simpang_buffer.reading.filled_frame import SILENCE, filled
from simpang_buffer.reading.progressive import ProgressiveMp4
from simpang_buffer.reading.sound_share import FRAME_BYTES
from simpang_buffer.reading.tail import no_tail

RATE = 8_000


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with open_index(tmp_path / "index.db") as opened:
        opened.media.mkdir()
        yield opened


def encode(law: str, rate: int, samples: bytes) -> Sequence[bytes]:
    return aac.encode({"alaw": "pcm_alaw", "ulaw": "pcm_mulaw"}[law], rate, samples)


def refuse(law: str, rate: int, samples: bytes) -> Sequence[bytes]:
    raise SoundFailed("no encoder today")


async def part_of(index: Index, start_s: float, end_s: float, *, detail: bool | None = None) -> Part:
    start_us, end_us = START_US + int(start_s * SECOND_US), START_US + int(end_s * SECOND_US)
    return (await clips(index, no_tail, KEY, start_us, end_us, detail=detail)).parts[0]


async def laid_out(part: Part, **how: object) -> ProgressiveMp4:
    return await asyncio.to_thread(ProgressiveMp4.read, part, encode=encode, **how)  # type: ignore[arg-type]  # a bag of its options


async def content(mp4: ProgressiveMp4, start: int = 0, end: int | None = None) -> bytes:
    return await asyncio.to_thread(mp4.block, start, mp4.total_bytes if end is None else end)


def heard(path: Path) -> array.array[int]:
    """What ffmpeg plays: 16-bit samples from time 0 on."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vn", "-af", "aresample=async=1:first_pts=0"]
    command += ["-ar", str(RATE), "-ac", "1", "-f", "s16le", "-"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    return array.array("h", done.stdout)


@pytest.mark.parametrize("law", ["PCMA", "PCMU"])
async def test_sound_is_aac_and_in_time_with_what_was_recorded(
    index: Index, tmp_path: Path, law: str
) -> None:
    await recorded(index, Take(seconds=9, segment_s=4, sound=g711(law, seconds=9)))  # type: ignore[arg-type]  # one of the two
    part = await part_of(index, 2.5, 8.5)
    mp4 = await laid_out(part)
    paths = [tmp_path / name for name in ("original.mp4", "browser.mp4")]
    plain = await asyncio.to_thread(ProgressiveMp4.read, part)

    for path, one in zip(paths, (plain, mp4), strict=True):
        await asyncio.to_thread(path.write_bytes, await content(one))

    assert await asyncio.to_thread(decode_errors, paths[1]) == ""
    found = await asyncio.to_thread(probe, paths[1])
    assert (found.audio_codec, found.frames) == ("aac", 7 * 15)
    assert found.audio_packets == 7 * RATE // 1024
    assert "mp4a.40.2" in mp4.mime
    original, made = await asyncio.gather(*(asyncio.to_thread(heard, path) for path in paths))
    # The same sound at the same time: shifted by even half a millisecond it fits worse.
    fits = {shift: likeness(original, made, shift) for shift in range(-12, 13, 4)}
    assert max(fits, key=fits.__getitem__) == 0
    # A tenth of a second of silence, or a border that does not fit, costs more than this.
    assert fits[0] > 0.995


def likeness(one: Sequence[int], other: Sequence[int], shift: int) -> float:
    """Correlation of the middle of two sounds, 1 where they are the same."""
    begin, end = 2 * RATE, 5 * RATE
    a, b = one[begin:end], other[begin + shift : end + shift]
    products = sum(x * y for x, y in zip(a, b, strict=True))
    return float(products / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5)


async def test_bytes_in_any_slices_are_those_of_the_whole(index: Index) -> None:
    await recorded(index, Take(seconds=9, segment_s=4, sound=g711("PCMA", seconds=9)))
    part = await part_of(index, 0, 9)
    whole = await content(await laid_out(part))
    chosen = random.Random(2)

    for _ in range(12):
        start = chosen.randrange(len(whole))
        end = min(chosen.randrange(start, start + 60_000), len(whole))
        # Another reader each time: nothing may depend on what was read before.
        assert await content(await laid_out(part), start, end) == whole[start:end]


async def test_it_is_the_same_whether_its_files_were_read_before_or_not(index: Index) -> None:
    await recorded(index, Take(seconds=14, segment_s=4, sound=g711("PCMA", seconds=14)))
    contents = [
        await content(await laid_out(await part_of(index, 0, 14, detail=detail), indexed=False))
        for detail in (True, False)
    ]

    assert contents[0] == contents[1]


async def test_what_is_there_stays_as_it_is_while_the_part_grows(index: Index) -> None:
    run = await written(index.media, Take(seconds=9, sound=g711("PCMA", seconds=9)), close=False)
    assert run.tail
    known: bytes = b""

    for fragments in (3, 4, 6, 9):
        tail = type(run.tail)(
            run.tail.header, run.tail.path, run.tail.init, run.tail.codec, 160, 120,
            run.tail.fragments[:fragments],
        )  # fmt: skip
        found = await clips(index, lambda key, tail=tail: tail, KEY, START_US, START_US + 60 * SECOND_US)  # type: ignore[misc]  # bound now
        grown = await content(await laid_out(found.parts[0], indexed=False, whole=False))
        assert grown.startswith(known)
        assert len(grown) > len(known)
        # What stands behind the last fragment ends where the next one begins, which it does not know yet.
        known = grown[: grown.rindex(b"moof", 0, grown.rindex(b"mdat")) - 4]


async def test_without_an_encoder_there_is_silence_and_the_picture_goes_on(
    index: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await recorded(index, Take(seconds=5, sound=g711("PCMA", seconds=5)))
    part = await part_of(index, 0, 5)
    mp4 = await asyncio.to_thread(ProgressiveMp4.read, part, encode=refuse)

    path = tmp_path / "clip.mp4"
    await asyncio.to_thread(path.write_bytes, await content(mp4))

    assert await asyncio.to_thread(decode_errors, path) == ""
    assert (await asyncio.to_thread(probe, path)).frames == 75
    assert max(map(abs, await asyncio.to_thread(heard, path))) == 0
    assert [one.message for one in caplog.records if "without sound" in one.message] == [
        f"{KEY}: a clip goes on without sound: no encoder today"
    ]


def test_filled_frames_sound_as_they_did_and_have_one_size() -> None:
    noise = random.Random(3)
    samples = bytes(noise.randrange(256) for _ in range(1024 * 8))
    frames = [*aac.encode("pcm_mulaw", RATE, samples), SILENCE]
    config = (2 << 11 | 11 << 7 | 1 << 3).to_bytes(2, "big")
    heard_of = []

    for made in (frames, [filled(frame) for frame in frames]):
        decoder = av.CodecContext.create("aac", "r")
        assert isinstance(decoder, AudioCodecContext)
        decoder.extradata = config
        sounds = itertools.chain.from_iterable(decoder.decode(av.Packet(frame)) for frame in made)
        heard_of.append([bytes(sound.planes[0]) for sound in sounds])

    assert {len(filled(frame)) for frame in frames} == {FRAME_BYTES}
    assert heard_of[0] == heard_of[1]


@pytest.mark.parametrize("frame", [b"", bytes(40), b"\x01" * (FRAME_BYTES + 1), b"\x08"])
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match="an AAC frame"):
        filled(frame)
