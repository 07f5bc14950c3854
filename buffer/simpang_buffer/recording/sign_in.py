"""One owner of sign-ins per camera: its streams share what a refusal has cost (cameras lock accounts)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from simpang_buffer.recording.retry import delay_s
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.errors import AuthRefused

# Host and port: behind one router's address each forwarded port is another camera.
Address: TypeAlias = tuple[str, int]


@dataclass(slots=True)
class _Account:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    accepted: bool = False
    refused: int = 0
    not_before: float = 0.0
    words: str = ""


class SignIns:
    """Of one process; all streams of a camera are recorded by the same one."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._accounts: dict[tuple[Address, Credentials], _Account] = {}
        self._monotonic = monotonic

    @contextlib.asynccontextmanager
    async def trying(self, address: Address, credentials: Credentials | None) -> AsyncIterator[None]:
        """Around an attempt. Until the camera has accepted these credentials once, one attempt at a time.

        Raises AuthRefused without an attempt while a refusal forbids one. AuthRefused and success inside are
        noted; whoever fails otherwise proves nothing.
        """
        if credentials is None:
            yield
            return
        account = self._accounts.setdefault((address, credentials), _Account())
        async with account.lock if not account.accepted else contextlib.nullcontext():
            if self.wait_s(address, credentials) > 0:
                raise AuthRefused(account.words)
            try:
                yield
            except AuthRefused as error:
                account.accepted = False
                account.refused += 1
                account.not_before = self._monotonic() + delay_s(error, account.refused)
                account.words = error.detail
                raise
            account.accepted, account.refused = True, 0

    def wait_s(self, address: Address, credentials: Credentials | None) -> float:
        """How long these credentials may not be tried."""
        account = self._accounts.get((address, credentials)) if credentials else None
        return max(account.not_before - self._monotonic(), 0.0) if account else 0.0
