"""The demo camera's ONVIF services, asked by the library that others use and by the gateway's own adapter."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from string import Template

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from onvif import ONVIFCamera
from zeep.exceptions import Fault as SoapFault

from demo_identity import PASSWORD, USER, identity
from simpang.demo.device import Device
from simpang.demo.identity import Codec, Identity
from simpang.demo.soap import Fault, TokenCheck, read_call
from simpang_onvif.adapter import connect
from simpang_onvif.device import Credentials
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.profiles import choose
from simpang_onvif.uri_policy import UriPolicy

NOW_S = 1_795_485_600.0
DEVICE = "http://www.onvif.org/ver10/device/wsdl"
MEDIA2 = "http://www.onvif.org/ver20/media/wsdl"
_REQUEST = Template(
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header>$header</s:Header>'
    '<s:Body><$operation xmlns="$namespace">$arguments</$operation></s:Body></s:Envelope>'
)
_TOKEN = Template(
    '<Security xmlns="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">'
    '<UsernameToken><Username>$user</Username><Password Type="$type">$digest</Password><Nonce>$nonce</Nonce>'
    "<Created>$created</Created></UsernameToken></Security>"
)


@contextlib.asynccontextmanager
async def running(who: Identity) -> AsyncIterator[Identity]:
    runner = web.AppRunner(Device(who).application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, who.host, who.http_port).start()
        yield who
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def library(who: Identity, password: str = PASSWORD) -> AsyncIterator[ONVIFCamera]:
    camera = ONVIFCamera(who.host, who.http_port, USER, password)
    try:
        yield camera
    finally:
        await camera.close()


def token(nonce: bytes = b"12345678", *, at_s: float = NOW_S, password: str = PASSWORD, user: str = USER,
          kind: str = "x#PasswordDigest") -> str:  # fmt: skip
    created = datetime.datetime.fromtimestamp(at_s, datetime.UTC).isoformat().replace("+00:00", "Z")
    digest = hashlib.sha1(nonce + created.encode() + password.encode()).digest()
    return _TOKEN.substitute(
        user=user,
        type=kind,
        digest=base64.b64encode(digest).decode(),
        nonce=base64.b64encode(nonce).decode(),
        created=created,
    )


def request(operation: str, *, header: str = "", namespace: str = DEVICE, arguments: str = "") -> bytes:
    text = _REQUEST.substitute(operation=operation, namespace=namespace, header=header, arguments=arguments)
    return text.encode()


def device() -> Device:
    return Device(identity(), lambda: NOW_S)


def refusal(data: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        device().answer(data)
    return caught.value


@pytest.mark.parametrize("codec", ["h264", "h265"])
async def test_the_library_understands_every_answer(codec: Codec) -> None:
    async with running(identity(codec=codec)) as who, library(who) as camera:
        await camera.update_xaddrs()
        management = await camera.create_devicemgmt_service()
        clock = (await management.GetSystemDateAndTime()).UTCDateTime
        information = await management.GetDeviceInformation()
        scopes = [scope.ScopeItem for scope in await management.GetScopes()]
        interface = (await management.GetNetworkInterfaces())[0]
        services = {s.Namespace: s.XAddr for s in await management.GetServices({"IncludeCapability": False})}
        media1 = await camera.create_media_service()
        old = await media1.GetProfiles()

        now = datetime.datetime.now(datetime.UTC)
        said = datetime.datetime(
            clock.Date.Year, clock.Date.Month, clock.Date.Day, clock.Time.Hour, clock.Time.Minute,
            clock.Time.Second, tzinfo=datetime.UTC,
        )  # fmt: skip
        assert abs((now - said).total_seconds()) < 5
        assert information.Model == f"Demo {codec.upper()}"
        assert information.SerialNumber == who.serial
        assert "onvif://www.onvif.org/name/Utara%20%26%20%3CTimur%3E" in scopes
        assert interface.Info.HwAddress == who.mac
        assert interface.IPv4.Config.Manual[0].Address == who.host
        assert MEDIA2 in services
        assert all(xaddr.startswith(f"http://{who.host}:{who.http_port}/") for xaddr in services.values())
        assert [profile.token for profile in old] == ["main", "sub"]
        encoders = [profile.VideoEncoderConfiguration for profile in old]
        if codec == "h264":
            assert [(e.Encoding, e.Resolution.Width, e.RateControl.FrameRateLimit) for e in encoders] == [
                ("H264", 1280, 15),
                ("H264", 640, 10),
            ]
        else:
            assert encoders == [None, None]
        setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
        uri = (await media1.GetStreamUri({"StreamSetup": setup, "ProfileToken": "sub"})).Uri
        assert uri == f"rtsp://{who.host}:{who.rtsp_port}/sub"


async def test_the_library_gets_the_fault_that_cameras_give_for_a_wrong_password() -> None:
    async with running(identity()) as who, library(who, "salah") as camera:
        management = await camera.create_devicemgmt_service()

        assert (await management.GetSystemDateAndTime()).UTCDateTime is not None
        with pytest.raises(SoapFault) as caught:
            await management.GetDeviceInformation()

    assert "NotAuthorized" in str(caught.value.subcodes) or "not Authorized" in str(caught.value)


@pytest.mark.parametrize("codec", ["h264", "h265"])
async def test_the_gateway_s_adapter_finds_main_and_sub(codec: Codec) -> None:
    async with running(identity(codec=codec)) as who:
        policy = UriPolicy(allow_loopback=True)
        async with connect(who.service_url, Credentials(USER, PASSWORD), policy) as camera:
            information = await camera.information()
            main, sub = choose(await camera.profiles())
            uris = [(await camera.stream_uri(profile)).url for profile in (main, sub) if profile]

    assert (information.make, information.model, information.serial) == ("Simpang", who.model, who.serial)
    assert (main.encoding, main.width, main.fps, main.bps, main.gop) == (
        codec.upper(),
        1280,
        15,
        2_000_000,
        30,
    )
    assert uris == [f"rtsp://{who.host}:{who.rtsp_port}/{name}" for name in ("main", "sub")]


def test_media2_profiles_have_the_parts_that_are_asked_for() -> None:
    camera = device()

    def ask(*types: str) -> str:
        arguments = "".join(f"<Type>{name}</Type>" for name in types)
        header = token("/".join(types).encode())
        return camera.answer(
            request("GetProfiles", header=header, namespace=MEDIA2, arguments=arguments)
        ).decode()

    assert "Configurations" not in ask()
    assert ask("VideoEncoder").count("<tr2:VideoEncoder ") == 2
    assert "<tr2:VideoSource " not in ask("VideoEncoder", "PTZ")
    assert ask("All").count("<tr2:VideoSource ") == 2


async def test_the_gateway_s_adapter_learns_that_the_password_is_wrong() -> None:
    async with running(identity()) as who:
        policy = UriPolicy(allow_loopback=True)
        async with connect(who.service_url, Credentials(USER, "salah"), policy) as camera:
            with pytest.raises(OnvifError) as caught:
                await camera.information()

    assert caught.value.reason is Reason.AUTH


@pytest.mark.parametrize(
    "header",
    [
        "",
        "<Security/>",
        token(password="salah"),
        token(user="admin"),
        token(at_s=NOW_S - 301),
        token(at_s=NOW_S + 301),
        token(kind="x#PasswordText"),
        token().replace("<Nonce>", "<Nonce>!"),
        token().replace("2026-", "long ago"),
    ],
    ids=["none", "empty", "password", "user", "old", "future", "text", "nonce", "time"],
)  # fmt: skip
def test_without_a_right_token_nothing_but_the_open_operations_is_answered(header: str) -> None:
    fault = refusal(request("GetDeviceInformation", header=header))

    assert (fault.status, fault.subcode) == (400, "NotAuthorized")
    assert PASSWORD.encode() not in fault.envelope()
    for operation in ("GetSystemDateAndTime", "GetCapabilities", "GetServices"):
        assert b"Response>" in device().answer(request(operation, header=header))


def test_a_token_is_good_once() -> None:
    camera = device()
    signed = request("GetDeviceInformation", header=token())

    assert b"SerialNumber" in camera.answer(signed)
    with pytest.raises(Fault, match="not Authorized"):
        camera.answer(signed)
    assert b"SerialNumber" in camera.answer(request("GetDeviceInformation", header=token(b"another")))


def test_a_flood_of_tokens_takes_bounded_memory() -> None:
    check = TokenCheck(USER, PASSWORD)
    for number in range(6_000):
        header = read_call(request("GetScopes", header=token(str(number).encode()))).header
        assert check.accepts(header, NOW_S)

    assert len(check._seen) <= 4_096


def test_what_it_cannot_do_and_what_does_not_exist_are_faults() -> None:
    snapshot = request("GetSnapshotUri", header=token(), namespace=MEDIA2)
    missing = request(
        "GetStreamUri", header=token(), namespace=MEDIA2, arguments="<ProfileToken>third</ProfileToken>"
    )

    assert (refusal(snapshot).status, refusal(snapshot).subcode) == (500, "ActionNotSupported")
    assert (refusal(missing).status, refusal(missing).subcode) == (400, "NoProfile")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET",
        b"<a/>",
        b"<Envelope/>",
        b"<Envelope><Body/></Envelope>",
        b"<Envelope><Body><GetScopes/><GetScopes/></Body></Envelope>",
        b'<!DOCTYPE a [<!ENTITY x "y">]><Envelope><Body><a>&x;</a></Body></Envelope>',
        b"<Envelope><Body><GetScopes></Body></Envelope>",
        b"<a>" * 5_000,
        b"<Envelope>" + b" " * 70_000 + b"</Envelope>",
    ],
)
def test_what_is_no_soap_request_is_refused(data: bytes) -> None:
    assert refusal(data).status == 400


@settings(deadline=None)  # other work on this machine is no fault
@given(st.binary(max_size=300))
def test_no_bytes_get_more_than_a_fault(data: bytes) -> None:
    assert refusal(data).status == 400


async def test_a_large_request_is_refused_before_it_is_read() -> None:
    async with running(identity()) as who, aiohttp.ClientSession() as client, asyncio.timeout(5):
        async with client.post(who.service_url, data=bytes(100_000)) as response:
            assert response.status == 413
        async with client.get(who.service_url) as response:
            assert response.status == 405


def test_a_camera_is_the_same_after_a_restart_and_no_other() -> None:
    first, again = identity(), identity()
    other = replace(first, host="127.0.1.78")

    assert (first.serial, first.endpoint, first.mac) == (again.serial, again.endpoint, again.mac)
    assert len({who.serial for who in (first, other)}) == 2
    assert int(first.mac[:2], 16) & 3 == 2  # locally administered, one device
    assert PASSWORD not in repr(first)
