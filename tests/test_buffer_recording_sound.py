"""What cameras do wrong with sound: in the file as sent, or dropped alone and named; never a picture lost.

A case is data, named for the line of section 9 of the list of camera faults that it is for ("9.1").
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal

import media_samples
from media_files import probe
from media_samples import Sound, SoundTrack, rtp_packet
from recorded_streams import VIDEO, Played, Taken, audio_section, record, sdp, video_section
from scripted_camera import frame
from simpang_buffer.media.fmp4 import AUDIO_TRACK, VIDEO_TRACK
from simpang_buffer.model import AccessUnit, AudioFormat
from simpang_buffer.recording.side_tracks import SideSound

UNITS = media_samples.video("h264", frames=30)
AAC = media_samples.aac(seconds=2.0)
HBR = "streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3"


def g711(encoding: Literal["PCMA", "PCMU"], rate: int = 8_000) -> SoundTrack:
    """Two seconds, each frame unlike all others."""
    made = media_samples.g711(encoding, seconds=2.0, rate=rate)
    frames = (
        replace(one, data=bytes((0x80, number)) + one.data[2:]) for number, one in enumerate(made.frames)
    )
    return replace(made, frames=tuple(frames))


def adts(data: bytes, rate_index: int = 8) -> bytes:
    """An AAC frame, mono and low complexity, with a header; 8 is 16 kHz (14496-3 table 1.18)."""
    size = len(data) + 7
    head = (
        0xFF,
        0xF1,
        0x40 | rate_index << 2,
        0x40 | size >> 11,
        size >> 3 & 0xFF,
        (size & 7) << 5 | 0x1F,
        0xFC,
    )
    return bytes(head) + data


def bare(data: bytes) -> bytes:
    """RFC 3640: one AU header of 13 bits of size and 3 of index."""
    return b"\0\x10" + (len(data) << 3).to_bytes(2, "big") + data


def sound_packets(
    track: SoundTrack,
    payload: Callable[[bytes], bytes] = bytes,
    *,
    stamp: Callable[[Sound], int] = lambda sound: sound.pts,
    payload_type: int = 97,
    channel: int = 2,
) -> list[tuple[float, bytes]]:
    """(second, frame of the connection) of each frame of sound."""
    return [
        (
            one.pts / track.rate,
            frame(
                channel,
                rtp_packet(
                    payload(one.data),
                    seq=number,
                    time=stamp(one),
                    marker=True,
                    payload_type=payload_type,
                    ssrc=5,
                ),
            ),
        )
        for number, one in enumerate(track.frames)
    ]


def played(sound: Sequence[tuple[float, bytes]]) -> list[Played]:
    """Pictures and sound as time goes by, a tenth of a second at a time."""
    together: list[tuple[float, bytes]] = []
    seq = 0
    for unit in UNITS:
        packets = media_samples.video_packets("h264", [unit], first_seq=seq, first_time=0)
        seq += len(packets)
        together += [(unit.pts / 90_000, frame(VIDEO, packet)) for packet in packets]
    together = sorted([*together, *sound], key=lambda item: item[0])
    items: list[Played] = []
    for _, burst in groupby(together, key=lambda item: int(item[0] * 10)):
        items += [*(data for _, data in burst), 0.1]
    return items


@dataclass(frozen=True)
class Case:
    """sound: what must be in the file, a stretch of it; None where there must be none. words: said of it.

    stamp: of each frame; starts_s: when the first of what is kept stands in the run, where that is sure.
    """

    id: str
    sections: tuple[str, ...]
    words: str
    sound: SoundTrack | None = None
    sent: SoundTrack = AAC
    payload: Callable[[bytes], bytes] = bytes
    stamp: Callable[[Sound], int] = lambda sound: sound.pts
    payload_type: int = 97
    rate: int | None = None


def g711_case(id_: str, rtpmap: str, words: str, **more: Any) -> Case:
    encoding, rate = rtpmap.split("/")
    sound = g711("PCMA" if encoding == "PCMA" else "PCMU", int(rate))
    fields = {"sections": (audio_section(rtpmap),), "sound": sound, "sent": sound, "rate": int(rate)} | more
    return Case(id_, words=words, **fields)


A_LAW = "G.711 A-law, 8 kHz"
AAC_SECTION = audio_section("MPEG4-GENERIC/16000/1", f"{HBR};config=1408")
NO_CONFIG = audio_section("MPEG4-GENERIC/16000/1", HBR)
HOUR = 3600 * 8000
CASES = (
    Case("plain AAC", (AAC_SECTION,), "AAC, 16 kHz", AAC, payload=bare),
    Case("9.1 no config", (NO_CONFIG,), "AAC, 16 kHz", AAC, payload=adts, rate=16_000),
    Case(
        "9.1 32 kHz stated, 16 sent", (audio_section("MPEG4-GENERIC/32000/1", f"{HBR};config=1288"),),
        "AAC, 16 kHz", AAC, payload=adts, stamp=lambda sound: 2 * sound.pts, rate=16_000,
    ),
    Case(
        "9.1 neither config nor headers", (NO_CONFIG,),
        "AAC without a configuration: not recorded", payload=bare,
    ),
    g711_case("G.711", "PCMU/8000", "G.711 mu-law, 8 kHz"),
    g711_case("9.2 G.711 at 16 kHz", "PCMA/16000", "G.711 A-law, 16 kHz"),
    Case("9.2 G.726", (audio_section("G726-32/8000"),), "G.726 is not recorded"),
    Case("9.2 G.726, other packing", (audio_section("AAL2-G726-32/8000"),), "G.726 is not recorded"),
    Case("9.2 L16", (audio_section("L16/16000/1"),), "L16 is not recorded"),
    Case("9.2 G.723.1", ("m=audio 0 RTP/AVP 4\na=control:trackID=1",), "G.723.1 is not recorded"),
    g711_case("9.3 seconds early", "PCMA/8000", A_LAW, stamp=lambda one: one.pts - 4 * 8000),
    g711_case("9.3 hours off", "PCMA/8000", A_LAW, stamp=lambda one: one.pts + 7200 * 8000),
    g711_case("9.4 leaps on", "PCMA/8000", A_LAW, stamp=lambda one: one.pts + HOUR * (one.pts > 4000)),
    g711_case("9.4 leaps back", "PCMA/8000", A_LAW, stamp=lambda one: one.pts - HOUR * (one.pts > 4000)),
    g711_case("9.4 stands still", "PCMA/8000", A_LAW, stamp=lambda one: min(one.pts, 4000)),
    g711_case(
        "9.5 the second is the first that can be recorded, all of one payload type", "PCMU/8000",
        "G.711 mu-law, 8 kHz, track 2 of 2", payload_type=96,
        sections=(
            audio_section("G726-32/8000", payload_type=96),
            audio_section("PCMU/8000", payload_type=96, control="trackID=2"),
        ),
    ),
    g711_case(
        "9.5 the first of two", "PCMA/8000", f"{A_LAW}, track 1 of 2",
        sections=(audio_section("PCMA/8000"), AAC_SECTION.replace("trackID=1", "trackID=2")),
    ),
)  # fmt: skip


async def test_sound_is_recorded_as_sent_or_dropped_alone_and_named(tmp_path: Path) -> None:
    """All at once, since each of them takes as long as its sound."""
    folders = [tmp_path / str(number) for number in range(len(CASES))]
    for folder in folders:
        folder.mkdir()

    took = await asyncio.gather(
        *(
            record(
                folder,
                sdp(video_section("h264"), *case.sections),
                played(
                    sound_packets(case.sent, case.payload, stamp=case.stamp, payload_type=case.payload_type)
                ),
                audio=True,
            )
            for folder, case in zip(folders, CASES, strict=True)
        )
    )

    for case, taken in zip(CASES, took, strict=True):
        await check(case, taken)


async def check(case: Case, taken: Taken) -> None:
    """Every picture is there; the sound is a stretch without holes of what was sent; ffmpeg decodes both."""
    assert taken.samples(VIDEO_TRACK) == [unit.data for unit in UNITS], case.id
    assert (taken.runs, taken.contents.audio) == ({1}, case.words), case.id
    for path in taken.files:
        assert (await asyncio.to_thread(probe, path)).frames, case.id
    heard, times = taken.samples(AUDIO_TRACK), taken.times(AUDIO_TRACK)
    if case.sound is None:
        assert heard == [], case.id
        return
    sent = [one.data for one in case.sound.frames]
    places = [first for first in range(len(sent)) if heard == sent[first : first + len(heard)]]
    assert places, case.id
    # What it had to wait for, half a second, is kept where there were pictures to keep it with.
    samples = case.sound.frames[0].samples
    assert len(heard) * samples >= case.sound.rate, case.id
    # Each is where it was heard, whatever its stamps say; and each behind the other, as long as it is.
    assert abs(times[0] - places[0] * samples) < 0.35 * case.sound.rate, case.id
    assert {after - before for before, after in pairwise(times)} == {samples}, case.id
    if case.rate is not None:
        assert taken.headers[-1].audio_timescale == case.rate, case.id


def test_sound_of_single_bytes_is_bounded_by_its_frames() -> None:
    sound, audio = SideSound(), AudioFormat("alaw", 8000, 1, b"")
    for n in range(100_000):
        sound.add(AccessUnit(False, n, 0, True, b"x", 0), audio, 0)

    taken = sound.take(last=True)
    assert taken is not None and 1_000 < len(taken.samples) < 10_000


async def test_sound_that_nobody_asked_for_is_not_named(tmp_path: Path) -> None:
    pictures = [item for item in played([]) if isinstance(item, bytes)]

    taken = await record(tmp_path, sdp(video_section("h264"), audio_section("G726-32/8000")), pictures)

    assert taken.contents.audio == ""
    assert taken.samples(VIDEO_TRACK) == [unit.data for unit in UNITS]
