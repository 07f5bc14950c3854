"""One stream's recorder in the test's own loop, where its clocks can be turned."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from peer_gst import gst_camera
from recorder_bench import KEY, bench, eventually, running
from scripted_camera import Talk, frame, rtp, scripted_camera
from simpang_buffer.media.boxes import scan
from simpang_buffer.model import GapReason
from simpang_buffer.recording.process import RecorderProcess
from simpang_buffer.recording.recorder import STALL_S, Recorder
from simpang_buffer.recording.segment_file import DiskFailed
from simpang_buffer.recording.segment_writer import AppendFragment, Step
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.recording.sync import Disk
from simpang_buffer.rtsp.errors import Timeout
from simpang_buffer.rtsp.message import Request
from simpang_buffer.rtsp.session import Session


async def test_sound_without_pictures_is_a_video_fault(tmp_path: Path) -> None:
    async with gst_camera("h264", "aac", frames=60) as camera, bench(tmp_path) as at:
        async with running(at.recorder(camera, audio=True)) as task:
            await eventually(lambda: at.count("fragment") >= 2)
            # All pictures have come now, and sound goes on.
            await asyncio.sleep(0.5)
            assert not task.done()
            at.monotonic_skew_s = STALL_S + 0.5
            with pytest.raises(Timeout, match="no picture"):
                await task

        await eventually(lambda: at.count("closed"))


async def test_a_step_of_the_gateways_clock_begins_a_run_in_the_same_session(tmp_path: Path) -> None:
    async with gst_camera(gop=10, fps=25) as camera, bench(tmp_path) as at:
        async with running(at.recorder(camera)):
            await eventually(lambda: at.count("fragment") >= 2)
            at.wall_skew_us = 3_600_000_000
            await eventually(lambda: at.count("opened") == 2)
            now_us = at.around.now_us()
        await eventually(lambda: at.count("closed") == 2)
        first, second = at.runs()
        frames = []
        for path in sorted(tmp_path.rglob("*.mp4")):
            with path.open("rb") as file:
                frames.append(scan(file))

    assert (first.run, first.previous_end) == (5, GapReason.POWER)
    assert (second.run, second.previous_end) == (6, GapReason.CLOCK_STEP)
    assert second.anchor_us - first.anchor_us > 3_600_000_000
    assert abs(second.anchor_us - now_us) < 5_000_000
    # Nothing is lost but what came between the step and the next key frame, 0.4 s at most.
    ended = first.anchor_us + 3_600_000_000 + frames[0].fragments[-1].end_us - frames[0].fragments[0].start_us
    assert second.anchor_us - ended < 1_000_000


async def test_a_session_without_a_picture_is_no_run(tmp_path: Path) -> None:
    async with gst_camera("h264", frames=0) as camera, bench(tmp_path) as at:
        recorder = at.recorder(camera)
        async with running(recorder):
            await asyncio.sleep(0.3)

    assert recorder.last_end is GapReason.POWER
    assert list(tmp_path.rglob("*.mp4")) == []


async def test_what_is_told_of_files_names_what_is_on_disk(tmp_path: Path) -> None:
    async with gst_camera(gop=10) as camera, bench(tmp_path) as at:
        async with running(at.recorder(camera)):
            await eventually(lambda: at.count("fragment") >= 1)
        await eventually(lambda: at.count("closed") == 1)
        kinds = [message.kind for message in at.said]
        (path,) = tmp_path.rglob("*.mp4")
        with path.open("rb") as file:
            on_disk = scan(file)

    assert kinds[:3] == ["state", "opened", "state"]
    told = [tuple(m.fields["fragment"]) for m in at.said if m.kind == "fragment"]
    assert [offset for offset, *_ in told] == [fragment.offset for fragment in on_disk.fragments]
    assert on_disk.closed


async def test_a_run_that_the_disk_refused_is_not_written_on_with_a_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fragment that found no room in the queue is lost; what follows it would be sealed upon it."""
    submit = Disk.submit
    refused: list[Sequence[Step]] = []

    def refuses_once(disk: Disk, steps: Sequence[Step]) -> None:
        appends = [step for step in steps if isinstance(step, AppendFragment)]
        if appends and appends[0].fragment.decode_time > 0 and not refused:
            refused.append(steps)
            raise DiskFailed(GapReason.DISK_ERROR, "the disk is too slow")
        submit(disk, steps)

    monkeypatch.setattr(Disk, "submit", refuses_once)
    async with gst_camera("h264") as camera, bench(tmp_path) as at:
        with pytest.raises(DiskFailed, match="too slow"):
            await at.recorder(camera).run_once()
        await eventually(lambda: at.count("closed"))

    (path,) = tmp_path.rglob("*.mp4")
    with path.open("rb") as file:
        found = scan(file)
    assert len(found.fragments) == 1
    assert found.closed


async def test_a_session_that_ends_while_sending_names_its_own_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(session: Session) -> None:
        await eventually(lambda: at.count("fragment"))
        raise Timeout("the camera reads nothing any more")

    monkeypatch.setattr(Session, "maintain", breaks)
    async with gst_camera("h264") as camera, bench(tmp_path) as at:
        recorder = at.recorder(camera)
        async with running(recorder) as task:
            with pytest.raises(Timeout, match="reads nothing"):
                await task

        assert recorder.last_end is GapReason.TIMEOUT


async def test_a_process_whose_disk_thread_died_ends(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await asyncio.to_thread(at.around.disk.__exit__)

        with pytest.raises(ExceptionGroup, match="unhandled") as caught:
            await RecorderProcess(at.around, at.around.outbox, lambda: 0).serve(asyncio.StreamReader())

    assert [str(error) for error in caught.value.exceptions] == ["the disk thread has died"]


async def test_pictures_without_a_key_frame_are_not_waited_for_in_silence(tmp_path: Path) -> None:
    async def no_key_frames(talk: Talk, request: Request) -> None:
        for number in itertools.count():
            await talk.send(frame(0, rtp(number, b"\x41\x9a picture")))
            await asyncio.sleep(0.02)

    async with scripted_camera(playing=no_key_frames) as camera, bench(tmp_path) as at:
        camera.watched.set()
        recorder = Recorder(StreamSpec(KEY, camera.source()), at.around, first_run=1, previous_end=None)
        async with running(recorder) as task:
            await eventually(lambda: "PLAY" in camera.methods())
            await asyncio.sleep(0.3)
            before = at.reasons()
            at.monotonic_skew_s = 8.5
            await eventually(lambda: at.reasons()[-1] == "unsupported")
            await asyncio.sleep(0.3)
            # Said once, and the session goes on: a key frame may come yet.
            assert not task.done()
            assert (before, at.reasons()) == ([None], [None, "unsupported"])
