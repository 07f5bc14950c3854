"""The installed product on a full disk, in a folder that it may not write, on a network without cameras."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kills import kill
from product import SIMPANG, Product, camera, micros, now_us, product, toml, until
from served_camera import served_camera
from stage import stage

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

# Ten seconds of the camera are 3 MB.
DISK_BYTES = 72 << 20
OTHER_PAGE = ("127.0.0.1", 8090)


@pytest.fixture(scope="module")
def lonely(own_network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A gateway that looks on loopback and finds nobody; started first, since it says so after 15 s."""
    with product(tmp_path_factory.mktemp("lonely")) as made:
        made.configure(toml(discovery='adopt = "all"\ninterfaces = ["lo"]\nevery_s = 5', listen=OTHER_PAGE))
        made.start()
        yield made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mounted where a product in tmp_path has its data."""
    folder = tmp_path / "data"
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True
    )  # in a mount namespace of the tests' own
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_disk_filled_by_others_is_told_and_recording_goes_on_by_evicting(
    lonely: Product, small_disk: Path
) -> None:
    with stage() as there, product(small_disk.parent) as gateway:
        gateway.configure(toml(camera("c0", there.enter(served_camera()).url()), min_free="24 MB"))
        gateway.start()
        # A recorder that died leaves a file that ends there: one to evict, without waiting for it to be full.
        gateway.wait_footage("c0", 4)
        kill(gateway, "recorder", ["c0"])
        first_us = micros(gateway.coverage("c0", now_us() - 600_000_000, now_us())["spans"][0]["start"])
        assert "disk-low" not in gateway.health()

        fill(small_disk / "other")
        progress = Progress(gateway)
        until(lambda: "disk-low" in gateway.health(), 20, lambda: f"health is silent: {gateway.health()}")
        until(
            lambda: progress.look() > 5,
            40,
            lambda: f"{progress.seconds} s were recorded:\n{gateway.log[-4000:]}",
        )
        item = gateway.health()["disk-low"][0]
        found = gateway.coverage("c0", first_us, now_us())
        (small_disk / "other").unlink()
        until(lambda: "disk-low" not in gateway.health(), 20, lambda: "it stays though the disk is free")
        gateway.wait_recording()
        status, _ = gateway.stop()
        after = gateway.check("--deep")

    assert str(gateway.data) in item["cause"]["en"] + item["remedy"]["en"], item
    assert item["severity"] == "critical"
    assert (status, after.returncode) == (0, 0), after.stdout
    assert micros(found["spans"][0]["start"]) > first_us, "nothing was evicted"
    assert found["gaps"][0]["reason"] == "evicted"
    assert {gap["reason"] for gap in found["gaps"][1:]} <= {"restart", "disk-full", "evicted"}


def test_folder_that_may_not_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    """Without capabilities even root is held to a folder's mode."""
    folder = tmp_path / "closed"
    folder.mkdir()
    config = tmp_path / "site.toml"
    config.write_text(toml())
    folder.chmod(0o500)
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", str(SIMPANG), "--config", str(config), "run",
         "--data", str(folder / "data")],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert str(folder / "data") in done.stderr
    assert "--data" in done.stderr or "chown" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_without_cameras_it_says_where_it_looked(lonely: Product) -> None:
    until(lambda: "no-cameras" in lonely.health(), 25, lambda: f"health is silent: {lonely.health()}")

    item = lonely.health()["no-cameras"][0]
    status = lonely.cli("status")
    discovery = lonely.get("/api/v1/discovery").json

    assert [where for where in item["evidence"]["where_looked"] if where.startswith("lo")], item
    assert "127.0.0.1" in item["cause"]["en"] or "lo" in item["cause"]["en"].split(), item
    assert item["remedy"]["en"]
    assert item["remedy"]["id"]
    assert (discovery["items"], discovery["where_looked"]) == ([], item["evidence"]["where_looked"])
    assert status.returncode == 0
    assert "Looked on: lo" in status.stdout, status.stdout
    assert lonely.get("/readyz").status == 200


def fill(path: Path) -> None:
    """Takes all that is left."""
    block = b"x" * (1 << 20)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while block:
            try:
                os.write(descriptor, block)
            except OSError:
                block = block[: len(block) // 2]
    finally:
        os.close(descriptor)


@dataclass
class Progress:
    """How many seconds were recorded since it was made: what is evicted soon after counts as well."""

    gateway: Product
    seconds: float = 0
    _last_us: int = field(default_factory=now_us)

    def look(self) -> float:
        written = self.gateway.cameras()["c0"]["streams"][0]["last_fragment"]
        if written and (last_us := micros(written)) > self._last_us:
            # A fragment has at most a second; a longer step is one over a gap.
            self.seconds += min((last_us - self._last_us) / 1e6, 1.0)
            self._last_us = last_us
        return self.seconds
