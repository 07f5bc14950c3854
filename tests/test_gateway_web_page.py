"""The page in Chromium: what a person sees, with nothing from outside."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import media_samples
from media_files import decode_errors, probe
from simpang.roster.view import CameraState
from simpang.web.roles import Role
from simpang_buffer.model import GapReason, StreamKey
from web_browser import browse, camera_sends
from web_site import camera, live_init, now_us, open_site, record, stream

KEY = StreamKey("utara", "main")
SECOND = 1_000_000
# What the page may weigh on first load, with pictures (the stated aim).
MOST_BYTES = 150_000

MOVES = """() => {
  const video = document.querySelector("[data-camera=utara] video");
  if (!video?.videoWidth || video.paused) return false;
  window.seen ??= video.currentTime;
  return video.currentTime > window.seen + 0.5;
}"""


async def test_live_picture_moves_and_nothing_leaves_the_host(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        site.pool.inits[KEY] = live_init(media_samples.video("h264", frames=45))
        async with camera_sends(site, KEY), browse(site) as watched:
            await watched.until(MOVES)
            behind = await watched.page.evaluate(
                "(() => { const v = document.querySelector('video');"
                " return v.buffered.end(v.buffered.length - 1) - v.currentTime; })()"
            )
            badge = await watched.page.inner_text(".badge")
            first_load = await watched.received_bytes()
            location = watched.page.url

    assert badge == "Live"
    assert behind < 1.0
    assert first_load < MOST_BYTES
    assert {urlsplit(address).netloc for address in watched.addresses if not address.startswith("blob:")} == {
        urlsplit(site.address).netloc
    }
    assert "token" not in location
    assert watched.complaints == []


async def test_live_picture_comes_back_after_a_new_run_and_a_lost_connection(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        units = media_samples.video("h264", frames=45)
        site.pool.inits[KEY] = live_init(units)
        async with camera_sends(site, KEY), browse(site) as watched:
            await watched.until(MOVES)
            site.pool.offer(KEY, live_init(units, run=2))
            await watched.page.evaluate("() => { window.seen = undefined; }")
            await watched.until(MOVES)
            (feed,) = site.pool.feeds[KEY]
            feed.broken = True
            await watched.page.evaluate("() => { window.seen = undefined; }")
            await watched.until(MOVES)


async def test_click_on_the_timeline_plays_and_goes_on_over_a_gap(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        site.pool.inits[KEY] = live_init(media_samples.video("h264", frames=45))
        first = now_us() - 240 * SECOND
        await record(site.gateway.index, KEY, first, frames=30)
        await record(
            site.gateway.index, KEY, first + 60 * SECOND, run=2, frames=150, previous_end=GapReason.POWER
        )
        async with browse(site) as watched:
            page = watched.page
            spans = page.locator(".track .span")
            await spans.first.wait_for()
            box = await page.locator(".track").bounding_box()
            span = await spans.first.bounding_box()
            assert box is not None and span is not None
            # Into the gap after the first span: says why, plays what comes next.
            await page.mouse.move(span["x"] + span["width"] + 8, box["y"] + 10)
            reason = await page.inner_text(".readout")
            await page.mouse.click(span["x"] + 1, box["y"] + 10)
            await watched.until("() => document.querySelector('.badge')?.dataset.kind === 'clip'")
            source = await page.evaluate("() => document.querySelector('video').currentSrc")
            # The first part is 2 s long; after it the second one plays.
            await watched.until(
                "() => !document.querySelector('video').currentSrc.includes(window.first ??="
                " new URL(document.querySelector('video').currentSrc).search)",
                seconds=20,
            )
            await watched.until("() => document.querySelector('video').currentTime > 0.5")

    assert "the power was out" in reason
    assert "/clip.mp4?start=" in source
    assert watched.complaints == []


async def test_saved_clip_is_a_whole_mp4(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        await record(site.gateway.index, KEY, now_us() - 30 * SECOND, frames=300)
        async with browse(site) as watched:
            page = watched.page
            await page.get_by_role("button", name="Save clip").click()
            async with page.expect_download() as download:
                await page.get_by_role("button", name="Download MP4").click()
            file = tmp_path / (await download.value).suggested_filename
            await (await download.value).save_as(file)

    found = await asyncio.to_thread(probe, file)
    assert file.name.startswith("utara_main_") and file.suffix == ".mp4"
    assert found.frames == 300
    assert await asyncio.to_thread(decode_errors, file) == ""


async def test_range_is_sent_to_the_central_and_progress_shown(tmp_path: Path) -> None:
    store = {
        "endpoint": "http://127.0.0.1:9",
        "bucket": "cctv",
        "access_key_file": "a",
        "secret_key_file": "b",
    }
    central = {"id": "pontive", "party": "pemkot", "store": store}
    async with open_site(tmp_path, central=[central]) as site:
        site.roster.told = [camera()]
        await record(site.gateway.index, KEY, now_us() - 30 * SECOND, frames=300)
        async with browse(site) as watched:
            page = watched.page
            await page.get_by_role("button", name="Save clip").click()
            await page.get_by_role("button", name="Send to pontive").click()
            sending = page.locator("#jobs li")
            await sending.wait_for()
            progress = await sending.locator("progress").get_attribute("value")
            shown = await sending.inner_text()
            await sending.get_by_role("button", name="Cancel").click()
            await page.get_by_text("cancelled").wait_for()

    (job,) = site.jobs.jobs
    assert (job.request.camera, job.request.central) == ("utara", "pontive")
    assert job.request.end_us - job.request.start_us == 60 * SECOND
    assert "sending" in shown and "4.2 MB of 12 MB" in shown and progress == "4200000"


async def test_timeline_is_played_by_keyboard(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        await record(site.gateway.index, KEY, now_us() - 30 * SECOND, frames=300)
        async with browse(site) as watched:
            page = watched.page
            await page.locator(".track .span").first.wait_for()
            track = page.get_by_role("slider", name="Timeline of Utara")
            await track.focus()
            await track.press("Home")
            said = await track.get_attribute("aria-valuetext")
            await track.press("Enter")
            await watched.until("() => document.querySelector('.badge')?.dataset.kind === 'clip'")

    assert said is not None and said.endswith("recorded")


async def test_h265_is_shown_as_stills_and_said_so(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        units = media_samples.video("h265", frames=45, key_every=15)
        init = live_init(units, codec="h265")
        codec = init.mime.split('"')[1]
        site.roster.told = [camera(streams=(stream(codec=codec),))]
        site.pool.inits[KEY] = init
        await record(site.gateway.index, KEY, now_us() - 3 * SECOND, codec="h265", frames=45)
        async with browse(site) as watched:
            await watched.until("() => document.querySelector('.picture img')?.naturalWidth > 0")
            shown = await watched.page.inner_text("[data-camera=utara]")
            path = await watched.page.evaluate("() => document.querySelector('video').hidden")

    assert path is True
    assert "one picture every 2 s" in shown and "cannot play H.265" in shown


async def test_trouble_is_said_in_words_with_what_to_do(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        site.pool.inits[KEY] = live_init(media_samples.video("h264", frames=45))
        async with camera_sends(site, KEY) as unplug, browse(site) as watched:
            await watched.until(MOVES)
            await unplug()
            remedy = "Check its power and its cable."
            site.roster.told = [
                camera(state=CameraState.UNREACHABLE, reason="unreachable", detail="no answer", remedy=remedy)
            ]
            await watched.until(
                "() => document.querySelector('.picture .words')?.innerText.includes('Not reachable')"
            )
            shown = await watched.page.inner_text("[data-camera=utara]")
            await watched.until(
                "() => document.getElementById('health-pill').dataset.severity === 'critical'"
            )
            health = await watched.page.inner_text("#health")

    assert remedy in shown and remedy in health


async def test_no_cameras_says_where_it_looked(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, browse(site) as watched:
        await watched.page.locator("#no-cameras").wait_for()
        text = await watched.page.inner_text("#no-cameras")
        site.roster.told = [camera()]
        await watched.page.locator("[data-camera=utara]").wait_for()
        await watched.page.locator("#no-cameras").wait_for(state="hidden")

    assert "eth0 (192.168.7.2)" in text


async def test_signed_out_page_says_how_to_get_in(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, browse(site, role=None) as watched:
        text = await watched.page.inner_text("main")

    assert "simpang link" in text


async def test_viewer_sees_state_and_no_pictures(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        async with browse(site, role=Role.VIEWER) as watched:
            await watched.page.locator(".card .state").wait_for()
            pictures = await watched.page.locator("video, img, button:text('Save clip')").count()

    assert pictures == 0
    assert not [address for address in watched.addresses if "/streams/main/live" in address]


async def test_nothing_is_wider_than_the_screen(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        long_name = "Simpang Lima Bundaran Digulis Universitas Tanjungpura kamera ke-1"
        site.roster.told = [camera(name=long_name), camera("timur", name="W" * 64)]
        async with browse(site) as watched:
            await watched.page.locator(".track").first.wait_for()
            await watched.page.get_by_role("button", name="Save clip").first.click()
            for width in (1366, 768, 390, 320):
                await watched.page.set_viewport_size({"width": width, "height": 800})
                assert await watched.page.evaluate("() => document.documentElement.scrollWidth") <= width
