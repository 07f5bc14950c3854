"""The index over the API: how it is, rebuilding it, open files, and footage of another site."""

from __future__ import annotations

import asyncio
from pathlib import Path

from recordings import START_US, Take, record
from simpang.web.roles import Role
from simpang.web.times import format_time
from simpang_buffer.model import StreamKey, segment_path
from web_site import open_site

THERE = StreamKey("yard", "main")


async def test_a_rebuild_is_asked_for_and_footage_of_another_site_is_seen_and_read(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client(Role.INSTALLER) as client:
        await asyncio.to_thread(record, site.gateway.index.media, Take(seconds=4, key=THERE, site="pasar"))
        running = asyncio.create_task(site.gateway.keeper.run())
        try:
            async with client.get("/api/v1/index") as response:
                before = await response.json()
            async with client.post("/api/v1/index/rebuild", json={}) as response:
                assert response.status == 202
                asked = await response.json()
            async with asyncio.timeout(10):
                found = asked
                while found["state"] != "ok":
                    await asyncio.sleep(0.02)
                    async with client.get("/api/v1/index") as response:
                        found = await response.json()
        finally:
            running.cancel()
            await asyncio.wait([running])
        times = {"start": format_time(START_US), "end": format_time(START_US + 10_000_000)}
        async with client.get("/api/v1/cameras/yard/streams/main/coverage", params=times) as response:
            coverage = await response.json()
        async with client.get("/api/v1/cameras/yard/streams/main/clip.mp4", params=times) as response:
            clip = (response.status, len(await response.read()) > 1000)
        async with client.get("/api/v1/cameras/yard/streams/sub/coverage", params=times) as response:
            assert response.status == 404

    assert (before["state"], before["foreign"]) == ("adopting", [])
    assert (asked["state"], asked["cause"]) == ("rebuilding", "by-hand")
    assert [(one["camera"], one["stream"], one["site"]) for one in found["foreign"]] == [
        ("yard", "main", "pasar")
    ]
    assert found["foreign"][0]["oldest"] == format_time(START_US)
    assert [span["run"] for span in coverage["spans"]] == [1]
    assert clip == (200, True)


async def test_open_files_are_named_for_a_check_beside_the_gateway(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client(Role.INSTALLER) as client:
        media = site.gateway.index.media
        recording = await asyncio.to_thread(record, media, Take(seconds=2), close=False)
        assert recording.tail is not None
        site.pool.tails[recording.tail.header.key] = recording.tail

        async with client.get("/api/v1/index/open-files") as response:
            found = await response.json()

    key = recording.tail.header.key
    assert found == {"items": [segment_path(key, 1, 0).as_posix()], "next": None}
