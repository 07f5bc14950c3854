"""Jobs from asked to done, with real recordings and a real store (SeaweedFS)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from peer_seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFs, seaweedfs
from recordings import KEY, SECOND_US, START_US, Recording, Take, index_all, record, recorded
from simpang.config.model import Config
from simpang.config.secrets import Secrets
from simpang.config.values import parse_window
from simpang.jobs import uplink
from simpang.jobs.gateway_key import load_gateway_key
from simpang.jobs.jobs import Jobs
from simpang.jobs.manifest import Circumstances
from simpang.jobs.model import Job, JobRefused, JobRequest, JobState, Priority, WaitingFor
from simpang.state.database import State, open_state
from simpang.store.s3 import S3Store, StoreAddress, StoredObject
from simpang.store.sigv4 import StoreKeys
from simpang.supervise import Supervisor
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.reading.tail import Tail


class Bench:
    """A gateway's jobs over a folder, with the clock and the open tail in the test's hand."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.prefix = f"{folder.name}/"
        self.now_us = START_US + 3600 * SECOND_US
        self.tail: Tail | None = None
        self.central = "pontive"
        secrets = folder / "secrets"
        secrets.mkdir(exist_ok=True)
        (folder / "media").mkdir(exist_ok=True)
        for name, text in (("s3-access", ACCESS_KEY), ("s3-secret", SECRET_KEY)):
            (secrets / name).write_text(text)
            (secrets / name).chmod(0o600)
        self.uplink: dict[str, object] = {}
        self.index: Index
        self.state: State
        self.jobs: Jobs

    @contextlib.asynccontextmanager
    async def open(self, *, work: bool = True) -> AsyncIterator[Jobs]:
        config = Config.model_validate(
            {
                "site": {"id": "digulis", "time_zone": "Asia/Pontianak"},
                "central": [
                    {
                        "id": self.central,
                        "party": "pemkot",
                        "store": {
                            "endpoint": self.endpoint,
                            "bucket": "cctv",
                            "prefix": self.prefix,
                            "access_key_file": "s3-access",
                            "secret_key_file": "s3-secret",
                        },
                    }
                ],
                "uplink": self.uplink,
            }
        )
        secrets = self.folder / "secrets"
        key = await asyncio.to_thread(load_gateway_key, secrets)
        async with (
            open_index(self.folder / "index.db") as self.index,
            open_state(self.folder / "state.db") as self.state,
        ):
            self.jobs = Jobs(
                config,
                self.folder,
                state=self.state,
                index=self.index,
                tails=lambda key: self.tail,
                secrets=Secrets([secrets], credentials=None, on_read=lambda secret: None),
                key=key,
                circumstances=lambda job, plan: Circumstances(
                    "digulis", "key", {"make": "simpang"}, True, None, "rtcp"
                ),
                current_reason=lambda camera: GapReason.UNREACHABLE,
                supervisor=Supervisor(),
                hold_bytes=lambda: 10**9,
                now_us=lambda: self.now_us,
            )
            task = asyncio.create_task(self.jobs.run()) if work else None
            try:
                yield self.jobs
            finally:
                if task is not None:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task

    async def until(self, job: Job, *states: JobState, seconds: float = 20) -> Job:
        async with asyncio.timeout(seconds):
            while True:
                found = await self.jobs.get(job.id)
                assert found is not None
                if found.state in states:
                    return found
                assert not found.state.ended, f"{found.state}: {found.reason}"
                await asyncio.sleep(0.05)

    def store(self) -> S3Store:
        return S3Store(StoreAddress(self.endpoint, "cctv", self.prefix), StoreKeys(ACCESS_KEY, SECRET_KEY))


def request(start_s: float, end_s: float, **more: object) -> JobRequest:
    values = {"camera": KEY.camera, "stream": KEY.stream, "central": "pontive"} | more
    return JobRequest(
        start_us=START_US + int(start_s * SECOND_US),
        end_us=START_US + int(end_s * SECOND_US),
        **values,  # type: ignore[arg-type]  # names of JobRequest
    )


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFs]:
    with seaweedfs(tmp_path_factory.mktemp("weed")) as store:
        yield store


@pytest.fixture
def bench(weed: SeaweedFs, tmp_path: Path) -> Bench:
    return Bench(tmp_path, weed.endpoint)


def frames(path: Path) -> int:
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-count_frames", "-show_entries",
         "stream=nb_read_frames", "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert probe.stderr == ""
    return int(probe.stdout.split()[0].strip(","))  # a playlist lists its stream twice


async def test_asked_footage_arrives_whole_and_playable(bench: Bench, tmp_path: Path) -> None:
    async with bench.open() as jobs, bench.store() as store:
        await recorded(bench.index, Take(codec="h265", seconds=21, run=1))
        await recorded(
            bench.index,
            Take(seconds=10, run=2, start_us=START_US + 30 * SECOND_US, previous_end=GapReason.CAMERA_REBOOT),
        )

        job, new = await jobs.add(request(5, 38, ref="LP/1/2026"))
        done = await bench.until(job, JobState.PARTIAL)
        manifest_bytes = await store.get(f"digulis/pemkot/requests/{job.id}/manifest.json", 10**6)
        manifest = json.loads(manifest_bytes)
        playlist = (await store.get(f"digulis/pemkot/requests/{job.id}/playlist.m3u8", 10**6)).decode()

        assert new and done.chunks_done == done.chunks_total and done.bytes_done == done.bytes_total
        assert "camera-reboot" in done.reason
        assert manifest["final"] is True and manifest["ref"] == "LP/1/2026"
        assert [part["codec"][:4] for part in manifest["parts"]] == ["hvc1", "avc1"]
        assert [gap["reason"] for gap in manifest["gaps"]] == ["camera-reboot"]
        assert playlist.endswith("#EXT-X-ENDLIST\n") and playlist.count("#EXT-X-DISCONTINUITY\n") == 1
        total = 0
        for number, chunk in enumerate(chunk for part in manifest["parts"] for chunk in part["chunks"]):
            body = await store.get(chunk["key"], 10**7)
            assert hashlib.sha256(body).hexdigest() == chunk["sha256"] and len(body) == chunk["bytes"]
            path = tmp_path / f"{number}.mp4"
            path.write_bytes(body)
            total += await asyncio.to_thread(frames, path)
        # Whole chunks of four seconds: from 4 to 21 s, and the second run's first two.
        assert total == 17 * 15 + 8 * 15
        assert await bench.index.pins() == []


async def test_what_is_sent_plays_from_the_store(bench: Bench, tmp_path: Path) -> None:
    async with bench.open() as jobs, bench.store() as store:
        await recorded(bench.index, Take(seconds=12, run=1))
        job, _ = await jobs.add(request(0, 12))
        await bench.until(job, JobState.DONE)
        folder = f"digulis/pemkot/requests/{job.id}/"
        text = (await store.get(folder + "playlist.m3u8", 10**6)).decode()
        for line in text.splitlines():
            if line.endswith(".mp4"):
                target = tmp_path / "centre" / folder / line
                target.parent.mkdir(parents=True, exist_ok=True)
                key = (Path("/") / folder / line).resolve().relative_to("/").as_posix()
                target.resolve().parent.mkdir(parents=True, exist_ok=True)
                target.resolve().write_bytes(await store.get(key, 10**7))
        playlist = tmp_path / "centre" / folder / "playlist.m3u8"
        playlist.write_text(text)

        assert await asyncio.to_thread(frames, playlist) == 12 * 15


async def test_job_survives_a_restart_and_sends_no_chunk_twice(bench: Bench) -> None:
    async with bench.open(work=False) as jobs:
        await recorded(bench.index, Take(seconds=24, run=1))
        job, _ = await jobs.add(request(0, 24))
        bench.uplink = {"ceiling": "400 kbit/s"}
    async with bench.open() as jobs:
        async with asyncio.timeout(20):
            while (found := await jobs.get(job.id)) is None or found.chunks_done < 2:
                await asyncio.sleep(0.02)
        before = found.chunks_done
    bench.uplink = {}

    async with bench.open() as jobs:
        resumed = await jobs.get(job.id)
        done = await bench.until(job, JobState.DONE)

    # The last one seen may have been seen just before its commit, and then be taken back by the stop.
    assert resumed is not None and resumed.chunks_done >= before - 1 > 0
    assert done.chunks_done == done.chunks_total == 6


async def test_growing_footage_is_sent_as_it_comes(bench: Bench) -> None:
    async with bench.open() as jobs:
        first = await asyncio.to_thread(record, bench.index.media, Take(seconds=9), close=False)
        await index_all(bench.index, Recording(files=first.files))
        bench.tail = first.tail
        bench.now_us = START_US + 9 * SECOND_US
        job, _ = await jobs.add(request(0, 14))
        async with asyncio.timeout(20):
            while (found := await jobs.get(job.id)) is None or found.chunks_done < 2:
                await asyncio.sleep(0.02)

        assert found.state is JobState.SENDING
        for file in first.files:
            file.path.unlink()
        again = await asyncio.to_thread(record, bench.index.media, Take(seconds=16))
        bench.tail = None
        await index_all(bench.index, again)
        bench.now_us = START_US + 60 * SECOND_US
        done = await bench.until(job, JobState.DONE)

    assert done.chunks_done == 4


async def test_scavengers_wait_for_their_hours_and_urgent_ones_do_not(bench: Bench) -> None:
    # START_US is 09:13 in Pontianak, an hour later 10:13.
    bench.uplink = {"windows": ("mon-sun 22:00-05:00",)}
    assert parse_window("mon-sun 22:00-05:00")
    async with bench.open() as jobs:
        await recorded(bench.index, Take(seconds=12, run=1))
        bulk, _ = await jobs.add(request(0, 4, priority=Priority.BULK))
        held = await bench.until(bulk, JobState.WAITING)
        urgent, _ = await jobs.add(request(4, 8, priority=Priority.URGENT))
        await bench.until(urgent, JobState.DONE)
        still = await jobs.get(bulk.id)
        bench.now_us += 13 * 3600 * SECOND_US
        await bench.until(bulk, JobState.DONE)

    assert held.waiting_for is WaitingFor.WINDOW
    assert still is not None and still.state is JobState.WAITING


async def test_cancel_stops_a_job_and_lets_its_footage_go(bench: Bench) -> None:
    bench.uplink = {"ceiling": "100 kbit/s"}
    async with bench.open() as jobs:
        await recorded(bench.index, Take(seconds=24, run=1))
        job, _ = await jobs.add(request(0, 24))
        await bench.until(job, JobState.SENDING)

        cancelled = await jobs.cancel(job.id)
        again = await jobs.cancel(job.id)

        assert cancelled is not None and cancelled.state is JobState.CANCELLED
        assert again is not None and again.state is JobState.CANCELLED
        assert await bench.index.pins() == []


async def test_cancel_during_planning_leaves_no_footage_held(bench: Bench) -> None:
    async with bench.open(work=False) as jobs:
        await recorded(bench.index, Take(seconds=8, run=1))
        job, _ = await jobs.add(request(0, 8))
        pin = bench.index.pin

        async def cancel_first(*asked: Any, **more: Any) -> None:
            await jobs.cancel(job.id)
            await pin(*asked, **more)

        bench.index.pin = cancel_first  # type: ignore[method-assign]  # between two steps
        task = asyncio.create_task(jobs.run())
        try:
            await bench.until(job, JobState.CANCELLED)
            async with asyncio.timeout(5):
                while await bench.index.pins():
                    await asyncio.sleep(0.02)
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_urgent_job_goes_while_a_long_one_is_verified(bench: Bench) -> None:
    uplink.VERIFY_CHUNKS, usual = 1, uplink.VERIFY_CHUNKS
    try:
        async with bench.open(work=False) as jobs:
            await recorded(bench.index, Take(seconds=24, run=1))
            job, _ = await jobs.add(request(0, 24))
            urgent = ""
            head = S3Store.head

            async def ask(store: S3Store, key: str) -> StoredObject | None:
                nonlocal urgent
                if not urgent:
                    made, _ = await jobs.add(request(0, 4, priority=Priority.URGENT))
                    urgent = made.id
                    heads.append("asked")
                heads.append(key)
                return await head(store, key)

            heads: list[str] = []
            S3Store.head = ask  # type: ignore[method-assign]  # listens in
            task = asyncio.create_task(jobs.run())
            try:
                done = await bench.until(job, JobState.DONE)
                first = await jobs.get(urgent)
            finally:
                S3Store.head = head  # type: ignore[method-assign]  # as it was
                task.cancel()
                await asyncio.wait([task])
    finally:
        uplink.VERIFY_CHUNKS = usual

    assert first is not None
    assert first.state is JobState.DONE and first.changed_us <= done.changed_us
    assert heads.count(heads[-1]) == 1


async def test_bytes_sent_in_vain_count_for_the_month(bench: Bench) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        if b".mp4 " not in head.split(b"\r\n")[0]:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    bench.uplink = {"month_cap": "1 GB"}
    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        bench.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with bench.open() as jobs:
            await recorded(bench.index, Take(seconds=8, run=1))
            job, _ = await jobs.add(request(0, 8))
            waiting = await bench.until(job, JobState.WAITING)
            cursor = await bench.state.connection.execute("select sum(sent_bytes) from uplink_month")
            row = await cursor.fetchone()

    assert row is not None
    assert row[0] >= waiting.bytes_total // 3


async def test_job_of_a_centre_that_is_gone_ends_and_holds_nothing(bench: Bench) -> None:
    async with bench.open(work=False) as jobs:
        await recorded(bench.index, Take(seconds=8, run=1))
        job, _ = await jobs.add(request(0, 8))
        await bench.index.pin(job.id, job.key, START_US, START_US + SECOND_US, max_bytes=10**9)
    bench.central = "another"

    async with bench.open() as jobs:
        ended = await bench.until(job, JobState.FAILED)
        async with asyncio.timeout(5):
            while await bench.index.pins():
                await asyncio.sleep(0.02)

    assert "pontive is no longer in simpang.toml" in ended.reason


async def test_link_that_is_down_makes_a_job_wait_and_no_more(bench: Bench) -> None:
    endpoint = bench.endpoint
    bench.endpoint = "http://127.0.0.1:1"
    async with bench.open() as jobs:
        await recorded(bench.index, Take(seconds=8, run=1))
        job, _ = await jobs.add(request(0, 8))
        waiting = await bench.until(job, JobState.WAITING)
        assert waiting.waiting_for is WaitingFor.LINK
    bench.endpoint = endpoint

    async with bench.open():
        await bench.until(job, JobState.DONE)


async def test_altered_footage_is_a_gap_and_never_sent(bench: Bench) -> None:
    async with bench.open() as jobs, bench.store() as store:
        recording = await recorded(bench.index, Take(seconds=12, run=1))
        path = recording.files[0].path
        second = recording.files[0].fragments[5]
        with path.open("r+b") as file:
            file.seek(second.offset + second.size_bytes - 10)
            file.write(b"\xff\x00\xff\x00")
        job, _ = await jobs.add(request(0, 12))

        done = await bench.until(job, JobState.PARTIAL)
        manifest = json.loads(await store.get(f"digulis/pemkot/requests/{job.id}/manifest.json", 10**6))

        assert "disk-error" in done.reason
        assert len(manifest["parts"][0]["chunks"]) == 2 and manifest["gaps"][0]["reason"] == "disk-error"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request(0, 4, central="nobody"), "malformed"),
        (request(4, 4), "malformed"),
        (request(0, 10 * 86400), "malformed"),
        (request(0, 4, camera="stranger"), "nothing-recorded"),
        (request(100, 104), "nothing-recorded"),
    ],
)
async def test_what_cannot_be_sent_is_refused_at_once(tmp_path: Path, asked: JobRequest, code: str) -> None:
    bench = Bench(tmp_path, "http://127.0.0.1:1")
    async with bench.open(work=False) as jobs:
        await recorded(bench.index, Take(seconds=4, run=1))

        with pytest.raises(JobRefused) as refused:
            await jobs.add(asked)

        assert refused.value.code == code
        assert await jobs.list() == []


async def test_same_key_never_makes_a_second_job(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "http://127.0.0.1:1")
    async with bench.open(work=False) as jobs:
        await recorded(bench.index, Take(seconds=4, run=1))

        one, new = await jobs.add(request(0, 4, idempotency_key="k"))
        two, again = await jobs.add(request(0, 4, idempotency_key="k"))

        assert (one.id, new, again) == (two.id, True, False)


async def test_pins_without_a_job_are_dropped_at_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "http://127.0.0.1:1")
    async with bench.open(work=False):
        await bench.index.pin("0" * 32, StreamKey("gate", "main"), START_US, START_US + SECOND_US)

    async with bench.open(), asyncio.timeout(10):
        while await bench.index.pins():
            await asyncio.sleep(0.01)
