"""The ONVIF metadata track through the whole recorder: kept beside the video in the same files, as sent."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import media_samples
from media_files import decode_errors, probe
from media_samples import rtp_packet
from recorded_streams import METADATA, VIDEO, Played, record, sdp, track_samples, video_section
from scripted_camera import frame
from simpang_buffer.media.fmp4 import AUDIO_TRACK, METADATA_TRACK, VIDEO_TRACK
from simpang_buffer.rtsp.rtcp import build_sender_report

# Metadata is the second track here, on channels 2 and 3.
CHANNEL = 2
# What the camera announces, so that its reports are believed before its first packet.
SSRC = 7
UNITS = media_samples.video("h264", frames=45)
EPOCH_US = 1_763_000_000_000_000


def metadata_section(name: str = "vnd.onvif.metadata") -> str:
    return f"m=application 0 RTP/AVP 107\na=rtpmap:107 {name}/90000\na=control:trackID=2"


def document(number: int, size: int = 0) -> bytes:
    return f'<tt:MetadataStream n="{number}">{"x" * size}</tt:MetadataStream>'.encode()


def documents(sent: Sequence[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """(second, frame of the connection): each document in packets of at most 1,000 bytes."""
    played: list[tuple[float, bytes]] = []
    for at_s, data in sent:
        pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
        for number, piece in enumerate(pieces):
            packet = rtp_packet(
                piece,
                seq=len(played),
                time=round(at_s * 90_000) + 77_000,
                marker=number == len(pieces) - 1,
                payload_type=107,
                ssrc=SSRC,
            )
            played.append((at_s, frame(CHANNEL, packet)))
    return played


def with_pictures(*others: Sequence[tuple[float, bytes]]) -> list[Played]:
    """Everything by its time, pictures first."""
    pictures: list[tuple[float, bytes]] = []
    for unit in UNITS:
        packets = media_samples.video_packets("h264", [unit], first_seq=len(pictures), first_time=0)
        pictures += [(unit.pts / 90_000, frame(VIDEO, packet)) for packet in packets]
    together = sorted((item for part in (pictures, *others) for item in part), key=lambda item: item[0])
    return [data for _, data in together]


def streams(path: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", str(path)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    found: list[dict[str, Any]] = json.loads(done.stdout)["streams"]
    return found


@pytest.mark.parametrize("name", ["vnd.onvif.metadata", "vnd.onvif.metadata.gzip"])
async def test_documents_are_kept_as_sent_at_their_own_time(tmp_path: Path, name: str) -> None:
    sent = [(0.2 * number, document(number, 1500 if number == 4 else 0)) for number in range(1, 14)]
    if name.endswith("gzip"):
        sent = [(at_s, gzip.compress(data, mtime=0)) for at_s, data in sent]
    # Both clocks' reports agree with each other, so documents stand exactly where their stamps say.
    reports = [
        (-1.0, frame(1, build_sender_report(SSRC, EPOCH_US, 0, 0, 0))),
        (-1.0, frame(CHANNEL + 1, build_sender_report(SSRC, EPOCH_US, 77_000, 0, 0))),
    ]
    # A camera takes its time to find out what it sees.
    late = [(at_s + 0.35, data) for at_s, data in documents(sent)]

    taken = await record(
        tmp_path,
        sdp(video_section("h264"), metadata_section(name)),
        with_pictures(late, reports),
        metadata=True,
    )

    (path,) = taken.files
    kept = track_samples(path, METADATA_TRACK)
    assert [data for _, data in kept] == [data for _, data in sent]
    # To the tick, but for what microseconds round away.
    due = [round(at_s * 90_000) for at_s, _ in sent]
    assert all(abs(time - wanted) <= 1 for (time, _), wanted in zip(kept, due, strict=True))
    assert taken.samples(VIDEO_TRACK) == [unit.data for unit in UNITS]
    assert taken.contents.metadata == ("compressed XML" if name.endswith("gzip") else "XML")
    found = await asyncio.to_thread(probe, path)
    assert found.frames == len(UNITS)
    assert await asyncio.to_thread(decode_errors, path) == ""
    kinds = [stream["codec_type"] for stream in await asyncio.to_thread(streams, path)]
    assert kinds == ["video", "data"]
    assert await asyncio.to_thread(copied, path) == b"".join(data for _, data in sent)


def copied(path: Path) -> bytes:
    """The metadata track as ffmpeg takes it out."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:d", "-c", "copy", "-f", "data", "-"],
        capture_output=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stderr == b""
    return done.stdout


async def test_metadata_that_nobody_asked_for_is_not_recorded(tmp_path: Path) -> None:
    taken = await record(tmp_path, sdp(video_section("h264"), metadata_section()), with_pictures())

    assert [stream["codec_type"] for stream in await asyncio.to_thread(streams, taken.files[0])] == ["video"]
    assert taken.contents.metadata == "vnd.onvif.metadata is not recorded"


async def test_a_camera_that_sees_nothing_is_recorded(tmp_path: Path) -> None:
    """7.18: silent metadata is normal, and one document in a silence is not kept waiting for the next."""
    taken = await record(
        tmp_path,
        sdp(video_section("h264"), metadata_section()),
        with_pictures(documents([(0.3, document(1))])),
        metadata=True,
    )

    assert taken.samples(METADATA_TRACK) == [document(1)]
    assert taken.samples(VIDEO_TRACK) == [unit.data for unit in UNITS]
    assert await asyncio.to_thread(decode_errors, taken.files[0]) == ""


async def test_a_flood_of_metadata_costs_no_picture(tmp_path: Path) -> None:
    small = [(1.0 + number / 10_000, document(number)) for number in range(3000)]
    large = [(2.1 + number / 1000, document(number, 200_000)) for number in range(8)]

    taken = await record(
        tmp_path,
        sdp(video_section("h264"), metadata_section()),
        with_pictures(documents([*small, *large])),
        metadata=True,
    )

    kept = taken.samples(METADATA_TRACK)
    assert taken.samples(VIDEO_TRACK) == [unit.data for unit in UNITS]
    assert 200 <= len(kept) <= 3 * 200
    assert sum(len(data) for data in kept) <= 3 * (512 << 10)
    assert await asyncio.to_thread(decode_errors, taken.files[0]) == ""


async def test_metadata_and_sound_stand_side_by_side(tmp_path: Path) -> None:
    sound = media_samples.g711("PCMA", seconds=3.0)
    audio = [
        (
            0.02 * number,
            frame(2, rtp_packet(one.data, seq=number, time=one.pts, payload_type=8, ssrc=SSRC)),
        )
        for number, one in enumerate(sound.frames)
    ]
    told = [
        (at_s, frame(4, data[4:])) for at_s, data in documents([(0.1 * n, document(n)) for n in range(1, 28)])
    ]
    reports = [
        (-1.0, frame(channel, build_sender_report(SSRC, EPOCH_US, rtp_time, 0, 0)))
        for channel, rtp_time in ((1, 0), (3, 0), (5, 77_000))
    ]

    taken = await record(
        tmp_path,
        sdp(video_section("h264"), "m=audio 0 RTP/AVP 8\na=control:trackID=1", metadata_section()),
        with_pictures(audio, told, reports),
        audio=True,
        metadata=True,
    )

    assert taken.samples(METADATA_TRACK) == [document(number) for number in range(1, 28)]
    assert taken.samples(VIDEO_TRACK) == [unit.data for unit in UNITS]
    heard = taken.samples(AUDIO_TRACK)
    assert heard and heard == [one.data for one in sound.frames][: len(heard)]
    assert await asyncio.to_thread(decode_errors, taken.files[0]) == ""
    assert METADATA == 4
