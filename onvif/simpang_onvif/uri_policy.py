"""The one policy for every address that a device names: service, stream, snapshot, subscription.

Pure. An address is used as its IP literal and never resolved: a name that a hostile device chose would put a
question of its making into our DNS, and could point somewhere else a moment later.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from simpang_onvif.device import CheckedUri
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.text import clean

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# ONVIF's own limit for a stream URI is 128 (Media 5.15.1); NVRs exceed it, nobody comes near this.
MAX_URI_CHARS = 2048

_DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}


@dataclass(frozen=True, slots=True)
class UriPolicy:
    """own_listeners: each (ip, port) where this gateway listens; one entry per own address where it listens
    on all. approved: networks in which a device may name other hosts than itself; the installer wrote them
    down, so link-local ones count too. allow_loopback: the camera itself may be on loopback (demo, tests).
    """

    own_listeners: frozenset[tuple[str, int]] = frozenset()
    approved: Sequence[Network] = ()
    allow_loopback: bool = False

    def check(self, uri: str, camera_address: str, schemes: Collection[str]) -> CheckedUri:
        """The address as it may be used, without the user and password it may carry.

        camera_address: IP of the camera that names it. Raises OnvifError(refused-by-policy, or malformed
        where it is no address at all). An unspecified host (0.0.0.0, from cameras that start up) means the
        camera.
        """
        camera = parse_ip(camera_address)
        if camera is None:
            raise OnvifError(Reason.MALFORMED, f"{clean(camera_address)!r} is not an IP address")
        scheme, host, port, path_and_query = _split(uri)
        if scheme not in schemes:
            wanted = " or ".join(sorted(schemes))
            raise _refused(uri, f"its scheme is {clean(scheme)!r} where {wanted} is expected")
        address = parse_ip(host)
        if address is None:
            raise _refused(uri, "it names a host that is not an IP address")
        if address.is_unspecified:
            address = camera
        self._check_address(uri, address, camera)
        if port is None:
            port = _DEFAULT_PORTS[scheme]
        if (str(address), port) in self.own_listeners:
            raise _refused(uri, "it is an address of this gateway itself")
        return CheckedUri(scheme, str(address), port, path_and_query)

    def _check_address(self, uri: str, address: Address, camera: Address) -> None:
        if (
            address.is_multicast
            or address.is_unspecified
            or address == ipaddress.IPv4Address("255.255.255.255")
        ):
            raise _refused(uri, "it is not the address of one host")
        if address.is_loopback:
            if not (self.allow_loopback and address == camera):
                raise _refused(uri, "it is a loopback address")
            return
        approved = any(address in network for network in self.approved)
        if address.is_link_local and not approved:
            raise _refused(uri, "it is a link-local address")
        if address != camera and not approved:
            raise _refused(uri, f"it is neither the camera ({camera}) nor approved")


def parse_ip(text: str) -> Address | None:
    """An IP literal, IPv4 in IPv6 unwrapped, so that ::ffff:127.0.0.1 is loopback; None for all else, an
    address with a zone id included."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
    return address


def without_userinfo(uri: str) -> str:
    """The address cut to what may be shown: no user, password, path or query (some hold the password)."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return f"an address of {len(uri)} characters"
    authority = rest.replace("\\", "/").split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]
    return clean(f"{scheme}://{authority.rpartition('@')[2]}")


def _split(uri: str) -> tuple[str, str, int | None, str]:
    if len(uri) > MAX_URI_CHARS:
        raise OnvifError(Reason.MALFORMED, f"it names an address of {len(uri)} characters")
    # Parsers disagree on what these mean; what is checked here must be what is connected to.
    if any(char <= " " or char == "\\" or ord(char) >= 0x7F for char in uri):
        raise OnvifError(
            Reason.MALFORMED, f"{without_userinfo(uri)}: blanks, control characters or letters beyond ASCII"
        )
    try:
        # A "#" stays where it is: a stream address is used exactly as given or not at all.
        parts = urlsplit(uri, allow_fragments=False)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise OnvifError(Reason.MALFORMED, f"{without_userinfo(uri)}: no valid address") from error
    if not parts.scheme:
        raise OnvifError(Reason.MALFORMED, f"{without_userinfo(uri)}: no scheme")
    if port == 0:
        raise OnvifError(Reason.MALFORMED, f"{without_userinfo(uri)}: port 0")
    path_and_query = parts.path or "/"
    if parts.query:
        path_and_query += f"?{parts.query}"
    return parts.scheme, host, port, path_and_query


def _refused(uri: str, why: str) -> OnvifError:
    return OnvifError(Reason.REFUSED_BY_POLICY, f"the camera names {without_userinfo(uri)}: {why}")
