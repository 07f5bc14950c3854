"""Parameter sets as cameras send them: read where they can be, kept in any case."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import media_samples
from media_samples import VideoCodec
from simpang_buffer.media.bits import BitReader, Unreadable
from simpang_buffer.media.h26x import described_sets
from simpang_buffer.media.parameter_sets import ParameterSets, split_annex_b, video_format
from simpang_buffer.media.parameter_store import ParameterSetStore
from simpang_buffer.media.sps import Sps, h265_codec, parse_h264_sps, parse_h265_sps

# SPS as cameras name them in their SDP (transcripts: scottlamb/retina), with the size that they stream.
CAMERAS = {
    "hikvision": ("Z00AKZpkA8ARPyzUBAQFAAADA+gAAOpgBA==", "avc1.4d0029", 1920, 1080),
    "dahua": ("Z2QAHqwsaoLA9puCgIKgAAADACAAAAMD0IAA", "avc1.64001e", 704, 480),
    "reolink RLC-410": ("Z2QAM6zoAoALWQ==", "avc1.640033", 2560, 1440),
    "GW4089IP, with a start code behind": ("Z00AKpWoHgCJ+WbgICAgQAAAAAE=", "avc1.4d002a", 1920, 1080),
    "foscam": ("Z00AH5WoFAFuQA==", "avc1.4d001f", 1280, 720),
    "vstarcam": ("Z00AKp2oHgCJ+WbgICAoAAADAAgAAAMAfCA=", "avc1.4d002a", 1920, 1080),
}
DAHUA_H265 = {
    "profile-id": "1",
    "sprop-sps": "QgEBAWAAAAMAsAAAAwAAAwBaoAWCAeFja5JFL83BQYFBAAADAAEAAAMADKE=",
    "sprop-pps": "RAHA8saNA7NA",
    "sprop-vps": "QAEMAf//AWAAAAMAsAAAAwAAAwBarAwAAAMABAAAAwAyqA==",
}


def h264_sps(*fields: tuple[str, int]) -> bytes:
    """An SPS written field by field: ("u3", 5), ("ue", 7)."""
    bits = "".join(
        format(value, f"0{kind[1:]}b") if kind[0] == "u" and kind != "ue" else _ue(value)
        for kind, value in fields
    )
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    raw = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\x67" + raw.replace(b"\0\0\0", b"\0\0\3\0").replace(b"\0\0\1", b"\0\0\3\1")


def _ue(value: int) -> str:
    text = format(value + 1, "b")
    return "0" * (len(text) - 1) + text


MAIN_HEAD = (("u8", 77), ("u8", 0), ("u8", 31), ("ue", 0), ("ue", 0))


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize(
    ("width", "height"), [(320, 240), (1920, 1080), (704, 576), (642, 362)], ids=lambda side: str(side)
)
def test_the_size_is_what_the_encoder_was_given(codec: VideoCodec, width: int, height: int) -> None:
    units = media_samples.video(codec, width=width, height=height, frames=2)
    store = ParameterSetStore("H264" if codec == "h264" else "H265", units[0].nals)

    found = store.video_format

    assert found is not None
    assert (found.width, found.height) == (width, height)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_reordering_is_bounded_by_the_stream(codec: VideoCodec) -> None:
    encoding: Literal["H264", "H265"] = "H264" if codec == "h264" else "H265"
    without = ParameterSetStore(encoding, media_samples.video(codec)[0].nals)
    with_b = ParameterSetStore(encoding, media_samples.video(codec, b_frames=2)[0].nals)

    assert without.reorder == 0
    assert with_b.reorder == 2


@pytest.mark.parametrize("camera", CAMERAS)
def test_sets_of_real_cameras_are_read(camera: str) -> None:
    sps, codec, width, height = CAMERAS[camera]
    sets = [
        nal
        for text in described_sets("H264", {"sprop-parameter-sets": f"{sps},aO48gA=="})
        for nal in split_annex_b(text)
    ]

    found = ParameterSetStore("H264", sets).video_format

    assert found is not None
    assert (found.codec, found.width, found.height) == (codec, width, height)


def test_h265_sets_of_a_real_camera_are_read() -> None:
    found = ParameterSetStore("H265", described_sets("H265", DAHUA_H265)).video_format

    assert found is not None
    assert (found.codec, found.width, found.height) == ("hvc1.1.6.L90.B0", 704, 480)


def test_interlaced_and_cropped_pictures_have_their_shown_size() -> None:
    sps = h264_sps(
        *MAIN_HEAD, ("ue", 0), ("ue", 4), ("ue", 1), ("u1", 0),
        ("ue", 119), ("ue", 33), ("u1", 0), ("u1", 0), ("u1", 1),
        ("u1", 1), ("ue", 0), ("ue", 0), ("ue", 0), ("ue", 2), ("u1", 0),
    )  # fmt: skip

    assert parse_h264_sps(sps) == Sps(1920, 1080, 1, 8, 8, None)


def test_oblong_pixels_reach_the_sample_entry() -> None:
    sps = h264_sps(
        *MAIN_HEAD, ("ue", 2), ("ue", 1), ("u1", 0), ("ue", 43), ("ue", 35), ("u1", 1), ("u1", 1), ("u1", 0),
        ("u1", 1), ("u1", 1), ("u8", 255), ("u16", 16), ("u16", 11), *([("u1", 0)] * 8),
    )  # fmt: skip

    found = video_format("H264", ParameterSets((), (sps,), (b"\x68\xee\x3c\x80",)))

    assert parse_h264_sps(sps).sample_aspect == (16, 11)
    assert found.sample_entry.endswith(b"pasp" + (16).to_bytes(4, "big") + (11).to_bytes(4, "big"))


def test_order_counted_by_decoding_needs_no_reordering() -> None:
    sps = h264_sps(
        *MAIN_HEAD, ("ue", 2), ("ue", 1), ("u1", 0), ("ue", 43), ("ue", 35), ("u1", 1), ("u1", 1), ("u1", 0),
        ("u1", 0),
    )  # fmt: skip

    assert parse_h264_sps(sps).reorder == 0


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_an_unreadable_set_still_makes_a_file(codec: VideoCodec) -> None:
    encoding: Literal["H264", "H265"] = "H264" if codec == "h264" else "H265"
    sets = media_samples.parameter_sets(codec, media_samples.video(codec))
    cut = [nal[: 20 if codec == "h265" else 4] if n == len(sets) - 2 else nal for n, nal in enumerate(sets)]

    found = ParameterSetStore(encoding, cut).video_format

    assert found is not None
    assert (found.width, found.height) == (0, 0)
    assert found.codec == ("avc1.42c00c" if codec == "h264" else "hvc1.1.6.L60.90")
    assert all(nal in found.sample_entry for nal in cut)


def test_scaling_lists_do_not_hide_the_size() -> None:
    lists = [("u1", 1)] + [("u1", 1), *([("ue", 0)] * 16)] * 6 + [("u1", 1), ("ue", 16)] + [("u1", 0)]
    sps = h264_sps(
        ("u8", 100), ("u8", 0), ("u8", 40), ("ue", 0), ("ue", 1), ("ue", 0), ("ue", 0), ("u1", 0), *lists,
        ("ue", 0), ("ue", 2), ("ue", 1), ("u1", 0), ("ue", 159), ("ue", 89), ("u1", 1), ("u1", 1), ("u1", 0),
        ("u1", 0),
    )  # fmt: skip

    found = parse_h264_sps(sps)

    assert (found.width, found.height) == (2560, 1440)


def test_codec_names_follow_the_book() -> None:
    # 14496-15 annex E.3, with a high tier and constraint bytes up to the last that is not 0.
    sps = bytes.fromhex("4201") + b"\x01" + bytes.fromhex("21600000009000000000005d") + b"\xa0"

    assert h265_codec(sps) == "hvc1.1.6.H93.90"


def test_the_streams_own_sets_win_once_complete() -> None:
    described = media_samples.parameter_sets(
        "h264", media_samples.video("h264", width=64, height=48, frames=2)
    )
    sent = media_samples.parameter_sets("h264", media_samples.video("h264"))
    store = ParameterSetStore("H264", described)
    before = store.video_format
    for nal in sent:
        store.add(nal)
    after = store.video_format

    assert before is not None
    assert after is not None
    assert (before.width, after.width) == (64, 320)
    assert described[0] not in after.sample_entry


def test_repeated_sets_change_nothing_and_floods_are_bounded() -> None:
    sent = media_samples.parameter_sets("h264", media_samples.video("h264"))
    store = ParameterSetStore("H264", sent)
    before = store.video_format
    for nal in sent * 3:
        store.add(nal)
    for number in range(5000):
        store.add(b"\x68" + (1 << 20 | number).to_bytes(4, "big"))
        store.add(b"\x68\xff" + bytes(20_000))

    assert before is not None
    assert store.video_format is not None
    assert store.ignored > 4000
    assert len(store.video_format.sample_entry) < 1000


def test_what_is_no_base64_in_an_sdp_is_left_out() -> None:
    fmtp = {"sprop-parameter-sets": "Z00AH5WoFAFuQA,%%%,aO48gA,,é", "profile-level-id": "1"}

    sets = described_sets("H264", fmtp)

    assert [nal[0] & 31 for nal in sets] == [7, 8]
    assert described_sets("H264", {}) == []


def test_start_codes_in_an_sdp_are_taken_apart() -> None:
    sps, pps = media_samples.parameter_sets("h264", media_samples.video("h264"))

    assert split_annex_b(b"\0\0\0\1" + sps + b"\0\0\0\1" + pps) == [sps, pps]
    assert split_annex_b(sps) == [sps]
    assert split_annex_b(b"") == []


@given(st.binary(max_size=300), st.integers(0, 300), st.booleans())
@settings(max_examples=500, deadline=None)
def test_hostile_sets_are_read_or_called_unreadable(junk: bytes, at: int, h265: bool) -> None:
    codec: VideoCodec = "h265" if h265 else "h264"
    sets = media_samples.parameter_sets(codec, media_samples.video(codec))
    real = sets[-2]
    for nal in (junk, real[: at % len(real)] + junk):
        try:
            found = (parse_h265_sps if h265 else parse_h264_sps)(nal)
        except Unreadable:
            continue
        assert 0 < found.width <= 16_384
        assert 0 < found.height <= 16_384
    store = ParameterSetStore("H265" if h265 else "H264", sets)
    store.add(real[:2] + junk)
    assert store.video_format is not None


def test_reading_past_the_end_is_unreadable() -> None:
    bits = BitReader(b"\x00")

    with pytest.raises(Unreadable):
        bits.ue()
    with pytest.raises(Unreadable):
        BitReader(b"").u(1)
