"""One owner of sign-ins per camera: its streams share what a refusal has cost (cameras lock accounts)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from simpang_buffer.recording.retry import delay_s
from simpang_buffer.rtsp.auth import Credentials, SignInMemory
from simpang_buffer.rtsp.errors import AuthRefused

# Host and port: behind one router's address each forwarded port is another camera.
Address: TypeAlias = tuple[str, int]
# Told of each step of a sign-in: "sending" before a password is used, then "accepted", "refused" (how often)
# or "undecided".
Note: TypeAlias = Callable[[str, int], None]


@dataclass(slots=True)
class _Account:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    accepted: bool = False
    basic: bool = False
    refused: int = 0
    not_before: float = 0.0
    words: str = ""


class SignIns:
    """Of one process; all streams of a camera are recorded by the same one. What it knows ends with the
    process, so each step is told to the daemon, which hands it to the next one (see sign_in_ledger.py)."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._accounts: dict[tuple[Address, Credentials], _Account] = {}
        self._monotonic = monotonic

    def carry_on(self, address: Address, credentials: Credentials | None, told: Mapping[str, Any]) -> None:
        """What the daemon knows of a sign-in from processes before this one. Raises KeyError, TypeError."""
        if credentials is None or (address, credentials) in self._accounts:
            return
        account = self._accounts[address, credentials] = _Account()
        account.refused = int(told["refused"])
        account.not_before = self._monotonic() + float(told["wait_s"])
        account.basic = bool(told["basic"])
        account.words = "the camera refused the user or password before the recorder was restarted"

    @contextlib.asynccontextmanager
    async def trying(
        self, address: Address, credentials: Credentials | None, note: Note = lambda step, tries: None
    ) -> AsyncIterator[SignInMemory | None]:
        """Around an attempt. Until the camera has accepted these credentials once, one attempt at a time.

        Gives what the attempt has to know. Raises AuthRefused without an attempt while a refusal forbids one.
        AuthRefused and success inside are noted; whoever fails otherwise proves nothing.
        """
        if credentials is None:
            yield None
            return
        account = self._accounts.setdefault((address, credentials), _Account())
        async with account.lock if not account.accepted else contextlib.nullcontext():
            if self.wait_s(address, credentials) > 0:
                raise AuthRefused(account.words)
            sent: list[bool] = []

            def sending() -> None:
                if not sent:
                    note("sending", 0)
                sent.append(True)

            memory = SignInMemory(sending, account.refused == 0, account.basic)
            try:
                yield memory
            except AuthRefused as error:
                account.basic = False
                self._refuse(account, error, note)
                raise
            except BaseException:
                if memory.refused:
                    # Digest was, and then the camera hung up, or took too long to think of Basic.
                    words = "the camera refused the user or password, and then broke off"
                    self._refuse(account, AuthRefused(words, tried=True, tries=memory.refused), note)
                elif sent:
                    note("undecided", 0)
                raise
            account.accepted, account.refused, account.basic = True, 0, memory.basic
            if sent:
                note("accepted", 0)

    def withdrawn(
        self, address: Address, credentials: Credentials | None, error: AuthRefused, note: Note
    ) -> None:
        """A session whose sign-in had been accepted was refused later. Its camera may have forgotten it, so
        one of its streams signs in anew at once; if the password was changed, each stream's session and that
        try count together.
        """
        account = self._accounts.get((address, credentials)) if credentials else None
        if account is not None:
            self._refuse(account, error, note, waits=account.not_before > self._monotonic())

    def _refuse(self, account: _Account, error: AuthRefused, note: Note, *, waits: bool = True) -> None:
        account.accepted = False
        account.refused += error.tries
        account.words = error.detail
        if waits:
            account.not_before = self._monotonic() + delay_s(error, account.refused)
        note("refused", error.tries)

    def wait_s(self, address: Address, credentials: Credentials | None) -> float:
        """How long these credentials may not be tried."""
        account = self._accounts.get((address, credentials)) if credentials else None
        return max(account.not_before - self._monotonic(), 0.0) if account else 0.0

    def begins_with_basic(self, address: Address, credentials: Credentials | None) -> bool:
        account = self._accounts.get((address, credentials)) if credentials else None
        return account is not None and account.basic
