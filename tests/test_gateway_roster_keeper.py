from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from kept_camera import MAIN, SOURCES, SUB, UTARA, KeptCamera
from simpang.config.secrets import SecretFault
from simpang.roster.keeper import Keeper
from simpang.roster.known import KnownCameras
from simpang.roster.view import Camera, CameraState, DeviceFacts, stream_view
from simpang.state.database import open_state
from simpang_buffer.index.rows import StreamTotals
from simpang_buffer.model import AnchorSource, Fragment, FragmentFlags, RunHeader
from simpang_buffer.reading.tail import Tail
from simpang_buffer.recording.view import StreamStatus
from simpang_onvif.errors import OnvifError, Reason

REFUSED = OnvifError(Reason.AUTH, "password refused")
AWAY = OnvifError(Reason.UNREACHABLE, "no route to 10.0.4.21")


@pytest_asyncio.fixture
async def kept(tmp_path: Path) -> AsyncIterator[KeptCamera]:
    async with open_state(tmp_path / "state.db") as state:
        yield KeptCamera(KnownCameras(state))


def shown(keeper: Keeper) -> Camera:
    return keeper.camera({})


async def test_camera_is_recorded_and_remembered(kept: KeptCamera) -> None:
    totals = {MAIN: StreamTotals(bytes=7, segments=1, oldest_us=5, newest_us=9)}

    with kept.kept() as keeper:
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)

        camera = keeper.camera(totals)
        assert (camera.reason, camera.device.make, camera.clock_offset_s) == (None, "Acme", 0.5)
        assert [(s.name, s.bytes, s.oldest_us) for s in camera.streams] == [("main", 7, 5), ("sub", 0, None)]
    (row,) = await kept.known.all()
    assert (row.id, row.make, row.origin) == ("utara", "Acme", "config")
    assert await kept.known.sources("utara") == list(SOURCES)


async def test_second_stream_waits_until_the_first_has_signed_in(kept: KeptCamera) -> None:
    connecting = True
    kept.state = lambda spec: StreamStatus("connecting" if connecting else "recording")

    with kept.kept() as keeper:
        await kept.until(lambda: bool(kept.wished))
        await kept.until(lambda: kept.time.minutes > 0.1)
        assert kept.wished == [("main",)]
        connecting = False
        await kept.until(lambda: len(keeper.streams) == 2)

    assert kept.wished[:2] == [("main",), ("main", "sub")]


@pytest.mark.parametrize("by", ["onvif", "rtsp"])
async def test_password_refused_is_tried_at_most_three_times_in_any_hour(kept: KeptCamera, by: str) -> None:
    if by == "onvif":
        kept.onboard_error = REFUSED
    else:
        kept.state = lambda spec: StreamStatus("auth", "auth", "password refused")

    with kept.kept() as keeper:
        tries = kept.asked if by == "onvif" else kept.signed_in
        await kept.until(lambda: len(tries) >= 5)
        await kept.passes(minutes=1)
        minutes = [entry if isinstance(entry, float) else entry[0] for entry in tries]

        assert [round(minute) for minute in minutes[:5]] == [0, 10, 30, 90, 150]
        assert all(entry[1] == "main" for entry in kept.signed_in)
        camera = shown(keeper)
        assert (camera.state, camera.reason) == (CameraState.AUTH, "auth")
        assert camera.retry_us is not None
        assert camera.remedy
        assert keeper.streams == ()


async def test_restart_does_not_spend_the_tries_anew(kept: KeptCamera) -> None:
    kept.onboard_error = REFUSED
    for _ in range(3):
        with kept.kept() as keeper:
            await kept.until(lambda: shown(keeper).state is CameraState.AUTH)
            await kept.passes(minutes=3)

    assert len(kept.asked) == 1


async def test_right_password_ends_the_refusals(kept: KeptCamera) -> None:
    kept.onboard_error = REFUSED

    with kept.kept() as keeper:
        await kept.until(lambda: len(kept.asked) == 2)
        kept.onboard_error = None
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)
        await kept.passes(minutes=1)

    assert await kept.known.refused("utara", kept.time.now_us) == []


async def test_refusal_of_onvif_alone_does_not_stop_what_is_recorded(kept: KeptCamera) -> None:
    with kept.kept() as keeper:
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)
    kept.onboard_error = REFUSED
    (row,) = await kept.known.all()
    asked = len(kept.asked)

    with kept.kept(row=row) as keeper:
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)
        await kept.passes(minutes=130)
        assert shown(keeper).state is CameraState.RECORDING

    assert 2 <= len(kept.asked) - asked <= 3


async def test_stream_refused_while_waiting_is_taken_from_the_recorder(kept: KeptCamera) -> None:
    state = StreamStatus("recording")
    kept.state = lambda spec: state

    with kept.kept() as keeper:
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)
        kept.onboard_error = AWAY
        state = StreamStatus("unreachable", "unreachable", "no answer")
        await kept.until(lambda: shown(keeper).reason == "unreachable" and len(kept.asked) > 2)
        state = StreamStatus("auth", "auth", "password refused")
        await kept.until(lambda: shown(keeper).state is CameraState.AUTH)

        assert keeper.streams == ()
    assert len(await kept.known.refused("utara", kept.time.now_us)) == 1


async def test_camera_that_is_known_records_before_it_is_asked(kept: KeptCamera) -> None:
    with kept.kept() as keeper:
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)
    (row,) = await kept.known.all()
    kept.onboard_error = AWAY
    kept.wished.clear()

    with kept.kept(row=row) as keeper:
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)

        assert kept.wished[-1] == ("main", "sub")
        assert shown(keeper).device.make == "Acme"


async def test_camera_that_is_gone_is_asked_again_soon_and_comes_back_by_itself(kept: KeptCamera) -> None:
    state = StreamStatus("recording")
    kept.state = lambda spec: state

    with kept.kept() as keeper:
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)
        asked = len(kept.asked)
        kept.onboard_error = AWAY
        state = StreamStatus("unreachable", "unreachable", "no answer")
        await kept.until(lambda: shown(keeper).state is CameraState.UNREACHABLE)
        await kept.passes(minutes=10)

        assert 15 < len(kept.asked) - asked < 40
        assert len(keeper.streams) == 2
        assert shown(keeper).reason == "unreachable"
        state = StreamStatus("recording")
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)
        assert shown(keeper).reason is None


async def test_stream_at_a_new_address_is_recorded_there(kept: KeptCamera) -> None:
    moved = replace(SOURCES[0], url="rtsp://10.0.4.21:554/other")
    kept.state = lambda spec: StreamStatus(
        "recording" if spec.source.url == moved.url or kept.sources != (moved,) else "unreachable",
        "unreachable",
    )

    with kept.kept(replace(UTARA, record=("main",))) as keeper:
        kept.sources = SOURCES[:1]
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)
        kept.sources = (moved,)
        await kept.until(lambda: shown(keeper).state is CameraState.UNREACHABLE)
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)

        assert keeper.streams[0].source.url == moved.url


@pytest.mark.parametrize("reason", [Reason.UNSUPPORTED, Reason.REFUSED_BY_POLICY, Reason.NOT_ONVIF])
async def test_fault_that_a_person_must_mend_is_tried_slowly(kept: KeptCamera, reason: Reason) -> None:
    kept.onboard_error = OnvifError(reason, "no")

    with kept.kept() as keeper:
        await kept.until(lambda: kept.time.minutes > 60)

        assert shown(keeper).reason == str(reason)
        assert 5 < len(kept.asked) < 13


async def test_news_of_a_camera_ends_the_wait_for_it_but_not_for_its_password(kept: KeptCamera) -> None:
    kept.onboard_error = OnvifError(Reason.UNSUPPORTED, "no")
    with kept.kept() as keeper:
        await kept.until(lambda: len(kept.asked) == 1 and shown(keeper).reason == "unsupported")
        keeper.poke()
        await kept.until(lambda: len(kept.asked) == 2, minutes=0.5)

    kept.onboard_error = REFUSED
    with kept.kept() as keeper:
        await kept.until(lambda: shown(keeper).state is CameraState.AUTH)
        asked, begun = len(kept.asked), kept.time.minutes
        while kept.time.minutes < begun + 8:
            keeper.poke()
            await kept.time.pause(1)
        assert len(kept.asked) == asked


async def test_secret_that_cannot_be_read_costs_no_try(kept: KeptCamera) -> None:
    kept.secret_fault = SecretFault("secrets/p has mode 0644", "chmod 600 secrets/p")

    with kept.kept() as keeper:
        await kept.until(lambda: kept.time.minutes > 5)
        camera = shown(keeper)
        assert (camera.state, camera.remedy) == (CameraState.AUTH, "chmod 600 secrets/p")
        assert (kept.asked, await kept.known.refused("utara", kept.time.now_us)) == ([], [])
        kept.secret_fault = None
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING, minutes=11)


async def test_another_camera_at_the_address_is_not_recorded_under_this_name(kept: KeptCamera) -> None:
    adopted = replace(UTARA, origin="adopted", epr="urn:b")
    with kept.kept(replace(adopted, epr="urn:a")) as keeper:
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)
    (row,) = await kept.known.all()
    kept.facts = DeviceFacts(make="Acme", serial="S2")
    kept.state = lambda spec: StreamStatus("unreachable", "unreachable", "refused")

    with kept.kept(adopted, row) as keeper:
        await kept.until(lambda: bool(kept.not_these))

        assert shown(keeper).reason == "moved"
    assert [known.serial for known in await kept.known.all()] == ["S1"]


async def test_disabled_camera_is_left_alone(kept: KeptCamera) -> None:
    with kept.kept(replace(UTARA, enabled=False)) as keeper:
        await kept.time.pause(60)

        assert shown(keeper).state is CameraState.DISABLED
    assert kept.asked == []


async def test_one_stream_that_fails_shows_and_is_asked_about_in_peace(kept: KeptCamera) -> None:
    kept.state = lambda spec: (
        StreamStatus("recording") if spec.key == MAIN else StreamStatus("unreachable", "limit", "453")
    )

    with kept.kept() as keeper:
        await kept.until(lambda: kept.time.minutes > 60)

        assert 8 < len(kept.asked) < 14
        assert (shown(keeper).state, shown(keeper).reason) == (CameraState.UNREACHABLE, "limit")
        assert {spec.key for spec in keeper.streams} == {MAIN, SUB}


async def test_flapping_camera_warns_once_and_says_when_it_is_back(
    kept: KeptCamera, caplog: pytest.LogCaptureFixture
) -> None:
    state = StreamStatus("recording")
    kept.state = lambda spec: state
    caplog.set_level(logging.DEBUG, "simpang.roster.keeper")

    with kept.kept() as keeper:
        await kept.until(lambda: shown(keeper).state is CameraState.RECORDING)
        for _ in range(5):
            state = StreamStatus("unreachable", "unreachable", "no answer")
            await kept.passes(minutes=0.1)
            state = StreamStatus("connecting")
            await kept.passes(minutes=0.1)

    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "utara (10.0.4.21): unreachable: no answer" in warnings[0].getMessage()


async def test_full_disk_is_not_blamed_on_the_camera(kept: KeptCamera) -> None:
    """Not even by the question that is asked of a camera that has not been recorded for long."""
    kept.state = lambda spec: StreamStatus("connecting", "disk-full", "no space left")

    with kept.kept() as keeper:
        await kept.until(lambda: shown(keeper).reason == "disk-full")
        await kept.passes(minutes=3)
        assert (shown(keeper).state, shown(keeper).reason) == (CameraState.CONNECTING, "disk-full")

        assert "disk" in shown(keeper).remedy


def test_footage_of_a_stream_includes_the_file_that_is_being_written() -> None:
    def file(*starts: int, before: tuple[Tail, ...] = ()) -> Tail:
        header = RunHeader("digulis", "utara", "main", 1, 0, "avc1", 0, AnchorSource.ARRIVAL, None, None, 0)
        fragments = [Fragment(0, 100, 0, 90_000, start, FragmentFlags.KEY, 15) for start in starts]
        return Tail(header, Path("x"), b"", "avc1", 1280, 720, fragments, before)

    status = StreamStatus("recording")
    kept = StreamTotals(bytes=1000, segments=1, oldest_us=5, newest_us=9)

    assert (stream_view("main", status, None, None).bytes, stream_view("main", status, kept, None).bytes) == (
        0,
        1000,
    )
    young = stream_view("main", status, None, file(30, 40, before=(file(10, 20),)))
    assert (young.bytes, young.oldest_us) == (400, 10)
    old = stream_view("main", status, kept, file(30))
    assert (old.bytes, old.oldest_us) == (1100, 5)
