"""What people are told of the media folders, and what may be written in the configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from simpang.config.faults import ConfigFaults
from simpang.config.load import parse
from simpang.folders_health import folder_items
from simpang.media_folders import plans
from simpang_buffer.index.folder_choice import Folder, FolderState
from simpang_buffer.index.moving import Move

GB = 10**9
FILE = Path("site.toml")
SITE = '[site]\nid = "digulis"\ntime_zone = "Asia/Pontianak"\n'
WHOLE = Folder(1, Path("/srv/media"), FolderState.PRESENT)
MOVE = Move(1, 2, 10**6, 0, 10 * GB, "waiting", 5 * GB, words="/mnt/b is full to its limits")


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (FolderState.MISSING, "folder-missing"),
        (FolderState.FOREIGN, "folder-foreign"),
        (FolderState.FAILING, "folder-failing"),
        (FolderState.FULL, "folder-full"),
    ],
)
def test_each_trouble_of_a_folder_is_told_with_its_path_in_both_languages(
    state: FolderState, code: str
) -> None:
    (found,) = folder_items([WHOLE, Folder(2, Path("/mnt/b"), state, "its words")], None)

    assert (found.code, found.subject) == (code, "folder//mnt/b")
    for text in (found.cause.en, found.cause.id):
        assert "/mnt/b" in text
        assert "its words" in text
    assert found.remedy.en != found.remedy.id


def test_nothing_is_told_while_nothing_is_the_matter() -> None:
    draining = Folder(2, Path("/mnt/b"), FolderState.DRAINING)

    assert list(folder_items([WHOLE, draining], replace(MOVE, state="moving"))) == []


def test_a_gateway_with_nowhere_to_write_says_so_first_of_all() -> None:
    gone = [replace(WHOLE, state=FolderState.MISSING), Folder(2, Path("/mnt/b"), FolderState.DRAINING)]

    assert [one.code for one in folder_items(gone, None)] == ["no-media-folder", "folder-missing"]


def test_a_stand_in_and_a_move_that_waits_are_told() -> None:
    found = list(folder_items([WHOLE], MOVE, Path("/srv"), Path("/mnt/b/.simpang-data")))

    assert [(one.code, one.severity) for one in found] == [
        ("data-disk-missing", "critical"),
        ("move-waits", "warning"),
    ]
    assert "/srv" in found[0].cause.id
    assert "full to its limits" in found[1].cause.id


def test_a_further_folder_has_limits_of_its_own() -> None:
    config = parse(
        SITE + '[buffer]\nmax_bytes = "50%"\nmount = "/srv"\n'
        '[[buffer.folder]]\npath = "/mnt/b"\nmax_bytes = "80%"\nmin_free = "1 GB"\n'
        "drain = true\nmount = false\n",
        FILE,
    )

    first, further = plans(config, Path("/srv/media"))

    assert (first.first, first.mount_point, first.limits(100 * GB).max_bytes) == (True, Path("/srv"), 50 * GB)
    assert (further.path, further.drain, further.mount) == (Path("/mnt/b"), True, False)
    assert (further.limits(100 * GB).max_bytes, further.limits(100 * GB).min_free_bytes) == (80 * GB, GB)


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ('[[buffer.folder]]\npath = "disk2"\n', "not an absolute path"),
        ('[[buffer.folder]]\npath = "/mnt/../etc"\n', "not an absolute path"),
        ('[[buffer.folder]]\npath = "/b"\n[[buffer.folder]]\npath = "/b/c"\n', "within one another"),
        ('[[buffer.folder]]\npath = "/srv/media/more"\n', "within one another"),
        ('[[buffer.folder]]\nmax_bytes = "1 GB"\n', "buffer.folder"),
    ],
)
def test_folders_that_cannot_be_are_refused_at_their_line(folders: str, words: str) -> None:
    with pytest.raises(ConfigFaults) as caught:
        parse(SITE + '[buffer]\npath = "/srv"\n' + folders, FILE)

    assert words in str(caught.value)
    assert all(fault.line > 4 for fault in caught.value.faults)
