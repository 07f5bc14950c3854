"""The buffer's own boxes, checked against their description with nothing but struct and hashlib."""

from __future__ import annotations

import hashlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_files import run_header
from simpang_buffer.media.seal import (
    RUN_UUID,
    SEAL_BYTES,
    SEAL_UUID,
    TABLE_END_BYTES,
    BadBox,
    Seal,
    first_digest,
    parse_run_box,
    parse_seal_box,
    parse_table,
    run_box,
    seal_box,
    table_box,
    table_size,
)
from simpang_buffer.model import AnchorSource, Fragment, FragmentFlags, GapReason

FRAGMENTS = [
    Fragment(500, 1000, 90_000, 45_000, 1_700_000_000_000_000, FragmentFlags.KEY | FragmentFlags.CHUNK, 15),
    Fragment(1500 + SEAL_BYTES, 70, 135_000, 6000, 1_700_000_000_500_000, FragmentFlags.NONE, 1),
]


def test_a_seal_hashes_the_one_before_and_its_fragment() -> None:
    start = first_digest(b"ftypmoovuuid")

    box, digest = seal_box(start, [b"moof", b"mdat"], 123, FragmentFlags.KEY)

    expected = hashlib.sha256(hashlib.sha256(b"ftypmoovuuid").digest() + b"moofmdat").digest()
    assert box == struct.pack(">I4s16sQI", SEAL_BYTES, b"uuid", SEAL_UUID, 123, 1) + expected
    assert digest == expected
    assert parse_seal_box(box) == Seal(123, FragmentFlags.KEY, expected)


def test_a_run_box_holds_the_promised_names() -> None:
    header = run_header(
        camera_offset_us=-5, previous_end=GapReason.POWER, anchor_source=AnchorSource.RTCP, first_chunk=9
    )

    box = run_box(header)

    assert struct.unpack(">I4s16s", box[:24]) == (len(box), b"uuid", RUN_UUID)
    fields = json.loads(box[24:])
    assert set(fields) == {
        "v", "site", "camera", "stream", "run", "seq", "codec", "anchor_us", "anchor_source",
        "camera_offset_us", "previous_end", "first_chunk",
    }  # fmt: skip
    assert parse_run_box(box[24:]) == header
    assert run_box(header) == box


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("camera", "../../etc"),
        ("stream", ""),
        ("run", "3"),
        ("run", True),
        ("anchor_us", 1 << 70),
        ("anchor_us", 1.5),
        ("anchor_source", "guess"),
        ("previous_end", "boredom"),
        ("v", 2),
    ],
)
def test_a_run_box_with_a_foreign_value_is_refused(name: str, value: object) -> None:
    fields = json.loads(run_box(run_header())[24:])
    fields[name] = value

    with pytest.raises(BadBox):
        parse_run_box(json.dumps(fields).encode())


@given(st.binary(max_size=200))
def test_junk_is_no_box_of_ours(junk: bytes) -> None:
    for parse in (parse_run_box, parse_seal_box, parse_table, table_size):
        with pytest.raises(BadBox):
            parse(junk)


def test_json_nested_without_end_is_refused() -> None:
    with pytest.raises(BadBox):
        parse_run_box(b"[" * 4000)


def test_a_table_is_found_from_its_end_and_read_back() -> None:
    box = table_box(FRAGMENTS, bytes(range(32)))

    assert table_size(box[-TABLE_END_BYTES:]) == len(box)
    assert parse_table(box[24:]) == (FRAGMENTS, bytes(range(32)))


def test_a_table_with_any_altered_byte_or_a_hole_is_refused() -> None:
    box = table_box(FRAGMENTS, bytes(32))
    for at in range(24, len(box) - 4):
        altered = bytearray(box)
        altered[at] ^= 1
        with pytest.raises(BadBox):
            parse_table(bytes(altered[24:]))
    with pytest.raises(BadBox, match="hole"):
        parse_table(table_box([FRAGMENTS[0], FRAGMENTS[0]], bytes(32))[24:])
