"""What sign-ins have cost, over the deaths of recorder processes: the daemon's side of sign_in.py. Pure.

A process tells that it is about to use a password before it does. If it dies before it tells what came of it,
that counts as a try that was refused, but asks for no wait until three have been spent: a recorder that dies
while it signs in to a good camera must not lose ten minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simpang_buffer.recording.retry import AUTH_DELAYS_S, auth_delay_s
from simpang_buffer.recording.sign_in import Address
from simpang_buffer.rtsp.auth import Credentials

# Addresses and passwords change; a year of changes must not fill the memory.
_MOST_ACCOUNTS = 256


@dataclass(slots=True)
class _Tally:
    refused: int = 0
    sending: int = 0
    not_before: float = 0.0
    basic: bool = False


class SignInLedger:
    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._tallies: dict[tuple[Address, Credentials], _Tally] = {}

    def note(
        self, address: Address, credentials: Credentials | None, step: str, tries: int, basic: bool
    ) -> None:
        """A step that a process told. Raises ValueError for one that there is not."""
        if credentials is None:
            return
        tally = self._tally(address, credentials)
        if step == "sending":
            tally.sending += 1
            return
        tally.sending = max(0, tally.sending - 1)
        if step == "accepted":
            tally.refused, tally.not_before, tally.basic = 0, 0.0, basic
        elif step == "refused":
            tally.refused += tries
            tally.not_before = self._monotonic() + auth_delay_s(tally.refused)
        elif step != "undecided":
            raise ValueError(f"a sign-in is never {step!r}")

    def died(self, address: Address, credentials: Credentials | None) -> None:
        """The process that signed in there has died."""
        tally = self._tallies.get((address, credentials)) if credentials else None
        if tally is None or not tally.sending:
            return
        tally.refused += tally.sending
        tally.sending = 0
        if tally.refused >= len(AUTH_DELAYS_S):
            tally.not_before = self._monotonic() + auth_delay_s(tally.refused)

    def handed_over(self, address: Address, credentials: Credentials | None) -> dict[str, Any]:
        """What the next process must know: SignIns.carry_on takes it."""
        tally = self._tallies.get((address, credentials)) if credentials else None
        tally = tally or _Tally()
        wait_s = max(0.0, tally.not_before - self._monotonic())
        return {"refused": tally.refused, "wait_s": wait_s, "basic": tally.basic}

    def _tally(self, address: Address, credentials: Credentials) -> _Tally:
        key = (address, credentials)
        tally = self._tallies.pop(key, None) or _Tally()
        # The oldest is forgotten first.
        self._tallies[key] = tally
        while len(self._tallies) > _MOST_ACCOUNTS:
            del self._tallies[next(iter(self._tallies))]
        return tally
