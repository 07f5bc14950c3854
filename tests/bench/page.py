"""The page, as a person gets it: bytes of the first load, time to the first live picture, and how late it is.

Starts the demo, opens its link in Chromium, and reads the clock that the H.264 camera burns into its picture
(a strip of 48 black and white cells: milliseconds UTC) from what the browser shows, fifty times.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.async_api import Page, Response, async_playwright

SIMPANG = Path(sys.executable).parent / "simpang"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
# Milliseconds that the picture lags behind the browser's own clock, or null where no strip can be read.
LATE = """() => {
  const video = [...document.querySelectorAll("video")].find((one) => one.readyState >= 2 && one.videoWidth);
  if (!video) return null;
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const now = Date.now();
  const row = context.getImageData(0, Math.floor(canvas.height / 90), canvas.width, 1).data;
  let burned = 0;
  for (let cell = 0; cell < 48; cell++) {
    const x = Math.floor((cell + 0.5) * canvas.width / 48);
    burned = burned * 2 + (row[4 * x + 1] > 127 ? 1 : 0);
  }
  return Math.abs(now - burned) < 60000 ? now - burned : null;
}"""


@contextlib.contextmanager
def demo(folder: Path) -> Iterator[str]:
    """Yields the link, once both cameras are recorded."""
    process = subprocess.Popen(
        [str(SIMPANG), "demo", "--data", str(folder), "--listen", "127.0.0.1:18090"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://\S+token=\S+", line):
                break
        else:
            raise SystemExit("the demo ended")
        time.sleep(15)
        yield found.group(0)
    finally:
        process.terminate()
        process.wait(15)


async def look(link: str, samples: int) -> None:
    loaded = 0

    async def count(response: Response) -> None:
        nonlocal loaded
        with contextlib.suppress(Exception):
            sizes = await response.request.sizes()
            loaded += sizes["responseBodySize"] + sizes["responseHeadersSize"]

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = await browser.new_page(viewport={"width": 1366, "height": 900})
        page.on("response", count)
        begun = time.monotonic()
        await page.goto(link)
        first = await late(page)
        first_s = time.monotonic() - begun
        first_load = loaded
        await asyncio.sleep(3)
        delays = []
        while len(delays) < samples:
            delays.append(await late(page))
            await asyncio.sleep(0.2)
        await browser.close()
    print(f"first load: {first_load / 1000:.0f} kB (with the first still picture, without live video)")
    print(f"first live picture: {first_s:.2f} s after the link was opened, {first:.0f} ms late")
    quantiles = statistics.quantiles(delays, n=20)
    print(f"live delay: median {statistics.median(delays):.0f} ms, 95 % below {quantiles[-1]:.0f} ms")


async def late(page: Page) -> float:
    async with asyncio.timeout(20):
        while (value := await page.evaluate(LATE)) is None:
            await asyncio.sleep(0.02)
    return float(value)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--samples", type=int, default=50)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, demo(Path(folder)) as link:
        asyncio.run(look(link, options.samples))


if __name__ == "__main__":
    main()
