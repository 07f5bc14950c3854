"""Power cuts by the hundred: a recording gateway's block writes, replayed up to any moment, those that no
flush had made sure lost, torn or in another order.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from block_log import entries
from kills import farm
from power_cuts import block_device, choose_cuts, look, mounted, wall_us
from product import camera, free_address, product, toml

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

CUTS = int(os.environ.get("SIMPANG_CUTS", "500"))
SECONDS = float(os.environ.get("SIMPANG_CUT_SECONDS", "60"))
FLUSH_S = 1.0
CAMERAS = tuple(f"c{number}" for number in range(8))
# Full within half a minute, so that eviction is cut too.
SPACE = "120 MB"
IMAGE_BYTES = 600 << 20


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("system", ["ext4", "xfs", "btrfs"])
def test_power_cuts_corrupt_nothing_and_cost_what_was_not_flushed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], system: str
) -> None:
    cuts = CUTS if system == "ext4" else CUTS // 5
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    image, before, log = (tmp_path / name for name in ("image", "before", "log"))
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    with farm(len(CAMERAS)) as port, block_device(tmp_path, image, log) as device:
        subprocess.run(_mkfs(system, device / "disk"), check=True)
        os.sync()
        subprocess.run(["cp", "--sparse=always", str(image), str(before)], check=True)
        skip = len(entries(log)) if log.exists() else 0
        with mounted(device / "disk", tmp_path / "mnt") as folder, product(folder) as gateway:
            text = "".join(camera(one, f"rtsp://127.0.0.1:{port}/{n}") for n, one in enumerate(CAMERAS))
            config = toml(text, flush_s=FLUSH_S, listen=free_address()).replace("1 GB", SPACE)
            gateway.configure(config)
            gateway.start()
            gateway.wait_recording()
            for one in CAMERAS:
                gateway.wait_footage(one, 3)
            began_ns = time.monotonic_ns()
            time.sleep(SECONDS)
            ended_ns = time.monotonic_ns()

    log_entries = entries(log)
    kept = [number for number, entry in enumerate(log_entries) if entry.at_ns < ended_ns]
    chosen = choose_cuts(log_entries[: kept[-1]], cuts, began_ns, chance)
    assert chosen[0] > skip
    shutil.copy(before, image)
    losses: list[float] = []
    faults: list[str] = []
    with block_device(tmp_path, image, log, cuts=True) as device:
        for number in chosen:
            disk = device / f"cut-{number}-{chance.randrange(1 << 30)}"
            with mounted(disk, tmp_path / "cut") as folder:
                found = look(folder / "data")
            cut_us = wall_us(log_entries[number].at_ns)
            if found.faults or found.missing or found.after:
                faults.append(f"{disk.name}: {found}")
            losses.append(max((cut_us - end_us) / 1e6 for end_us in found.end_us.values()))
            assert len(found.end_us) == len(CAMERAS)

    with capsys.disabled():
        print(
            f"\n{system}: {cuts} power cuts (seed {seed}) under {len(CAMERAS)} streams, flush_s = {FLUSH_S}: "
            f"{len(faults)} with faults; seconds lost by the worst stream: max {max(losses):.2f}, "
            f"median {statistics.median(losses):.2f}; {len(log_entries)} records"
        )
        print("\n".join(faults[:20]))
    assert not faults
    assert max(losses) <= FLUSH_S + 1.2


def _mkfs(system: str, disk: Path) -> list[str]:
    quiet = {"ext4": ["-q", "-F"], "xfs": ["-q", "-f"], "btrfs": ["-q", "-f"]}[system]
    return [f"mkfs.{system}", *quiet, str(disk)]
