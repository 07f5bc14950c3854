"""A recorder process that a camera has taken over says anything: what it says is bounded and checked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from simpang_buffer.index.index import open_index
from simpang_buffer.media.seal import run_fields
from simpang_buffer.model import AnchorSource, Fragment, FragmentFlags, RunHeader, StreamKey
from simpang_buffer.recording.hearing import Hearing, state_of
from simpang_buffer.recording.protocol import Message, ProtocolError, encode
from simpang_buffer.recording.view import StreamView

KEY = StreamKey("gate", "main")


def opened(run: int, header: bytes = b"ftyp") -> Message:
    described = RunHeader(
        "site", "gate", "main", run, 0, "avc1.42c01e", 1, AnchorSource.ARRIVAL, None, None, 0
    )
    fields = {**run_fields(described), "width": 640, "height": 360, "folder": 1}
    return Message("opened", KEY, fields, header)


def state(**other: Any) -> Message:
    return Message(
        "state",
        KEY,
        {"state": "unreachable", "reason": "timeout", "detail": "", "retry_at_us": None, **other},
    )


async def hear(folder: Path, message: Message) -> StreamView:
    view = StreamView(KEY, {1: folder})
    view.recorded_from(5)
    async with open_index(folder / "index.db", folder) as index:
        hearing = Hearing(
            {KEY: view},
            index,
            lambda cpu_s, rss_bytes: None,
            lambda key, reason, broken: None,
            lambda: None,
            lambda confinement: None,
            sign_in=lambda key, step, tries, basic: None,
            failed=lambda folder, reason, words: None,
            left=lambda key, run: None,
            holds=lambda key: True,
        )
        reader = asyncio.StreamReader()
        reader.feed_data(encode(message))
        reader.feed_eof()
        await hearing.listen(reader)
    return view


@pytest.mark.parametrize(
    "message",
    [
        # Its successor would have no number left to record under.
        opened((1 << 63) - 1),
        opened(7, bytes(2 << 20)),
        state(state="fine, thank you"),
        state(reason="<script>"),
        state(retry_at_us=1 << 70),
    ],
    ids=["run", "header", "state", "reason", "time"],
)
async def test_what_no_recorder_says_ends_the_process(tmp_path: Path, message: Message) -> None:
    with pytest.raises(ProtocolError, match="that is wrong"):
        await hear(tmp_path, message)


async def test_what_every_recorder_says_is_taken(tmp_path: Path) -> None:
    assert (await hear(tmp_path, opened(7))).newest_run == 7
    view = await hear(tmp_path, state(detail="no\nline\x1b[31m of its own"))

    assert (view.status.reason, view.status.detail) == ("timeout", "no?line?[31m of its own")
    assert len(state_of(state(detail="x" * 60_000).fields)[2]) == 1000


def test_fragments_without_end_are_refused() -> None:
    view = StreamView(KEY, {1: Path("media")})
    header = RunHeader("site", "gate", "main", 7, 0, "avc1.42c01e", 1, AnchorSource.ARRIVAL, None, None, 0)
    view.opened(header, 640, 360, b"ftyp")
    fragment = Fragment(100, 100, 0, 90_000, 1, FragmentFlags.NONE, 1)

    with pytest.raises(ValueError, match="fragments in run 7"):
        for _ in range(102_000):
            view.written(7, 0, fragment)
