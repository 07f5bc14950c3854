"""What a stand-in for the data folder needs, and when it is one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from recordings import KEY, START_US, Take, recorded
from simpang import stand_in
from simpang.config.boot import STAND_IN, Boot
from simpang.config.model import Config
from simpang.data_folder import FolderUnusable
from simpang.lock import LockHeld, hold_lock
from simpang.stand_in import Copies, Home
from simpang.state.database import open_state
from simpang_buffer.index.folder_choice import Folder, FolderState
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.returning import FOLDERS_AWAY


def boot(root: Path, *, mount: str | None, mounted: bool = False) -> Boot:
    """mounted: whether the further folder needs a disk of its own."""
    folder = {"path": str(root / "more"), "mount": mounted}
    config = Config.model_validate(
        {
            "site": {"id": "digulis", "time_zone": "Asia/Pontianak"},
            "buffer": {"folder": [folder], **({"mount": mount} if mount else {})},
        }
    )
    return Boot(config, "", root / "simpang.toml", root / "data", ())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("data/media", "data/secrets", "more"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@contextlib.asynccontextmanager
async def at_home(root: Path) -> AsyncIterator[Index]:
    async with open_index(root / "data" / "index.db") as index, open_state(root / "data" / "state.db"):
        yield index


def copies(root: Path, state: FolderState = FolderState.PRESENT) -> Copies:
    home = Home(root / "data", root / "data" / "media")
    folders = [Folder(1, home.media, FolderState.PRESENT), Folder(2, root / "more", state)]
    return Copies(home, lambda: folders)


def test_a_gateway_is_at_home_unless_a_disk_that_is_named_is_missing(root: Path) -> None:
    at_home = stand_in.find_home(boot(root, mount=None))
    mounted = stand_in.find_home(boot(root, mount="/proc"))
    missing = stand_in.find_home(boot(root, mount=str(root / "data")))

    assert (at_home.data, at_home.missing) == (root / "data", None)
    assert (mounted.data, mounted.missing) == (root / "data", None)
    assert (missing.data, missing.media) == (root / "more" / STAND_IN, root / "data" / "media")
    assert missing.missing == root / "data"


@pytest.mark.parametrize("marker", [None, '{"v":1,"site":"elsewhere","id":"' + "0" * 32 + '"}'])
def test_neither_the_systems_disk_nor_another_sites_stands_in(root: Path, marker: str | None) -> None:
    if marker is not None:
        (root / "more" / "simpang-folder").write_text(marker)

    with pytest.raises(FolderUnusable, match=f"not mounted at {root / 'data'}"):
        stand_in.find_home(boot(root, mount=str(root / "data"), mounted=True))
    assert not (root / "more" / STAND_IN).exists()


async def test_a_copy_knows_what_the_index_knew_and_keeps_secrets_to_one_user(root: Path) -> None:
    secret = root / "data" / "secrets" / "cameras"
    secret.write_text("s3cret")
    secret.chmod(0o600)
    async with at_home(root) as index:
        await recorded(index, Take(seconds=2, run=7))

        assert await copies(root).copy()

    copy = root / "more" / STAND_IN
    assert (copy / "secrets" / "cameras").read_text() == "s3cret"
    assert [path.stat().st_mode & 0o777 for path in (copy, copy / "secrets" / "cameras")] == [0o700, 0o600]
    async with open_index(copy / "index.db") as index, open_state(copy / "state.db"):
        assert len(await index.segments(KEY, 0, START_US * 2)) == 1
        await stand_in.raise_run_numbers(index)
        first = await index.next_run(KEY)
        await stand_in.raise_run_numbers(index)
        assert first == await index.next_run(KEY) == stand_in.RUNS_APART + 1


@pytest.mark.parametrize("state", [FolderState.DRAINING, FolderState.MISSING, FolderState.FOREIGN])
async def test_no_copy_goes_to_a_folder_that_is_not_written_to(root: Path, state: FolderState) -> None:
    async with at_home(root):
        await copies(root, state).copy()

    assert list((root / "more").iterdir()) == []


async def test_a_copy_never_takes_the_place_of_what_stood_in(root: Path) -> None:
    """What was recorded with it is known nowhere else until it is taken in."""
    home = await asyncio.to_thread(stand_in.find_home, boot(root, mount=str(root / "data")))
    await asyncio.to_thread(stand_in.prepare, home)
    async with open_index(home.data / "index.db") as index:
        await index.add_stream(KEY)
    before = (home.data / "index.db").read_bytes()
    folders = [
        Folder(1, root / "data" / "media", FolderState.PRESENT),
        Folder(2, root / "more", FolderState.PRESENT),
    ]
    async with at_home(root) as index:
        refused = await copies(root).copy()
        same = (home.data / "index.db").read_bytes() == before
        await stand_in.come_home(index, folders)
        due = await index.meta(FOLDERS_AWAY)
        taken = await copies(root).copy()

    assert (refused, same, due, taken) == (False, True, "[1, 2]", True)


async def test_two_gateways_never_record_one_site(root: Path) -> None:
    at_home = Home(root / "data", root / "data" / "media")
    config = boot(root, mount=None).config
    (root / "more" / STAND_IN).mkdir()

    async with hold_lock(root / "more" / STAND_IN / "lock"):
        with pytest.raises(LockHeld):
            await stand_in.refuse_others(config, at_home)
    await stand_in.refuse_others(config, at_home)
