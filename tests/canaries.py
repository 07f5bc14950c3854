"""Secrets that are recognised wherever they turn up, in every spelling in which they could."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus


@dataclass
class Canaries:
    """add() each secret; found() says which of them stand in some bytes, and in what spelling."""

    forms: dict[bytes, str] = field(default_factory=dict)

    def add(self, name: str, secret: str, users: Iterable[str] = ()) -> str:
        for spelling, form in _spellings(secret).items():
            self.forms.setdefault(form, f"{name} ({spelling})")
        for user in users:
            pair = base64.b64encode(f"{user}:{secret}".encode()).rstrip(b"=")
            self.forms[pair] = f"{name} (base64 of user:secret)"
        return secret

    def found(self, data: bytes) -> set[str]:
        return {name for form, name in self.forms.items() if form in data}


def where(canaries: Canaries, places: Mapping[str, bytes]) -> dict[str, set[str]]:
    """The places with a secret in them."""
    return {place: names for place, data in places.items() if (names := canaries.found(data))}


def _spellings(secret: str) -> dict[str, bytes]:
    data = secret.encode()
    percent = quote(secret, safe="")
    texts = {
        "plain": secret,
        "percent-encoded": percent,
        "percent-encoded, lower case": re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), percent),
        "percent-encoded, slashes kept": quote(secret),
        "form-encoded": quote_plus(secret),
        "JSON": json.dumps(secret)[1:-1],
        "JSON in UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1],
        "repr": repr(secret)[1:-1],
        "repr of bytes": repr(data)[2:-1],
        "XML": html.escape(secret),
        "hexadecimal": data.hex(),
    }
    return {name: text.encode() for name, text in texts.items()} | {
        "base64": base64.b64encode(data).rstrip(b"=")
    }
