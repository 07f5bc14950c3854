"""Holds, events, deletions and forecasts over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simpang.web.roles import Role
from simpang.web.times import format_time
from simpang_buffer.index.events import MOST_A_DAY
from simpang_buffer.model import Segment, StreamKey
from web_site import Site, camera, now_us, open_site, record, stream

KEY = StreamKey("utara", "main")
HOUR_US = 3_600_000_000


@contextlib.asynccontextmanager
async def recorded_site(
    data: Path, **config: Any
) -> AsyncIterator[tuple[Site, aiohttp.ClientSession, Segment]]:
    """One camera with four seconds of footage, an hour old."""
    async with open_site(data, **config) as site, site.client() as client:
        site.roster.told = [camera(streams=(stream("main"), stream("sub")))]
        segment = await record(site.gateway.index, KEY, now_us() - HOUR_US)
        yield site, client, segment


def around(segment: Segment) -> dict[str, str]:
    return {"start": format_time(segment.start_us - 1), "end": format_time(segment.end_us + 1)}


async def answer(
    client: aiohttp.ClientSession, method: str, path: str, status: int = 200, **asked: Any
) -> dict[str, Any]:
    async with client.request(method, f"/api/v1/{path}", **asked) as response:
        body: dict[str, Any] = await response.json(content_type=None)
        assert response.status == status, body
        return body


async def test_a_hold_is_made_listed_and_released_with_its_record(tmp_path: Path) -> None:
    async with recorded_site(tmp_path) as (_, client, segment):
        wish = {
            "camera": "utara",
            "reason": "accident",
            "who": "Unit Laka",
            "case": "LP-1",
            **around(segment),
        }

        made = await answer(client, "POST", "holds", 201, json=wish)
        listed = await answer(client, "GET", "holds", params={"camera": "utara"})
        who = {"who": "Kanit", "reason": "closed"}
        released = await answer(client, "DELETE", f"holds/{made['id']}", params=who)
        left = await answer(client, "GET", "holds")
        record = await answer(client, "GET", "holds", params={"ended": "true"})

    assert {name: made[name] for name in wish} == wish
    assert listed["items"] == [made]
    assert (released["released_by"], released["released_why"]) == ("Kanit", "closed")
    assert (left["items"], record["items"]) == ([], [released])


async def test_holds_of_a_case_are_released_together(tmp_path: Path) -> None:
    async with recorded_site(tmp_path) as (_, client, segment):
        wish = {"camera": "utara", "reason": "r", "who": "w", "case": "LP-1", **around(segment)}
        await answer(client, "POST", "holds", 201, json=wish)
        await answer(client, "POST", "holds", 201, json={**wish, "stream": "sub"})

        released = await answer(client, "DELETE", "holds", params={"case": "LP-1", "who": "Kanit"})
        nothing = await answer(client, "DELETE", "holds", 404, params={"case": "LP-1", "who": "Kanit"})

    assert len(released["items"]) == 2
    assert nothing["code"] == "not-found"


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"camera": "selatan"}, 404, "selatan"),
        ({"reason": ""}, 400, "reason"),
        ({"who": "line\nbreak"}, 400, "who"),
        ({"end": "2020-01-01T00:00:00Z"}, 400, "later than start"),
        ({"until": "2020-01-01T00:00:00Z"}, 400, "later than now"),
        ({"odd": 1}, 400, "odd"),
    ],
)
async def test_a_hold_that_means_nothing_is_refused(
    tmp_path: Path, change: dict[str, Any], status: int, said: str
) -> None:
    async with recorded_site(tmp_path) as (_, client, segment):
        wish = {"camera": "utara", "reason": "r", "who": "w", **around(segment), **change}

        refused = await answer(client, "POST", "holds", status, json=wish)

    assert said in str(refused)


async def test_a_hold_beyond_what_holds_may_take_is_refused_with_figures(tmp_path: Path) -> None:
    async with recorded_site(tmp_path) as (site, client, segment):
        object.__setattr__(site.gateway, "hold_bytes", lambda: segment.size_bytes - 1)
        wish = {"camera": "utara", "reason": "r", "who": "w", **around(segment)}

        refused = await answer(client, "POST", "holds", 409, json=wish)
        await answer(client, "POST", "holds", 201, json={**wish, "legal": True})

    assert refused["code"] == "conflict"
    assert f"{segment.size_bytes} bytes" in refused["detail"] and "hold_max_percent" in refused["detail"]


async def test_footage_is_deleted_by_somebody_for_a_reason_but_not_what_is_held(tmp_path: Path) -> None:
    path = "cameras/utara/streams/main/footage"
    async with recorded_site(tmp_path) as (site, client, segment):
        wish = {"camera": "utara", "reason": "r", "who": "w", "case": "LP-1", **around(segment)}
        asked = {**around(segment), "who": "Ani", "reason": "wrong view"}
        await answer(client, "POST", "holds", 201, json=wish)

        nameless = await answer(client, "DELETE", path, 400, params=around(segment))
        refused = await answer(client, "DELETE", path, 409, params=asked)
        still = await site.gateway.index.segments(KEY, 0, segment.end_us)
        await answer(client, "DELETE", "holds", params={"case": "LP-1", "who": "Kanit"})
        done = await answer(client, "DELETE", path, params=asked)
        (deletion,) = (await answer(client, "GET", "deletions", params=around(segment)))["items"]
        coverage = await answer(client, "GET", "cameras/utara/streams/main/coverage", params=around(segment))
        again = await answer(client, "DELETE", path, 404, params=asked)

    assert nameless["errors"][0]["path"] == "who"
    assert f"1 segments ({segment.size_bytes} bytes)" in refused["detail"] and still == [segment]
    assert (done["segments"], done["bytes"], done["held_segments"]) == (1, segment.size_bytes, 0)
    assert {name: deletion[name] for name in ("rule", "who", "why", "segments", "bytes")} == {
        "rule": "person", "who": "Ani", "why": "wrong view", "segments": 1, "bytes": segment.size_bytes,
    }  # fmt: skip
    assert "deleted" in {gap["reason"] for gap in coverage["gaps"]}
    assert again["code"] == "nothing-recorded"


async def test_a_moment_is_marked_and_found_by_camera_and_kind(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client(Role.TECHNICIAN) as client:
        site.roster.told = [camera()]
        now = now_us()
        mark = {"camera": "utara", "kind": "tamper", "who": "Budi", "words": "spray paint"}

        made = await answer(client, "POST", "events", 201, json=mark)
        await answer(client, "POST", "events", 201, json={"camera": "utara", "who": "Budi"})
        span = {"start": format_time(now - HOUR_US), "end": format_time(now + HOUR_US)}
        found = await answer(client, "GET", "events", params={**span, "kind": "tamper"})
        everything = await answer(client, "GET", "events", params={**span, "camera": "utara"})
        none = await answer(client, "GET", "events", params={**span, "camera": "selatan"})
        odd = await answer(client, "GET", "events", 400, params={**span, "kind": "noise"})
        early = {**mark, "start": format_time(now + HOUR_US)}
        await answer(client, "POST", "events", 400, json=early)
        await answer(client, "POST", "events", 404, json={**mark, "camera": "selatan"})

    assert found["items"] == [made]
    assert (made["source"], made["words"]) == ("person: Budi", "spray paint")
    assert [one["kind"] for one in everything["items"]] == ["other", "tamper"]
    assert none["items"] == []
    assert "motion" in odd["errors"][0]["message"]


async def test_a_flood_of_events_is_refused_counted_and_listed_in_pages(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        day_us = now_us() // 86_400_000_000 * 86_400_000_000
        async with site.gateway.index.db.transaction() as tx:
            await tx.run_many(
                "insert into event (camera, kind, start_us) values ('utara', 'motion', ?)",
                [(day_us + number,) for number in range(MOST_A_DAY)],
            )

        refused = await answer(client, "POST", "events", 409, json={"camera": "utara", "who": "Budi"})
        span = {"start": format_time(day_us), "end": format_time(day_us + 1200)}
        ids, query = [], dict(span)
        while True:
            page = await answer(client, "GET", "events", params=query)
            ids += [one["id"] for one in page["items"]]
            if page["next"] is None:
                break
            query = {**span, "after": page["next"]}

    assert "10000" in refused["detail"]
    assert site.gateway.storage.events.refused == {"utara": 1}
    assert len(ids) == len(set(ids)) == 1200


async def test_a_forecast_lays_a_change_beside_what_is(tmp_path: Path) -> None:
    buffer = {"max_bytes": "90%", "min_free": "2 GB"}
    async with recorded_site(tmp_path, buffer=buffer) as (_, client, segment):
        as_it_is = await answer(client, "GET", "storage/forecast")
        query = {"camera": "utara", "stream": "main", "bps": "400 Mbit/s", "max_bytes": "400 GB"}
        changed = await answer(client, "GET", "storage/forecast", params=query)
        odd = await answer(
            client, "GET", "storage/forecast", 400, params={"max_bytes": "much", "camera": "utara"}
        )

    (now,) = as_it_is["items"]
    assert now["before"] == now["after"]
    assert (now["after"]["days"], now["after"]["limited_by"]) == (30, "age")
    assert now["bytes"] == segment.size_bytes
    # An hour is what there is to measure.
    assert now["bytes_last_day"] == pytest.approx(segment.size_bytes * 24, rel=0.02)
    (then,) = changed["items"]
    # A microsecond later it is a byte less a day.
    assert then["before"]["bytes_a_day"] == pytest.approx(now["before"]["bytes_a_day"], rel=0.01)
    assert then["before"]["days"] == 30
    assert changed["after"]["capacity_bytes"] == 400 * 10**9
    # 400 Mbit/s are 4.32 TB a day.
    assert then["after"]["days"] == pytest.approx(400 / 4320, abs=0.01)
    assert then["after"]["limited_by"] == "space"
    assert {error["path"] for error in odd["errors"]} == {"max_bytes", "bps"}
