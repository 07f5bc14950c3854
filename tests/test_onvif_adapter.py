"""The adapter against a device with faults on demand, and against a real one."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import logging
import time
from datetime import timedelta

import pytest

from nasty_onvif import (
    GOOD,
    Fault,
    NastyCamera,
    SignIn,
    drip,
    endless_head,
    hang_up,
    http,
    huge,
    instead,
    profile2,
    profiles2,
    services,
    serving,
    silent,
    slow,
    soap,
    stream_uri,
    witness,
)
from peer_ipycam import ipycam
from simpang_onvif.adapter import Camera, choose, connect
from simpang_onvif.device import CheckedUri, Credentials, Information, Profile
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.uri_policy import UriPolicy

POLICY = UriPolicy(allow_loopback=True)
RIGHT = Credentials("admin", "pass & <word>")
WRONG = Credentials("admin", "guess")

MEDIA1_PROFILES = """<trt:GetProfilesResponse><trt:Profiles token=" odd token/1 "><tt:Name>First</tt:Name>
<tt:VideoSourceConfiguration token="v"><tt:SourceToken>src0</tt:SourceToken></tt:VideoSourceConfiguration>
<tt:VideoEncoderConfiguration token="e"><tt:Encoding>H264</tt:Encoding>
<tt:Resolution><tt:Width>1920</tt:Width><tt:Height>1080</tt:Height></tt:Resolution>
<tt:RateControl><tt:FrameRateLimit>25</tt:FrameRateLimit><tt:BitrateLimit>4096</tt:BitrateLimit></tt:RateContr
ol> <tt:H264><tt:GovLength>50</tt:GovLength></tt:H264></tt:VideoEncoderConfiguration></trt:Profiles>
<trt:Profiles token="audio only"><tt:Name>Second</tt:Name></trt:Profiles></trt:GetProfilesResponse>"""


async def ask_everything(camera: Camera) -> CheckedUri:
    await camera.information()
    main, _ = choose(await camera.profiles())
    return await camera.stream_uri(main)


async def reason_of(
    nasty: NastyCamera, credentials: Credentials | None = RIGHT, timeout_s: float = 5.0
) -> OnvifError:
    """The reason that ends the attempt to learn everything about this camera."""
    with pytest.raises(OnvifError) as caught:
        async with connect(nasty.address, credentials, POLICY, timeout_s=timeout_s) as camera:
            await ask_everything(camera)
    return caught.value


@pytest.mark.parametrize("sign_in", ["none", "wsse", "http"])
async def test_camera_is_known_by_name_profiles_and_stream(sign_in: SignIn) -> None:
    async with (
        serving(NastyCamera(sign_in=sign_in)) as nasty,
        connect(nasty.address, RIGHT, POLICY) as camera,
    ):
        about = await camera.information()
        profiles = await camera.profiles()
        uri = await camera.stream_uri(profiles[0])

    assert about == Information("Bunga Ltd", "X-1", "1.2", "S" * 64, "ac:cc:8e:01:02:03")
    assert profiles == (
        Profile("main", "media2", "main", "src0", "H265", 2560, 1440, 25.0, 4_096_000, 50),
        Profile("sub", "media2", "sub", "src0", "H264", 640, 360, 25.0, 4_096_000, 50),
    )
    assert uri == CheckedUri("rtsp", "127.0.0.1", 8554, "/main?a=1&b=2")
    assert uri.url == "rtsp://127.0.0.1:8554/main?a=1&b=2"
    assert camera.repairs == []
    assert nasty.refused == 0


async def test_camera_that_lets_everybody_in_sees_no_credential() -> None:
    async with (
        serving(NastyCamera(sign_in="none")) as nasty,
        connect(nasty.address, RIGHT, POLICY) as camera,
    ):
        await ask_everything(camera)

    assert len(nasty.asked) >= 5
    assert not [asked for asked in nasty.asked if asked.signed]


@pytest.mark.parametrize(
    ("sign_in", "credentials", "reason"),
    [
        ("wsse", WRONG, Reason.AUTH),
        ("http", WRONG, Reason.AUTH),
        ("refuse", RIGHT, Reason.AUTH),
        ("refuse-http", RIGHT, Reason.AUTH),
        ("locked", RIGHT, Reason.LOCKED),
    ],
)
@pytest.mark.parametrize("clock_signed", [False, True])
async def test_refused_sign_in_is_tried_once_per_connect(
    sign_in: SignIn, credentials: Credentials, reason: Reason, clock_signed: bool
) -> None:
    async with (
        serving(NastyCamera(sign_in=sign_in, clock_signed=clock_signed)) as nasty,
        connect(nasty.address, credentials, POLICY) as camera,
    ):
        for _ in range(3):
            with pytest.raises(OnvifError) as caught:
                await ask_everything(camera)
            assert caught.value.reason is reason

    assert nasty.refused == 1


async def test_camera_that_wants_a_password_gets_none_where_none_is_set() -> None:
    async with serving(NastyCamera()) as nasty:
        error = await reason_of(nasty, None)

    assert error.reason is Reason.AUTH
    assert not [asked for asked in nasty.asked if asked.signed]


@pytest.mark.parametrize("days", [-20_000, -1, 3_650])
async def test_camera_with_wrong_clock_is_signed_by_its_own_clock(days: int) -> None:
    async with (
        serving(NastyCamera(clock_offset=timedelta(days=days))) as nasty,
        connect(nasty.address, RIGHT, POLICY) as camera,
    ):
        await camera.information()

    assert camera.clock_offset_s is not None
    assert abs(camera.clock_offset_s - days * 86_400) < 2
    assert nasty.refused == 0


async def test_step_of_our_own_clock_spoils_no_signature() -> None:
    """Signatures are dated by the camera's clock, carried on the monotonic one."""
    async with (
        serving(NastyCamera()) as nasty,
        connect(nasty.address, RIGHT, POLICY, wall=lambda: 0.0) as camera,
    ):
        await camera.information()

    assert camera.clock_offset_s is not None
    assert camera.clock_offset_s > 1.7e9
    assert nasty.refused == 0


async def test_camera_that_signs_even_its_clock_is_signed_by_ours() -> None:
    async with (
        serving(NastyCamera(clock_signed=True)) as nasty,
        connect(nasty.address, RIGHT, POLICY) as camera,
    ):
        about = await camera.information()

    assert about.model == "X-1"
    assert camera.clock_offset_s is None


BOMB = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    + soap("<x>&b;</x>").partition(b"?>")[2]
)
ZIPPED = gzip.compress(b"<a>" + b" " * 20_000_000)

WIRE_FAULTS: dict[str, tuple[Fault, Reason]] = {
    "silent": (silent, Reason.TIMEOUT),
    "drip": (drip, Reason.TIMEOUT),
    "50 MB": (huge, Reason.MALFORMED),
    "endless head": (endless_head, Reason.NOT_ONVIF),
    "hangs up": (hang_up, Reason.UNREACHABLE),
    "not HTTP": (instead(b"SSH-2.0-dropbear\r\n"), Reason.NOT_ONVIF),
    "entity bomb": (instead(http(200, BOMB)), Reason.MALFORMED),
    "DOCTYPE in UTF-16": (instead(http(200, BOMB.decode().encode("utf-16"))), Reason.MALFORMED),
    "zip bomb": (instead(http(200, ZIPPED, "Content-Encoding: gzip\r\n")), Reason.MALFORMED),
    # Cut at 256 levels by the recovering parser; nothing of use is left.
    "too deep": (instead(http(200, soap("<a>" * 5_000 + "</a>" * 5_000))), Reason.UNSUPPORTED),
    "too many tags": (instead(http(200, soap("<a/>" * 150_000))), Reason.MALFORMED),
    "a web page": (instead(http(200, b"<html><body>Login</body></html>")), Reason.NOT_ONVIF),
    "404": (instead(http(404, b"")), Reason.NOT_ONVIF),
    "401 page": (instead(http(401, b"<html>Unauthorized</html>")), Reason.AUTH),
    "busy": (instead(http(503, b"")), Reason.LIMIT),
    "empty": (instead(http(200, b"")), Reason.MALFORMED),
    "no body": (instead(http(200, soap(""))), Reason.MALFORMED),
    "other XML": (instead(http(200, b"<rss/>")), Reason.MALFORMED),
    "bytes": (instead(http(200, bytes(range(256)) * 100)), Reason.MALFORMED),
}


@pytest.mark.parametrize("name", WIRE_FAULTS)
async def test_fault_on_the_wire_is_a_reason_in_time_and_memory(name: str) -> None:
    fault, reason = WIRE_FAULTS[name]
    async with serving(NastyCamera(sign_in="none", faults={"GetProfiles": fault})) as nasty:
        # Media1 alone: nothing to fall back on.
        nasty.bodies["GetServices"] = services(media2="")
        started = time.monotonic()

        error = await reason_of(nasty, timeout_s=0.5)

    assert error.reason is reason
    assert time.monotonic() - started < 2
    # What is beyond the limit waits in socket buffers and is never read.
    assert nasty.bytes_sent < 12_000_000


@pytest.mark.parametrize("name", WIRE_FAULTS)
async def test_fault_in_the_first_answer_is_a_reason_too(name: str) -> None:
    fault, reason = WIRE_FAULTS[name]
    # A device whose very first word makes no sense is no ONVIF device.
    expected = Reason.NOT_ONVIF if reason is Reason.MALFORMED else reason
    faults = dict.fromkeys(("GetSystemDateAndTime", *GOOD), fault)
    async with serving(NastyCamera(faults=faults)) as nasty:
        error = await reason_of(nasty, timeout_s=0.5)

    assert error.reason is expected


async def test_all_questions_together_are_bounded_in_time() -> None:
    answer = GOOD["GetDeviceInformation"]
    async with serving(
        NastyCamera(sign_in="none", faults={"GetDeviceInformation": slow(0.2, answer)})
    ) as nasty:
        started = time.monotonic()
        with pytest.raises(OnvifError) as caught:
            async with connect(nasty.address, RIGHT, POLICY, timeout_s=0.3, total_s=0.5) as camera:
                for _ in range(100):
                    await camera.information()

    assert caught.value.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 1


def test_default_limits_give_a_reason_within_ten_seconds() -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(connect).parameters.items()}

    assert defaults["total_s"] <= 10
    assert defaults["timeout_s"] <= 5


async def test_nobody_at_the_address_is_unreachable() -> None:
    async with serving(NastyCamera()) as nasty:
        address = nasty.address
    with pytest.raises(OnvifError) as caught:
        async with connect(address, RIGHT, POLICY):
            pytest.fail("connected to a closed port")

    assert caught.value.reason is Reason.UNREACHABLE


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirect_is_refused_and_not_followed(status: int) -> None:
    async with witness("127.0.0.2") as (port, visitors), serving(NastyCamera(sign_in="none")) as nasty:
        nasty.faults["GetServices"] = instead(http(status, b"", f"Location: http://127.0.0.2:{port}/\r\n"))

        error = await reason_of(nasty)

        assert error.reason is Reason.REFUSED_BY_POLICY
        assert visitors == []


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "[::1]", "0x7f.0.0.2", "127.0.0.1@127.0.0.2"])
async def test_foreign_service_address_is_asked_at_the_camera_instead(host: str) -> None:
    async with witness("127.0.0.2") as (port, visitors), serving(NastyCamera()) as nasty:
        foreign = f"http://{host}:{port}/onvif/elsewhere"
        nasty.bodies["GetServices"] = services(media1=foreign, media2=foreign)
        async with connect(nasty.address, RIGHT, POLICY) as camera:
            profiles = await camera.profiles()

        assert visitors == []
    assert [profile.token for profile in profiles] == ["main", "sub"]
    assert nasty.asked[-1].path == "/onvif/elsewhere"
    assert any("asked at" in repair for repair in camera.repairs)


@pytest.mark.parametrize("xaddr", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://", "x", "http://[/"])
async def test_service_address_that_is_none_is_refused(xaddr: str) -> None:
    async with serving(NastyCamera(sign_in="none", bodies={"GetServices": services(xaddr, xaddr)})) as nasty:
        error = await reason_of(nasty)

    assert error.reason in (Reason.REFUSED_BY_POLICY, Reason.MALFORMED)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("file:///etc/shadow", Reason.REFUSED_BY_POLICY),
        ("http://127.0.0.1/video", Reason.REFUSED_BY_POLICY),
        ("rtsp://203.0.113.9/live", Reason.REFUSED_BY_POLICY),
        ("rtsp://127.0.0.2/live", Reason.REFUSED_BY_POLICY),
        ("rtsp://evil.example/live", Reason.REFUSED_BY_POLICY),
        ("rtsp://admin:hunter2@203.0.113.9/live", Reason.REFUSED_BY_POLICY),
        ("rtsp://[::ffff:203.0.113.9]/live", Reason.REFUSED_BY_POLICY),
        ("rtsp://127.0.0.1:99999/live", Reason.MALFORMED),
        ("rtsp://127.0.0.1/a&#10;b", Reason.MALFORMED),
        ("", Reason.MALFORMED),
        ("rtsp://127.0.0.1/<b>live</b>", Reason.MALFORMED),
        ("rtsp://127.0.0.1/" + "x" * 5_000, Reason.MALFORMED),
    ],
)
async def test_stream_address_that_is_not_the_cameras_is_refused(uri: str, reason: Reason) -> None:
    async with serving(NastyCamera(sign_in="none", bodies={"GetStreamUri": stream_uri(uri)})) as nasty:
        error = await reason_of(nasty)

    assert error.reason is reason
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("rtsp://u:p@127.0.0.1/live", "rtsp://127.0.0.1:554/live"),
        ("rtsp://0.0.0.0:8554/live", "rtsp://127.0.0.1:8554/live"),
        # ZYsecurity: bare ampersands, exact all the same.
        ("rtsp://127.0.0.1/live?a=1&b=2&amp;c=3", "rtsp://127.0.0.1:554/live?a=1&b=2&c=3"),
        ("RTSP://127.0.0.1:554/live#1", "rtsp://127.0.0.1:554/live#1"),
    ],
)
async def test_stream_address_is_read_exactly(written: str, read: str) -> None:
    async with (
        serving(NastyCamera(sign_in="none", bodies={"GetStreamUri": stream_uri(written)})) as nasty,
        connect(nasty.address, RIGHT, POLICY) as camera,
    ):
        uri = await ask_everything(camera)

    assert uri.url == read


async def test_stream_address_that_cannot_be_read_exactly_is_refused_not_guessed() -> None:
    broken = http(200, soap(stream_uri("rtsp://127.0.0.1/ch\xffannel</tr2:x>1")).replace(b"</tr2:Uri>", b""))
    async with serving(NastyCamera(sign_in="none", faults={"GetStreamUri": instead(broken)})) as nasty:
        error = await reason_of(nasty)

    assert error.reason is Reason.MALFORMED


@pytest.mark.parametrize("media2", ["", "{http}/onvif/media2"])
async def test_media1_serves_where_media2_is_absent_or_broken(media2: str) -> None:
    async with serving(NastyCamera(bodies={"GetServices": services(media2=media2)})) as nasty:
        nasty.bodies["GetProfiles"] = (
            MEDIA1_PROFILES  # which Media2 would not send: no encoder is found in it
        )
        nasty.bodies["GetStreamUri"] = (
            "<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://127.0.0.1/1</tt:Uri></trt:MediaUri>"
            "</trt:GetStreamUriResponse>"
        )
        async with connect(nasty.address, RIGHT, POLICY) as camera:
            profiles = await camera.profiles()
            uri = await camera.stream_uri(profiles[0])

    assert profiles == (
        Profile("odd token/1", "media1", "First", "src0", "H264", 1920, 1080, 25.0, 4_096_000, 50),
    )
    assert uri.path_and_query == "/1"


async def test_capabilities_serve_where_services_are_not_supported() -> None:
    async with serving(NastyCamera(sign_in="none")) as nasty:
        nasty.faults["GetServices"] = instead(
            http(500, soap("<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code></s:Fault>"))
        )
        nasty.bodies["GetCapabilities"] = (
            "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media><tt:XAddr>{http}/onvif/Media</tt:XAddr>"
            "</tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>"
        )
        nasty.bodies["GetProfiles"] = MEDIA1_PROFILES
        async with connect(nasty.address, RIGHT, POLICY) as camera:
            profiles = await camera.profiles()

    assert [profile.service for profile in profiles] == ["media1"]


async def test_camera_without_recordable_profile_says_what_it_has() -> None:
    only_mpeg4 = profiles2(profile2("p", "MPEG4", 640, 480))
    async with serving(NastyCamera(sign_in="none", bodies={"GetProfiles": only_mpeg4})) as nasty:
        error = await reason_of(nasty)

    assert error.reason is Reason.UNSUPPORTED
    assert "MPEG4" in error.detail


async def test_no_secret_in_any_log_or_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "Xq7-secret-word"
    errors = []
    for sign_in in ("refuse", "refuse-http"):
        async with serving(NastyCamera(sign_in=sign_in)) as nasty:
            errors.append(await reason_of(nasty, Credentials("admin", secret)))

    assert secret not in caplog.text
    assert secret not in "".join(repr(error) + str(error) for error in errors)
    assert secret not in repr(Credentials("admin", secret))


@pytest.mark.parametrize(
    "address", ["", "http://", "a b", "127.0.0.1:x", "http://[::1", "file:///etc/passwd"]
)
async def test_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(OnvifError) as caught:
        async with connect(address, RIGHT, POLICY):
            pytest.fail("connected to nothing")

    assert caught.value.reason in (Reason.MALFORMED, Reason.REFUSED_BY_POLICY, Reason.UNREACHABLE)


async def test_camera_on_loopback_is_refused_unless_allowed() -> None:
    async with serving(NastyCamera()) as nasty:
        with pytest.raises(OnvifError) as caught:
            async with connect(nasty.address, RIGHT, UriPolicy()):
                pytest.fail("connected to loopback")

    assert caught.value.reason is Reason.REFUSED_BY_POLICY
    assert nasty.asked == []


async def test_sixteen_cameras_are_asked_at_once() -> None:
    async def ask(nasty: NastyCamera) -> str:
        async with connect(nasty.address, RIGHT, POLICY) as camera:
            return (await ask_everything(camera)).path_and_query

    async with serving(NastyCamera()) as nasty, asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(nasty)) for _ in range(16)]

    assert {task.result() for task in tasks} == {"/main?a=1&b=2"}


async def test_ipycam_is_asked_with_its_password() -> None:
    async with ipycam(user="keeper", password="p&<ä word", name="Gate") as peer:
        async with connect(peer.address, Credentials("keeper", "p&<ä word"), POLICY) as camera:
            about = await camera.information()
            main, sub = choose(await camera.profiles())
            assert sub is not None
            uris = [await camera.stream_uri(profile) for profile in (main, sub)]

        with pytest.raises(OnvifError) as caught:
            async with connect(peer.address, Credentials("keeper", "wrong"), POLICY) as camera:
                await camera.information()

    assert (about.make, about.model, about.serial) == ("PythonCam", "VirtualCam-1", "PY-000001")
    assert (main.encoding, main.width, main.height, sub.width, sub.height) == ("H264", 640, 360, 320, 180)
    assert [uri.url for uri in uris] == [peer.rtsp_url("video_main"), peer.rtsp_url("video_sub")]
    assert caught.value.reason is Reason.AUTH
