"""What a browser plays and shows of unusual streams: MJPEG as stills, metadata beside the video."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import media_samples
from media_files import decode_errors, probe
from recorded_runs import perform, pictures, video_format
from simpang.stream_health import stream_items
from simpang.web.times import format_time
from simpang_buffer.index.index import Index
from simpang_buffer.media.descriptors import JPEG, esds
from simpang_buffer.media.fmp4 import video_entry
from simpang_buffer.media.metadata import metadata_format
from simpang_buffer.model import (
    AccessUnit,
    AnchorSource,
    MetadataFormat,
    RunHeader,
    StreamKey,
    VideoFormat,
)
from simpang_buffer.recording.broadcast import live_init
from simpang_buffer.recording.contents import Contents
from simpang_buffer.recording.places import only
from simpang_buffer.recording.segment_writer import RunStart, SegmentWriter
from web_browser import browse
from web_site import camera, now_us, open_site, stream

KEY = StreamKey("utara", "main")
SECOND = 1_000_000


async def record(
    index: Index,
    start_us: int,
    units: Sequence[AccessUnit],
    format_: VideoFormat,
    metadata: MetadataFormat | None = None,
) -> None:
    """One closed file; with metadata a document beside each picture."""
    writer = SegmentWriter(
        RunStart("digulis", KEY, 1, None, 0),
        only(index.media),
        None,
        lambda: (start_us, AnchorSource.RTCP),
        segment_s=600,
        metadata=metadata,
    )
    steps = []
    for unit in units:
        steps += writer.add_picture(unit, format_)
        writer.add_document(AccessUnit(False, unit.dts, 0, True, b"<tt:MetadataStream/>", unit.arrival_us))
    (segment,) = await asyncio.to_thread(perform, [*steps, *writer.finish()])
    header = RunHeader(
        "digulis", "utara", "main", 1, 0, format_.codec, start_us, AnchorSource.RTCP, 0, None, 0
    )
    await index.add_run(header, format_.width, format_.height)
    await index.add_segment(segment)


async def test_mjpeg_is_shown_as_stills_and_what_is_odd_is_said(tmp_path: Path) -> None:
    contents = Contents("G.726 is not recorded", "XML", 94.0)
    jpegs = media_samples.mjpeg(frames=45)
    format_ = VideoFormat("mp4v.6C", 320, 240, video_entry(b"mp4v", 320, 240, esds(JPEG)))
    units = [AccessUnit(True, 6000 * n, 0, True, data, 0) for n, data in enumerate(jpegs)]
    async with open_site(tmp_path) as site:
        site.roster.told = [camera(streams=(stream(codec=format_.codec, contents=contents),))]
        site.pool.inits[KEY] = live_init(1, format_, None)
        await record(site.gateway.index, now_us() - 3 * SECOND, units, format_)
        async with browse(site) as watched:
            await watched.until("() => document.querySelector('.picture img')?.naturalWidth > 0")
            shown = await watched.page.inner_text("[data-camera=utara]")
        async with site.client() as client, client.get("/api/v1/cameras/utara/snapshot.jpg") as response:
            picture = await response.read()
        async with site.client() as client, client.get("/api/v1/cameras/utara") as answer:
            (told,) = (await answer.json())["streams"]
        items = list(stream_items(site.roster.told))

    assert "one picture every 2 s" in shown and "cannot play MJPEG" in shown
    assert (response.status, picture[:2]) == (200, b"\xff\xd8")
    assert "(G.726 is not recorded)" in shown and "Key frames are 94 s apart" in shown
    assert (told["audio"], told["metadata"], told["key_frames_s"]) == ("G.726 is not recorded", "XML", 94.0)
    assert [item.code for item in items] == ["key-frames-far-apart", "sound-not-recorded"]
    assert all("Utara (main)" in words for item in items for words in (item.cause.en, item.cause.id))
    assert "94 s" in items[0].cause.en and "G.726" in items[1].cause.id
    assert list(stream_items([camera()])) == []


# What a player of the page does with a clip, and what one does that feeds a MediaSource from a playlist.
PLAYS = """async ([address, media]) => {
    const video = document.createElement("video");
    video.muted = true;
    document.body.append(video);
    if (media) {
        const source = new MediaSource();
        video.src = URL.createObjectURL(source);
        await new Promise((resolve) => source.addEventListener("sourceopen", resolve, { once: true }));
        const buffer = source.addSourceBuffer('video/mp4; codecs="avc1.42c00c"');
        const clip = await (await fetch(address)).arrayBuffer();
        await new Promise((resolve, reject) => {
            buffer.addEventListener("updateend", resolve, { once: true });
            buffer.addEventListener("error", () => reject(new Error("not taken")), { once: true });
            buffer.appendBuffer(clip);
        });
        source.endOfStream();
    } else {
        video.src = address;
    }
    await video.play();
    await new Promise((resolve) => video.addEventListener("ended", resolve, { once: true }));
    return [video.duration, video.getVideoPlaybackQuality().totalVideoFrames, video.error?.message ?? ""];
}"""


async def test_a_browser_plays_what_has_metadata_beside_it(tmp_path: Path) -> None:
    """As a file, and through a MediaSource, which refuses what it does not like."""
    made = media_samples.video("h264", frames=30)
    start_us = now_us() - 30 * SECOND
    query = f"start={format_time(start_us)}&end={format_time(start_us + 2 * SECOND)}"
    address = f"/api/v1/cameras/utara/streams/main/clip.mp4?{query}"
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        format_ = video_format("h264", made)
        # Far from the run's start, so that a track that is not led to zero would show.
        units = pictures(made, from_ticks=3600 * 90_000)
        anchor_us = start_us - 3600 * SECOND
        await record(site.gateway.index, anchor_us, units, format_, metadata_format("VND.ONVIF.METADATA"))
        async with site.client() as client, client.get(address) as response:
            (tmp_path / "clip.mp4").write_bytes(await response.read())
        async with browse(site) as watched:
            played = [await watched.page.evaluate(PLAYS, [address, media]) for media in (False, True)]

    for duration_s, frames, error in played:
        assert (round(duration_s, 1), error) == (2.0, "")
        assert frames >= 28
    assert await asyncio.to_thread(decode_errors, tmp_path / "clip.mp4") == ""
    assert (await asyncio.to_thread(probe, tmp_path / "clip.mp4")).frames == 30
