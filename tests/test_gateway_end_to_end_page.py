"""The page of a real daemon with a real camera: what is recorded is held and released there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import sync_playwright

from run_gateway import daemon, free_port, gst_camera, until, write_site
from web_browser import CHROMIUM

CAMERA = """
[[buffer.folder]]
path = "{second}"
[[camera]]
id = "utara"
name = "Utara"
url = "rtsp://127.0.0.1:{port}/stream"
"""


def test_daemon_shows_its_storage_and_footage_is_held_and_released_on_its_page(tmp_path: Path) -> None:
    port, second = free_port(), tmp_path / "second"
    second.mkdir()
    # The command line has a loop of its own, beside Playwright's.
    with gst_camera() as camera_port, ThreadPoolExecutor(1) as beside, sync_playwright() as playwright:
        write_site(tmp_path, CAMERA.format(second=second, port=camera_port), port)
        with daemon(tmp_path, port) as running:
            until(lambda: beside.submit(running.cli, "status").result().returncode == 0)
            link = beside.submit(running.cli, "link").result().stdout.split()[-1]
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "console",
                lambda said: complaints.append(said.text) if "Content Security" in said.text else None,
            )
            page.goto(link)
            page.locator(".track .span").first.wait_for()
            page.locator(f'[data-folder="{second}"]').wait_for()
            folders = page.locator("#folders [data-folder]").count()
            page.get_by_role("button", name="Hold this").click()
            page.get_by_label("Reason").fill("Collision")
            page.get_by_label("Your name").fill("Sgt. Budi")
            page.get_by_role("button", name="Hold it").click()
            page.locator(".track .held").wait_for()
            (held,) = beside.submit(running.ask, "buffer", "holds").result()["items"]
            page.get_by_role("button", name="Release Utara").click()
            page.get_by_role("button", name="Release it").click()  # whose name it is stands there already
            page.get_by_text("Nothing is held back").wait_for()
            left = beside.submit(running.ask, "buffer", "holds").result()["items"]
            browser.close()

    assert folders == 2
    assert (held["camera"], held["reason"], held["who"]) == ("utara", "Collision", "Sgt. Budi")
    assert left == []
    assert complaints == []
