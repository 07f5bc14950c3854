"""A run's time from the camera to the index: reports over RTSP, the daemon's word on the clock.

Real cameras and real recorder processes; what steps of a clock do is tested with turned clocks beside this.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import media_samples
from peer_gst import gst_camera
from pool_site import eventually, key_of, pool_site
from recorded_streams import VIDEO, Taken, playing, record_at, sdp, video_section
from recorder_bench import KEY, bench
from scripted_camera import frame
from simpang_buffer.index.clock_moves import BootClock, move_due
from simpang_buffer.index.index import open_index
from simpang_buffer.model import AnchorSource, RunHeader
from simpang_buffer.recording.clock_word import ClockWord
from simpang_buffer.recording.protocol import Message, ProtocolError, timed
from simpang_buffer.recording.row_writer import RowWriter
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.rtsp.rtcp import build_sender_report
from simpang_buffer.rtsp.session import Source

SSRC = 0x5151_5151
FRAMES = 8
BOOT_ID = "3b1f8a52-0000-4000-8000-000000000001"


def boot_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def word(*, trusted: bool = True, off_us: int = 0) -> ClockWord:
    return ClockWord(trusted, time.time_ns() // 1000 - boot_us() + off_us, BOOT_ID)


def report(*, ntp_us: int | None = None, ssrc: int = SSRC, rtp_time: int = 0) -> bytes:
    """Of the camera, about the first picture: made just before it is sent."""
    return frame(VIDEO + 1, build_sender_report(ssrc, ntp_us or time.time_ns() // 1000, rtp_time, 0, 0))


UNPARSABLE = [
    frame(VIDEO + 1, data)
    for data in (
        b"",
        b"\x80",
        b"\x80\xc8\x00\x06",
        b"\x80\xc8\xff\xff" + bytes(24),
        b"\x00\xc8\x00\x06" + bytes(24),
        # A length that ends within the times (Hanwha).
        struct.pack(">BBHIII", 0x80, 200, 3, SSRC, 0xEA00_0000, 0),
        b"\xff" * 40,
    )
]


async def taken(
    folder: Path, reports: Sequence[bytes], *, clock: ClockWord | None = None
) -> tuple[Taken, RunHeader]:
    """Half a second of pictures at their own pace, and before them these reports."""
    units = media_samples.video("h264", frames=FRAMES, width=64, height=48)
    played: list[bytes | float] = [*reports]
    for packet in playing("h264", units):
        played += [packet, 1 / 15 if packet[5] & 0x80 else 0.0]
    async with bench(folder) as at:
        at.around.clock.word = word() if clock is None else clock
        found = await record_at(at, sdp(video_section("h264")), [one for one in played if one != 0.0])
    return found, found.headers[0].run


@pytest.mark.parametrize(
    ("case", "reports", "source"),
    [
        ("10.1 unparsable (Hanwha)", lambda: UNPARSABLE, AnchorSource.ARRIVAL),
        ("10.1 of another stream", lambda: [report(ssrc=0x1234)], AnchorSource.ARRIVAL),
        ("10.1 says 1970", lambda: [report(ntp_us=20_000_000)], AnchorSource.ARRIVAL),
        ("good, behind others", lambda: [*UNPARSABLE, report(ssrc=0x1234), report()], AnchorSource.RTCP),
    ],
)
async def test_reports_that_cannot_be_believed_do_not_date_a_run(
    case: str, reports: Callable[[], list[bytes]], source: AnchorSource, tmp_path: Path
) -> None:
    began_us = time.time_ns() // 1000

    found, header = await taken(tmp_path, reports())

    assert len(found.samples()) == FRAMES, case
    assert header.anchor_source is source
    assert header.boot_id == BOOT_ID
    assert header.anchor_boot_us is not None
    less_boot_us = began_us - boot_us_then(began_us)
    assert header.anchor_us - header.anchor_boot_us == pytest.approx(less_boot_us, abs=100_000)


def boot_us_then(wall_us: int) -> int:
    return boot_us() - (time.time_ns() // 1000 - wall_us)


@pytest.mark.parametrize(
    ("clock", "source"),
    [
        (word(), AnchorSource.ARRIVAL),
        (word(trusted=False), AnchorSource.BOOT),
        # It was set since the daemon said so.
        (word(off_us=3_600_000_000), AnchorSource.BOOT),
        (ClockWord(), AnchorSource.BOOT),
    ],
    ids=["trusted", "not trusted", "another clock was", "nothing was said"],
)
async def test_a_run_of_a_clock_that_nobody_vouches_for_is_anchored_to_boot(
    clock: ClockWord, source: AnchorSource, tmp_path: Path
) -> None:
    _, header = await taken(tmp_path, [], clock=clock)

    assert header.anchor_source is source
    assert (header.anchor_boot_us is None) == (clock.boot_id == "")


async def test_a_run_becomes_dated_in_its_own_session(tmp_path: Path) -> None:
    """The daemon says that the clock is right: the recorder begins a run that it dates, and what came before
    is dated anew."""
    async with gst_camera(gop=5, fps=25) as camera, pool_site(tmp_path) as site:
        site.pool.tell_clock(word(trusted=False))
        spec = StreamSpec(key_of("gate"), Source(camera.url, camera.host, camera.port))
        site.pool.want([spec])
        await eventually(lambda: site.written("gate") > 25)
        first = site.run("gate")
        site.pool.tell_clock(word())
        await eventually(lambda: site.run("gate") > first)
        await eventually(lambda: not site.pool.is_open(key_of("gate"), first))
        async with asyncio.timeout(15):
            # A row that nobody waits for comes along with others.
            while await site.index.run(key_of("gate"), first + 1) is None:
                await asyncio.sleep(0.05)
        told = word()
        now = BootClock(BOOT_ID, told.wall_less_boot_us, trusted=True)
        moves = await move_due(site.index, now, site.pool.is_open)
        tail = site.pool.tail(key_of("gate"))
        runs = [await site.index.run(key_of("gate"), run) for run in (first, first + 1)]

    assert [move.run for move in moves] == [first]
    assert tail is not None
    assert tail.header.anchor_source is not AnchorSource.BOOT
    assert tail.header.boot_id == BOOT_ID
    before, after = runs
    assert before is not None
    assert after is not None
    assert (before.anchor_source, before.recorded_anchor_us is not None) == (AnchorSource.BOOT, True)
    assert abs(before.moved_us) < 50_000
    assert after.anchor_source is not AnchorSource.BOOT


async def test_what_is_measured_of_the_cameras_clock_is_in_the_index(tmp_path: Path) -> None:
    """Its offset, by its reports, though ONVIF did not tell. Drift takes minutes and is told the same way."""
    units = media_samples.video("h264", frames=FRAMES, width=64, height=48)
    played: list[bytes | float] = [report(ntp_us=time.time_ns() // 1000 + 42_000_000)]
    for packet in playing("h264", units):
        played += [packet, 1 / 15] if packet[5] & 0x80 else [packet]
    async with bench(tmp_path) as at, open_index(tmp_path / "index.db") as index:
        at.around.clock.word = word()
        found = await record_at(at, sdp(video_section("h264")), played)
        header = found.headers[0].run
        (told,) = [message for message in at.said if message.kind == "timed"]
        await index.add_run(header, 64, 48)
        rows = RowWriter(index, nothing, lambda: None)
        writing = asyncio.create_task(rows.run())
        await rows.put(told)
        await rows.put(Message("timed", KEY, {**told.fields, "drift_ppm": 21.5, "camera_offset_us": None}))
        await rows.flushed()
        writing.cancel()
        run = await index.run(KEY, 1)

    assert header.camera_offset_us is not None
    assert 40_000_000 < header.camera_offset_us < 42_000_000
    assert header.anchor_source is AnchorSource.ARRIVAL
    assert run is not None
    assert run.drift_ppm == 21.5
    assert run.camera_offset_us == told.fields["camera_offset_us"]


async def nothing(message: Message) -> None:
    """Nobody waits for it."""


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"run": -1, "drift_ppm": None, "camera_offset_us": None},
        {"run": 1, "drift_ppm": 1e9, "camera_offset_us": None},
        {"run": 1, "drift_ppm": "x", "camera_offset_us": None},
        {"run": 1, "drift_ppm": float("nan"), "camera_offset_us": None},
        {"run": 1, "drift_ppm": None, "camera_offset_us": 1 << 63},
    ],
)
def test_what_no_recorder_says_of_time_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises((ProtocolError, KeyError, ValueError, TypeError)):
        timed(fields)
