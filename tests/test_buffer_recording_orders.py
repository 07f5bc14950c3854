"""What a recorder process is told."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from pool_site import eventually
from simpang_buffer.index.index import open_index
from simpang_buffer.recording.orders import Orders
from simpang_buffer.recording.protocol import Message
from simpang_buffer.recording.sign_in_ledger import SignInLedger


async def test_a_camera_that_is_not_recorded_now_is_distrusted_too(tmp_path: Path) -> None:
    """The process has recorded it before and remembers its certificate; it would refuse the new one."""
    said: list[Message] = []
    async with open_index(tmp_path / "index.db", tmp_path / "media") as index:
        orders = Orders(index, {}, SignInLedger(), lambda *_: None, folders=list, on_disk_full=lambda: None)
        orders.distrust("gate")
        assert said == []
        telling = asyncio.create_task(orders.keep_telling(said.append), name="telling")
        await asyncio.sleep(0)
        orders.distrust("gate")
        await eventually(lambda: said)
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling

    assert [(one.kind, one.stream and one.stream.camera) for one in said] == [("distrust", "gate")]
