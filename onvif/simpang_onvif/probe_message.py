"""WS-Discovery messages (OASIS draft of April 2005, the one that ONVIF names): writing probes, reading
answers.

Pure. Real devices send a ProbeMatch without its ProbeMatches, leave out RelatesTo, or answer a probe for
video with the description of a printer; what is read here depends on none of it.
"""

from __future__ import annotations

import enum
import ipaddress
import re
import uuid
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from simpang_onvif import xml
from simpang_onvif.device import Device
from simpang_onvif.errors import OnvifError
from simpang_onvif.text import clean

# Firmware compares the type as text (openhab-addons 9022): each form wakes devices that others leave asleep.
PROBE_TYPES = ("dn:NetworkVideoTransmitter", "tds:Device", "")

# Real answers have 1 to 4 kB.
MAX_DATAGRAM_BYTES = 16_384
_MAX_XADDRS = 8
_MAX_SCOPES = 64
_MAX_URI_CHARS = 512
# http://[IPv6]:65535/onvif/device_service has 60; what is far longer is no address that anybody can keep.
_MAX_XADDR_CHARS = 200

# Scopes are parted by blanks, and blanks in a name are written %20; ipycam writes them as blanks.
_NEXT_URI = re.compile(r"\s+(?=[a-zA-Z]{2,12}:)")

_PROBE = """<?xml version="1.0" encoding="UTF-8"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"\
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing">\
<s:Header>\
<a:Action s:mustUnderstand="1">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action>\
<a:MessageID>{message_id}</a:MessageID>\
<a:ReplyTo><a:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>\
<a:To s:mustUnderstand="1">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>\
</s:Header><s:Body>\
<d:Probe xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"\
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl">\
{types}</d:Probe></s:Body></s:Envelope>"""


class Kind(enum.Enum):
    """What a device tells of itself."""

    MATCH = "ProbeMatch"
    HELLO = "Hello"
    BYE = "Bye"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One device's word about itself; a Bye names no more than the device's endpoint reference."""

    kind: Kind
    device: Device


def probe(types: str) -> bytes:
    """A probe for devices of these types ("" asks all), with a message id of its own."""
    wanted = f"<d:Types>{types}</d:Types>" if types else ""
    return _PROBE.format(message_id=f"uuid:{uuid.uuid4()}", types=wanted).encode()


def read(datagram: bytes, sender: str, interface: str) -> list[Announcement]:
    """What ONVIF devices announce in one datagram; empty for everything else, other people's probes
    included."""
    if len(datagram) > MAX_DATAGRAM_BYTES:
        return []
    try:
        root = xml.parse(datagram, MAX_DATAGRAM_BYTES).root
    except OnvifError:
        return []
    kinds = {kind.value: kind for kind in Kind}
    return [
        Announcement(kind, device)
        for element in root.iter()
        if (kind := kinds.get(xml.local(element))) is not None
        and (device := _device(element, kind, sender, interface)) is not None
    ]


def _device(element: xml.Element, kind: Kind, sender: str, interface: str) -> Device | None:
    epr = clean(xml.text(element, "EndpointReference", "Address"), 128)
    scopes = _NEXT_URI.split(xml.text(element, "Scopes"))[:_MAX_SCOPES]
    named = xml.text(element, "XAddrs").split()[:_MAX_XADDRS]
    xaddrs = tuple(
        uri for uri in named if len(uri) <= _MAX_XADDR_CHARS and uri.isascii() and uri.isprintable()
    )
    if kind is Kind.BYE:
        return Device(epr, sender, (), "", "", "", interface) if epr else None
    if not _is_onvif(xml.text(element, "Types"), scopes, xaddrs):
        return None
    return Device(
        epr=epr,
        address=sender,
        xaddrs=xaddrs,
        name=_scope(scopes, "name"),
        hardware=_scope(scopes, "hardware"),
        location=_scope(scopes, "location"),
        interface=interface,
    )


def _is_onvif(types: str, scopes: list[str], xaddrs: tuple[str, ...]) -> bool:
    # A printer is a "Device" too, only of another namespace, and prefixes are often left undeclared.
    return (
        "NetworkVideoTransmitter" in types
        or any(scope.lower().startswith("onvif://") for scope in scopes)
        or any("/onvif/" in xaddr for xaddr in xaddrs)
    )


def _scope(scopes: list[str], name: str) -> str:
    """The last part of onvif://www.onvif.org/NAME/VALUE, decoded (Core 7.3.2); the first one that says
    anything."""
    start = f"onvif://www.onvif.org/{name}/"
    for scope in scopes:
        if scope.lower().startswith(start):
            value = clean(unquote(scope[len(start) :][:_MAX_URI_CHARS].rpartition("/")[2]))
            if value:
                return value
    return ""


def service_url(device: Device) -> str:
    """Where to ask it: the service address that it names at the very IP it answered from; else that IP with
    the port and path of another; else the IP alone.

    Cameras name a dead DHCP lease, 0.0.0.0 or 169.254.x.y beside or instead of the right address.
    """
    host = f"[{device.address}]" if ":" in device.address else device.address
    elsewhere = ""
    for xaddr in device.xaddrs:
        try:
            parts = urlsplit(xaddr)
            port = parts.port
        except ValueError:
            continue
        if parts.scheme not in ("http", "https") or not parts.hostname:
            continue
        if parts.hostname == device.address:
            return xaddr
        if not elsewhere and _is_ip(parts.hostname):
            elsewhere = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
    return elsewhere or device.address


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
