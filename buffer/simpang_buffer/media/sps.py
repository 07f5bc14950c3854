"""What a sequence parameter set says, as far as a file's header needs it (H.264 7.3.2.1, H.265 7.3.2.2).

Errors: Unreadable. Nobody refuses a camera for it: what is lost is the picture's size in the header.
"""

from __future__ import annotations

from dataclasses import dataclass

from simpang_buffer.media.bits import BitReader, Unreadable, unescape

# Larger than any level allows (8192 x 4320); keeps a hostile size out of 16-bit fields.
_MAX_SIDE = 16_384
_EXTENDED_SAR = 255
# H.264 table E-1, by aspect_ratio_idc.
_SAR = (
    (0, 0), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip
# H.264 section 7.3.2.1.1: profiles whose sets carry chroma format and bit depths.
_H264_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_H264_BASELINE = 66


@dataclass(frozen=True, slots=True)
class Sps:
    """width and height: cropped, in pixels. sample_aspect: width to height of one pixel, (0, 0) where unsaid.

    reorder: how many pictures may precede one in decoding and follow it in time; None where unsaid.
    """

    width: int
    height: int
    chroma_format: int
    bit_depth_luma: int
    bit_depth_chroma: int
    reorder: int | None
    sample_aspect: tuple[int, int] = (0, 0)
    temporal_layers: int = 1
    temporal_nesting: bool = True


def parse_h264_sps(nal: bytes) -> Sps:
    """From a whole NAL unit of type 7, header included."""
    bits = BitReader.of_nal(nal[1:])
    profile = bits.u(8)
    bits.u(16)  # constraint flags, level
    bits.ue()
    chroma_format, luma, chroma, planes = 1, 8, 8, False
    if profile in _H264_HIGH_PROFILES:
        chroma_format = _at_most(bits.ue(), 3)
        planes = chroma_format == 3 and bits.flag()
        luma, chroma = 8 + _at_most(bits.ue(), 6), 8 + _at_most(bits.ue(), 6)
        bits.u(1)  # lossless transform bypass
        if bits.flag():
            _skip_h264_scaling_matrix(bits, 8 if chroma_format != 3 else 12)
    bits.ue()  # log2_max_frame_num_minus4
    order_type = _skip_h264_picture_order(bits)
    bits.ue()  # max_num_ref_frames
    bits.u(1)  # gaps allowed
    width = (bits.ue() + 1) * 16
    units = bits.ue() + 1
    frames_only = bits.flag()
    if not frames_only:
        bits.u(1)  # mb_adaptive_frame_field
    height = units * 16 * (1 if frames_only else 2)
    bits.u(1)  # direct_8x8_inference
    if bits.flag():
        # Section 7.4.2.1.1: the crop unit follows the chroma format and the field coding.
        unit_x = 2 if chroma_format in (1, 2) and not planes else 1
        unit_y = (2 if chroma_format == 1 and not planes else 1) * (1 if frames_only else 2)
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        width -= (left + right) * unit_x
        height -= (top + bottom) * unit_y
    aspect, reorder = _h264_usability(bits)
    if order_type == 2 or profile == _H264_BASELINE:
        reorder = 0  # output order is decoding order (section 8.2.1.3); Baseline has no B slices
    return Sps(*_size(width, height), chroma_format, luma, chroma, reorder, aspect)


def parse_h265_sps(nal: bytes) -> Sps:
    """From a whole NAL unit of type 33, its two-byte header included."""
    bits = BitReader.of_nal(nal[2:])
    bits.u(4)  # vps id
    layers = bits.u(3) + 1
    nesting = bits.flag()
    _skip_h265_profile_tier_level(bits, layers)
    bits.ue()  # sps id
    chroma_format = _at_most(bits.ue(), 3)
    planes = chroma_format == 3 and bits.flag()
    width, height = bits.ue(), bits.ue()
    if bits.flag():
        # H.265 table 6-1: SubWidthC and SubHeightC.
        unit_x = 2 if chroma_format in (1, 2) and not planes else 1
        unit_y = 2 if chroma_format == 1 and not planes else 1
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        width -= (left + right) * unit_x
        height -= (top + bottom) * unit_y
    luma, chroma = 8 + _at_most(bits.ue(), 8), 8 + _at_most(bits.ue(), 8)
    bits.ue()  # log2_max_pic_order_cnt_lsb_minus4
    ordering_for_each = bits.flag()
    reorder = 0
    for _ in range(layers if ordering_for_each else 1):
        bits.ue()  # sps_max_dec_pic_buffering_minus1
        reorder = _at_most(bits.ue(), 15)
        bits.ue()  # sps_max_latency_increase_plus1
    return Sps(
        *_size(width, height),
        chroma_format,
        luma,
        chroma,
        reorder,
        temporal_layers=layers,
        temporal_nesting=nesting,
    )


def h264_codec(nal: bytes) -> str:
    """RFC 6381 section 3.3 and 14496-15 annex E: profile, constraints and level as they stand in the set."""
    return f"avc1.{nal[1:4].hex()}"


def h265_codec(nal: bytes) -> str:
    """14496-15 annex E.3: "hvc1.1.6.L93.B0" from general_profile_space to the constraint bytes."""
    general = h265_general_profile(nal)
    space = ("", "A", "B", "C")[general[0] >> 6]
    tier = "H" if general[0] & 0x20 else "L"
    compatibility = int(f"{int.from_bytes(general[1:5], 'big'):032b}"[::-1], 2)
    constraints = general[5:11].rstrip(b"\0")
    tail = "".join(f".{byte:X}" for byte in constraints)
    return f"hvc1.{space}{general[0] & 0x1F}.{compatibility:X}.{tier}{general[11]}{tail}"


def h265_general_profile(nal: bytes) -> bytes:
    """The 12 bytes of the general profile, tier and level (section 7.3.3), which stand at a fixed place."""
    return unescape(nal[2:64])[1:13].ljust(12, b"\0")


def h264_set_id(nal: bytes, *, is_sps: bool) -> int:
    """seq_parameter_set_id or pic_parameter_set_id; -1 where unreadable."""
    try:
        return BitReader.of_nal(nal[4:16] if is_sps else nal[1:16]).ue()
    except Unreadable:
        return -1


def h265_set_id(nal: bytes, *, is_vps: bool, is_sps: bool) -> int:
    """The id of a VPS, SPS or (neither) PPS; -1 where unreadable. nal: at least 3 bytes."""
    if is_vps:
        return nal[2] >> 4
    try:
        bits = BitReader.of_nal(nal[2:256])
        if is_sps:
            bits.u(4)
            layers = bits.u(3) + 1
            bits.u(1)
            _skip_h265_profile_tier_level(bits, layers)
        return bits.ue()
    except Unreadable:
        return -1


def _at_most(value: int, limit: int) -> int:
    if value > limit:
        raise Unreadable(f"{value} where at most {limit} is allowed")
    return value


def _size(width: int, height: int) -> tuple[int, int]:
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise Unreadable("picture size is out of range")
    return width, height


def _skip_h264_scaling_matrix(bits: BitReader, lists: int) -> None:
    for number in range(lists):
        if not bits.flag():
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last


def _skip_h264_picture_order(bits: BitReader) -> int:
    kind = _at_most(bits.ue(), 2)
    if kind == 0:
        bits.ue()  # log2_max_pic_order_cnt_lsb_minus4
    elif kind == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(_at_most(bits.ue(), 255)):
            bits.se()
    return kind


def _h264_usability(bits: BitReader) -> tuple[tuple[int, int], int | None]:
    """VUI (annex E.1.1): pixel aspect and max_num_reorder_frames. Absent or cut short: unsaid."""
    aspect: tuple[int, int] = (0, 0)
    try:
        if not bits.flag():
            return aspect, None
        if bits.flag():
            aspect = _sample_aspect(bits)
        if bits.flag():
            bits.u(1)  # overscan_appropriate
        if bits.flag():
            bits.u(4)  # video_format, full range
            if bits.flag():
                bits.u(24)  # colour description
        if bits.flag():
            bits.ue()
            bits.ue()  # chroma sample location
        if bits.flag():
            bits.u(65)  # num_units_in_tick, time_scale, fixed rate: never believed
        nal_buffer = _skip_h264_decoder_buffer(bits)
        vcl_buffer = _skip_h264_decoder_buffer(bits)
        if nal_buffer or vcl_buffer:
            bits.u(1)  # low_delay_hrd
        bits.u(1)  # pic_struct_present
        if not bits.flag():
            return aspect, None
        bits.u(1)  # motion vectors over boundaries
        for _ in range(4):
            bits.ue()
        return aspect, _at_most(bits.ue(), 16)
    except Unreadable:
        # Extra or missing bytes here are common and harm nobody.
        return aspect, None


def _sample_aspect(bits: BitReader) -> tuple[int, int]:
    kind = bits.u(8)
    if kind == _EXTENDED_SAR:
        return bits.u(16), bits.u(16)
    return _SAR[kind] if kind < len(_SAR) else (0, 0)


def _skip_h264_decoder_buffer(bits: BitReader) -> bool:
    """Annex E.1.2. False when there is none."""
    if not bits.flag():
        return False
    count = _at_most(bits.ue(), 31) + 1
    bits.u(8)
    for _ in range(count):
        bits.ue()
        bits.ue()
        bits.u(1)
    bits.u(20)
    return True


def _skip_h265_profile_tier_level(bits: BitReader, layers: int) -> None:
    bits.u(96)
    present = [(bits.flag(), bits.flag()) for _ in range(layers - 1)]
    if layers > 1:
        bits.u(2 * (8 - (layers - 1)))
    for profile, level in present:
        bits.u(88 * profile + 8 * level)
