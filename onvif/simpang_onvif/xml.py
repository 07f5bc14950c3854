"""The only reader of XML that comes from a device. Pure.

Cameras write XML that no strict reader takes: undeclared prefixes, bare `&`, bytes that are not UTF-8,
elements in any order. So elements are found by local name, and what cannot be parsed is repaired; but a
repair never guesses at text that stands for an address (`Document.exact`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from lxml import etree

from simpang_onvif.errors import OnvifError, Reason

Element: TypeAlias = etree._Element

# A 64-channel NVR lists 128 profiles of about 5 kB in one reply.
MAX_BYTES = 1_000_000
# The same reply has about 28,000 tags; lxml spends some 150 bytes on each.
MAX_TAGS = 100_000

# An ampersand that starts no entity of XML itself: "rtsp://10.0.0.9/?a=1&b=2" (ZYsecurity).
_BARE_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")


@dataclass(frozen=True, slots=True)
class Document:
    """exact: the text is as the device wrote it; False where only a recovering parser could read it."""

    root: Element
    exact: bool


def parse(data: bytes, max_bytes: int = MAX_BYTES) -> Document:
    """Raises OnvifError(malformed): too large, a DOCTYPE, or no XML at all. What is deeper than 256 is cut.

    No entity is ever declared, so none is ever expanded; nothing is loaded from anywhere.
    """
    if len(data) > max_bytes:
        raise OnvifError(Reason.MALFORMED, f"answered with more than {max_bytes} bytes of XML")
    # Before any parser sees it. Without its zero bytes UTF-16 and UTF-32 read alike.
    plain = data.replace(b"\0", b"")
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise OnvifError(Reason.MALFORMED, "answered with a DOCTYPE, which SOAP 1.2 section 5 forbids")
    if plain.count(b"<") > MAX_TAGS:
        raise OnvifError(Reason.MALFORMED, f"answered with more than {MAX_TAGS} tags")
    root, exact = _parse(data, recover=False), True
    if root is None:
        data = _BARE_AMPERSAND.sub(b"&amp;", data)
        root = _parse(data, recover=False)
    if root is None:
        root, exact = _parse(data, recover=True), False
    if root is None:
        raise OnvifError(Reason.MALFORMED, "answered with something that is not XML")
    # An encoding that hides the word from the check above, as UTF-7, ends here.
    if cast("Any", root.getroottree().docinfo).doctype:  # which the stubs lack
        raise OnvifError(Reason.MALFORMED, "answered with a DOCTYPE, which SOAP 1.2 section 5 forbids")
    return Document(root, exact)


def local(element: Element) -> str:
    """Its name without namespace, and without the prefix that a recovered document leaves in place."""
    return element.tag.rpartition("}")[2].rpartition(":")[2] if isinstance(element.tag, str) else ""


def children(element: Element | None, name: str) -> list[Element]:
    return [] if element is None else [child for child in element if local(child) == name]


def find(element: Element | None, *path: str) -> Element | None:
    """The first element down the path of local names, or None."""
    for name in path:
        if element is None:
            return None
        element = next((child for child in element if local(child) == name), None)
    return element


def text(element: Element | None, *path: str) -> str:
    """Its text without outer blanks; "" where there is no such element."""
    found = find(element, *path)
    return "" if found is None else (found.text or "").strip()


def attribute(element: Element | None, name: str) -> str:
    if element is None:
        return ""
    for key, value in element.attrib.items():
        if str(key).rpartition("}")[2].rpartition(":")[2] == name:
            return str(value).strip()
    return ""


def number(value: str, most: float = 1e9) -> float:
    """A number from 0 to `most`; 0 for whatever else a device may write there."""
    try:
        parsed = float(value[:32])
    except ValueError:
        return 0.0
    return parsed if math.isfinite(parsed) and 0 <= parsed <= most else 0.0


def _parse(data: bytes, *, recover: bool) -> Element | None:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
        recover=recover,
    )
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        return None
