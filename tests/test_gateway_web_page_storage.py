"""The page's Storage part in Chromium: days, folders, what is under way, holds and the clock."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from simpang.clock import Reading
from simpang.clock_health import clock_items
from simpang.clock_keeper import ClockKeeper
from simpang.disks.flush import FlushChoice
from simpang.disks.life import Life
from simpang.disks.medium import Kind, Medium
from simpang.disks.wear import DiskWear
from simpang.disks.wear_health import wear_items
from simpang.folders_health import folder_items
from simpang.gateway import Gateway
from simpang.health import Health, HealthItem
from simpang.index_health import index_items
from simpang.web.roles import Role
from simpang_buffer.index.holds import HoldWish, hold, holds
from simpang_buffer.index.keeper import Condition
from simpang_buffer.index.moving import Move
from simpang_buffer.index.recovery import Cause, Due
from simpang_buffer.model import StreamKey
from web_browser import browse
from web_site import camera, now_us, open_site, record, stream

KEY = StreamKey("utara", "main")
SECOND = 1_000_000
DAY = 86_400 * SECOND


async def test_days_that_are_there_and_will_be_are_told_with_what_limits_them(tmp_path: Path) -> None:
    async with open_site(tmp_path, buffer={"max_days": 9}) as site:
        begun = now_us() - 5 * DAY // 2 - 60 * SECOND
        site.roster.told = [camera(streams=(stream(oldest_us=begun), stream("sub", oldest_us=None)))]
        await record(site.gateway.index, KEY, begun)
        await record(site.gateway.index, KEY, now_us() - 7200 * SECOND, run=2)
        async with browse(site) as watched:
            rows = watched.page.locator("#days tbody tr")
            await rows.first.wait_for()
            told = [
                [cell.strip() for cell in (await row.inner_text()).split("\t")] for row in await rows.all()
            ]
            others = [
                (await watched.page.inner_text(place)).strip() for place in ("#power-cut", "#index", "#holds")
            ]

    assert told[0] == ["Utara, main", "2.5 days", "9.0 days", "its age limit"]
    assert told[1][:3] == ["Utara, sub", "none yet", "not measured yet"]
    # What is well takes one line.
    assert [text for text in others if "\n" in text] == []
    assert others[0] == "A power cut costs up to 2 s of footage (as flush_s says)."
    assert watched.faults == []


async def test_folder_that_is_missing_and_disk_that_is_worn_say_what_to_do(tmp_path: Path) -> None:
    worn: list[DiskWear] = []
    gone = tmp_path / "second"

    def change(gateway: Gateway) -> Gateway:
        media = gateway.index.media
        worn.append(
            DiskWear(Medium("mmcblk0", Kind.EMMC), "DG4064", (media,), 40 * 10**9, Life(12, source="emmc"))
        )
        watch = gateway.folders.folders
        return dataclasses.replace(
            gateway,
            wear=cast(Any, SimpleNamespace(disks=worn)),
            flush=FlushChoice(5.0, "default: mmcblk0 is an eMMC"),
            health=told([], lambda _: [*folder_items(watch.folders, None), *wear_items(worn)]),
        )

    async with open_site(tmp_path, change=change, buffer={"folder": [{"path": str(gone)}]}) as site:
        await site.gateway.folders.prepare()
        async with browse(site) as watched:
            missing = watched.page.locator(f'[data-folder="{gone}"]')
            await missing.wait_for()
            said = await missing.inner_text()
            first = watched.page.locator(f'[data-folder="{site.gateway.index.media}"]')
            severities = [await one.get_attribute("data-severity") for one in (missing, first)]
            worn_words = await first.inner_text()
            flush = await watched.page.inner_text("#power-cut")

    assert "Missing" in said and "Check the disk's cable and power" in said
    assert "12 % of its life left" in worn_words and "40.0 GB written a day" in worn_words
    assert "new footage goes here" in worn_words and "Exchange it before it fails" in worn_words
    assert severities == ["critical", "warning"]
    assert flush.strip() == "A power cut costs up to 5 s of footage (mmcblk0 is an eMMC)."


async def test_rebuild_and_move_show_how_far_they_are_and_a_promise_that_will_break(tmp_path: Path) -> None:
    condition = Condition(
        state="rebuilding", due=Due(cast(Cause, "damaged"), now_us(), "index.db.damaged"), done=3, total=12
    )

    async def nothing() -> None:
        return None

    def change(gateway: Gateway) -> Gateway:
        watch = gateway.folders
        watch.mover = cast(
            Any,
            SimpleNamespace(move=Move(1, 2, 10**7, now_us(), 8_000_000, left_bytes=2_000_000)),
        )
        keeper = SimpleNamespace(condition=lambda: condition, foreign={}, look_for_foreign=nothing)
        return dataclasses.replace(
            gateway,
            keeper=cast(Any, keeper),
            health=told([], lambda at_us: list(index_items(condition, "index.db", at_us))),
        )

    promise = [{"party": "police", "days": 7}]
    async with open_site(tmp_path, change=change, promise=promise, buffer={"max_bytes": "1 MB"}) as site:
        for run, ago in enumerate((60, 30), 1):
            await record(site.gateway.index, KEY, now_us() - ago * SECOND, run=run)
        async with browse(site) as watched:
            page = watched.page
            await page.locator("#index progress").wait_for()
            rebuilt = await page.locator("#index progress").evaluate("(bar) => [bar.value, bar.max]")
            words = await page.inner_text("#index")
            moved = await page.get_by_role("progressbar", name="Moving footage").evaluate(
                "(bar) => [bar.value, bar.max]"
            )
            moving = await page.inner_text("#move")
            days = await page.inner_text("#days")

    assert rebuilt == [3, 12] and moved == [6_000_000, 8_000_000]
    assert "3 of 12 files" in words and "No footage is lost." in words
    assert "6.0 MB of 8.0 MB" in moving
    assert "police is promised 7.0 days; of utara, main it will be" in days and "Add space" in days


async def test_hold_is_listed_and_released_by_an_installer_with_the_keyboard(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        start = now_us() - 600 * SECOND
        until = start + 30 * DAY
        wish = HoldWish(
            "utara", None, start, start + 60 * SECOND, "Collision", "Sgt. Budi", "LP/231", until_us=until
        )
        await hold(site.gateway.index.db, wish, now_us(), 10**9)
        async with browse(site, role=Role.TECHNICIAN) as watched:
            await watched.page.locator("#holds li").wait_for()
            buttons = await watched.page.locator("#holds button").count()
            shown = await watched.page.inner_text("#holds")
        async with browse(site) as watched:
            page = watched.page
            await page.get_by_role("button", name="Release Utara").press("Enter")
            await page.keyboard.type("Ibu Sari")
            await page.keyboard.press("Tab")
            await page.keyboard.type("Case closed")
            await page.keyboard.press("Enter")
            await page.get_by_text("Nothing is held back").wait_for()
        (ended,) = await holds(site.gateway.index.db, ended=True)

    assert buttons == 0
    for words in ("Utara", "Collision", "Sgt. Budi", "LP/231", "until "):
        assert words in shown
    assert (ended.released_by, ended.released_why) == ("Ibu Sari", "Case closed")
    assert watched.faults == []


async def test_clock_that_nobody_vouches_for_is_compared_and_trusted_by_an_installer(tmp_path: Path) -> None:
    begun = now_us()
    keepers: list[ClockKeeper] = []

    def read() -> Reading:
        return Reading(now_us() - 3600 * SECOND, now_us() - begun + 60 * SECOND, synchronised=False)

    def change(gateway: Gateway) -> Gateway:
        pool = SimpleNamespace(tell_clock=lambda _: None, is_open=lambda *_: False)
        keeper = ClockKeeper(gateway.index, cast(Any, pool), "boot", read=read)
        keepers.append(keeper)
        return dataclasses.replace(
            gateway,
            clock=keeper.clock,
            clock_keeper=keeper,
            health=told([], lambda at_us: list(clock_items(keeper.clock(), at_us))),
        )

    async with open_site(tmp_path, change=change) as site:
        await keepers[0].prepare()
        # Newer than this clock, and dated by a trusted one: it is asked about.
        await record(site.gateway.index, KEY, now_us() - 600 * SECOND)
        async with browse(site, role=Role.VIEWER) as watched:
            await watched.page.locator("#clock-line .remedy").wait_for()
            buttons = await watched.page.locator("#clock-line button").count()
        async with browse(site) as watched:
            line = watched.page.locator("#clock-line")
            await line.get_by_role("button", name="Yes, trust the clock").click()
            anyway = line.get_by_role("button", name="the footage was dated wrongly")
            await anyway.wait_for()
            asked = await line.inner_text()
            still = keepers[0].clock().trusted
            await anyway.click()
            await line.get_by_text("confirmed by an installer").wait_for()
            severity = await line.get_attribute("data-severity")

    assert buttons == 0
    assert "nobody vouches for it" in asked and "Compare it with a watch" in asked
    assert "earlier than the newest footage" in asked and "--although" not in asked
    assert not still and keepers[0].clock().source == "installer"
    assert severity == "ok"
    assert watched.faults == []


async def test_everything_of_storage_has_a_label_and_fits_the_screen(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera(name="Simpang Lima Bundaran Digulis Universitas"), camera("timur")]
        start = now_us() - 600 * SECOND
        await record(site.gateway.index, KEY, start)
        wish = HoldWish("utara", None, start, start + SECOND, "W" * 300, "S" * 64, "C" * 64)
        await hold(site.gateway.index.db, wish, now_us(), 10**9)
        async with browse(site) as watched:
            page = watched.page
            await page.locator("#days tbody tr").first.wait_for()
            await page.get_by_role("button", name="Hold this").first.click()
            await page.locator("#holds li button").first.click()
            nameless = await page.evaluate("""() =>
                [...document.querySelectorAll("input, button, summary, progress")]
                .filter((one) => one.checkVisibility())
                .filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
                .map((one) => one.outerHTML)""")
            for width in (1366, 390, 320):
                await page.set_viewport_size({"width": width, "height": 800})
                assert await page.evaluate("() => document.documentElement.scrollWidth") <= width
            styles = json.dumps(await page.evaluate("() => document.querySelectorAll('style').length"))

    assert nameless == []
    assert styles == "0" and watched.faults == []


def told(items: list[HealthItem], found: Callable[[int], list[HealthItem]]) -> Callable[[int], Health]:
    """Health of these and of what is found now."""

    def health(at_us: int) -> Health:
        all_ = (*items, *found(at_us))
        worst = "critical" if any(one.severity == "critical" for one in all_) else "warning"
        return Health(worst if all_ else "ok", all_)

    return health
