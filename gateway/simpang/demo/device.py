"""The demo camera's ONVIF services over HTTP: device, media and media2, and nothing that changes it."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable
from string import Template
from urllib.parse import quote

from aiohttp import web

from simpang.demo import replies
from simpang.demo.identity import FIRMWARE, MANUFACTURER, STREAMS, Identity, Stream
from simpang.demo.soap import (
    MAX_REQUEST_BYTES,
    Call,
    Fault,
    TokenCheck,
    envelope,
    not_authorized,
    read_call,
    render,
)
from simpang_onvif import xml

_DEVICE = "http://www.onvif.org/ver10/device/wsdl"
_MEDIA1 = "http://www.onvif.org/ver10/media/wsdl"
_MEDIA2 = "http://www.onvif.org/ver20/media/wsdl"
_CONTENT_TYPE = "application/soap+xml"
# A client that drips its request gets no more of our time.
_REQUEST_S = 10.0

# The access class PRE_AUTH of the Core specification: asked before a client can sign in.
_OPEN = frozenset(
    {
        "GetSystemDateAndTime",
        "GetCapabilities",
        "GetServices",
        "GetServiceCapabilities",
        "GetHostname",
        "GetEndpointReference",
    }
)


class Device:
    """Answers SOAP requests for one camera."""

    def __init__(self, identity: Identity, now_s: Callable[[], float] = time.time) -> None:
        self._identity = identity
        self._now_s = now_s
        self._tokens = TokenCheck(identity.user, identity.password)
        self._base = identity.service_url.removesuffix("/device_service")
        self._operations: dict[tuple[str, str], Callable[[Call], str]] = {
            (_DEVICE, "GetSystemDateAndTime"): self._system_date_and_time,
            (_DEVICE, "GetDeviceInformation"): self._device_information,
            (_DEVICE, "GetCapabilities"): lambda _: render(replies.CAPABILITIES, base=self._base),
            (_DEVICE, "GetServices"): lambda _: render(replies.SERVICES, base=self._base),
            (_DEVICE, "GetServiceCapabilities"): lambda _: render(replies.DEVICE_SERVICE_CAPABILITIES),
            (_DEVICE, "GetScopes"): self._scopes,
            (_DEVICE, "GetHostname"): lambda _: render(
                replies.HOSTNAME, name=f"cam-{identity.serial.lower()}"
            ),
            (_DEVICE, "GetNetworkInterfaces"): lambda _: render(
                replies.NETWORK_INTERFACES, mac=identity.mac, host=identity.host
            ),
            (_DEVICE, "GetEndpointReference"): lambda _: render(
                replies.ENDPOINT_REFERENCE, endpoint=identity.endpoint
            ),
            (_MEDIA1, "GetProfiles"): self._media1_profiles,
            (_MEDIA1, "GetVideoSources"): lambda _: render(replies.VIDEO_SOURCES),
            (_MEDIA1, "GetVideoEncoderConfigurations"): self._media1_encoders,
            (_MEDIA1, "GetStreamUri"): lambda call: self._stream_uri(call, replies.MEDIA1_STREAM_URI),
            (_MEDIA2, "GetProfiles"): self._media2_profiles,
            (_MEDIA2, "GetVideoEncoderConfigurations"): self._media2_encoders,
            (_MEDIA2, "GetStreamUri"): lambda call: self._stream_uri(call, replies.MEDIA2_STREAM_URI),
        }

    def answer(self, data: bytes) -> bytes:
        """The reply to one request. Raises Fault."""
        call = read_call(data)
        operation = self._operations.get((call.namespace, call.operation))
        if call.operation not in _OPEN and not self._tokens.accepts(call.header, self._now_s()):
            raise not_authorized()
        if operation is None:
            raise Fault(500, "Receiver", "ActionNotSupported", "Optional Action Not Implemented")
        return envelope(operation(call))

    def application(self) -> web.Application:
        """The HTTP side. Every service has its own path and any of them takes any request."""
        application = web.Application(client_max_size=MAX_REQUEST_BYTES)
        for service in ("device", "media", "media2"):
            application.router.add_post(f"/onvif/{service}_service", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(_REQUEST_S):
            data = await request.read()
        try:
            body, status = self.answer(data), 200
        except Fault as fault:
            body, status = fault.envelope(), fault.status
        return web.Response(body=body, status=status, content_type=_CONTENT_TYPE, charset="utf-8")

    def _system_date_and_time(self, _: Call) -> str:
        now = datetime.datetime.fromtimestamp(self._now_s(), datetime.UTC)
        return render(
            replies.SYSTEM_DATE_AND_TIME,
            hour=now.hour,
            minute=now.minute,
            second=now.second,
            year=now.year,
            month=now.month,
            day=now.day,
        )

    def _device_information(self, _: Call) -> str:
        return render(
            replies.DEVICE_INFORMATION,
            manufacturer=MANUFACTURER,
            model=self._identity.model,
            firmware=FIRMWARE,
            serial=self._identity.serial,
        )

    def _scopes(self, _: Call) -> str:
        scopes = "".join(render(replies.SCOPE, scope=scope) for scope in scopes_of(self._identity))
        return replies.SCOPES.substitute(scopes=scopes)

    def _media1_profiles(self, _: Call) -> str:
        profiles = []
        for stream in STREAMS:
            profile = render(replies.MEDIA1_PROFILE, token=stream.token, name=stream.name)
            # Media1 has no word for H.265; a device leaves that encoder out of it.
            if self._identity.codec == "h264":
                profile += self._render_encoder(replies.MEDIA1_PROFILE_ENCODER, stream)
            profiles.append(profile + replies.MEDIA1_PROFILE_END)
        return f"<trt:GetProfilesResponse>{''.join(profiles)}</trt:GetProfilesResponse>"

    def _media1_encoders(self, _: Call) -> str:
        streams = STREAMS if self._identity.codec == "h264" else ()
        found = "".join(self._render_encoder(replies.MEDIA1_ENCODER, stream) for stream in streams)
        name = "GetVideoEncoderConfigurationsResponse"
        return f"<trt:{name}>{found}</trt:{name}>"

    def _media2_profiles(self, call: Call) -> str:
        # Without a Type a device names its profiles only (Media2 specification, GetProfiles).
        wanted = {xml.text(element) for element in xml.children(call.body, "Type")}
        profiles = []
        for stream in STREAMS:
            parts = ""
            if wanted & {"All", "VideoSource"}:
                parts += replies.MEDIA2_SOURCE
            if wanted & {"All", "VideoEncoder"}:
                parts += self._render_encoder(replies.MEDIA2_PROFILE_ENCODER, stream)
            if parts:
                parts = f"<tr2:Configurations>{parts}</tr2:Configurations>"
            head = render(replies.MEDIA2_PROFILE, token=stream.token, name=stream.name)
            profiles.append(f"{head}{parts}</tr2:Profiles>")
        return f"<tr2:GetProfilesResponse>{''.join(profiles)}</tr2:GetProfilesResponse>"

    def _media2_encoders(self, _: Call) -> str:
        found = "".join(self._render_encoder(replies.MEDIA2_ENCODER, stream) for stream in STREAMS)
        name = "GetVideoEncoderConfigurationsResponse"
        return f"<tr2:{name}>{found}</tr2:{name}>"

    def _render_encoder(self, template: Template, stream: Stream) -> str:
        return render(
            template,
            token=f"{stream.token}-encoder",
            name=stream.name,
            encoding=self._identity.codec.upper(),
            width=stream.width,
            height=stream.height,
            fps=stream.fps,
            kbps=stream.bps // 1000,
            key_every=stream.key_every,
        )

    def _stream_uri(self, call: Call, template: Template) -> str:
        token = xml.text(call.body, "ProfileToken")
        stream = next((stream for stream in STREAMS if stream.token == token), None)
        if stream is None:
            raise Fault(400, "Sender", "NoProfile", "Profile token does not exist")
        return render(template, uri=self._identity.stream_url(stream))


def scopes_of(identity: Identity) -> tuple[str, ...]:
    """What the camera says of itself in discovery (Core specification, scopes)."""
    said = (
        "Profile/Streaming",
        "Profile/T",
        "type/video_encoder",
        "location/demo",
        f"name/{quote(identity.name, safe='')}",
        f"hardware/{quote(identity.model, safe='')}",
    )
    return tuple(f"onvif://www.onvif.org/{part}" for part in said)
