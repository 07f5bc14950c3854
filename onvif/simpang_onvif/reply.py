"""From an HTTP answer to the element that answers an operation, or to the reason why there is none. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from simpang_onvif import xml
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.text import clean

# A fault's words are shown to a person; more than a line of them helps nobody.
_MAX_FAULT_CHARS = 160

_LOCKED = re.compile(r"\block(?:ed|status|out)?\b", re.IGNORECASE)
# WS-Security 1.1 section 12 (MessageExpired) and what cameras write instead.
_CLOCK = re.compile(r"message\s?expired|time\s?stamp|time (?:is )?(?:in|not )valid", re.IGNORECASE)
# ter:NotAuthorized (Core 5.11.2.2), wsse:FailedAuthentication and kin; Dahua says "Authority failure".
_DENIED = re.compile(r"auth|security\s?token|failedcheck|password", re.IGNORECASE)
_UNKNOWN_OPERATION = re.compile(
    r"actionnotsupported|notsupported|unknownaction|not\s?implemented", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer as received. http_signed: its request carried an HTTP digest."""

    status: int
    content_type: str
    body: bytes
    http_signed: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """The element inside the SOAP body; exact as in `xml.Document`."""

    element: xml.Element
    exact: bool


def read(answer: Answer, operation: str) -> Reply:
    """Raises OnvifError: auth, locked or clock where the camera refuses the sign-in (or wants one), limit
    where it is too busy, unsupported for its other faults, not-onvif or malformed for what is no SOAP."""
    status = answer.status
    if status in (429, 503):
        raise OnvifError(Reason.LIMIT, f"{operation}: HTTP {status}, too many requests or clients")
    if 300 <= status < 400:
        raise OnvifError(Reason.REFUSED_BY_POLICY, f"{operation}: HTTP {status}, sends us to another address")
    try:
        document = xml.parse(answer.body)
        envelope = document.root if xml.local(document.root) == "Envelope" else None
    except OnvifError as error:
        document, envelope = None, None
        problem = error.detail
    else:
        problem = "answered with XML that is not SOAP"
    fault = xml.find(envelope, "Body", "Fault")
    if fault is not None:
        raise _from_fault(fault, status, operation)
    if status in (401, 403):
        raise _denied(operation, f"HTTP {status}", answer.body[:2000].decode("latin-1"))
    if status in (404, 405, 410, 501) or _is_page(answer):
        raise OnvifError(Reason.NOT_ONVIF, f"{operation}: HTTP {status}, no ONVIF service at this address")
    if document is None or envelope is None:
        raise OnvifError(Reason.MALFORMED, f"{operation}: {problem}")
    body = xml.find(envelope, "Body")
    element = next((child for child in body if xml.local(child)), None) if body is not None else None
    if element is None or status >= 400:
        raise OnvifError(Reason.MALFORMED, f"{operation}: HTTP {status} with an empty SOAP body")
    return Reply(element, document.exact)


def _from_fault(fault: xml.Element, status: int, operation: str) -> OnvifError:
    codes, words = _fault_texts(fault)
    said = clean(" ".join(filter(None, [words, *codes[-1:]])), _MAX_FAULT_CHARS)
    everything = " ".join([*codes, words])
    if status in (401, 403) or _DENIED.search(everything) or _CLOCK.search(everything):
        return _denied(operation, said, everything)
    if _UNKNOWN_OPERATION.search(everything):
        return OnvifError(Reason.UNSUPPORTED, f"{operation}: not supported ({said})")
    return OnvifError(Reason.UNSUPPORTED, f"{operation}: refused ({said})")


def _denied(operation: str, said: str, everything: str) -> OnvifError:
    if _LOCKED.search(everything):
        return OnvifError(Reason.LOCKED, f"{operation}: the account is locked ({said})")
    if _CLOCK.search(everything):
        return OnvifError(Reason.CLOCK, f"{operation}: refused for the time ({said})")
    return OnvifError(Reason.AUTH, f"{operation}: not authorised ({said})")


def _fault_texts(fault: xml.Element) -> tuple[list[str], str]:
    """Codes from the general to the particular, and the words; SOAP 1.2 section 5.4, or 1.1 section 4.4."""
    codes = [xml.text(fault, "faultcode")]
    code = xml.find(fault, "Code")
    # Subcodes nest; ONVIF uses two.
    for _ in range(4):
        codes.append(xml.text(code, "Value"))
        code = xml.find(code, "Subcode")
    words = xml.text(fault, "Reason", "Text") or xml.text(fault, "faultstring")
    return [code[:100] for code in codes if code], words[:1000]


def _is_page(answer: Answer) -> bool:
    head = answer.body[:200].lstrip().lower()
    return "html" in answer.content_type.lower() or head.startswith((b"<!doctype html", b"<html"))
