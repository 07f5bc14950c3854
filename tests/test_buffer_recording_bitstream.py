"""What cameras do wrong in their video bitstream: RTP in, files out, every NAL unit as sent.

Each test names the lines of section 8 of the list of camera faults that it is for ("8.5").
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import media_samples
from media_files import Probed, decode_errors, probe
from media_samples import Unit, VideoCodec, fragmented, nal_kind, rtp_packet
from recorded_streams import VIDEO, Taken, Turn, one_packet, playing, record, sdp, video_section
from scripted_camera import frame

CODECS: tuple[VideoCodec, ...] = ("h264", "h265")
both = pytest.mark.parametrize("codec", CODECS)


def nals(units: Sequence[Unit]) -> list[bytes]:
    return [nal for unit in units for nal in unit.nals]


def described(codec: VideoCodec, units: Sequence[Unit], begin: bytes = b"") -> str:
    """The fmtp of an SDP with the parameter sets of these pictures, each behind `begin`."""
    texts = [base64.b64encode(begin + nal).decode() for nal in media_samples.parameter_sets(codec, units)]
    if codec == "h264":
        return f"packetization-mode=1;sprop-parameter-sets={','.join(texts)}"
    return ";".join(f"sprop-{kind}={text}" for kind, text in zip(("vps", "sps", "pps"), texts, strict=True))


def packets(payloads: Sequence[tuple[bytes, int, bool]]) -> list[bytes]:
    """(payload, stamp, marker) as packets of the video's channel."""
    return [
        one_packet(payload, seq=100 + number, time=time, marker=marker)
        for number, (payload, time, marker) in enumerate(payloads)
    ]


def with_markers(
    codec: VideoCodec, units: Sequence[Unit], marked: Callable[[bytes, bool], bool]
) -> list[bytes]:
    """marked: given a NAL unit and whether it ends its picture, whether its last packet has the marker."""
    payloads = []
    for unit in units:
        for nal in unit.nals:
            pieces = fragmented(codec, nal)
            mark = marked(nal, nal is unit.nals[-1])
            payloads += [
                (piece, unit.pts, mark and number == len(pieces) - 1) for number, piece in enumerate(pieces)
            ]
    return packets(payloads)


async def check(taken: Taken, units: Sequence[Unit], *, files: int = 1) -> list[Probed]:
    """Every NAL unit is there as sent and in order, and ffmpeg decodes each picture without a word."""
    assert taken.nals() == nals(units)
    assert len(taken.files) == files
    assert taken.runs == {1}
    found = [await asyncio.to_thread(probe, path) for path in taken.files]
    assert sum(one.frames for one in found) == len(units)
    for one in found:
        assert list(one.dts) == sorted(set(one.dts))
        assert all(pts >= dts for pts, dts in zip(one.pts, one.dts, strict=True))
    return found


def signed(codec: VideoCodec, units: Sequence[Unit]) -> list[Unit]:
    """With a message before each picture's first slice, as cameras that sign their video send them."""
    made = []
    for number, unit in enumerate(units):
        content = bytes(range(1, 17)) + bytes((number + 1,)) + b"\xfe\xff\x80signed"
        head = b"\x06" if codec == "h264" else b"\x4e\x01"
        message = head + bytes((5, len(content))) + content + b"\x80"
        kinds = [nal_kind(codec, nal) for nal in unit.nals]
        at = [kind in (1, 5) if codec == "h264" else kind < 32 for kind in kinds].index(True)
        made.append(Unit((*unit.nals[:at], message, *unit.nals[at:]), unit.pts, unit.key))
    return made


def scalable(units: Sequence[Unit]) -> list[Unit]:
    """H.264 with what SVC puts beside each slice: a prefix unit before it, a layer of its own behind it."""
    made = []
    for unit in units:
        beside: list[bytes] = []
        for nal in unit.nals:
            if nal_kind("h264", nal) in (1, 5):
                beside += [b"\x6e\x40\x80\x0f", nal, b"\x74\x40\x90\x0f" + nal[1:40]]
            else:
                beside.append(nal)
        made.append(Unit(tuple(beside), unit.pts, unit.key))
    return made


def in_a_row(*stretches: Sequence[Unit]) -> list[Unit]:
    """One behind the other, at 15 pictures a second."""
    units = [unit for stretch in stretches for unit in stretch]
    return [Unit(unit.nals, number * 6000, unit.key) for number, unit in enumerate(units)]


SHAPES: dict[str, dict[str, int | str]] = {
    "plain": {},
    "b-frames": {"b_frames": 3, "more": "aud=1"},
    "slices": {"slices": 4, "noise": 3000, "more": "aud=1"},
    "both": {"b_frames": 2, "slices": 2, "key_every": 12},
}


@pytest.mark.parametrize("shape", SHAPES)
@both
async def test_every_nal_unit_is_recorded_as_sent(codec: VideoCodec, shape: str, tmp_path: Path) -> None:
    """8.11, and several slices, SEI, access unit delimiters."""
    units = signed(codec, media_samples.video(codec, **SHAPES[shape]))  # type: ignore[arg-type]  # its own arguments

    taken = await record(tmp_path, sdp(video_section(codec)), playing(codec, units))

    (found,) = await check(taken, units)
    if "b_frames" in SHAPES[shape]:
        assert list(found.pts) != sorted(found.pts)


@pytest.mark.parametrize("kind", ["absent", "wrong", "with start codes"])
@both
async def test_parameter_sets_of_the_sdp_give_way_to_the_streams(
    codec: VideoCodec, kind: str, tmp_path: Path
) -> None:
    """8.1: absent; wrong (VStarcam); Annex B inside (GW4089IP)."""
    units = media_samples.video(codec)
    other = media_samples.video(codec, frames=1, width=640, height=360)
    text = {
        "absent": "",
        "wrong": described(codec, other),
        "with start codes": described(codec, other, b"\0\0\0\1"),
    }

    taken = await record(tmp_path, sdp(video_section(codec, text[kind])), playing(codec, units))

    (found,) = await check(taken, units)
    assert (found.width, found.height) == (320, 240)


@both
async def test_parameter_sets_that_only_the_sdp_has_are_in_the_file(
    codec: VideoCodec, tmp_path: Path
) -> None:
    """8.2."""
    made = media_samples.video(codec, b_frames=2)
    units = media_samples.without_parameter_sets(codec, made)

    taken = await record(tmp_path, sdp(video_section(codec, described(codec, made))), playing(codec, units))

    await check(taken, units)


async def test_scalable_and_layered_streams_are_recorded_as_sent(tmp_path: Path) -> None:
    """8.3: SVC units, temporal sub-layers, scaling lists, bytes behind the parameter set (Reolink)."""
    lists = media_samples.video("h264", more="cqm=jvt")
    padded = [
        Unit(tuple(n + b"\x80\x80" if nal_kind("h264", n) == 7 else n for n in u.nals), u.pts, u.key)
        for u in lists
    ]
    cases: dict[str, tuple[VideoCodec, Sequence[Unit]]] = {
        "svc": ("h264", scalable(media_samples.video("h264"))),
        "layers": ("h265", media_samples.video("h265", b_frames=3, more="temporal-layers=3:b-pyramid=1")),
        "lists": ("h264", lists),
        "padded": ("h264", padded),
    }
    for name, (codec, units) in cases.items():
        (tmp_path / name).mkdir()

        taken = await record(tmp_path / name, sdp(video_section(codec)), playing(codec, units))

        (found,) = await check(taken, units)
        assert (found.width, found.height) == (320, 240), name
    assert any(nal[1] & 7 > 1 for nal in nals(cases["layers"][1]))


@both
async def test_a_stream_whose_sets_nobody_here_can_read_is_recorded(
    codec: VideoCodec, tmp_path: Path
) -> None:
    """8.3 (Tenda CP3PRO): what is lost is the size in the header."""
    kind = 7 if codec == "h264" else 33
    keep = 4 if codec == "h264" else 16
    units = [
        Unit(tuple(n[:keep] + b"\x01" if nal_kind(codec, n) == kind else n for n in u.nals), u.pts, u.key)
        for u in media_samples.video(codec)
    ]

    taken = await record(tmp_path, sdp(video_section(codec)), playing(codec, units))

    assert taken.nals() == nals(units)
    assert [(header.width, header.height) for header in taken.headers] == [(0, 0)]


@both
async def test_units_that_share_a_payload_are_taken_apart(codec: VideoCodec, tmp_path: Path) -> None:
    """8.4: start codes between them (V380)."""
    units = media_samples.video(codec, slices=2)
    joined = [(b"\0\0\0\1".join(unit.nals), unit.pts, True) for unit in units]
    payloads = [
        (piece, time, mark and number == len(pieces) - 1)
        for whole, time, mark in joined
        for pieces in [fragmented(codec, whole)]
        for number, piece in enumerate(pieces)
    ]

    taken = await record(tmp_path, sdp(video_section(codec)), packets(payloads))

    await check(taken, units)


MARKED: dict[str, Callable[[bytes, bool], bool]] = {
    "every NAL unit": lambda nal, last: True,
    "parameter sets and SEI only": lambda nal, last: len(nal) < 40,
    "never": lambda nal, last: False,
}


@pytest.mark.parametrize("marked", MARKED)
@both
async def test_markers_in_wrong_places_make_no_other_pictures(
    codec: VideoCodec, marked: str, tmp_path: Path
) -> None:
    """8.5: on SPS and SEI (LV-IP22IR40DVBL), each slice, or never (FLIR M400); 8.13: never."""
    units = signed(codec, media_samples.video(codec, slices=3, noise=3000))

    taken = await record(tmp_path, sdp(video_section(codec)), with_markers(codec, units, MARKED[marked]))

    await check(taken, units)
    assert len(taken.samples()) == len(units)


@both
async def test_parameter_sets_with_the_stamp_before_belong_to_the_next_picture(
    codec: VideoCodec, tmp_path: Path
) -> None:
    """8.6 (RLC-822A)."""
    units = media_samples.video(codec)
    sets = set(media_samples.parameter_sets(codec, units))
    payloads = []
    for before, unit in zip((units[0], *units), units, strict=False):
        for nal in unit.nals:
            time = before.pts if nal in sets else unit.pts
            payloads += [(piece, time, False) for piece in fragmented(codec, nal)]
        payloads[-1] = (*payloads[-1][:2], True)

    taken = await record(tmp_path, sdp(video_section(codec)), packets(payloads))

    await check(taken, units)
    assert taken.samples() == [unit.data for unit in units]


@both
async def test_odd_fragments_and_header_extensions_are_accepted(codec: VideoCodec, tmp_path: Path) -> None:
    """8.7: types that differ (Tiandy), start and end in one (CostarHD), empty ones, mode 0 yet fragments."""
    units = media_samples.video(codec, noise=4000)
    played: list[bytes] = []
    for unit in units:
        for nal in unit.nals:
            for piece in odd_fragments(codec, nal):
                plain = rtp_packet(
                    piece,
                    seq=100 + len(played),
                    time=unit.pts,
                    marker=nal is unit.nals[-1] and is_end(codec, piece),
                )
                # A header extension of one word, as some cameras send ONVIF's for replay in live streams.
                extended = (
                    bytes((plain[0] | 0x10,)) + plain[1:12] + struct.pack(">HHI", 0xABAC, 1, 7) + plain[12:]
                )
                played.append(frame(VIDEO, extended))

    taken = await record(tmp_path, sdp(video_section(codec, "packetization-mode=0")), played)

    await check(taken, units)


def odd_fragments(codec: VideoCodec, nal: bytes) -> list[bytes]:
    """All of it in fragmentation units: a first that is empty, and types that go astray on the way."""
    size = 2 if codec == "h265" else 1
    if codec == "h264":
        kind, head = nal[0] & 31, bytes((nal[0] & 0xE0 | 28,))
    else:
        kind, head = nal[0] >> 1 & 63, bytes((nal[0] & 0x81 | 49 << 1, nal[1]))
    body = nal[size:]
    if len(body) < 60:
        return [head + bytes((0xC0 | kind,)) + body]
    pieces = [body[at : at + 1200] for at in range(0, len(body), 1200)]
    made = [head + bytes((0x80 | kind,))]
    made += [head + bytes((1 if number else kind,)) + piece for number, piece in enumerate(pieces)]
    return [*made, head + bytes((0x40 | kind,))]


def is_end(codec: VideoCodec, piece: bytes) -> bool:
    return bool(piece[2 if codec == "h265" else 1] & 0x40)


@both
async def test_a_stream_joined_in_the_middle_begins_at_its_key_frame(
    codec: VideoCodec, tmp_path: Path
) -> None:
    """8.8."""
    units = media_samples.video(codec, frames=40)

    taken = await record(tmp_path, sdp(video_section(codec)), playing(codec, units[7:]))

    await check(taken, units[15:])


async def test_key_frames_minutes_apart_are_recorded_and_said(tmp_path: Path) -> None:
    """8.9: H.264+, Zipstream. A picture every 4 s here, so that a minute and a half is two dozen of them."""
    made = media_samples.video("h264", frames=28, key_every=24)
    units = [Unit(unit.nals, number * 4 * media_samples.CLOCK, unit.key) for number, unit in enumerate(made)]
    played: list[bytes | float | Turn] = []
    for number, packet in enumerate(media_samples.video_packets("h264", units, first_time=0)):
        played += [frame(VIDEO, packet), *([Turn(8.0)] if number % 2 else [])]

    taken = await record(tmp_path, sdp(video_section("h264")), played)

    found = await check(taken, units, files=2)
    assert [one.keys[0] for one in found] == [True] * 2
    assert taken.contents.key_frames_s == 96.0
    assert taken.reasons[-1] is None


@both
async def test_other_parameters_in_mid_stream_begin_a_file_of_the_same_run(
    codec: VideoCodec, tmp_path: Path
) -> None:
    """8.10."""
    small = media_samples.video(codec, frames=15)
    large = media_samples.video(codec, frames=15, width=640, height=360)
    units = in_a_row(small, large, small)

    taken = await record(tmp_path, sdp(video_section(codec)), playing(codec, units))

    found = await check(taken, units, files=3)
    assert [(one.width, one.height) for one in found] == [(320, 240), (640, 360), (320, 240)]


async def test_parameters_that_change_with_every_key_frame_make_no_hundred_files(tmp_path: Path) -> None:
    """8.10: rapidly."""
    small = media_samples.video("h264", frames=2, key_every=2)
    large = media_samples.video("h264", frames=2, key_every=2, width=640, height=360)
    units = in_a_row(*([small, large] * 15))

    taken = await record(tmp_path, sdp(video_section("h264")), playing("h264", units))

    assert taken.nals() == nals(units)
    assert len(taken.files) <= 11
    assert taken.runs == {1}
    for path in taken.files:
        assert await asyncio.to_thread(decode_errors, path) == ""


@both
async def test_time_is_that_of_the_stamps_whatever_rate_is_stated(codec: VideoCodec, tmp_path: Path) -> None:
    """8.12: 50 a second in the SPS, none in the SDP, and 15, then 5 in fact (Axis varies it)."""
    made = media_samples.video(codec, fps=50, frames=30, key_every=15)
    times = [6000 * number for number in range(20)] + [120_000 + 18_000 * number for number in range(10)]
    units = [Unit(unit.nals, time, unit.key) for unit, time in zip(made, times, strict=True)]

    taken = await record(tmp_path, sdp(video_section(codec) + "\na=framerate:0"), playing(codec, units))

    (found,) = await check(taken, units)
    assert list(found.pts) == times


@both
async def test_a_picture_without_end_costs_a_bounded_memory_and_no_other_picture(
    codec: VideoCodec, tmp_path: Path
) -> None:
    """8.13: in mid-stream a flood of fragments of one NAL unit, which is given up before it is 18 MB."""
    units = media_samples.video(codec)
    before, after = playing(codec, units[:15]), playing(codec, units[15:], first_seq=1000)
    head, kind = (b"\x7c", 1) if codec == "h264" else (bytes((49 << 1, 1)), 1)
    # The first bit of a slice that begins a picture is set.
    flood = [head + bytes((0x80 | kind,)) + b"\x80"]
    flood += [head + bytes((kind,)) + b"\x55" * 30_000] * 600
    flood += [head + bytes((0x40 | kind,)) + b"\x55"]
    first_seq = 1000 - len(flood)
    gap = [
        one_packet(
            payload, seq=first_seq + number, time=units[14].pts + 3000, marker=number == len(flood) - 1
        )
        for number, payload in enumerate(flood)
    ]

    taken = await record(tmp_path, sdp(video_section(codec)), [*before, *gap, *after])

    # Fragments of the flood that come after it was given up are none of a picture.
    await check(taken, units)
