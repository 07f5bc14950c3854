"""The installed product sends footage to a real store when asked on the command line, through a SIGKILL."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from media_files import decode_errors, probe
from peer_seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFs, seaweedfs
from product import Product, camera, now_us, product, rfc3339, toml, until
from served_camera import served_camera
from simpang.store.sigv4 import EMPTY_SHA256, StoreKeys, sign
from stage import stage

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

FPS = 15
CENTRAL = """
[[central]]
id = "pontive"
party = "pemkot"
[central.store]
endpoint = "{endpoint}"
bucket = "{bucket}"
prefix = "jalan/"
access_key_file = "s3-access"
secret_key_file = "s3-secret"
[uplink]
ceiling = "900 kbit/s"
"""
CHUNK_KEY = re.compile(
    r"digulis/pemkot/\d{4}-\d\d-\d\d/utara\.main/\d\d/\d\d-\d\d\.\d{6}Z\.(\d+)\.mp4"
)  # of the contract, behind the store's prefix


@dataclass
class Sending:
    gateway: Product
    store: SeaweedFs


@pytest.fixture(scope="module")
def sending(own_network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sending]:
    """A camera of 15 pictures and some 500 kbit in a second, and an uplink that is hardly faster."""
    folder = tmp_path_factory.mktemp("e2e")
    with product(folder) as gateway, stage() as there, seaweedfs(tmp_path_factory.mktemp("weed")) as store:
        peer = there.enter(served_camera(fps=FPS, width=320, height=240, noise=4000))
        central = CENTRAL.format(endpoint=store.endpoint, bucket=store.bucket)
        gateway.configure(
            toml(camera("utara", peer.url()) + central),
            {"s3-access": ACCESS_KEY, "s3-secret": SECRET_KEY},
        )
        gateway.start()
        yield Sending(gateway, store)


def test_job_from_the_command_line_survives_a_kill_and_what_it_sends_is_whole(
    sending: Sending, tmp_path: Path
) -> None:
    gateway = sending.gateway
    start_us, end_us = gateway.wait_footage("utara", 10)

    added = gateway.cli(
        "--json", "job", "add", "--camera", "utara", "--start", rfc3339(start_us), "--end", rfc3339(end_us),
        "--to", "pontive",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    job = json.loads(added.stdout)["id"]
    before = until(lambda: started(gateway, job), 30, lambda: f"{shown(gateway, job)}\n{gateway.log[-2000:]}")
    gateway.running.kill()
    gateway.running.wait()
    gateway.start()
    after = shown(gateway, job)
    done = until(lambda: ended(gateway, job), 60, lambda: f"{shown(gateway, job)}\n{gateway.log[-2000:]}")

    assert (before["state"], before["chunks_done"] < before["chunks_total"]) == ("sending", True), before
    assert after["chunks_done"] >= before["chunks_done"]
    assert (done["state"], done["chunks_done"]) == ("done", done["chunks_total"]), done
    listed = gateway.cli("--json", "job", "list", "--state", "done")
    assert [one["id"] for one in json.loads(listed.stdout)["items"]] == [job]
    words = gateway.cli("job", "show", job)
    assert done["manifest"] == f"jalan/digulis/pemkot/requests/{job}/manifest.json"
    assert (words.returncode, done["manifest"] in words.stdout) == (0, True), words.stderr

    manifest = json.loads(fetch(sending.store, done["manifest"])[0])
    playlist = fetch(sending.store, done["manifest"].replace("manifest.json", "playlist.m3u8"))[0].decode()
    assert (manifest["final"], manifest["gaps"], manifest["camera"]) == (True, [], "utara")
    assert playlist.endswith("#EXT-X-ENDLIST\n")
    chunks = [chunk for part in manifest["parts"] for chunk in part["chunks"]]
    matches = [CHUNK_KEY.fullmatch(chunk["key"]) for chunk in chunks]
    assert [match and match[1] for match in matches] == [str(number) for number in range(len(chunks))]
    frames = 0
    for number, chunk in enumerate(chunks):
        body, headers = fetch(sending.store, f"jalan/{chunk['key']}")
        file = tmp_path / f"{number}.mp4"
        file.write_bytes(body)
        assert (hashlib.sha256(body).hexdigest(), len(body)) == (chunk["sha256"], chunk["bytes"])
        assert headers["x-amz-meta-sha256"] == chunk["sha256"]
        assert (headers["x-amz-meta-videowidth"], headers["x-amz-meta-videoheight"]) == ("320", "240")
        assert headers["content-type"].startswith("video/mp4")
        assert decode_errors(file) == ""
        probed = probe(file)
        assert probed.frames == probed.packets
        assert probed.keys[0]
        frames += probed.frames
    assert abs(frames - (end_us - start_us) / 1e6 * FPS) <= 4 * FPS, (
        f"{frames} pictures in {len(chunks)} chunks"
    )


def test_job_for_footage_still_to_come_can_be_cancelled(sending: Sending) -> None:
    gateway = sending.gateway
    gateway.wait_recording("utara")
    now = now_us()
    added = gateway.cli(
        "--json", "job", "add", "--camera", "utara", "--start", rfc3339(now - 2_000_000),
        "--end", rfc3339(now + 600_000_000), "--to", "pontive",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    job = json.loads(added.stdout)["id"]

    cancelled = gateway.cli("job", "cancel", job)
    listed = gateway.cli("--json", "job", "list")

    assert (cancelled.returncode, "cancelled" in cancelled.stdout) == (0, True), cancelled.stderr
    states = {one["id"]: one["state"] for one in json.loads(listed.stdout)["items"]}
    assert states[job] == "cancelled"
    assert gateway.check("--deep").returncode == 0


def shown(gateway: Product, job: str) -> dict[str, Any]:
    found: dict[str, Any] = gateway.get(f"/api/v1/jobs/{job}").json
    return found


def started(gateway: Product, job: str) -> dict[str, Any] | None:
    """The job, once a chunk of it has arrived."""
    found = shown(gateway, job)
    return found if found["chunks_done"] else None


def ended(gateway: Product, job: str) -> dict[str, Any] | None:
    found = shown(gateway, job)
    return found if found["state"] in ("done", "partial", "failed", "expired", "cancelled") else None


def fetch(store: SeaweedFs, key: str) -> tuple[bytes, dict[str, str]]:
    """An object and its headers, as whoever holds the keys gets it."""
    host, path = store.endpoint.removeprefix("http://"), f"/{store.bucket}/{key}"
    keys = StoreKeys(ACCESS_KEY, SECRET_KEY)
    headers = sign(keys, "GET", host, path, {}, {}, EMPTY_SHA256, datetime.now(UTC))
    with urllib.request.urlopen(
        urllib.request.Request(f"{store.endpoint}{path}", headers=headers), timeout=10
    ) as got:
        return got.read(), {name.lower(): value for name, value in got.headers.items()}
