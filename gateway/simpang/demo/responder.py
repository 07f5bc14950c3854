"""WS-Discovery as a device does it (OASIS, April 2005; ONVIF Core): Hello, answers to Probe and Resolve, Bye.

Several cameras of one host share the port: each joins the group on the interface of its own address, and the
kernel hands every multicast datagram to all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import itertools
import socket
import time
import uuid
from collections.abc import AsyncIterator
from string import Template
from typing import cast

from simpang.demo.device import scopes_of
from simpang.demo.identity import Identity
from simpang_onvif import xml
from simpang_onvif.errors import OnvifError

GROUP = "239.255.255.250"
PORT = 3702

# <linux/in.h>; the socket module names it from Python 3.14 on.
_IP_MULTICAST_ALL = 49
_MAX_DATAGRAM_BYTES = 8 * 1024
# A probe comes every few seconds, in three forms; more than this is somebody using us to flood another.
_MOST_ANSWERS_PER_S = 40
_TYPES = {
    ("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter"),
    ("http://www.onvif.org/ver10/device/wsdl", "Device"),
}

_MESSAGE = Template(
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
    ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"'
    ' xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl">'
    "<s:Header><a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/$action</a:Action>"
    "<a:MessageID>urn:uuid:$message</a:MessageID>$relates<a:To>$to</a:To>"
    '<d:AppSequence InstanceId="$instance" MessageNumber="$number"/></s:Header>'
    "<s:Body>$body</s:Body></s:Envelope>"
)
_RELATES = Template("<a:RelatesTo>$id</a:RelatesTo>")
_SELF = Template(
    "<a:EndpointReference><a:Address>$endpoint</a:Address></a:EndpointReference>"
    "<d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types><d:Scopes>$scopes</d:Scopes>"
    "<d:XAddrs>$xaddr</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>"
)
_EVERYBODY = "urn:schemas-xmlsoap-org:ws:2005:04:discovery"
_ANONYMOUS = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"


@contextlib.asynccontextmanager
async def responding(identity: Identity, port: int = PORT) -> AsyncIterator[None]:
    """Be found for as long as the `async with` lasts. Raises OSError where the group cannot be joined."""
    loop = asyncio.get_running_loop()
    responder = Responder(identity)
    own, _ = await loop.create_datagram_endpoint(lambda: responder, sock=_own_socket(identity.host, port))
    try:
        group, _ = await loop.create_datagram_endpoint(
            lambda: _Listener(responder), sock=_group_socket(identity.host, port)
        )
        try:
            own.sendto(responder.hello(), (GROUP, port))
            yield
        finally:
            own.sendto(responder.bye(), (GROUP, port))
            group.close()
    finally:
        own.close()
        # Closed transports let go of their sockets in the next turn of the loop.
        await asyncio.sleep(0)


class Responder(asyncio.DatagramProtocol):
    """Answers from the camera's own address, whichever socket a question came in by."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._instance = int(time.time())
        self._numbers = itertools.count(1)
        self._transport: asyncio.DatagramTransport | None = None
        self._second = 0
        self._answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A selector loop's datagram transport is one without inheriting from it.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        answer = self.answer(data)
        if answer is not None and self._transport is not None and self._may_answer():
            self._transport.sendto(answer, addr)

    def answer(self, data: bytes) -> bytes | None:
        """The ProbeMatches or ResolveMatches to send back; None for what does not mean us."""
        try:
            document = xml.parse(data, _MAX_DATAGRAM_BYTES)
        except OnvifError:
            return None
        if not document.exact:
            return None
        message = xml.text(document.root, "Header", "MessageID")[:256]
        probe = xml.find(document.root, "Body", "Probe")
        if probe is not None and self._is_meant(probe):
            return self._message("ProbeMatches", self._matches("Probe"), _ANONYMOUS, message)
        resolve = xml.find(document.root, "Body", "Resolve")
        if (
            resolve is not None
            and xml.text(resolve, "EndpointReference", "Address") == self._identity.endpoint
        ):
            return self._message("ResolveMatches", self._matches("Resolve"), _ANONYMOUS, message)
        return None

    def hello(self) -> bytes:
        return self._message("Hello", f"<d:Hello>{self._self()}</d:Hello>", _EVERYBODY)

    def bye(self) -> bytes:
        endpoint = html.escape(self._identity.endpoint)
        reference = f"<a:EndpointReference><a:Address>{endpoint}</a:Address></a:EndpointReference>"
        return self._message("Bye", f"<d:Bye>{reference}</d:Bye>", _EVERYBODY)

    def _is_meant(self, probe: xml.Element) -> bool:
        # All the types and scopes that are named have to be ours (WS-Discovery section 5.1).
        for name in xml.text(probe, "Types").split():
            prefix, _, local = name.rpartition(":")
            types = xml.find(probe, "Types")
            assert types is not None
            if (types.nsmap.get(prefix or None), local) not in _TYPES:
                return False
        ours = scopes_of(self._identity)
        wanted = xml.text(probe, "Scopes").split()
        return all(any(_within(scope, our) for our in ours) for scope in wanted)

    def _matches(self, kind: str) -> str:
        return f"<d:{kind}Matches><d:{kind}Match>{self._self()}</d:{kind}Match></d:{kind}Matches>"

    def _self(self) -> str:
        return _SELF.substitute(
            endpoint=html.escape(self._identity.endpoint),
            scopes=html.escape(" ".join(scopes_of(self._identity))),
            xaddr=html.escape(self._identity.service_url),
        )

    def _message(self, action: str, body: str, to: str, relates: str = "") -> bytes:
        return _MESSAGE.substitute(
            action=action,
            message=uuid.uuid4(),
            relates=_RELATES.substitute(id=html.escape(relates)) if relates else "",
            to=to,
            instance=self._instance,
            number=next(self._numbers),
            body=body,
        ).encode()

    def _may_answer(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._answers = second, 0
        self._answers += 1
        return self._answers <= _MOST_ANSWERS_PER_S


class _Listener(asyncio.DatagramProtocol):
    """Hands what the group gets to the responder."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._responder.datagram_received(data, addr)


def _within(scope: str, ours: str) -> bool:
    """RFC 3986 prefix matching, the rule that holds where a probe names none (section 5.1)."""
    scope = scope.rstrip("/")
    return ours == scope or ours.startswith(scope + "/")


def _own_socket(host: str, port: int) -> socket.socket:
    """Bound to the camera's own address: answers leave from it, and unicast probes reach it."""
    sock = _datagram_socket()
    sock.bind((host, port))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
    return sock


def _group_socket(host: str, port: int) -> socket.socket:
    """Bound to the group, which it joins on the interface that has the camera's address."""
    sock = _datagram_socket()
    # Else it would also hear what others on this host have joined on other networks, and answer there.
    sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    sock.bind((GROUP, port))
    membership = socket.inet_aton(GROUP) + socket.inet_aton(host)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    return sock


def _datagram_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setblocking(False)
    return sock
