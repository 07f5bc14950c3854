"""What is read of devices' XML: replies, clocks, profiles. Vendor texts are as seen in the field."""

from __future__ import annotations

import resource
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasty_onvif import date_and_time, profile2, profiles2, soap
from simpang_onvif import clock, reply, xml
from simpang_onvif.device import Profile
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.profiles import choose, read_media1, read_media2
from simpang_onvif.text import clean


def answer(status: int, body: bytes, content_type: str = "application/soap+xml") -> reply.Answer:
    return reply.Answer(status, content_type, body, http_signed=False)


def element(body: str) -> xml.Element:
    return reply.read(answer(200, soap(body)), "Op").element


def reason(status: int, body: bytes, content_type: str = "application/soap+xml") -> Reason:
    with pytest.raises(OnvifError) as caught:
        reply.read(answer(status, body, content_type), "Op")
    return caught.value.reason


def fault(code: str, words: str) -> bytes:
    return soap(
        "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>ter:X</s:Value><s:Subcode>"
        f"<s:Value>{code}</s:Value></s:Subcode></s:Subcode></s:Code>"
        f"<s:Reason><s:Text>{words}</s:Text></s:Reason></s:Fault>"
    )


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, fault("ter:NotAuthorized", "Sender not Authorized"), Reason.AUTH),
        (200, fault("ter:NotAuthorized", ""), Reason.AUTH),
        (
            500,
            fault("wsse:FailedAuthentication", "The security token could not be authenticated"),
            Reason.AUTH,
        ),
        (400, fault("ter:InvalidArgVal", "Authority failure:Unknown reason"), Reason.AUTH),  # Dahua
        (500, fault("", "Error 3: username/password incorrect"), Reason.AUTH),
        (401, b"", Reason.AUTH),
        (401, b"<ResponseStatus><lockStatus>lock</lockStatus></ResponseStatus>", Reason.LOCKED),  # Hikvision
        (400, fault("ter:NotAuthorized", "user is locked"), Reason.LOCKED),
        (400, fault("wsse:MessageExpired", "message is too old"), Reason.CLOCK),
        (400, fault("ter:ActionNotSupported", "Optional Action Not Implemented"), Reason.UNSUPPORTED),
        (500, fault("ter:NoProfile", "profile token does not exist"), Reason.UNSUPPORTED),
        (503, fault("ter:X", ""), Reason.LIMIT),
        (302, b"", Reason.REFUSED_BY_POLICY),
        (404, b"Not here", Reason.NOT_ONVIF),
        (200, b"<!DOCTYPE html><html></html>", Reason.NOT_ONVIF),
        (200, b"", Reason.MALFORMED),
        (200, soap(""), Reason.MALFORMED),
    ],
)
def test_refusal_has_its_reason(status: int, body: bytes, expected: Reason) -> None:
    assert reason(status, body) is expected


def test_soap_11_fault_is_read_too() -> None:
    body = (
        b'<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"><SOAP-ENV:Body>'
        b"<SOAP-ENV:Fault><faultcode>SOAP-ENV:Client</faultcode><faultstring>not authorized</faultstring>"
        b"</SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>"
    )

    assert reason(500, body) is Reason.AUTH


def test_fault_shows_one_clean_line() -> None:
    with pytest.raises(OnvifError) as caught:
        reply.read(answer(500, fault("ter:X", "line\nbreak &#x202E; " + "long " * 500)), "Op")

    assert "\n" not in caught.value.detail
    assert len(caught.value.detail) < 250


@pytest.mark.parametrize(
    "body",
    [
        # Undeclared prefixes (python-zeep 1205).
        b"<SOAP:Envelope><SOAP:Body><tds:Reply><tt:Name>gate</tt:Name></tds:Reply></SOAP:Body></SOAP:Envelope>",
        # No namespaces at all, and bytes that are not UTF-8.
        b'<?xml version="1.0" encoding="UTF-8"?>'
        b"<Envelope><Body><Reply><Name>gate</Name><X>\xb0</X></Reply></Body></Envelope>",
        # Cut short by a wrong Content-Length.
        b"<s:Envelope xmlns:s='x'><s:Body><Reply><Name>gate</Name></Reply></s:Body></s:Enve",
        # Trailing bytes.
        b"<s:Envelope xmlns:s='x'><s:Body><Reply><Name>gate</Name></Reply></s:Body></s:Envelope>\0\0",
    ],
)
def test_xml_that_no_strict_reader_takes_is_read(body: bytes) -> None:
    read = reply.read(answer(200, body), "Op")

    assert xml.text(read.element, "Name") == "gate"
    assert not read.exact


def test_bare_ampersand_is_repaired_exactly() -> None:
    read = reply.read(answer(200, soap("<Reply><Uri>rtsp://x/?a=1&b=2&amp;c&#x33;</Uri></Reply>")), "Op")

    assert xml.text(read.element, "Uri") == "rtsp://x/?a=1&b=2&c3"
    assert read.exact


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32", "utf-7"])
def test_doctype_is_refused_in_any_encoding_and_costs_nothing(encoding: str) -> None:
    layers = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = (
        f'<?xml version="1.0" encoding="{encoding}"?>'
        f'<!DOCTYPE x [<!ENTITY e0 "boom">{layers}]><x a="&e9;">&e9;</x>'
    )
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()

    with pytest.raises(OnvifError) as caught:
        xml.parse(bomb.encode(encoding))

    assert caught.value.reason is Reason.MALFORMED
    assert time.monotonic() - started < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 20_000


def test_entity_never_reads_a_file() -> None:
    with pytest.raises(OnvifError):
        xml.parse(b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><x>&f;</x>')


@given(st.binary(max_size=400) | st.text(alphabet="<>/&;:='\"aex!-[]D?", max_size=400).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read = reply.read(answer(200, data), "Op")
    except OnvifError as error:
        assert error.detail
    else:
        assert xml.local(read.element)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("25", 25.0),
        (" 12.5 ", 12.5),
        ("", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("-3", 0.0),
        ("1e99", 0.0),
        ("x" * 100, 0.0),
        ("9" * 10_000, 0.0),
    ],
)
def test_number_is_finite_and_bounded(written: str, read: float) -> None:
    assert xml.number(written) == read


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("  Gate\n\tNorth ", "Gate North"),
        ("a\u202eb\u0000c\u200d", "abc"),
        ("e\u0301", "é"),
        ("x" * 100_000, "x" * 64),
        (None, ""),
        ("\ud800", ""),
    ],
)
def test_name_is_data(written: str | None, shown: str) -> None:
    assert clean(written) == shown


def test_clock_is_read_and_carried_on() -> None:
    utc = clock.read_utc(element(date_and_time(datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC))))

    assert utc == datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    camera = clock.CameraClock(utc, monotonic_s=100.0)
    assert camera.now(160.5) == datetime(2001, 2, 3, 4, 6, 6, 500_000, tzinfo=UTC)
    assert camera.offset_s(wall_s=utc.timestamp() - 30, monotonic_s=100.0) == 30.5


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<R><SystemDateAndTime><UTCDateTime/></SystemDateAndTime></R>", None),
        ("<R/>", None),
        (date_and_time(datetime(2024, 2, 29, tzinfo=UTC)).replace("2024", "2023"), None),
        (date_and_time(datetime(2024, 2, 29, tzinfo=UTC)).replace("2024", "99999999999"), None),
        (date_and_time(datetime(2024, 2, 29, 1, tzinfo=UTC)).replace("Hour>1<", "Hour>99<"), None),
        # A leap second, and midnight at the end of the day.
        (
            date_and_time(datetime(2016, 12, 31, 23, 59, 1, tzinfo=UTC)).replace("Second>1<", "Second>60<"),
            datetime(2017, 1, 1, tzinfo=UTC),
        ),
        (
            date_and_time(datetime(2016, 12, 31, 1, 0, 0, tzinfo=UTC)).replace("Hour>1<", "Hour>24<"),
            datetime(2017, 1, 1, tzinfo=UTC),
        ),
    ],
)
def test_impossible_clock_is_none(body: str, expected: datetime | None) -> None:
    assert clock.read_utc(element(body)) == expected


def test_bad_profile_is_dropped_alone() -> None:
    good = profile2("good", "H264", 1920, 1080)
    odd = profile2("odd", "hevc", 0, 0).replace("<tt:Width>0", "<tt:Width>wide")
    body = profiles2(
        good,
        good,  # named twice
        profile2("t" * 1_000, "H264", 1, 1),
        '<tr2:Profiles token="no video"><tr2:Name>x</tr2:Name></tr2:Profiles>',
        odd,
    )

    profiles = read_media2(element(body))

    assert [(p.token, p.encoding, p.width) for p in profiles] == [("good", "H264", 1920), ("odd", "H265", 0)]


def test_flood_of_profiles_is_cut() -> None:
    body = profiles2(*(profile2(f"p{n}", "H264", 640, 480) for n in range(1_000)))

    assert len(read_media2(element(body))) == 256


def test_empty_token_is_a_token() -> None:
    """Cameras do name a profile "" (QUIRKS 6.2); it is sent back as it came."""
    assert [p.token for p in read_media2(element(profiles2(profile2("", "H264", 640, 480))))] == [""]


def test_media1_reads_its_own_shape() -> None:
    body = (
        '<R><Profiles token="t"><Name>n</Name><VideoEncoderConfiguration>'
        "<H264><GovLength>30</GovLength></H264><RateControl><BitrateLimit>512</BitrateLimit><FrameRateLimit>15</FrameRateLimit></RateControl>"
        "<Resolution><Height>480</Height><Width>640</Width></Resolution><Encoding>H264</Encoding>"
        "</VideoEncoderConfiguration></Profiles></R>"
    )

    assert read_media1(element(body)) == (
        Profile("t", "media1", "n", "", "H264", 640, 480, 15.0, 512_000, 30),
    )


def made(
    token: str, width: int, height: int, encoding: str = "H264", fps: float = 25, source: str = "s"
) -> Profile:
    return Profile(token, "media2", token, source, encoding, width, height, fps, 0, 0)


@pytest.mark.parametrize(
    ("profiles", "main", "sub"),
    [
        ([made("a", 640, 360), made("b", 1920, 1080)], "b", "a"),
        ([made("a", 1920, 1080), made("b", 1920, 1080, fps=30), made("c", 352, 288)], "b", "c"),
        ([made("a", 1920, 1080), made("b", 1280, 720), made("c", 640, 480), made("d", 160, 120)], "a", "c"),
        ([made("a", 3840, 2160, "JPEG"), made("b", 1280, 720, "H265")], "b", None),
        ([made("a", 1920, 1080), made("b", 1920, 1080)], "a", None),
        ([made("a", 0, 0), made("b", 0, 0)], "a", None),
        # Another channel of the same NVR is another camera.
        ([made("a", 640, 480, source="1"), made("b", 4000, 3000, source="2")], "a", None),
        (
            [made("j", 320, 240, "JPEG"), made("k", 1280, 720, "JPEG"), made("m", 1280, 960, "MPEG4")],
            "k",
            "j",
        ),
        ([made("j", 640, 480, "JPEG", source="1"), made("b", 640, 480, source="2")], "b", None),
    ],
)
def test_choice_of_main_and_sub(profiles: list[Profile], main: str, sub: str | None) -> None:
    chosen_main, chosen_sub = choose(profiles)

    assert chosen_main.token == main
    assert (chosen_sub.token if chosen_sub else None) == sub


@pytest.mark.parametrize("profiles", [[], [made("a", 640, 480, "MPEG4")]])
def test_nothing_recordable_is_a_reason(profiles: list[Profile]) -> None:
    with pytest.raises(OnvifError) as caught:
        choose(profiles)

    assert caught.value.reason is Reason.UNSUPPORTED
