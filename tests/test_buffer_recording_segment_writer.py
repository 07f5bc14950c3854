"""Where runs are cut, judged by ffprobe and by reading the files back."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

import media_samples
from recorded_runs import ANCHOR_US, KEY, START, perform, pictures, probe, sounds, video_format, writer
from simpang_buffer.media.audio_format import audio_format
from simpang_buffer.media.boxes import read_header, read_table, scan
from simpang_buffer.model import VIDEO_TIMESCALE, AccessUnit, FragmentFlags, Segment, VideoFormat
from simpang_buffer.recording.segment_writer import FILE_LIMITS, AppendFragment, FileLimits, OpenFile, Step

FORMAT = VideoFormat("avc1.42c01e", 320, 240, b"\0\0\0\x10avc1\0\0\0\0\0\0\0\0")


def made_up(seconds: float, *, fps: int = 25, key_every: int = 50, size_bytes: int = 100) -> list[AccessUnit]:
    """Units whose content nobody looks at."""
    ticks = VIDEO_TIMESCALE // fps
    return [
        AccessUnit(True, n * ticks, 0, n % key_every == 0, bytes(size_bytes), ANCHOR_US + n * ticks)
        for n in range(int(seconds * fps))
    ]


def cut(units: list[AccessUnit], *, segment_s: float = 60.0, limits: FileLimits = FILE_LIMITS) -> list[Step]:
    cutter = writer(Path("media"), segment_s=segment_s, limits=limits)
    steps = [step for unit in units for step in cutter.add_picture(unit, FORMAT)]
    return steps + cutter.finish()


def fragments_of(steps: list[Step]) -> list[AppendFragment]:
    return [step for step in steps if isinstance(step, AppendFragment)]


def test_h264_with_sound_is_recorded_frame_for_frame(tmp_path: Path) -> None:
    units = media_samples.video("h264", frames=60, fps=15, key_every=15)
    track = media_samples.aac(seconds=4.0)
    audio = audio_format(track.encoding, track.rate, 1, {"config": track.config.hex()})
    cutter = writer(tmp_path, audio=audio, segment_s=2.0)
    steps: list[Step] = []
    merged = sorted(pictures(units) + sounds(track), key=lambda unit: unit.arrival_us)

    for unit in merged:
        if unit.video:
            steps += cutter.add_picture(unit, video_format("h264", units))
        else:
            cutter.add_sound(unit)
    rows = perform(steps + cutter.finish())

    assert [row.seq for row in rows] == [0, 1]
    assert sum(row.frames for row in rows) == 60
    heard = 0
    for row in rows:
        found = probe(tmp_path / row.path)
        video, sound = found["streams"]
        assert (video["codec_name"], int(video["nb_read_frames"])) == ("h264", row.frames)
        assert sound["codec_name"] == "aac"
        heard += sum(packet["stream_index"] == 1 for packet in found["packets"])
        assert next(p for p in found["packets"] if p["stream_index"] == 0)["flags"].startswith("K")
    assert heard == len(track.frames)


def test_h265_is_recorded_frame_for_frame(tmp_path: Path) -> None:
    units = media_samples.video("h265", frames=30)
    cutter = writer(tmp_path)
    steps = [s for unit in pictures(units) for s in cutter.add_picture(unit, video_format("h265", units))]

    (row,) = perform(steps + cutter.finish())

    (video,) = probe(tmp_path / row.path)["streams"]
    assert (video["codec_name"], int(video["nb_read_frames"])) == ("hevc", 30)


def test_a_row_says_what_its_file_says(tmp_path: Path) -> None:
    units = media_samples.video("h264", frames=45)
    cutter = writer(tmp_path)
    steps = [s for unit in pictures(units) for s in cutter.add_picture(unit, video_format("h264", units))]

    (row,) = perform(steps + cutter.finish())

    assert isinstance(row, Segment)
    path = tmp_path / row.path
    with path.open("rb") as file:
        header, scanned, (table, seal) = read_header(file), scan(file), read_table(file)
    written = [step.fragment for step in fragments_of(steps)]
    assert scanned.closed and list(scanned.fragments) == table
    assert table[: len(written)] == written
    assert (row.seal, row.size_bytes) == (seal[:16], path.stat().st_size)
    assert (row.start_us, row.end_us) == (ANCHOR_US, ANCHOR_US + 3_000_000)
    assert (row.fragments, row.frames, row.chunks) == (len(table), 45, 1)
    assert (header.run.key, header.run.run, header.run.previous_end) == (KEY, 7, START.previous_end)
    assert header.run.codec == row.codec == "avc1.42c00c"


def test_fragments_last_a_second_at_most_and_follow_each_other() -> None:
    steps = cut(made_up(10.0, fps=12, key_every=100))

    found = [step.fragment for step in fragments_of(steps)]
    assert all(fragment.duration <= VIDEO_TIMESCALE for fragment in found)
    assert sum(fragment.frames for fragment in found) == 120
    for before, after in itertools.pairwise(found):
        assert before.decode_time + before.duration == after.decode_time
        assert before.end_us == after.start_us


def test_a_key_frame_begins_a_fragment() -> None:
    steps = cut(made_up(6.0, fps=25, key_every=40))

    keys = [
        step.fragment.decode_time for step in fragments_of(steps) if FragmentFlags.KEY in step.fragment.flags
    ]
    assert keys == [n * 40 * VIDEO_TIMESCALE // 25 for n in range(4)]


def test_an_all_intra_camera_costs_no_write_per_picture() -> None:
    steps = cut(made_up(10.0, fps=25, key_every=1))

    assert len(fragments_of(steps)) <= 20


def test_chunks_begin_at_the_first_key_frame_after_four_seconds() -> None:
    steps = cut(made_up(24.0, fps=25, key_every=75), segment_s=15.0)

    found = [step.fragment for step in fragments_of(steps)]
    chunks = [f.decode_time // VIDEO_TIMESCALE for f in found if FragmentFlags.CHUNK in f.flags]
    # Key frames each 3 s; the segment that begins at 15 begins a chunk too.
    assert chunks == [0, 6, 12, 15, 21]
    opened = [step.file.head.header for step in steps if isinstance(step, OpenFile)]
    assert [(header.seq, header.first_chunk) for header in opened] == [(0, 0), (1, 3)]


def test_a_segment_waits_for_a_key_frame_however_long() -> None:
    steps = cut(made_up(30.0, fps=10, key_every=200), segment_s=5.0)

    opened = [step.file.head.header.seq for step in steps if isinstance(step, OpenFile)]
    assert opened == [0, 1]
    starts = [s.fragment.decode_time for s in fragments_of(steps) if s.file.head.header.seq == 1]
    assert starts[0] == 20 * VIDEO_TIMESCALE


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        (FileLimits(ticks=7 * VIDEO_TIMESCALE), 7),
        # Ten pictures of 1,000 bytes, their table and their seal are a fragment of some 10.3 kB.
        (FileLimits(size_bytes=50_000), 5),
        (FileLimits(fragments=4), 4),
    ],
    ids=["time", "bytes", "fragments"],
)
def test_a_file_ends_without_a_key_frame_where_it_would_be_too_long_to_read_back(
    limits: FileLimits, seconds: int
) -> None:
    """8.9: one key frame, and never another. Every picture is kept, and seals say which files go on."""
    units = made_up(20.0, fps=10, key_every=1000, size_bytes=1000)

    steps = cut(units, segment_s=3.0, limits=limits)

    opened = [step.file.head.header for step in steps if isinstance(step, OpenFile)]
    assert [header.seq for header in opened] == list(range(-(-20 // seconds)))
    # Each is a chunk of its own, so that a row has one and chunks have their numbers.
    assert [header.first_chunk for header in opened] == [header.seq for header in opened]
    firsts = [
        next(step.fragment for step in fragments_of(steps) if step.file.head.header is header)
        for header in opened
    ]
    assert [fragment.decode_time for fragment in firsts] == [
        number * seconds * VIDEO_TIMESCALE for number in range(len(opened))
    ]
    both = FragmentFlags.KEY | FragmentFlags.CHUNK
    assert [fragment.flags for fragment in firsts] == [both, *[FragmentFlags.CHUNK] * (len(opened) - 1)]
    assert sum(step.fragment.frames for step in fragments_of(steps)) == 200


def test_a_key_frame_that_comes_at_last_begins_a_file(tmp_path: Path) -> None:
    units = media_samples.video("h264", frames=90, key_every=75)
    cutter = writer(tmp_path, segment_s=1.0, limits=FileLimits(ticks=2 * VIDEO_TIMESCALE))
    format_ = video_format("h264", units)

    rows = perform([step for unit in pictures(units) for step in cutter.add_picture(unit, format_)])
    rows += perform(cutter.finish())

    assert [(row.seq, row.start_us - rows[0].start_us) for row in rows] == [
        (0, 0), (1, 2_000_000), (2, 4_000_000), (3, 5_000_000)
    ]  # fmt: skip
    assert [row.chunks for row in rows] == [1, 1, 1, 1]
    # What stands in the files is the stream, whatever they begin with: one behind the other they decode.
    joined = tmp_path / "joined.mp4"
    inits = [read(tmp_path, row) for row in rows]
    joined.write_bytes(inits[0][0] + b"".join(body for _, body in inits))
    assert int(probe(joined)["streams"][0]["nb_read_frames"]) == 90
    # Adoption takes each for itself.
    for row in rows:
        with (tmp_path / row.path).open("rb") as file:
            assert (scan(file).closed, scan(file).seal[:16]) == (True, row.seal)


def read(media: Path, row: Segment) -> tuple[bytes, bytes]:
    """A file's header, and its fragments without their seals."""
    with (media / row.path).open("rb") as file:
        found = scan(file)
        body = b""
        for fragment in found.fragments:
            file.seek(fragment.offset)
            body += file.read(fragment.size_bytes)
    return found.header.init, body


def test_new_codec_parameters_begin_a_segment_of_the_same_run() -> None:
    cutter = writer(Path("media"))
    other = dataclasses.replace(FORMAT, codec="avc1.640028", width=1280)
    units = made_up(4.0, key_every=50)

    steps = [s for n, unit in enumerate(units) for s in cutter.add_picture(unit, FORMAT if n < 50 else other)]
    steps += cutter.finish()

    opened = [step.file.head for step in steps if isinstance(step, OpenFile)]
    assert [head.video.width for head in opened] == [320, 1280]
    assert [(head.header.run, head.header.seq) for head in opened] == [(7, 0), (7, 1)]


def test_codec_parameters_that_change_with_every_picture_cost_a_file_a_second() -> None:
    """Each file is a few syncs of the disk that all cameras share."""
    cutter = writer(Path("media"))
    formats = [dataclasses.replace(FORMAT, width=width) for width in (320, 640)]
    # Stamps that leap do not make it more.
    units = [
        dataclasses.replace(unit, dts=n * 4 * VIDEO_TIMESCALE, arrival_us=ANCHOR_US + n * 40_000)
        for n, unit in enumerate(made_up(20.0, key_every=1))
    ]

    steps = [s for n, unit in enumerate(units) for s in cutter.add_picture(unit, formats[n % 2])]
    steps += cutter.finish()

    opened = sum(isinstance(step, OpenFile) for step in steps)
    assert 20 <= opened <= 60  # a segment of 60 s by the stamps is over each 15 pictures
    assert sum(step.fragment.frames for step in fragments_of(steps)) == 500


def test_nothing_is_written_before_a_key_frame() -> None:
    units = made_up(4.0, key_every=50)[20:]

    steps = cut(units)

    assert fragments_of(steps)[0].fragment.decode_time == 2 * VIDEO_TIMESCALE
    assert sum(step.fragment.frames for step in fragments_of(steps)) == 50


def test_stamps_that_stand_still_do_not_gather_memory() -> None:
    still = [AccessUnit(True, n, 0, n == 0, bytes(100_000), ANCHOR_US) for n in range(200)]

    steps = cut(still)

    assert max(step.size_bytes for step in fragments_of(steps)) < 5 << 20
    assert sum(step.fragment.frames for step in fragments_of(steps)) == 200


def test_a_flood_of_sound_without_pictures_is_dropped(tmp_path: Path) -> None:
    track = media_samples.g711("PCMA")
    audio = audio_format("PCMA", 8000, 1, {})
    cutter = writer(tmp_path, audio=audio)
    cutter.add_picture(made_up(1.0)[0], FORMAT)

    for n in range(20_000):
        cutter.add_sound(AccessUnit(False, n * 160, 0, True, track.frames[0].data, ANCHOR_US))

    (_, appended, _) = cutter.finish()
    assert isinstance(appended, AppendFragment)
    assert appended.size_bytes < 3 << 20


def test_a_run_of_no_pictures_leaves_nothing() -> None:
    assert writer(Path("media")).finish() == []
