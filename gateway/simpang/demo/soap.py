"""SOAP 1.2 as an ONVIF device speaks it: reading requests, checking UsernameTokens, writing faults."""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import html
import re
from collections import OrderedDict
from dataclasses import dataclass
from string import Template

from simpang_onvif import xml
from simpang_onvif.errors import OnvifError

MAX_REQUEST_BYTES = 64 * 1024

# How far a token's time may be off (Core specification, "time stamp" rule of WS-UsernameToken).
_TOKEN_WINDOW_S = 300
# A nonce is remembered for the window; more of them than this in it is a flood, and the oldest go.
_MOST_NONCES = 4096

_ENVELOPE = Template(
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<env:Envelope xmlns:env="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:ter="http://www.onvif.org/ver10/error" xmlns:tds="http://www.onvif.org/ver10/device/wsdl"'
    ' xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tr2="http://www.onvif.org/ver20/media/wsdl"'
    ' xmlns:tt="http://www.onvif.org/ver10/schema"><env:Body>$body</env:Body></env:Envelope>'
)
_FAULT = Template(
    "<env:Fault><env:Code><env:Value>env:$code</env:Value>"
    "<env:Subcode><env:Value>ter:$subcode</env:Value></env:Subcode></env:Code>"
    '<env:Reason><env:Text xml:lang="en">$reason</env:Text></env:Reason></env:Fault>'
)


class Fault(Exception):
    """A SOAP fault. status: of HTTP; code: Sender or Receiver; subcode: of the ONVIF namespace."""

    def __init__(self, status: int, code: str, subcode: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.subcode = subcode
        self.reason = reason

    def envelope(self) -> bytes:
        return envelope(render(_FAULT, code=self.code, subcode=self.subcode, reason=self.reason))


@dataclass(frozen=True, slots=True)
class Call:
    """One request. operation: its local name; namespace: the service; body: its element."""

    operation: str
    namespace: str
    body: xml.Element
    header: xml.Element | None


class TokenCheck:
    """Judges UsernameTokens (WS-Security 1.0) with a digest; each nonce is good once."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def accepts(self, header: xml.Element | None, now_s: float) -> bool:
        """Whether the header proves the password, at this time (seconds since 1970)."""
        token = xml.find(header, "Security", "UsernameToken")
        password = xml.find(token, "Password")
        if not xml.attribute(password, "Type").endswith("#PasswordDigest"):
            return False
        created = xml.text(token, "Created")
        try:
            nonce = base64.b64decode(xml.text(token, "Nonce"), validate=True)
        except (binascii.Error, ValueError):
            return False
        wanted = hashlib.sha1(  # noqa: S324 - the digest that WS-Security 1.0 prescribes
            nonce + created.encode() + self._password.encode()
        ).digest()
        proof = xml.text(password).encode()
        right = hmac.compare_digest(base64.b64encode(wanted), proof)
        known = hmac.compare_digest(xml.text(token, "Username").encode(), self._user.encode())
        return (
            right and known and _is_recent(created, now_s) and self._is_new(nonce + created.encode(), now_s)
        )

    def _is_new(self, nonce: bytes, now_s: float) -> bool:
        while self._seen and (
            len(self._seen) >= _MOST_NONCES or next(iter(self._seen.values())) < now_s - 2 * _TOKEN_WINDOW_S
        ):
            self._seen.popitem(last=False)
        if nonce in self._seen:
            return False
        self._seen[nonce] = now_s
        return True


def read_call(data: bytes) -> Call:
    """Raises Fault where this is no SOAP request."""
    try:
        document = xml.parse(data, MAX_REQUEST_BYTES)
    except OnvifError as error:
        raise Fault(400, "Sender", "WellFormed", "Not XML that is read here") from error
    body = xml.find(document.root, "Body")
    operations = [] if body is None else [element for element in body if isinstance(element.tag, str)]
    if not document.exact or xml.local(document.root) != "Envelope" or len(operations) != 1:
        raise Fault(400, "Sender", "WellFormed", "Not one SOAP request")
    operation = operations[0]
    namespace = re.match(r"\{([^}]*)\}", str(operation.tag))
    return Call(
        xml.local(operation), namespace[1] if namespace else "", operation, xml.find(document.root, "Header")
    )


def not_authorized() -> Fault:
    """What cameras answer to a wrong password (Core specification, access control)."""
    return Fault(400, "Sender", "NotAuthorized", "Sender not Authorized")


def envelope(body: str) -> bytes:
    return _ENVELOPE.substitute(body=body).encode()


def render(template: Template, **values: object) -> str:
    """Fill in a template; values are escaped, so that none of them can become markup."""
    return template.substitute({name: html.escape(str(value)) for name, value in values.items()})


def _is_recent(created: str, now_s: float) -> bool:
    try:
        moment = datetime.datetime.fromisoformat(created)
    except ValueError:
        return False
    if moment.tzinfo is None:
        return False
    return abs(moment.timestamp() - now_s) <= _TOKEN_WINDOW_S
