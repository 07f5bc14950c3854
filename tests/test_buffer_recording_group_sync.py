"""Which way files are made durable, by file system; and on a real ext4, what the disk is asked for."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import media_samples
from faulty_disk import Chosen, FaultyCalls
from recorded_runs import pictures, video_format, writer
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.file_calls import FileCalls
from simpang_buffer.recording.file_systems import FileSystems, Method, Mount, choose, has_journal, mount_of
from simpang_buffer.recording.space_ahead import SpaceAhead
from simpang_buffer.recording.sync import Disk, FileClosed, Report

MOUNTINFO = """\
22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro
30 22 8:17 / /srv rw,noatime shared:5 - xfs /dev/sdb1 rw,attr2,inode64
31 30 0:44 /@video /srv/two\\040words rw - btrfs /dev/sdc rw,space_cache=v2,subvol=/@video
garbage
32 22 8:33 / /data rw - ext4 /dev/sdd1 rw,data=journal
33 22 8:49 / /data rw - ext4 /dev/sde1 rw,data=writeback
"""
NEW, OLD = (6, 1), (5, 7)


@pytest.mark.parametrize(
    ("path", "kind", "device"),
    [
        ("/var/lib/simpang/media", "ext4", "8:2"),
        ("/srv/media", "xfs", "8:17"),
        ("/srv/two words/media", "btrfs", "0:44"),
        ("/srvice", "ext4", "8:2"),
        # The later of two mounts on one place hides the other.
        ("/data/media", "ext4", "8:49"),
    ],
)
def test_the_file_system_of_a_folder_is_found(path: str, kind: str, device: str) -> None:
    found = mount_of(Path(path), MOUNTINFO)

    assert found is not None
    assert (found.kind, found.device) == (kind, device)


def mount(kind: str, point: str, *options: str) -> Mount:
    return Mount("8:1", Path(point), kind, frozenset(options))


@pytest.mark.parametrize(
    ("mounted", "journal", "release", "method"),
    [
        (mount("ext4", "/"), True, NEW, Method.JOURNAL),
        (mount("ext4", "/", "data=writeback"), True, NEW, Method.JOURNAL),
        (mount("ext4", "/data/media", "data=journal"), True, NEW, Method.EACH),
        (mount("ext4", "/data/media"), False, NEW, Method.EACH),
        (mount("ext3", "/"), True, NEW, Method.EACH),
        (mount("xfs", "/data/media"), False, NEW, Method.WHOLE),
        (mount("btrfs", "/data"), False, NEW, Method.WHOLE),
        # Others' data would be synced too; and errors of old kernels are told to nobody.
        (mount("xfs", "/"), False, NEW, Method.EACH),
        (mount("xfs", "/data/media"), False, OLD, Method.EACH),
        (mount("fuse.sshfs", "/data/media"), False, NEW, Method.EACH),
        (mount("nfs4", "/data/media"), False, NEW, Method.EACH),
        (None, False, NEW, Method.EACH),
    ],
)
def test_files_are_made_durable_together_only_where_that_is_known_to_hold(
    mounted: Mount | None, journal: bool, release: tuple[int, int], method: Method
) -> None:
    choice = choose(Path("/data/media"), mounted, journal=journal, release=release)

    assert choice.method is method
    assert choice.why


def test_a_journal_is_one_of_the_disk_itself() -> None:
    names = ["sda1-8", "dm-0-8", "sdb", "nvme0n1p2-8"]

    assert has_journal("sda1", names) and has_journal("dm-0", names) and has_journal("nvme0n1p2", names)
    assert not has_journal("sda", names) and not has_journal("sdb", names) and not has_journal("dm", names)


def test_what_was_chosen_is_said_once_and_the_reason_of_a_worse_way_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with FileSystems(proc=tmp_path) as nothing_known:
        for _ in range(3):
            assert nothing_known.choice(tmp_path).method is Method.EACH

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "not in /proc/self/mountinfo" in record.getMessage()


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EINVAL, errno.EPERM])
def test_a_kernel_without_the_call_is_found_out_and_every_file_synced_by_itself(
    tmp_path: Path, error: int
) -> None:
    calls = FaultyCalls(lambda _, name: error if name == "start_write_back" else 0)
    chosen = Chosen(Method.JOURNAL)

    reports = record(tmp_path, ["one", "two"], calls=calls, file_systems=chosen)

    assert len(rows(reports)) == 2
    assert calls.done.count("sync") == 2
    assert "commit_journal" not in calls.done
    assert chosen.now.method is Method.EACH and "sync_file_range" in chosen.now.why


def test_an_error_of_syncfs_that_was_another_files_costs_no_run(tmp_path: Path) -> None:
    """syncfs tells of errors of anybody's files since ours was opened (syncfs(2))."""
    failures = iter([errno.EIO])
    calls = FaultyCalls(lambda _, name: next(failures, 0) if name == "sync_file_system" else 0)

    reports = record(tmp_path, ["one", "two"], calls=calls, file_systems=Chosen(Method.WHOLE))

    assert len(rows(reports)) == 2
    assert calls.done.count("sync") == 2


def test_a_file_that_failed_is_not_synced_again_when_the_others_are_asked_one_by_one(tmp_path: Path) -> None:
    """Its pages count as written now, so that a second sync would succeed."""
    failures = iter([errno.EIO])
    calls = FaultyCalls(
        lambda _, name: (
            errno.EIO if name == "sync_file_system" else name == "write_back" and next(failures, 0)
        )
    )

    reports = record(tmp_path, ["one", "two", "three"], calls=calls, file_systems=Chosen(Method.WHOLE))

    assert [path.parts[-4] for path in rows(reports)] == ["two", "three"]
    assert calls.done.count("sync") == 2


def test_one_commit_serves_many_files(tmp_path: Path) -> None:
    calls = FaultyCalls()

    names = [f"camera-{number}" for number in range(20)]
    reports = record(tmp_path, names, calls=calls, file_systems=Chosen(Method.JOURNAL))

    assert len(rows(reports)) == 20
    assert calls.done.count("commit_journal") == 1
    assert not {"sync", "sync_folder", "sync_file_system"} & set(calls.done)


# Space ahead


class Room(FileCalls):
    """Notes what is taken, and has only so much of it."""

    def __init__(self, free: int, error: int = 0) -> None:
        self.free = free
        self.error = error
        self.taken: list[tuple[int, int]] = []
        self.cuts: list[int] = []

    def free_bytes(self, fd: int) -> int:
        return self.free

    def take_ahead(self, fd: int, offset: int, size_bytes: int) -> None:
        self.taken.append((offset, size_bytes))
        if self.error:
            raise OSError(self.error, os.strerror(self.error))

    def cut(self, fd: int, size_bytes: int) -> None:
        self.cuts.append(size_bytes)


def grow(ahead: SpaceAhead, to_bytes: int, step: int = 400_000) -> None:
    for offset in range(0, to_bytes, step):
        ahead.before(-1, offset, step)


def test_a_file_takes_at_once_what_its_streams_last_one_needed() -> None:
    first, known = Room(1 << 40), Room(1 << 40)

    grow(SpaceAhead(first), 26_000_000)
    grow(SpaceAhead(known, 26_200_000), 26_000_000)

    assert len(first.taken) <= 7
    (only,) = known.taken
    assert only[0] == 0 and 26_000_000 <= only[1] < 27_000_000


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP, errno.EFBIG])
def test_space_that_cannot_be_taken_is_given_back_and_no_fault_of_the_write(error: int) -> None:
    room = Room(1 << 40, error)

    grow(SpaceAhead(room), 26_000_000)

    assert room.cuts and len(room.taken) == len(room.cuts) <= 7


def test_where_room_is_short_none_is_taken_ahead_of_those_who_need_it_now() -> None:
    room = Room(60 << 20)

    grow(SpaceAhead(room), 26_000_000)

    assert room.taken == []


# A real ext4


UNITS = media_samples.video("h264", frames=60, fps=15, key_every=15, width=64, height=48)
FORMAT = video_format("h264", UNITS)


def record(
    media: Path, cameras: Sequence[str], *, calls: FileCalls, file_systems: FileSystems
) -> list[Report]:
    """A file of each camera, all in one group."""
    reports: list[Report] = []
    steps = []
    for camera in cameras:
        cutter = writer(media, key=StreamKey(camera, "main"))
        steps += [step for unit in pictures(UNITS) for step in cutter.add_picture(unit, FORMAT)]
        steps += cutter.finish()
    with Disk(reports.extend, flush_s=60.0, calls=calls, file_systems=file_systems) as disk:
        disk.submit(steps)
    return reports


def rows(reports: Sequence[Report]) -> list[Path]:
    return [one.file.path for one in reports if isinstance(one, FileClosed) and one.segment]


def committed_by_another(image: Path, media: Path) -> int:
    """Bytes of a file that a power cut leaves, after the commit of one that an older transaction holds."""
    calls = FileCalls()
    older, other, new = (calls.create(media / name) for name in ("older", "other", "new"))
    try:
        for fd in (older, other):
            calls.write(fd, [bytes(100_000)])
            calls.write_back(fd, 0)
            calls.sync(fd)
        calls.write(new, [b"x" * 100_000])
        calls.write_back(new, 0)
        calls.commit_journal(older)
        # What the device was sent is in its file: a copy is the disk at this moment.
        cut = image.with_name("cut")
        subprocess.run(["cp", "--sparse=always", image, cut], check=True)
    finally:
        for fd in (older, other, new):
            calls.close(fd)
    after = image.with_name("after")
    after.mkdir()
    subprocess.run(["mount", "-o", "loop", cut, after], check=True)
    try:
        found = after / "new"
        return found.read_bytes().count(b"x") if found.exists() else 0
    finally:
        subprocess.run(["umount", after], check=True)


def main(scratch: Path) -> None:
    """In a mount namespace: a loop device with ext4, recorded to and looked at. Prints what was found."""
    image, media = scratch / "image", scratch / "media"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    media.mkdir()
    subprocess.run(["mount", "-o", "loop", image, media], check=True)
    try:
        with FileSystems() as known:
            found: dict[str, object] = {"method": known.choice(media).method, "flushes": {}}
        device = subprocess.run(
            ["findmnt", "-n", "-o", "SOURCE", media], check=True, capture_output=True, text=True
        ).stdout.strip()
        stat = Path("/sys/block", Path(device).name, "stat")
        flushes: dict[int, int] = {}
        left: list[int] = []
        for count in (2, 40):
            before = int(stat.read_text().split()[15])
            names = [f"camera-{count}-{n}" for n in range(count)]
            reports = record(media, names, calls=FileCalls(), file_systems=FileSystems())
            flushes[count] = int(stat.read_text().split()[15]) - before
            assert len(rows(reports)) == count
            left += [path.stat().st_blocks * 512 - path.stat().st_size for path in rows(reports)]
        found |= {
            "flushes": flushes,
            "left_over": max(left),
            "after_a_cut": committed_by_another(image, media),
        }
        print(json.dumps(found))
    finally:
        subprocess.run(["umount", media], check=True)


def test_on_a_real_ext4_one_commit_is_what_it_costs_and_enough() -> None:
    """Forty files cost no more flushes than two, keep no space that they do not need, and are there after a
    power cut whichever of them was committed."""
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            ["unshare", "--mount", sys.executable, __file__, scratch],
            capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )  # fmt: skip
    if done.returncode != 0 and ("Operation not permitted" in done.stderr or "loop" in done.stderr):
        pytest.skip(f"this kernel gives us no loop device: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert found["method"] == "journal"
    # A commit is a flush before its record and one behind it, where the disk has no FUA.
    assert 1 <= found["flushes"]["40"] <= found["flushes"]["2"] <= 3
    assert found["left_over"] <= 4096
    assert found["after_a_cut"] == 100_000


if __name__ == "__main__":
    main(Path(sys.argv[1]))
