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
        forms = _forms(secret) if len(secret) >= SHORTEST else set()
        if user is not None:
            pair = base64.b64encode(f"{user}:{secret}".encode("utf-8", "surrogatepass")).decode()
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


def _forms(secret: str) -> set[str]:
    """Every spelling. Texts are often quoted twice: the repr of a message that quotes an address."""
    once = _spellings(secret)
    twice = {spelling for form in once for spelling in _spellings(form)}
    encoded = secret.encode("utf-8", "surrogatepass")
    return once | twice | {base64.b64encode(encoded).decode().rstrip("="), encoded.hex()}


def _spellings(text: str) -> set[str]:
    """As repr(), JSON, XML and addresses write it, without the quotes around."""
    encoded = text.encode("utf-8", "surrogatepass")
    percent = quote(encoded, safe="")
    quoted = repr(text)[1:-1]
    return {
        text,
        quoted,
        # Which quotes repr() escapes depends on what else stands in the text.
        quoted.replace("\\'", "'").replace("'", "\\'"),
        repr(encoded)[2:-1],
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        percent,
        _lower_hex(percent),
        quote(encoded),
        quote_plus(encoded),
        escape(text),
        escape(text, {'"': "&quot;", "'": "&apos;"}),
    }


def _lower_hex(percent: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), percent)
