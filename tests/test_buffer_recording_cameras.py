"""Cameras of all kinds through real recorder processes: UDP, TLS, several processes, and refused sign-ins."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from peer_gst import gst_camera
from pool_site import eventually, key_of, pool_site
from scripted_camera import Habits, Reply, SignIn, Talk, frame, rtp, scripted_camera
from simpang_buffer.index.check import check
from simpang_buffer.index.index import open_index
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.hearing import Hearing
from simpang_buffer.recording.pool import StreamSpec
from simpang_buffer.recording.protocol import Message, ProtocolError, encode
from simpang_buffer.recording.view import StreamView
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.message import Request
from simpang_buffer.rtsp.session import Source

DIGEST = 'Digest realm="x", nonce="NONCE"'


async def test_a_camera_over_udp_is_recorded_without_a_hole(tmp_path: Path) -> None:
    async with gst_camera("h264", "aac", gop=12, fps=25, kbps=3000) as camera, pool_site(tmp_path) as here:
        source = Source(camera.url, camera.host, camera.port, transport="udp", audio=True)
        here.pool.want([StreamSpec(key_of("udp"), source)])
        await eventually(lambda: here.written("udp") > 50)
        lost = here.status("udp").repairs.get("lost_packets", 0)

    async with open_index(tmp_path / "index.db") as index:
        (row,) = await index.segments(key_of("udp"), 0, 1 << 60)
        findings = await check(tmp_path / "media", index, deep=True)
    assert findings == []
    assert lost == 0
    seconds = (row.end_us - row.start_us) / 1e6
    assert abs(row.frames - 25 * seconds) <= 2


async def test_two_processes_share_the_cameras_and_one_death_stops_its_own_only(tmp_path: Path) -> None:
    names = ("one", "two", "three")
    async with gst_camera(gop=10) as a, gst_camera(gop=10) as b, gst_camera(gop=10) as c:
        cameras = dict(zip(names, (a, b, c), strict=True))
        async with pool_site(tmp_path, processes=2) as here:
            here.pool.want(StreamSpec(key_of(n), Source(x.url, x.host, x.port)) for n, x in cameras.items())
            await eventually(lambda: all(here.written(name) > 30 for name in names))
            before = here.pids()

            os.kill(before[0], signal.SIGKILL)
            await eventually(lambda: sum(here.run(name) == 2 for name in names) == 2)
            after, runs = here.pids(), {name: here.run(name) for name in names}
    async with open_index(tmp_path / "index.db") as index:
        findings = await check(tmp_path / "media", index, deep=True)

    assert len(set(before)) == 2
    assert after[1] == before[1]
    assert after[0] != before[0]
    # The first and the third camera were the dead one's; nothing of the second's was touched.
    assert runs == {"one": 2, "two": 1, "three": 2}
    assert findings == []


async def test_a_recorder_that_hangs_is_replaced(tmp_path: Path) -> None:
    async with gst_camera(gop=10) as camera, pool_site(tmp_path, silence_s=2.5) as here:
        here.pool.want([StreamSpec(key_of("one"), Source(camera.url, camera.host, camera.port))])
        await eventually(lambda: here.written("one") > 10)
        (before,) = here.pids()

        os.kill(before, signal.SIGSTOP)
        began = time.monotonic()
        try:
            await eventually(lambda: here.run("one") == 2)
            took_s = time.monotonic() - began
        finally:
            with pytest.raises(ProcessLookupError):
                # It was killed; a stopped process is not left behind.
                os.kill(before, signal.SIGCONT)
        rows = await here.rows("one")

    # Its silence, the 3 s that it was given to close its files, a start.
    assert 2.5 <= took_s < 10
    assert [row.run for row in rows] == [1]


async def test_a_process_is_not_believed_of_anothers_stream(tmp_path: Path) -> None:
    mine, anothers = StreamKey("mine", "main"), StreamKey("anothers", "main")
    views = {key: StreamView(key, {1: tmp_path}) for key in (mine, anothers)}
    heard: list[object] = []
    async with open_index(tmp_path / "index.db", tmp_path) as index:
        hearing = Hearing(
            views,
            index,
            lambda cpu_s, rss_bytes: heard.append(cpu_s),
            lambda key, reason, broken: heard.append(key),
            lambda: None,
            heard.append,
            sign_in=lambda key, step, tries, basic: heard.append(key),
            failed=lambda folder, reason, words: heard.append(folder),
            left=lambda key, run: heard.append(key),
            holds=lambda key: key == mine,
        )
        for kind in ("state", "fragment", "closed", "idle", "condition", "sign-in", "certificate"):
            reader = asyncio.StreamReader()
            reader.feed_data(encode(Message(kind, anothers, {"state": "recording", "reason": None})))
            reader.feed_eof()
            with pytest.raises(ProtocolError, match="anothers/main, which another process records"):
                await hearing.listen(reader)

    assert heard == []
    assert views[anothers].status.state == "connecting"


async def test_a_killed_recorder_does_not_lock_a_camera_out(tmp_path: Path) -> None:
    """3.3 over deaths: the tries of the dead one count; it was killed in the middle of each sign-in."""
    tried: list[str] = []

    async def stalls(talk: Talk, request: Request) -> None:
        if request.headers.get("authorization"):
            tried.append(request.method)
            # No answer: the recorder is killed while it waits for one.
            await asyncio.Event().wait()
        await talk.reply(request, 401, ("WWW-Authenticate", DIGEST.replace("NONCE", "n")))

    async with scripted_camera(DESCRIBE=stalls) as camera, pool_site(tmp_path) as here:
        source = camera.source(credentials=Credentials("operator", "wrong"))
        here.pool.want([StreamSpec(key_of("one"), source)])
        for number in range(1, 4):
            await eventually(lambda number=number: len(tried) == number)  # type: ignore[misc]  # bound at once
            await eventually(here.pids)
            killed = here.pids()[0]
            os.kill(killed, signal.SIGKILL)
            await eventually(lambda killed=killed: here.pids() not in ([], [killed]))  # type: ignore[misc]  # as above
        await eventually(lambda: here.status("one").state == "auth")
        status = here.status("one")

    assert len(tried) == 3
    assert status.retry_at_us is not None
    assert status.retry_at_us / 1e6 - time.time() > 3000


async def test_a_refused_password_is_not_tried_by_the_next_process(tmp_path: Path) -> None:
    habits = Habits(sign_in=SignIn((DIGEST,), "nothing"))
    async with scripted_camera(habits=habits) as camera, pool_site(tmp_path) as here:
        source = camera.source(credentials=Credentials("operator", "wrong"))
        here.pool.want([StreamSpec(key_of("one"), source)])
        await eventually(lambda: here.status("one").state == "auth")
        os.kill(here.pids()[0], signal.SIGKILL)
        await eventually(lambda: here.status("one").state == "connecting")
        await eventually(lambda: here.status("one").state == "auth")
        signed = [r for r in camera.requests if r.headers.get("authorization")]
        status = here.status("one")

    assert len(signed) == 1
    assert "before the recorder was restarted" in status.detail


async def test_repairs_and_lag_reach_the_daemon_and_outlive_a_recorder(tmp_path: Path) -> None:
    junk = frame(9, rtp(8)) + frame(0, rtp(1, ssrc=5)) + b"\r\n" + frame(0, rtp(2, ssrc=5))
    habits = Habits({"SETUP": [Reply()]}, media=(junk, 60.0))
    async with scripted_camera(habits=habits) as camera, pool_site(tmp_path) as here:
        here.pool.want([StreamSpec(key_of("one"), camera.source())])
        await eventually(lambda: here.status("one").repairs)
        first = dict(here.status("one").repairs)
        os.kill(here.pids()[0], signal.SIGKILL)
        await eventually(lambda: here.status("one").repairs.get("foreign_channels") == 2)

    assert first["foreign_channels"] == 1
    assert first["stray_line_breaks"] == 1
