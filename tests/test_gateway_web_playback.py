"""Recorded footage in Debian's Chromium: which picture is shown, which sound is decoded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from media_samples import g711
from numbered_pictures import HEIGHT, SHOWN_JS, WIDTH, numbered
from recordings import Take, recorded
from simpang.web.times import format_time
from simpang_buffer.model import StreamKey
from web_browser import Watched, browse
from web_site import camera, now_us, open_site, record

__all__ = ["numbered"]

KEY = StreamKey("utara", "main")
CLIP = "/api/v1/cameras/utara/streams/main/clip.mp4"
SECOND = 1_000_000

# Loads an address into a <video>, shows some moments of it, then plays it to its end.
_PLAY_JS = """async ([address, moments, shownJs, numbered]) => {
    const shown = eval(shownJs), video = document.createElement("video");
    video.muted = true;
    // In sight, since what is not is not painted.
    Object.assign(video.style, { position: "fixed", top: 0, left: 0, zIndex: 9999 });
    document.body.append(video);
    const once = (event) => new Promise((done, failed) => {
        video.addEventListener(event, done, { once: true });
        video.addEventListener("error", () => failed(new Error(video.error.message)), { once: true });
    });
    const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const painted = async () => {
        for (let tries = 0; tries < 200 && numbered && shown(video) < 0; tries++) await frame();
        await frame();
    };
    let ready = once("loadeddata");
    video.src = address;
    await ready;
    await painted();
    const found = { first: shown(video), duration: video.duration, moments: [] };
    for (const moment of moments) {
        ready = once("seeked");
        video.currentTime = moment;
        await ready;
        await painted();
        found.moments.push(shown(video));
    }
    ready = once("ended");
    video.playbackRate = 4;
    await video.play();
    await ready;
    found.last = shown(video);
    found.soundBytes = video.webkitAudioDecodedByteCount;
    return found;
}"""


async def play(watched: Watched, address: str, moments: list[float], *, pictures: bool = False) -> Any:
    """pictures: they are numbered."""
    async with asyncio.timeout(30):
        return await watched.page.evaluate(_PLAY_JS, [address, moments, SHOWN_JS, pictures])


@pytest.mark.usefixtures("numbered")
async def test_the_first_picture_is_the_one_asked_for_and_so_is_the_last(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        start = now_us() - 60 * SECOND
        await record(site.gateway.index, KEY, start, frames=150, width=WIDTH, height=HEIGHT)
        first, behind = 22, 100
        query = {
            "start": format_time(start + first * SECOND // 15),
            "end": format_time(start + behind * SECOND // 15),
            "exact": "1",
        }
        async with browse(site) as watched:
            # In the middle of pictures: before the first key frame that is shown, and behind it.
            seen = await play(watched, f"{CLIP}?{urlencode(query)}", [0.3, 2.03, 4.03, 0], pictures=True)

    assert seen["first"] == first
    assert seen["moments"] == [first + 4, first + 30, first + 60, first]
    assert seen["last"] == behind - 1
    assert seen["duration"] == pytest.approx((behind - first) / 15, abs=1.5)


async def test_sound_that_browsers_do_not_play_is_made_such_that_they_do(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        start = now_us() - 60 * SECOND
        take = Take(seconds=6, start_us=start, key=KEY, sound=g711("PCMA", seconds=6))
        await recorded(site.gateway.index, take)
        query = {"start": format_time(start), "end": format_time(start + 6 * SECOND)}
        async with browse(site) as watched:
            heard = await play(watched, f"{CLIP}?{urlencode(query | {'audio': 'aac'})}", [3.0])

    assert heard["soundBytes"] > 6 * 768
    assert heard["duration"] == pytest.approx(6, abs=0.3)


async def test_a_track_that_browsers_do_not_know_does_not_stop_them(tmp_path: Path) -> None:
    """The metadata of the camera is kept in what is played, beside the pictures."""
    async with open_site(tmp_path) as site:
        site.roster.told = [camera()]
        start = now_us() - 60 * SECOND
        await recorded(site.gateway.index, Take(seconds=6, start_us=start, key=KEY, documents=True))
        query = {"start": format_time(start), "end": format_time(start + 6 * SECOND)}
        async with browse(site) as watched:
            plain = await play(watched, f"{CLIP}?{urlencode(query)}", [3.0])
            exact = await play(watched, f"{CLIP}?{urlencode(query | {'exact': '1'})}", [3.0])

    assert plain["duration"] == pytest.approx(6, abs=0.3)
    assert exact["duration"] == pytest.approx(6, abs=0.3)
