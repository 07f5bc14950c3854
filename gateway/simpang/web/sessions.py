"""Who is signed in: one-time tokens in links, exchanged for cookies. Memory only: a restart signs everybody
out.

Only hashes are kept, so neither a memory dump nor a lookup's timing gives a secret away. Times are seconds of
the boot clock: setting the wall clock back revives nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from simpang.web.roles import GRANTABLE, Role

# Long enough to walk from the console to a desk; the link in a terminal's history is dead by the next shift.
LINK_S = 3600
# A day's work, and a phone left in a drawer over the weekend signs in again.
IDLE_S = 12 * 3600
LONGEST_S = 7 * 24 * 3600
# Far above what a site needs; what bounds memory when something asks for links in a loop.
MAX_LINKS = 64
MAX_SESSIONS = 256


@dataclass(slots=True)
class _Entry:
    digest: bytes
    role: Role
    made_s: float
    used_s: float


class Sessions:
    """One-time tokens and the sessions made from them. The oldest makes room when there are too many."""

    def __init__(self) -> None:
        self._links: list[_Entry] = []
        self._sessions: list[_Entry] = []

    def mint(self, role: Role, now_s: float) -> str:
        """A token for a link to the page; valid once, for LINK_S."""
        if role not in GRANTABLE:
            raise ValueError(f"no session has the role {role.word}")
        return _issue(self._links, role, now_s, MAX_LINKS)

    def exchange(self, token: str, now_s: float) -> str | None:
        """The secret for a cookie in return for a token, which is spent by it; None if unknown, spent or too
        old.
        """
        entry = _find(self._links, token)
        if entry is None:
            return None
        self._links.remove(entry)
        if now_s - entry.made_s > LINK_S:
            return None
        return _issue(self._sessions, entry.role, now_s, MAX_SESSIONS)

    def role(self, secret: str, now_s: float) -> Role | None:
        """The role that a cookie's secret stands for; using it keeps it alive, up to LONGEST_S."""
        entry = _find(self._sessions, secret)
        if entry is None:
            return None
        if now_s - entry.used_s > IDLE_S or now_s - entry.made_s > LONGEST_S:
            self._sessions.remove(entry)
            return None
        entry.used_s = now_s
        return entry.role

    def end(self, secret: str) -> None:
        """Signs out; an unknown secret is signed out already."""
        entry = _find(self._sessions, secret)
        if entry is not None:
            self._sessions.remove(entry)


def _issue(entries: list[_Entry], role: Role, now_s: float, most: int) -> str:
    secret = secrets.token_urlsafe(32)
    entries.append(_Entry(_digest(secret), role, now_s, now_s))
    del entries[:-most]
    return secret


def _find(entries: list[_Entry], secret: str) -> _Entry | None:
    """Compares with every entry in constant time, so that timing tells neither a secret nor how many there
    are left.
    """
    digest = _digest(secret)
    found = None
    for entry in entries:
        if hmac.compare_digest(entry.digest, digest):
            found = entry
    return found


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
