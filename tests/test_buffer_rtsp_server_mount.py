"""What a mount hands to its readers, and what it keeps from the slow ones."""

from __future__ import annotations

import asyncio

import pytest

import media_samples
from served_camera import video_track
from simpang_buffer.model import AccessUnit
from simpang_buffer.rtsp.mount import Mount, MountClosed

TRACK = video_track("h264", media_samples.video("h264"))


def picture(number: int, *, key: bool = False, size: int = 10) -> AccessUnit:
    return AccessUnit(True, number, 0, key, bytes(size), 0)


def sound(number: int) -> AccessUnit:
    return AccessUnit(False, number, 0, True, b"s", 0)


async def test_a_reader_begins_with_a_key_frame_and_has_no_sound_before_it() -> None:
    mount = Mount([TRACK])
    with mount.subscribe() as feed:
        for unit in (picture(1), sound(1), picture(2, key=True), sound(2), picture(3)):
            mount.publish(unit)

        got = [await feed.get() for _ in range(3)]

    assert [(unit.video, unit.dts) for unit in got] == [(True, 2), (False, 2), (True, 3)]
    assert feed.dropped == 2


@pytest.mark.parametrize(("size", "units"), [(10, 400), (1_000_000, 30)])
async def test_a_slow_reader_holds_little_and_goes_on_at_a_key_frame(size: int, units: int) -> None:
    mount = Mount([TRACK])
    with mount.subscribe() as feed:
        for number in range(units):
            mount.publish(picture(number, key=number % 10 == 0, size=size))
        mount.publish(picture(units, key=True, size=size))

        held: list[AccessUnit] = []
        while not held or held[-1].dts != units:
            held.append(await feed.get())

    assert len(held) <= 128
    assert sum(len(unit.data) for unit in held) <= 4 * 1024 * 1024
    assert held[0].key
    # What it has is whole from there: no picture whose reference was dropped.
    numbers = [unit.dts for unit in held]
    assert numbers == list(range(numbers[0], units + 1))
    assert feed.dropped == units + 1 - len(held)


async def test_a_slow_reader_takes_nothing_from_another() -> None:
    mount = Mount([TRACK])
    with mount.subscribe(), mount.subscribe() as quick:
        got = []
        for number in range(400):
            mount.publish(picture(number, key=number % 10 == 0))
            got.append((await quick.get()).dts)

    assert got == list(range(400))
    assert mount.readers == 0


async def test_the_encoder_is_asked_for_a_key_frame_for_each_reader() -> None:
    asked: list[int] = []
    mount = Mount([TRACK], key_wanted=lambda: asked.append(1))

    with mount.subscribe(), mount.subscribe():
        pass

    assert len(asked) == 2


async def test_readers_learn_that_the_publisher_has_ended_after_what_it_published() -> None:
    mount = Mount([TRACK])
    with mount.subscribe() as feed:
        mount.publish(picture(1, key=True))
        waiting = asyncio.ensure_future(feed.get())
        mount.close()

        assert (await waiting).dts == 1
        with pytest.raises(MountClosed):
            await feed.get()
    with mount.subscribe() as late, pytest.raises(MountClosed):
        await late.get()
