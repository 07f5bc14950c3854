"""Names from devices are data: what may be shown, logged and stored of them."""

from __future__ import annotations

import unicodedata

# Room for every real name; short enough for a table and a log line.
MAX_NAME_CHARS = 64


def clean(text: str | None, limit: int = MAX_NAME_CHARS) -> str:
    """NFC, blanks collapsed, at most `limit` characters; no control, format (as direction overrides),
    private or unassigned ones."""
    if not text:
        return ""
    # NFC can at most shorten what matters here; cutting first bounds the work.
    normal = unicodedata.normalize("NFC", text[: limit * 8])
    blanked = " ".join(normal.split())
    return "".join(char for char in blanked if unicodedata.category(char)[0] != "C")[:limit].strip()
