"""Promises that hold for every route: a role, one error shape, the same guards, described in OpenAPI."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import ssl
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simpang.repair_words import INDONESIAN
from simpang.web.guards import host_is_ours, origin_is_ours
from simpang.web.listeners import MOST_CONNECTIONS, ListenFailed
from simpang.web.problems import PROBLEMS
from simpang.web.roles import Role
from simpang.web.routes import ROUTES
from simpang.web.times import format_time
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.repairs import WORDS
from web_site import camera, now_us, open_site, record, stream

KEY = StreamKey("utara", "main")


def concrete(path: str) -> str:
    return (
        path.replace("{id}", "utara")
        .replace("{stream}", "main")
        .replace("{version}", "v")
        .replace("{name}", "n")
    )


async def problem_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The body, which must be a whole problem that agrees with its response."""
    assert response.content_type == "application/problem+json", await response.text()
    body: dict[str, Any] = await response.json()
    assert {"type", "title", "status", "detail", "code", "errors"} <= set(body)
    assert body["status"] == response.status == PROBLEMS[body["code"]][0]
    assert body["type"] == f"urn:simpang:problem:{body['code']}"
    assert all(set(error) == {"path", "message"} for error in body["errors"])
    return body


@pytest.mark.parametrize("role", [None, Role.VIEWER, Role.TECHNICIAN, Role.INSTALLER])
async def test_every_route_is_for_its_role_and_errors_have_one_shape(
    tmp_path: Path, role: Role | None
) -> None:
    async with open_site(tmp_path) as site, site.client(role) as client:
        site.roster.told = [camera()]
        for route in ROUTES:
            if route.path == "/" or (route.method, route.path) == ("DELETE", "/api/v1/session"):
                continue
            async with client.request(route.method, concrete(route.path)) as response:
                allowed = (role or Role.LOCAL) >= route.role
                if response.status >= 400 and response.content_type == "application/json":
                    assert (route.path, response.status) == ("/readyz", 503)
                    continue
                code = (await problem_of(response))["code"] if response.status >= 400 else "fine"

            refused = code == ("signed-out" if role is None else "forbidden")
            # Asked without a token, the way in says the same as a closed door.
            assert refused is (not allowed or (role is None and route.path == "/api/v1/session")), route


async def test_unknown_paths_wrong_methods_and_large_bodies_are_problems(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        async with client.get("/api/v1/nothing") as response:
            assert (await problem_of(response))["code"] == "not-found"
        async with client.put("/api/v1/cameras") as response:
            assert (await problem_of(response))["code"] == "method-not-allowed"
            assert "GET" in response.headers["Allow"]
        async with client.post("/api/v1/jobs", data=b"x" * 100_000) as response:
            assert (await problem_of(response))["code"] == "too-large"
        async with client.post("/api/v1/jobs", json={"camera": "UTARA", "start": 1, "odd": True}) as response:
            paths = {error["path"] for error in (await problem_of(response))["errors"]}
            assert {"camera", "start", "end", "central", "odd"} <= paths


async def test_unforeseen_failure_says_nothing_of_itself(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [None]  # type: ignore[list-item]  # what no roster gives

        async with client.get("/api/v1/cameras") as response:
            body = await problem_of(response)

    assert body["code"] == "internal" and "NoneType" not in json.dumps(body)


async def test_openapi_describes_every_route_and_what_it_answers(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client(None) as client:
        document = await (await client.get("/api/v1/openapi.json")).json()

    listed = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert document["openapi"].startswith("3.1")
    assert listed == {(route.method, route.path) for route in ROUTES if route.documented}
    references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert references == set(document["components"]["schemas"]) - {"_"}
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert {operation["x-role"] for operation in operations} >= {"open", "viewer", "technician", "installer"}


async def test_answers_are_those_of_the_contract(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera(streams=(stream(), stream("sub", width=160)))]
        (shown,) = (await (await client.get("/api/v1/cameras")).json())["items"]
        one = await (await client.get("/api/v1/cameras/utara")).json()
        about = await (await client.get("/api/v1/site")).json()
        health = await (await client.get("/api/v1/health")).json()
        found = await (await client.get("/api/v1/discovery")).json()

    assert shown == one
    assert {"id", "name", "address", "device", "state", "reason", "clock_offset_s", "streams"} <= set(one)
    assert set(one["device"]) == {"make", "model", "firmware", "serial", "epr", "mac"}
    assert set(one["streams"][0]) == {
        "name", "codec", "width", "height", "fps", "bps", "recording_since", "last_fragment",
        "bytes", "oldest", "lag_s", "repairs", "audio", "metadata", "key_frames_s",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", one["streams"][0]["last_fragment"])
    assert (about["id"], about["time_zone"], about["clock"]["trusted"]) == ("digulis", "Asia/Pontianak", True)
    assert health == {"severity": "ok", "items": []}
    assert found["where_looked"] == ["eth0 (192.168.7.2)", "lo (127.0.0.1)"]


async def test_repairs_and_lag_stand_with_the_stream_and_a_certificate_is_trusted_anew(
    tmp_path: Path,
) -> None:
    odd = stream(lag_s=3.5, repairs={"torn_frames": 2, "of-a-later-release": 1})
    async with open_site(tmp_path) as site, site.client(Role.INSTALLER) as client:
        site.roster.told = [camera(streams=(odd,))]
        async with client.get("/api/v1/cameras/utara") as response:
            (shown,) = (await response.json())["streams"]
        async with client.post("/api/v1/cameras/utara/trust") as response:
            status = response.status

    assert shown["lag_s"] == 3.5
    assert [(one["kind"], one["count"]) for one in shown["repairs"]] == [
        ("torn_frames", 2),
        ("of-a-later-release", 1),
    ]
    assert shown["repairs"][0]["words"]["id"] == "paket yang tertulis separuh dibuang (7.11)"
    assert (status, site.pool.trusted) == (200, ["utara"])


def test_every_repair_has_words_in_both_languages() -> None:
    assert set(INDONESIAN) == set(WORDS)
    assert all(INDONESIAN[kind] != words for kind, words in WORDS.items())


async def test_readyz_names_the_cameras_that_are_not_written(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client(None) as client:
        site.roster.told = [
            camera(),
            camera("timur", streams=(stream(last_fragment_us=now_us() - 20_000_000),)),
        ]
        async with client.get("/readyz") as response:
            late = response.status, await response.json()
        site.roster.told = [camera()]
        async with client.get("/readyz") as response:
            good = response.status, await response.json()
        async with client.get("/healthz") as response:
            alive = response.status

    assert late == (503, {"not_recording": ["timur"]})
    assert good == (200, {"not_recording": []})
    assert alive == 200


async def test_metrics_are_prometheus_text(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client(None) as client:
        site.roster.told = [camera(streams=(stream(bytes=12_345_678_901),))]

        text = await (await client.get("/metrics")).text()

    assert 'simpang_stream_bytes{camera="utara",stream="main"} 12345678901\n' in text
    assert 'simpang_camera_recording{camera="utara"} 1\n' in text
    for line in text.splitlines():
        assert re.fullmatch(r'#.*|simpang_\w+(\{(\w+="[^"]*",?)+\})? [\d.e+-]+', line), line


def test_only_our_names_and_addresses_are_ours() -> None:
    names = frozenset({"localhost", "gate.local"})

    for host in ("127.0.0.1:8080", "10.0.4.2", "[::1]:8443", "localhost", "LOCALHOST:80", "gate.local."):
        assert host_is_ours(host, names), host
    for host in (
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "",
        "localhost.evil.example:80",
        "::",
    ):
        assert host_is_ours(host, names) is (host == "::"), host


def test_only_our_own_origin_may_change_things() -> None:
    assert origin_is_ours("http://127.0.0.1:8080", None, "http", "127.0.0.1:8080")
    assert origin_is_ours(None, None, "http", "127.0.0.1:8080")
    assert origin_is_ours(None, "same-origin", "http", "127.0.0.1:8080")
    for origin in ("null", "http://127.0.0.1:8081", "https://127.0.0.1:8080", "http://evil.example", ""):
        assert not origin_is_ours(origin, None, "http", "127.0.0.1:8080"), origin
    assert not origin_is_ours(None, "cross-site", "http", "127.0.0.1:8080")
    assert not origin_is_ours("http://[", None, "http", "127.0.0.1:8080")


async def test_foreign_host_and_origin_are_refused_on_changes_and_upgrades(tmp_path: Path) -> None:
    foreign = {"Origin": "http://evil.example"}
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        async with client.get("/healthz", headers={"Host": "evil.example"}) as response:
            assert (await problem_of(response))["code"] == "wrong-host"
        async with client.post("/api/v1/login-link", json={}, headers=foreign) as response:
            assert (await problem_of(response))["code"] == "wrong-origin"
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await client.ws_connect("/api/v1/cameras/utara/streams/main/live", headers=foreign)
        async with client.get("/api/v1/cameras", headers=foreign) as response:
            assert response.status == 200
            assert not [name for name in response.headers if name.lower().startswith("access-control")]


async def test_every_answer_carries_the_strict_headers(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client(None) as client:
        for path in ("/", "/healthz", "/api/v1/cameras", "/nothing"):
            async with client.get(path) as response:
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert "Server" not in response.headers


async def test_socket_is_installer_and_0600(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        connector = aiohttp.UnixConnector(str(site.opened.socket_path))
        async with aiohttp.ClientSession("http://simpang", connector=connector) as client:
            link = await (await client.post("/api/v1/login-link", json={"role": "viewer"})).json()

        assert site.opened.socket_path.stat().st_mode & 0o777 == 0o600
        async with site.client(None) as browser:
            async with browser.get(f"/?{link['url'].partition('?')[2]}", allow_redirects=False) as response:
                assert (response.status, response.headers["Location"]) == (303, "/")
            async with browser.post("/api/v1/login-link", json={}) as response:
                assert (await problem_of(response))["code"] == "forbidden"


async def test_tls_certificate_is_made_once_and_private(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    prints = []
    for _ in range(2):
        async with open_site(tmp_path) as site, aiohttp.ClientSession() as client:
            host, port = site.opened.tls[0]
            expected = bytes.fromhex((site.opened.fingerprint or "").replace(":", ""))
            async with client.get(
                f"https://{host}:{port}/healthz", ssl=aiohttp.Fingerprint(expected)
            ) as response:
                assert response.status == 200
            token = site.token()
            async with client.get(
                f"https://{host}:{port}/?token={token}", ssl=context, allow_redirects=False
            ) as answer:
                cookie = answer.headers["Set-Cookie"]
            prints.append(site.opened.fingerprint)

    assert prints[0] == prints[1]
    assert (tmp_path / "secrets" / "web.key").stat().st_mode & 0o777 == 0o600
    assert cookie.startswith("__Host-simpang=") and {"HttpOnly", "Secure", "SameSite=Strict"} <= set(
        cookie.split("; ")
    )


async def test_plain_http_off_loopback_shows_state_and_fingerprint_only(tmp_path: Path) -> None:
    """Any address of 127/8 is loopback, so what tells it is stood in for."""
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("simpang.web.guards.ipaddress.ip_address", NeverLoopback)
            async with client.get("/") as response:
                text = await response.text()
            async with client.get("/api/v1/cameras") as response:
                refused = (await problem_of(response))["code"]
            async with client.get(f"/?token={site.token()}", allow_redirects=False) as response:
                entered = response.cookies

    assert site.opened.fingerprint and site.opened.fingerprint in text
    assert "1 of 1 cameras recording" in text and "Utara" not in text
    assert refused == "use-https"
    assert not entered


class NeverLoopback:
    is_loopback = False

    def __init__(self, text: str) -> None:
        self.text = text


async def test_port_in_use_is_said_with_what_to_do(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        host, port = site.opened.plain[0]
        other = tmp_path / "other"
        other.mkdir()

        with pytest.raises(ListenFailed, match=rf"{host}:{port}.*another program uses it"):
            async with open_site(other, web={"listen": [], "plain_listen": [f"{host}:{port}"]}):
                pytest.fail("it listens twice")


async def test_silent_connection_is_cut_off(tmp_path: Path) -> None:
    async with open_site(tmp_path, head_s=0.2) as site:
        reader, writer = await asyncio.open_connection(*site.opened.plain[0])
        writer.write(b"GET /healthz HTT")

        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(5):
                if not await reader.read():
                    raise ConnectionResetError
        writer.close()


async def test_crowd_at_the_port_is_sent_away_and_the_socket_stays_open(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, contextlib.AsyncExitStack() as stack:
        crowd = [await asyncio.open_connection(*site.opened.plain[0]) for _ in range(MOST_CONNECTIONS)]
        for _, writer in crowd:
            stack.callback(writer.close)
        reader, writer = await asyncio.open_connection(*site.opened.plain[0])
        stack.callback(writer.close)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""

        connector = aiohttp.UnixConnector(str(site.opened.socket_path))
        async with aiohttp.ClientSession("http://simpang", connector=connector) as client:
            assert (await client.get("/healthz")).status == 200


async def test_crowd_that_never_shakes_hands_is_sent_away_too(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, contextlib.AsyncExitStack() as stack:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(MOST_CONNECTIONS + 100):
            _, writer = await asyncio.open_connection(*site.opened.tls[0])
            stack.callback(writer.close)
        await asyncio.sleep(0.3)
        ours = len(os.listdir("/proc/self/fd")) - before - (MOST_CONNECTIONS + 100)

        assert ours <= MOST_CONNECTIONS
        connector = aiohttp.UnixConnector(str(site.opened.socket_path))
        async with aiohttp.ClientSession("http://simpang", connector=connector) as client:
            assert (await client.get("/healthz")).status == 200


async def test_those_who_left_are_no_crowd(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        for _ in range(MOST_CONNECTIONS + 50):
            _, writer = await asyncio.open_connection(*site.opened.plain[0])
            writer.close()
            await writer.wait_closed()

        async with site.client(None) as client:
            assert (await client.get("/healthz")).status == 200


async def test_damaged_key_is_said_with_what_to_do(tmp_path: Path) -> None:
    async with open_site(tmp_path):
        pass
    (tmp_path / "other").mkdir()
    async with open_site(tmp_path / "other"):
        pass
    (tmp_path / "secrets" / "web.key").write_bytes((tmp_path / "other" / "secrets" / "web.key").read_bytes())

    with pytest.raises(ListenFailed, match="remove web"):
        async with open_site(tmp_path):
            pytest.fail("it serves with another's key")


@pytest.mark.parametrize("day", ["0001-01-01T{}:00:00+14:00", "9999-12-31T{}:00:00-14:00"])
async def test_time_that_no_clock_shows_is_malformed(tmp_path: Path, day: str) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        for route in ("coverage", "clip.mp4", "playlist.m3u8"):
            path = f"/api/v1/cameras/utara/streams/main/{route}"
            async with client.get(
                path, params={"start": day.format("12"), "end": day.format("13")}
            ) as response:
                assert (await problem_of(response))["code"] == "malformed"


async def test_jobs_are_made_listed_and_cancelled(tmp_path: Path) -> None:
    asked = {
        "camera": "utara",
        "start": "2026-11-24T02:00:00Z",
        "end": "2026-11-24T02:01:00Z",
        "central": "pontive",
    }
    async with open_site(tmp_path) as site, site.client() as client:
        async with client.post("/api/v1/jobs", json=asked, headers={"Idempotency-Key": "a"}) as response:
            made, first = response.status, await response.json()
        async with client.post("/api/v1/jobs", json=asked, headers={"Idempotency-Key": "a"}) as response:
            again, second = response.status, await response.json()
        async with client.post("/api/v1/jobs", json={**asked, "central": "nobody"}) as response:
            assert (await problem_of(response))["refusal"] == "malformed"
        async with client.get("/api/v1/jobs?state=sending") as response:
            listed = (await response.json())["items"]
        async with client.delete(f"/api/v1/jobs/{first['id']}") as response:
            assert (await response.json())["state"] == "cancelled"
        async with client.get("/api/v1/jobs?state=odd") as response:
            assert (await problem_of(response))["code"] == "malformed"

    assert (made, again, first["id"]) == (201, 200, second["id"])
    assert listed == [first]
    assert first["start"] == "2026-11-24T02:00:00.000000Z"


async def test_coverage_has_a_reason_for_every_gap(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera(state="unreachable", reason="unreachable")]
        start = now_us() - 60_000_000
        await record(site.gateway.index, KEY, start)
        query = {"start": format_time(start - 5_000_000), "end": format_time(now_us())}

        async with client.get("/api/v1/cameras/utara/streams/main/coverage", params=query) as response:
            found = await response.json()

    (span,) = found["spans"]
    assert span["start"] == format_time(start) and span["run"] == 1 and span["bytes"] > 0
    assert [gap["reason"] for gap in found["gaps"]][-1] == "unreachable"
    assert all(gap["reason"] for gap in found["gaps"])


async def test_sign_in_is_refused_when_stale_or_repeated(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client(None) as client:
        token = site.token()
        stale = site.gateway.sessions.mint(Role.VIEWER, time.monotonic() - 3601)
        async with client.head(f"/?token={token}") as response:
            looked_at = response.status, response.cookies
        async with client.get(f"/?token={stale}") as response:
            too_old = response.status, await response.text()
        async with client.post("/api/v1/session", json={"token": token}) as response:
            assert response.status == 204
            cookie = response.headers["Set-Cookie"]
        async with client.get("/") as response:
            page = response.status, await response.text()
        client.cookie_jar.clear()
        async with client.post("/api/v1/session", json={"token": token}) as response:
            assert (await problem_of(response))["code"] == "signed-out"
        async with client.post(
            "/api/v1/session", json={"user": "a", "password": "hunter2", "x": 1}
        ) as response:
            assert "hunter2" not in await response.text()

    assert looked_at[0] == 401 and not looked_at[1]
    assert too_old[0] == 401 and "simpang link" in too_old[1]
    assert page[0] == 200 and "Bundaran Digulis" in page[1] and token not in page[1]
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))


async def test_signing_out_ends_the_session(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.client() as client:
        (cookie,) = client.cookie_jar
        async with client.delete("/api/v1/session") as response:
            assert response.status == 204
        async with client.get("/api/v1/site", headers={"Cookie": f"{cookie.key}={cookie.value}"}) as response:
            assert (await problem_of(response))["code"] == "signed-out"


def test_a_site_for_tests_is_the_real_thing() -> None:
    """The stand-ins may not drift from what they stand for."""
    from simpang.jobs.jobs import Jobs
    from simpang.roster.roster import Roster
    from simpang_buffer.recording.pool import RecorderPool
    from web_site import FedPool, ListedJobs, ToldRoster

    for real, stand_in in ((Jobs, ListedJobs), (Roster, ToldRoster), (RecorderPool, FedPool)):
        used = {
            name for name in vars(stand_in) if not name.startswith("_") and callable(getattr(stand_in, name))
        }
        assert used - {"offer"} <= set(dir(real))
