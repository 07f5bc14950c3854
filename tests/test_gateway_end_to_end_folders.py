"""The installed product with two disks: its own missing at the start, and footage moved by one command."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from product import Product, camera, micros, now_us, toml, until
from served_camera import served_camera
from stage import stage

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")


@dataclass
class Apart(Product):
    """Its configuration lies outside its data folder, which may have no disk. root: where."""

    root: Path = Path()

    @property
    def config(self) -> Path:
        return self.root / "site.toml"

    @property
    def log(self) -> str:
        return (self.root / "data.log").read_text()

    def configure(self, text: str, secrets: Mapping[str, str] | None = None) -> None:
        self.config.write_text(text)

    def elsewhere(self, data: Path) -> Apart:
        """The same process, asked where it works now."""
        return Apart(data, process=self.process, root=self.root)


@contextlib.contextmanager
def apart(root: Path) -> Iterator[Apart]:
    made = Apart(root / "data", root=root)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Path]:
    """Two folders that stand for disks, and the points at which they are mounted."""
    for name in ("first", "second", "data", "more"):
        (tmp_path / name).mkdir()
    yield tmp_path
    for name in ("data", "more"):
        subprocess.run(["umount", "--lazy", str(tmp_path / name)], check=False, capture_output=True)


def plug(disk: Path, point: Path) -> None:
    subprocess.run(["mount", "--bind", str(disk), str(point)], check=True)


def pull(point: Path) -> None:
    subprocess.run(["umount", "--lazy", str(point)], check=True)


def config(root: Path, cameras: str, *, mount: bool = True, drain: bool = False) -> str:
    text = toml(cameras)
    keys = f'mount = "{root / "data"}"\n' if mount else ""
    folder = (
        f'[[buffer.folder]]\npath = "{root / "more"}"\nmin_free = "20 MB"\ndrain = {str(drain).lower()}\n'
    )
    return text.replace("[buffer]\n", f"[buffer]\n{keys}", 1) + folder


def states(gateway: Product) -> dict[str, str]:
    return {Path(one["path"]).name: one["state"] for one in gateway.get("/api/v1/storage").json["items"]}


def test_a_data_folder_without_its_disk_is_not_made_on_the_systems_disk(disks: Path) -> None:
    with apart(disks) as gateway:
        gateway.configure(toml().replace("[buffer]\n", f'[buffer]\nmount = "{disks / "data"}"\n', 1))
        done = gateway.cli("run", "--data", str(gateway.data))

    assert done.returncode == 1
    assert f"not mounted at {disks / 'data'}" in done.stderr
    assert list((disks / "data").iterdir()) == []


def test_another_disk_stands_in_for_the_missing_one_and_what_it_recorded_comes_home(disks: Path) -> None:
    first, second = disks / "first", disks / "second"
    plug(first, disks / "data")
    plug(second, disks / "more")
    with stage() as there, apart(disks) as gateway:
        gateway.configure(config(disks, camera("c0", there.enter(served_camera()).url())))
        gateway.start()
        gateway.wait_footage("c0", 3)
        began_us = micros(gateway.coverage("c0", now_us() - 600_000_000, now_us())["spans"][0]["start"])
        gateway.stop()
        home_runs = {path.parent.name for path in disks.glob("*/**/*.mp4")}
        pull(disks / "data")

        gateway.start(ready=False)
        stand_in = gateway.elsewhere(disks / "more" / ".simpang-data")
        until(lambda: (stand_in.data / "api.sock").exists(), 20, lambda: gateway.log[-3000:])
        stand_in.wait_footage("c0", 3)
        health = stand_in.health()
        found = states(stand_in)
        left_under = list((disks / "data").iterdir())
        plug(first, disks / "data")
        until(lambda: states(stand_in)["media"] == "present", 5, lambda: str(states(stand_in)))
        gateway.stop()

        gateway.start()
        until(lambda: len(spans(gateway, began_us)) >= 3, 30, lambda: gateway.log[-3000:])
        found_again = spans(gateway, began_us)
        reasons = {gap["reason"] for gap in gateway.coverage("c0", began_us, now_us())["gaps"]}
        runs = {path.parent.name for path in disks.glob("*/**/*.mp4")}
        gateway.stop()
        check = gateway.check("--deep")

    assert left_under == []
    assert health["data-disk-missing"][0]["severity"] == "critical"
    assert found == {"media": "missing", "more": "present"}
    assert micros(found_again[0]["start"]) == began_us
    assert reasons == {"restart"}
    # The stand-in's numbers stay clear of those that its copy may have missed.
    assert [int(run) > 100_000 for run in sorted(runs - home_runs)] == [True, True]
    assert check.returncode == 0, check.stdout


def spans(gateway: Product, began_us: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = gateway.coverage("c0", began_us, now_us())["spans"]
    return found


@pytest.mark.parametrize("mount", [True, False])
def test_the_disk_of_the_data_folder_goes_while_it_is_recorded(disks: Path, mount: bool) -> None:
    """Recording goes on in the other folder, and nothing is made where the disk was mounted."""
    plug(disks / "first", disks / "data")
    plug(disks / "second", disks / "more")
    with stage() as there, apart(disks) as gateway:
        gateway.configure(config(disks, camera("c0", there.enter(served_camera()).url()), mount=mount))
        gateway.start()
        gateway.wait_footage("c0", 3)
        began_us = micros(gateway.coverage("c0", now_us() - 600_000_000, now_us())["spans"][0]["start"])

        pull(disks / "data")
        pulled = seconds(disks / "second")
        until(lambda: seconds(disks / "second") > pulled + 8, 30, lambda: gateway.log[-3000:])
        left_under = list((disks / "data").iterdir())
        status, took_s = gateway.stop()
        plug(disks / "first", disks / "data")
        gateway.start()
        until(lambda: len(spans(gateway, began_us)) >= 1, 30, lambda: gateway.log[-3000:])
        gateway.stop()
        check = gateway.check("--deep")

    assert left_under == []
    assert (status, took_s < 5) == (0, True)
    assert check.returncode == 0, check.stdout


def seconds(disk: Path) -> float:
    """About how much lies there: the camera sends a steady rate."""
    return sum(path.stat().st_size for path in disk.rglob("*.mp4")) / 10_000


def test_footage_moves_to_another_disk_by_one_command(disks: Path) -> None:
    plug(disks / "second", disks / "more")
    with stage() as there, apart(disks) as gateway:
        gateway.configure(config(disks, camera("c0", there.enter(served_camera()).url()), mount=False))
        gateway.start()
        gateway.wait_footage("c0", 3)
        gateway.stop()
        gateway.start()
        before = json.loads(gateway.cli("--json", "buffer", "folders").stdout)
        (full,) = [one["id"] for one in before["items"] if one["bytes"] and one["oldest"]]
        (other,) = [one["id"] for one in before["items"] if one["id"] != full]
        wrong = gateway.cli("buffer", "move", "/nowhere", str(other))
        begun = gateway.cli("buffer", "move", str(full), str(other), "--rate", "50 MB/s")
        until(
            lambda: "done" in gateway.cli("buffer", "move").stdout,
            30,
            lambda: gateway.cli("buffer", "move").stdout,
        )
        after = json.loads(gateway.cli("--json", "buffer", "folders").stdout)
        table = gateway.cli("buffer", "folders").stdout
        stopped = [gateway.cli("buffer", "move", "--stop").returncode for _ in range(2)]
        gateway.stop()
        check = gateway.check("--deep")

    assert (wrong.returncode, begun.returncode) == (5, 0), begun.stderr
    moved = {one["id"]: one for one in after["items"]}
    assert moved[full]["state"] == "draining"
    assert moved[other]["current"]
    assert after["move"]["left_bytes"] == 0
    assert "draining" in table
    assert stopped == [0, 5]
    assert check.returncode == 0, check.stdout
