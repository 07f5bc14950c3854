"""One camera, asked over ONVIF: the only door from the rest of simpang to the ONVIF library.

    async with connect("10.0.4.21", credentials, policy) as camera:
        main, sub = choose(await camera.profiles())
        uri = await camera.stream_uri(main)

Errors: OnvifError alone, with a reason of the closed list.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from simpang_onvif import clock, xml
from simpang_onvif import profiles as media
from simpang_onvif.conversation import Conversation, converse
from simpang_onvif.device import CheckedUri, Credentials, Information, Profile
from simpang_onvif.documents import SERVICES, documents, warm
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.profiles import choose
from simpang_onvif.reply import Reply
from simpang_onvif.text import clean
from simpang_onvif.uri_policy import UriPolicy, parse_ip

__all__ = ["Camera", "choose", "connect", "warm"]

# Core 5.1.1: the device service of every ONVIF device is here.
_DEVICE_PATH = "/onvif/device_service"
_WEB = ("http", "https")
_STREAM = ("rtsp", "rtsps")

# A camera that answers a bounded question with nonsense or a fault can still be recorded without that answer.
_DISPENSABLE = (Reason.UNSUPPORTED, Reason.MALFORMED)

_MAC = re.compile(r"(?:[0-9a-f]{2}[:-]?){5}[0-9a-f]{2}")


class Camera:
    """A camera that answered. repairs: what of its answers was wrong and read all the same, in words.

    clock_offset_s: its clock minus ours; None where it does not tell. host: the one address it is asked at.
    """

    def __init__(
        self, conversation: Conversation, base: CheckedUri, policy: UriPolicy, clock_offset_s: float | None
    ) -> None:
        self.clock_offset_s = clock_offset_s
        self.host = base.host
        self.repairs: list[str] = []
        self._conversation = conversation
        self._base = base
        self._policy = policy
        self._services: dict[str, CheckedUri] | None = None

    async def information(self) -> Information:
        """Identity. Raises OnvifError; a camera that hides its network interfaces has no mac."""
        about = (await self._ask("device", "GetDeviceInformation")).element
        return Information(
            make=clean(xml.text(about, "Manufacturer")),
            model=clean(xml.text(about, "Model")),
            firmware=clean(xml.text(about, "FirmwareVersion")),
            serial=clean(xml.text(about, "SerialNumber")),
            mac=await self._mac(),
        )

    async def profiles(self) -> tuple[Profile, ...]:
        """Profiles with video: from Media2 where it names any, for only it can name H.265; else from Media1.

        Raises OnvifError(unsupported) where neither service names one.
        """
        services = await self._find_services()
        if "media2" in services:
            try:
                reply = await self._ask("media2", "GetProfiles", Type=["VideoSource", "VideoEncoder"])
            except OnvifError as error:
                if error.reason not in (*_DISPENSABLE, Reason.NOT_ONVIF) or "media1" not in services:
                    raise
                self.repairs.append(f"Media2 asked in vain: {error.detail}")
            else:
                found = media.read_media2(reply.element)
                if found:
                    return found
        if "media1" in services:
            found = media.read_media1((await self._ask("media1", "GetProfiles")).element)
            if found:
                return found
        raise OnvifError(
            Reason.UNSUPPORTED, f"{self.host}: names no video profile", "make one in the camera's own page"
        )

    async def stream_uri(self, profile: Profile) -> CheckedUri:
        """Where the profile's RTSP stream is, checked by the policy and without credentials.

        Raises OnvifError(refused-by-policy) for what is not RTSP at the camera or an approved host.
        """
        await self._find_services()
        if profile.service == "media2":
            reply = await self._ask("media2", "GetStreamUri", Protocol="RTSP", ProfileToken=profile.token)
            uri = xml.find(reply.element, "Uri")
        else:
            setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
            reply = await self._ask("media1", "GetStreamUri", StreamSetup=setup, ProfileToken=profile.token)
            uri = xml.find(reply.element, "MediaUri", "Uri")
        if uri is None or not uri.text or len(uri):
            raise OnvifError(Reason.MALFORMED, f"{self.host}: names no stream for {clean(profile.token)!r}")
        if not reply.exact:
            # A recovering parser drops what it cannot read, and half an address is another camera's stream.
            raise OnvifError(Reason.MALFORMED, f"{self.host}: its stream address is not readable XML")
        return self._policy.check(uri.text.strip(), self.host, _STREAM)

    async def _ask(self, service: str, operation: str, **arguments: object) -> Reply:
        uri = self._base if service == "device" else (self._services or {}).get(service)
        if uri is None:
            raise OnvifError(Reason.UNSUPPORTED, f"{self.host}: has no {service} service")
        return await self._conversation.ask(service, uri, operation, arguments)

    async def _mac(self) -> str | None:
        try:
            reply = await self._ask("device", "GetNetworkInterfaces")
        except OnvifError as error:
            if error.reason not in (*_DISPENSABLE, Reason.AUTH):
                raise
            return None
        for interface in xml.children(reply.element, "NetworkInterfaces"):
            written = xml.text(interface, "Info", "HwAddress").lower()
            digits = re.sub("[:-]", "", written)
            if _MAC.fullmatch(written) and digits.strip("0"):
                return ":".join(digits[at : at + 2] for at in range(0, 12, 2))
        return None

    async def _find_services(self) -> dict[str, CheckedUri]:
        if self._services is None:
            named = await self._services_named() or await self._capabilities_named()
            self._services = {name: self._service_uri(name, xaddr) for name, xaddr in named.items()}
        return self._services

    async def _services_named(self) -> dict[str, str]:
        try:
            reply = await self._ask("device", "GetServices", IncludeCapability=False)
        except OnvifError as error:
            if error.reason not in _DISPENSABLE:
                raise
            return {}
        names = {SERVICES[name].namespace: name for name in ("media1", "media2")}
        found: dict[str, str] = {}
        for service in xml.children(reply.element, "Service"):
            name = names.get(xml.text(service, "Namespace"))
            xaddr = xml.text(service, "XAddr")
            if name is not None and xaddr:
                found.setdefault(name, xaddr)
        return found

    async def _capabilities_named(self) -> dict[str, str]:
        reply = await self._ask("device", "GetCapabilities", Category=["All"])
        xaddr = xml.text(reply.element, "Capabilities", "Media", "XAddr")
        return {"media1": xaddr} if xaddr else {}

    def _service_uri(self, name: str, xaddr: str) -> CheckedUri:
        try:
            return self._policy.check(xaddr, self.host, _WEB)
        except OnvifError as error:
            # Cameras name a former address or the factory's here; the path is right, and the camera is where
            # it answered. Nothing is ever sent to what it named.
            path = _web_path(xaddr)
            if not path:
                raise
            self.repairs.append(f"{name} asked at {self._base.authority} instead: {error.detail}")
            own = f"{self._base.scheme}://{self._base.authority}{path}"
            return self._policy.check(own, self.host, _WEB)


@asynccontextmanager
async def connect(
    address: str,
    credentials: Credentials | None,
    policy: UriPolicy,
    *,
    timeout_s: float = 5.0,
    total_s: float = 10.0,
    wall: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Camera]:
    """A camera at "HOST", "HOST:PORT" or a service URL; asks its clock, unsigned.

    timeout_s bounds each question, total_s everything asked inside the `async with`. A host name is resolved
    once; from then on the camera is that one address. Raises OnvifError: whatever the policy, the network or
    the camera has against it.
    """
    loaded = await documents()
    async with converse(
        loaded, credentials, timeout_s=timeout_s, total_s=total_s, monotonic=monotonic
    ) as conversation:
        base = await _checked_base(address, policy, timeout_s)
        offset_s = None
        try:
            reply = await conversation.ask("device", base, "GetSystemDateAndTime", may_sign=False)
        except OnvifError as error:
            # Axis signs everything: go on with our own clock. A refused HTTP digest is raised again by the
            # next question.
            if error.reason not in (*_DISPENSABLE, Reason.AUTH):
                raise
            if error.reason is Reason.MALFORMED:
                raise OnvifError(Reason.NOT_ONVIF, f"{base.authority}: {error.detail}") from error
        else:
            utc = clock.read_utc(reply.element)
            if utc is not None:
                now_s = monotonic()
                conversation.clock = clock.CameraClock(utc, now_s)
                offset_s = conversation.clock.offset_s(wall(), now_s)
        yield Camera(conversation, base, policy, offset_s)


def _web_path(xaddr: str) -> str:
    try:
        parts = urlsplit(xaddr)
    except ValueError:
        return ""
    return parts.path if parts.scheme in _WEB else ""


async def _checked_base(address: str, policy: UriPolicy, timeout_s: float) -> CheckedUri:
    url = address.strip()
    if "://" not in url:
        bare_v6 = parse_ip(url) is not None and ":" in url
        url = f"http://[{url}]{_DEVICE_PATH}" if bare_v6 else f"http://{url}{_DEVICE_PATH}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        said = f"{clean(address)!r} is no address"
        raise OnvifError(Reason.MALFORMED, said, "write it as 10.0.4.21 or 10.0.4.21:8000") from error
    ip = parse_ip(host)
    resolved = str(ip) if ip is not None else await _resolve(host, timeout_s)
    bracketed = f"[{resolved}]" if ":" in resolved else resolved
    path = parts.path if parts.path not in ("", "/") else _DEVICE_PATH
    query = f"?{parts.query}" if parts.query else ""
    authority = bracketed if port is None else f"{bracketed}:{port}"
    return policy.check(f"{parts.scheme}://{authority}{path}{query}", resolved, _WEB)


async def _resolve(host: str, timeout_s: float) -> str:
    try:
        async with asyncio.timeout(timeout_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise OnvifError(Reason.UNREACHABLE, f"{clean(host)!r}: this name has no address") from error
    # IPv4 first: it is what cameras mean.
    family_order = sorted(found, key=lambda item: item[0] != socket.AF_INET)
    return str(family_order[0][4][0])
