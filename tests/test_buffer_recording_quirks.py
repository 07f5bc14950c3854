"""What cameras do wrong, as far as a recorder judges it: silence, reboots, privacy, hanging connections."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hostile_cameras import real
from pool_site import eventually, key_of, pool_site
from scripted_camera import SDP, Habits, Reply, scripted_camera
from served_camera import served_camera
from simpang_buffer.index.check import check
from simpang_buffer.index.index import open_index
from simpang_buffer.model import GapReason
from simpang_buffer.recording.pool import StreamSpec
from simpang_buffer.recording.recorder import STALL_S, Recorder
from simpang_buffer.recording.retry import delay_s
from simpang_buffer.rtsp.errors import Limit, NothingPlayed, Timeout, Unreachable
from simpang_buffer.rtsp.session import Source
from tcp_gate import tcp_gate
from test_buffer_recording_recorder import KEY, bench, running
from test_buffer_recording_recorder import eventually as soon

VIDEO_ONLY = SDP.partition(b"m=audio")[0]


async def test_a_camera_that_agrees_to_play_and_sends_nothing_may_be_in_privacy_mode(tmp_path: Path) -> None:
    """7.18, 7.22 (Tapo C225): PLAY is 200, and no picture comes."""
    async with scripted_camera(habits=Habits(sdp=VIDEO_ONLY)) as camera, bench(tmp_path) as at:
        recorder = Recorder(StreamSpec(KEY, camera.source()), at.around, first_run=1, previous_end=None)
        async with running(recorder) as task:
            await soon(lambda: "PLAY" in camera.methods())
            await asyncio.sleep(0.3)
            at.monotonic_skew_s = STALL_S + 0.5

            with pytest.raises(NothingPlayed, match="privacy mode"):
                await task

    assert camera.methods()[-1] == "TEARDOWN"


async def test_a_freeze_is_judged_by_pictures_though_the_camera_answers(tmp_path: Path) -> None:
    """7.18: it goes on answering keepalives and sends sound; only pictures count."""
    packets = [item for item, _ in zip(real(), range(40), strict=False)]
    habits = Habits(sdp=VIDEO_ONLY, media=packets, session="1;timeout=1")
    async with scripted_camera(habits=habits) as camera, bench(tmp_path) as at:
        recorder = Recorder(StreamSpec(KEY, camera.source()), at.around, first_run=1, previous_end=None)
        async with running(recorder) as task:
            await soon(lambda: camera.methods().count("GET_PARAMETER") >= 2)
            at.monotonic_skew_s = STALL_S + 0.5

            with pytest.raises(Timeout, match="no picture for") as raised:
                await task

    assert type(raised.value) is Timeout


async def test_a_camera_that_restarts_is_back_in_seconds_and_the_gap_says_so(tmp_path: Path) -> None:
    """7.19: it hangs up, refuses for some seconds, and plays again."""
    packets = [item for item, _ in zip(real(), range(60), strict=False)]
    habits = Habits(
        {"DESCRIBE": [Reply(), Reply(silent=True, close=True), Reply()]},
        sdp=VIDEO_ONLY,
        media=packets,
        hangs_up=True,
    )
    async with scripted_camera(habits=habits) as camera, bench(tmp_path) as at:
        recorder = Recorder(StreamSpec(KEY, camera.source()), at.around, first_run=1, previous_end=None)
        task = asyncio.create_task(recorder.keep_running())
        try:
            await soon(lambda: at.count("closed") >= 1)
            at.monotonic_skew_s = 6.0
            await soon(lambda: at.count("closed") >= 2)
        finally:
            task.cancel()
            await asyncio.wait([task])
        headers = at.runs()

    assert [header.previous_end for header in headers[:2]] == [None, GapReason.CAMERA_REBOOT]


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (NothingPlayed("7.22: privacy stays for hours"), [2, 5, 15, 60, 60]),
        (Limit("14.1: sessions of ours may count until the camera forgets them"), [10, 20, 40, 60, 60]),
        (Unreachable("14.2: a camera that leaks sessions is asked less and less"), [1, 2, 4, 8, 15, 30, 30]),
    ],
    ids=["7.22", "14.1", "14.2"],
)
def test_retries_slow_down(error: Exception, waits: list[float]) -> None:
    assert [delay_s(error, number) for number in range(1, len(waits) + 1)] == waits


async def test_a_connection_that_hangs_lags_in_sight_and_costs_nothing(tmp_path: Path) -> None:
    """14.3: over Wi-Fi TCP stands still and then bursts."""
    async with (
        served_camera(fps=25, noise=2000, width=320, height=240) as camera,
        tcp_gate("127.0.0.1", camera.port) as gate,
        pool_site(tmp_path) as here,
    ):
        source = Source(camera.url(), gate.host, gate.port)
        here.pool.want([StreamSpec(key_of("one"), source)])
        await eventually(lambda: here.written("one") > 25)
        before_s = here.status("one").lag_s
        gate.hold()
        await asyncio.sleep(3.0)
        gate.flow()
        await eventually(lambda: here.status("one").lag_s > 1.5)
        await eventually(lambda: here.status("one").lag_s < 0.5)
        status = here.status("one")
    async with open_index(tmp_path / "index.db") as index:
        rows = await index.segments(key_of("one"), 0, 1 << 60)
        findings = await check(tmp_path / "media", index, deep=True)

    assert before_s < 0.5
    assert status.state == "recording"
    assert [row.run for row in rows] == [1]
    seconds = (rows[0].end_us - rows[0].start_us) / 1e6
    assert abs(rows[0].frames - 25 * seconds) <= 2
    assert findings == []
