"""What dead recorders leave is adopted beside recording, and tried again until index and disk let it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from recordings import KEY, START_US, Take, recorded, written
from simpang_buffer.index.errors import ReadOnly
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.index.media_files import MediaFiles
from simpang_buffer.media.boxes import Scan
from simpang_buffer.model import RunHeader, Segment, StreamKey
from simpang_buffer.recording.adopter import Adopter
from simpang_buffer.recording.view import StreamView

OTHER = StreamKey("yard", "main")


class SlowFiles(MediaFiles):
    """The file of one stream has many gigabytes: reading it takes until the test says so."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go_on = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def read_back(self, path: Path) -> Scan:
        if path.parts[0] == KEY.camera:
            asyncio.run_coroutine_threadsafe(self.go_on.wait(), self._loop).result()
        return super().read_back(path)


async def test_a_file_without_end_keeps_no_other_stream_and_no_recording_waiting(tmp_path: Path) -> None:
    async with open_index(tmp_path / "index.db") as index:
        index.media.mkdir()
        for key in (KEY, OTHER):
            await written(index.media, Take(seconds=4, key=key), close=False)
        files = SlowFiles(index.media)
        settled: asyncio.Queue[tuple[StreamKey, int]] = asyncio.Queue()
        adopter = Adopter(index, lambda: [files], lambda key, run: settled.put_nowait((key, run)))
        running = asyncio.create_task(adopter.run())
        adopter.put(KEY, 1, 2)
        adopter.put(OTHER, 1, 2)

        async with asyncio.timeout(10):
            assert await settled.get() == (OTHER, 2)
            await recorded(index, Take(seconds=2, run=2, start_us=START_US + 10**7))
            assert [row.run for row in await index.segments(KEY, 0, START_US * 2)] == [2]
            files.go_on.set()
            assert await settled.get() == (KEY, 2)
        assert [row.run for row in await index.segments(KEY, 0, START_US * 2)] == [1, 2]
        running.cancel()
        await asyncio.wait([running])


async def test_what_the_index_refuses_is_tried_again(tmp_path: Path) -> None:
    class Refusing(Index):
        refusals = 1

        async def take_in(
            self, key: StreamKey, header: RunHeader, segments: list[Segment], **more: object
        ) -> int:  # type: ignore[override]  # passed on
            if self.refusals:
                self.refusals -= 1
                raise ReadOnly("the disk is read-only")
            return await super().take_in(key, header, segments, **more)  # type: ignore[arg-type]  # passed on

    async with open_index(tmp_path / "index.db") as opened:
        index = Refusing(opened.db, opened.media)
        index.media.mkdir()
        await written(index.media, Take(seconds=4), close=False)
        done = asyncio.Event()
        adopter = Adopter(index, lambda: [MediaFiles(index.media)], lambda key, run: done.set())
        running = asyncio.create_task(adopter.run())
        adopter.put(KEY, 1, 2)

        async with asyncio.timeout(10):
            await done.wait()

        assert len(await index.segments(KEY, 0, START_US * 2)) == 1
        running.cancel()
        await asyncio.wait([running])


async def test_only_what_nobody_can_be_writing_is_free(tmp_path: Path) -> None:
    view = StreamView(KEY, {1: tmp_path})
    assert view.is_free(5, 3)

    view.recorded_from(6)
    assert view.is_free(5, 3)
    assert not view.is_free(6, 0)

    run = await written(tmp_path, Take(seconds=4, segment_s=2, run=6), close=False)
    for file in run.files:
        view.opened(file.head.header, 160, 120, file.head.init)
    assert not view.is_free(6, 0)
    view.settled(6, 0)
    assert view.is_free(6, 0)
    assert not view.is_free(6, 1)
    # Its recorder has died; the next one begins above, and the file is the adopter's.
    view.recorded_from(7)
    assert not view.is_free(6, 1)
    view.settled_below(7)
    assert view.is_free(6, 1)
    assert not view.is_free(7, 0)
