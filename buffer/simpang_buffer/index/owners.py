"""Whose footage lies in the media folders: this site's, or that of others whose disks were brought here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from simpang_buffer.index.foreign import (
    foreign_streams,
    make_way,
    mark_foreign,
    own_cameras,
    renamed_camera,
)
from simpang_buffer.index.index import Index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.index.media_tree import RunOnDisk, Tree, read_tree, shift_runs
from simpang_buffer.model import StreamKey, segment_path


@dataclass(frozen=True)
class Owned:
    """Runs by the stream that they are known as, in order. twice: folders of runs of another site of which
    its stream has one already; they stay where they are."""

    runs: dict[StreamKey, list[RunOnDisk]]
    twice: tuple[tuple[Path, StreamKey], ...]


async def note_site(index: Index, site: str) -> None:
    """Says whose the index is. A site that was given another name goes on being itself."""
    before = await index.meta("site")
    if before == site:
        return
    if before is not None:
        former = {*json.loads(await index.meta("former_sites") or "[]"), before} - {site}
        await index.set_meta("former_sites", json.dumps(sorted(former)))
    await index.set_meta("site", site)


async def read_owned(
    index: Index, folders: Mapping[int, MediaFiles], site: str, wanted: Collection[str]
) -> Owned:
    """All that lies in the folders; footage of other sites is given its names. wanted: ids of cameras that
    are recorded here. Idempotent. Raises StorageError, OSError."""
    for key in await foreign_streams(index.db):
        if key.camera in wanted:
            await make_way(index.db, folders.values(), key)
    tree = await asyncio.to_thread(read_tree, folders)
    names = {site, *json.loads(await index.meta("former_sites") or "[]")}
    ours = {*wanted, *await own_cameras(index.db), *_recorded_by(tree, names)}
    sites = {key.camera: other for key, other in (await foreign_streams(index.db)).items()}
    owned: dict[StreamKey, list[RunOnDisk]] = {}
    twice: list[tuple[Path, StreamKey]] = []
    for key, runs in sorted(tree.items()):
        for run in runs.values():
            target = key
            if run.header is not None and run.header.site not in names:
                target = _name(key, run.header.site, ours, sites)
                if target != key and not await asyncio.to_thread(_move, folders, key, run, target):
                    twice.append((segment_path(key, run.run, 0).parent, target))
                    continue
                sites[target.camera] = run.header.site
                await mark_foreign(index.db, target, run.header.site)
            owned.setdefault(target, []).append(run)
    for listed in owned.values():
        listed.sort(key=lambda run: run.run)
        shift_runs(listed)
    return Owned(owned, tuple(twice))


def _recorded_by(tree: Tree, names: Collection[str]) -> set[str]:
    """Cameras of which some run was recorded by these sites."""
    return {
        key.camera
        for key, runs in tree.items()
        if any(run.header is not None and run.header.site in names for run in runs.values())
    }


def _name(key: StreamKey, site: str, ours: Collection[str], sites: Mapping[str, str]) -> StreamKey:
    """Under which key another site's run, which lies under `key`, is to be known."""
    if key.camera not in ours and sites.get(key.camera, site) == site:
        return key
    return StreamKey(renamed_camera(site, key.camera), key.stream)


def _move(folders: Mapping[int, MediaFiles], key: StreamKey, run: RunOnDisk, target: StreamKey) -> bool:
    """Gives the run its new name in every folder. False where that name has such a run."""
    return all(folders[number].move_run(key, run.run, target) for number in sorted(set(run.folders)))
