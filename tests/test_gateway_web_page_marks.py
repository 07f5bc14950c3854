"""The page's cameras and timelines in Chromium: remarks, events, held stretches, times that are not sure."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Page

from simpang.web.roles import Role
from simpang_buffer.index.events import Event, EventKind
from simpang_buffer.index.holds import HoldWish, hold, holds
from simpang_buffer.model import AnchorSource, GapReason, StreamKey
from simpang_buffer.recording.contents import Contents
from web_browser import browse
from web_site import camera, now_us, open_site, record, stream

KEY = StreamKey("utara", "main")
SECOND = 1_000_000


async def test_camera_says_what_is_not_well_and_nothing_where_all_is(tmp_path: Path) -> None:
    odd = stream(
        lag_s=3.4,
        repairs={"lost_packets": 1250, "redirects": 2},
        contents=Contents(audio="G.726: not recorded", key_frames_s=30.0),
    )
    well = stream(lag_s=0.2, repairs={"signed_again": 2}, contents=Contents(audio="AAC, 16 kHz"))
    async with open_site(tmp_path) as site:
        site.roster.told = [camera(streams=(odd,)), camera("timur", streams=(well,))]
        async with browse(site) as watched:
            page = watched.page
            remarks = page.locator("[data-camera=utara] .remarks")
            await remarks.wait_for()
            await remarks.locator("summary").press("Enter")
            said = await remarks.inner_text()
            quiet = await page.locator("[data-camera=timur] .remarks").is_hidden()
            facts = await page.inner_text("[data-camera=timur] .facts")

    assert "3.4 s late" in said and "Key frames are 30 s apart" in said
    assert "No sound is kept (G.726: not recorded)" in said
    assert "packets were lost on the way" in said and "1,250 ×" in said
    assert "(7.12)" not in said and "(7.15)" not in said  # clauses of papers that nobody here has
    assert quiet and "Sound: AAC, 16 kHz" in facts


async def test_events_and_held_stretches_are_on_the_timeline_in_marks_and_words(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera(), camera("timur")]
        start = now_us() - 60 * SECOND
        await record(site.gateway.index, KEY, start, frames=600)
        event = Event(
            "utara", EventKind.LINE, start + 10 * SECOND, start + 11 * SECOND, None, "camera", "bus lane"
        )
        await site.gateway.storage.events.add(event)
        wish = HoldWish("utara", None, start + 5 * SECOND, start + 15 * SECOND, "Collision", "Sgt. Budi")
        await hold(site.gateway.index.db, wish, now_us(), 10**9)
        async with browse(site) as watched:
            page = watched.page
            mark = page.locator("[data-camera=utara] .track .event")
            await mark.wait_for()
            await page.locator("[data-camera=utara] .track .held").wait_for()
            summary = await page.inner_text("[data-camera=utara] .readout")
            box = await mark.bounding_box()
            assert box is not None
            await page.mouse.move(box["x"] + 1, box["y"] + 3)
            words = await page.inner_text("[data-camera=utara] .readout")
            elsewhere = await page.locator("[data-camera=timur] .event, [data-camera=timur] .held").count()

    assert "1 event." in summary and "Held: " in summary
    assert "Line crossed" in words and "bus lane" in words and "Held by Sgt. Budi: Collision" in words
    assert elsewhere == 0
    assert watched.faults == []


async def test_footage_that_nobody_vouched_for_is_striped_and_every_gap_has_words(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        await record(site.gateway.index, KEY, now_us() - 120 * SECOND, dated_by=AnchorSource.BOOT)
        await record(site.gateway.index, KEY, now_us() - 60 * SECOND, run=2)
        async with browse(site) as watched:
            page = watched.page
            await page.locator(".track .span").nth(1).wait_for()
            classes = [await one.get_attribute("class") for one in await page.locator(".track .span").all()]
            track = page.get_by_role("slider", name="Timeline of Utara")
            await track.focus()
            await track.press("Home")
            first = await track.get_attribute("aria-valuetext")
            await track.press("End")
            await track.press("ArrowLeft")
            last = await track.get_attribute("aria-valuetext")
            main = await page.evaluate("() => document.querySelector('script[type=module]').src")
            gaps, kinds = await page.evaluate(
                "async (folder) => [Object.keys((await import(`${folder}/timeline.js`)).GAPS),"
                " Object.keys((await import(`${folder}/marks.js`)).KINDS)]",
                main.rsplit("/", 1)[0],
            )

    assert classes == ["span unsure", "span"]
    assert first is not None and "the time is not sure" in first
    assert last is not None and "not sure" not in last
    assert set(gaps) == {reason.value for reason in GapReason}
    assert set(kinds) == {kind.value for kind in EventKind}


async def test_shown_range_is_held_with_reason_and_case_by_an_installer_only(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        await record(site.gateway.index, KEY, now_us() - 300 * SECOND, frames=300)
        async with browse(site, role=Role.TECHNICIAN) as watched:
            await watched.page.get_by_role("button", name="Save clip").wait_for()
            offered = await watched.page.get_by_role("button", name="Hold this").count()
        async with browse(site) as watched:
            page = watched.page
            await page.locator(".track .span").first.wait_for()
            await page.get_by_role("button", name="Hold this").press("Enter")
            await page.keyboard.type("Collision")  # the reason is what is asked for first
            await page.keyboard.press("Tab")
            await page.keyboard.type("LP/231")
            await page.get_by_role("button", name="Hold it").click()  # without a name it is not sent
            early = await holds(site.gateway.index.db)
            await page.get_by_label("Your name").fill("Sgt. Budi")
            shown = await shown_range(page)
            await page.keyboard.press("Enter")
            await page.locator(".track .held").wait_for()
            await page.locator("#holds li").wait_for()
        (held,) = await holds(site.gateway.index.db)

    assert offered == 0 and early == []
    assert (held.wish.reason, held.wish.case, held.wish.who) == ("Collision", "LP/231", "Sgt. Budi")
    assert held.wish.stream is None
    assert (held.wish.end_us - held.wish.start_us) / SECOND == shown
    assert held.wish.start_us < now_us() - 300 * SECOND < held.wish.end_us
    assert watched.faults == []


async def shown_range(page: Page) -> float:
    """Seconds between the two fields of the form."""
    form = page.get_by_role("form", name="Hold footage of Utara")
    begin, end = [await form.get_by_label(name, exact=True).input_value() for name in ("From", "To")]
    return float(await page.evaluate("([a, b]) => (Date.parse(b) - Date.parse(a)) / 1000", [begin, end]))
