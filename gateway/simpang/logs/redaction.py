"""Knows every loaded secret in every form in which it could reach a log, and blots it out."""

from __future__ import annotations

import base64
import json
import re
import threading
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

BLOT = "[secret]"

# A shorter secret stands inside ordinary words: blotting it would tell more than it hides.
SHORTEST = 4

# Userinfo in an address is hidden whether we know the password or not.
_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{1,15}://)[^\s/@'\"]+@", re.IGNORECASE)


class Redaction:
    """Secrets are added as they are loaded, from any thread; texts are cleaned as they are written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str, *, user: str | None = None) -> None:
        """Hides `secret` from now on; with `user`, also the pair as HTTP Basic sends it (RFC 7617)."""
        forms = set(_forms(secret)) if len(secret) >= SHORTEST else set()
        if user is not None:
            pair = base64.b64encode(f"{user}:{secret}".encode()).decode()
            forms |= {pair, pair.rstrip("=")}
        with self._lock:
            if forms <= self._forms:
                return
            self._forms |= forms
            # The longest first: a form that holds another one must not leave its rest behind.
            ordered = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def clean(self, text: str) -> str:
        """The text without any known secret and without userinfo in addresses."""
        pattern = self._pattern
        if pattern is not None:
            text = pattern.sub(BLOT, text)
        return _USERINFO.sub(rf"\g<scheme>{BLOT}@", text)


def _forms(secret: str) -> list[str]:
    percent = quote(secret, safe="")
    encoded = secret.encode()
    return [
        secret,
        percent,
        _lower_hex(percent),
        quote(secret),
        quote_plus(secret),
        # As repr() and as JSON write it, without the quotes around.
        repr(secret)[1:-1],
        repr(encoded)[2:-1],
        json.dumps(secret)[1:-1],
        escape(secret),
        escape(secret, {'"': "&quot;", "'": "&apos;"}),
        base64.b64encode(encoded).decode().rstrip("="),
        encoded.hex(),
    ]


def _lower_hex(percent: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), percent)
