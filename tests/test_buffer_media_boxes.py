"""Files cut, zeroed and altered at every byte: what is read back is never more than what was sealed."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import media_samples
from media_files import Built, build_file, decode_errors, probe
from simpang_buffer.media.boxes import parse_moof, read_header, read_moof, read_table, scan
from simpang_buffer.media.seal import SEAL_BYTES, BadBox


@functools.cache
def small_file() -> Built:
    units = media_samples.video("h264", frames=12, width=64, height=48, key_every=6)
    return build_file("h264", units, per_fragment=3)


def ends() -> list[int]:
    """Where each fragment's seal ends."""
    return [part.offset + part.size_bytes + SEAL_BYTES for part in small_file().fragments]


def test_what_was_written_is_read_back_by_scan_and_by_table() -> None:
    built = small_file()

    found = scan(io.BytesIO(built.data))

    assert found.fragments == built.fragments
    assert (found.good_end, found.seal, found.closed) == (built.table_at, built.seal, True)
    assert read_table(io.BytesIO(built.data)) == (list(built.fragments), built.seal)
    header = read_header(io.BytesIO(built.data))
    assert header == found.header
    assert (header.run, header.init, header.codec) == (built.header, built.init, built.header.codec)
    assert (header.width, header.height, header.video_timescale) == (64, 48, 90_000)
    assert (header.audio_entry, header.audio_timescale) == (None, None)
    assert sum(part.frames for part in found.fragments) == 12


def test_a_file_cut_at_any_byte_is_read_to_its_last_whole_seal() -> None:
    built = small_file()
    first = built.fragments[0].offset
    for cut in range(len(built.data)):
        file = io.BytesIO(built.data[:cut])
        if cut < first:
            with pytest.raises(BadBox):
                scan(file)
            continue
        whole = sum(end <= cut for end in ends())
        found = scan(file)
        assert found.fragments == built.fragments[:whole]
        assert found.good_end == (ends()[whole - 1] if whole else first)
        assert not found.closed


def test_a_tail_of_zeros_from_any_byte_is_not_believed() -> None:
    built = small_file()
    for start in range(built.fragments[0].offset, built.table_at, 7):
        data = built.data[:start] + bytes(len(built.data) - start + 4096)
        whole = sum(end <= start for end in ends())
        found = scan(io.BytesIO(data))
        # A tail whose last bytes are zeros anyway is whole with them.
        assert found.fragments[:whole] == built.fragments[:whole]
        assert len(found.fragments) == whole or data[: ends()[whole]] == built.data[: ends()[whole]]
        assert not found.closed


def test_any_altered_byte_shows() -> None:
    built = small_file()
    for at in range(len(built.data)):
        data = bytearray(built.data)
        data[at] ^= 0x41
        try:
            found = scan(io.BytesIO(data))
        except BadBox:
            assert at < built.fragments[0].offset
            continue
        if at >= built.table_at:
            assert found.fragments == built.fragments
            assert not found.closed
            continue
        hit = sum(end <= at for end in ends())
        if len(found.fragments) > hit:
            # The wall time and flags of a seal are not hashed; the table of a closed file tells.
            seal_at = ends()[hit] - SEAL_BYTES
            assert seal_at + 24 <= at < seal_at + 36
            assert not found.closed
        else:
            assert found.fragments == built.fragments[:hit]


def test_what_is_left_of_a_torn_file_plays(tmp_path: Path) -> None:
    built = small_file()
    found = scan(io.BytesIO(built.data[: built.table_at - 100]))
    path = tmp_path / "torn.mp4"
    path.write_bytes(built.data[: found.good_end])

    assert probe(path).frames == 9
    assert decode_errors(path) == ""


def test_a_moof_says_where_its_decode_time_stands() -> None:
    built = small_file()
    part = built.fragments[2]
    moof = read_moof(io.BytesIO(built.data), part.offset)
    (track,) = parse_moof(moof)

    assert track.time_bytes == 8
    assert int.from_bytes(moof[track.time_offset : track.time_offset + 8], "big") == part.decode_time
    assert (track.duration, len(track.sizes)) == (part.duration, part.frames)


def test_a_table_that_does_not_fit_its_file_is_refused() -> None:
    built = small_file()
    moved = built.data[: built.table_at] + b"\0" * 8 + built.data[built.table_at :]

    with pytest.raises(BadBox):
        read_table(io.BytesIO(moved))
    with pytest.raises(BadBox):
        read_table(io.BytesIO(built.data[: built.table_at]))


@given(st.binary(max_size=400), st.integers(0, 10_000), st.integers(0, 400))
@settings(max_examples=300, deadline=None)
def test_hostile_bytes_never_do_more_than_be_refused(junk: bytes, at: int, skipped: int) -> None:
    built = small_file()
    at %= len(built.data)
    data = built.data[:at] + junk + built.data[at + skipped :]

    for read in (scan, read_header, read_table):
        try:
            read(io.BytesIO(data))
        except BadBox:
            continue
    try:
        parse_moof(junk)
    except BadBox:
        return


def test_a_length_of_four_gigabytes_takes_no_memory() -> None:
    class Counting(io.BytesIO):
        most = 0

        def read(self, count: int | None = -1) -> bytes:
            self.most = max(self.most, -1 if count is None else count)
            return super().read(count)

    built = small_file()
    for kind in (b"ftyp", b"moov", b"moof", b"mdat"):
        at = built.data.index(kind) - 4
        file = Counting(built.data[:at] + b"\xff\xff\xff\xff" + built.data[at + 4 :])
        try:
            scan(file)
        except BadBox:
            assert kind in (b"ftyp", b"moov")
        assert 0 < file.most <= 1 << 20
