"""The one policy for addresses that devices name."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.uri_policy import UriPolicy, parse_ip, without_userinfo

CAMERA = "10.0.4.21"
POLICY = UriPolicy(
    own_listeners=frozenset({("10.0.4.1", 8443), ("10.0.5.1", 8443)}),
    approved=(ipaddress.ip_network("10.0.5.0/24"), ipaddress.ip_network("169.254.9.0/24")),
)


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("rtsp://10.0.4.21/live", "rtsp://10.0.4.21:554/live"),
        ("rtsp://10.0.4.21:8554", "rtsp://10.0.4.21:8554/"),
        ("RTSP://10.0.4.21/A?b=c%20d&e=//f", "rtsp://10.0.4.21:554/A?b=c%20d&e=//f"),
        ("rtsp://user:p@ss@10.0.4.21/x", "rtsp://10.0.4.21:554/x"),
        ("rtsp://10.0.4.21/x#y", "rtsp://10.0.4.21:554/x#y"),
        ("rtsp://[::ffff:10.0.4.21]/x", "rtsp://10.0.4.21:554/x"),
        ("rtsp://0.0.0.0/x", "rtsp://10.0.4.21:554/x"),
        ("rtsp://10.0.5.77/approved", "rtsp://10.0.5.77:554/approved"),
        ("rtsp://169.254.9.1/approved", "rtsp://169.254.9.1:554/approved"),
    ],
)
def test_address_of_camera_or_approved_host_passes_as_written(uri: str, url: str) -> None:
    assert POLICY.check(uri, CAMERA, ("rtsp",)).url == url


@pytest.mark.parametrize(
    "uri",
    [
        "http://10.0.4.21/x",
        "file:///etc/passwd",
        "rtsp://10.0.4.22/neighbour",
        "rtsp://8.8.8.8/x",
        "rtsp://127.0.0.1/x",
        "rtsp://[::1]/x",
        "rtsp://[::ffff:127.0.0.1]/x",
        "rtsp://169.254.1.1/x",
        "rtsp://224.0.0.1/x",
        "rtsp://255.255.255.255/x",
        "rtsp://[fe80::1%25eth0]/x",
        "rtsp://localhost/x",
        "rtsp://127.1/x",
        "rtsp://2130706433/x",
        "rtsp://0x7f.0.0.1/x",
        "rtsp://10.0.4.21.evil.example/x",
        "rtsp://10.0.4.21@8.8.8.8/x",
        "rtsp:///x",
        "rtsp://10.0.5.1:8443/own",
    ],
)
def test_every_other_address_is_refused_by_policy(uri: str) -> None:
    with pytest.raises(OnvifError) as caught:
        POLICY.check(uri, CAMERA, ("rtsp",))

    assert caught.value.reason is Reason.REFUSED_BY_POLICY


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "10.0.4.21",
        "rtsp://10.0.4.21:0/x",
        "rtsp://10.0.4.21:70000/x",
        "rtsp://10.0.4.21:x/",
        "rtsp://10.0.4.21/a b",
        "rtsp://10.0.4.21\\@8.8.8.8/",
        "rtsp://10.0.4.21/\r\nTEARDOWN",
        "rtsp://10.0.4.21/\x00",
        "rtsp://[10.0.4.21/",
        "rtsp://10.0.4.21/é",
        "rtsp://１0.0.4.21/",
        "rtsp://10.0.4.21/" + "a" * 3_000,
    ],
)
def test_what_is_no_address_is_malformed(uri: str) -> None:
    with pytest.raises(OnvifError) as caught:
        POLICY.check(uri, CAMERA, ("rtsp",))

    assert caught.value.reason is Reason.MALFORMED


def test_own_listener_is_refused_even_at_the_cameras_address() -> None:
    policy = UriPolicy(own_listeners=frozenset({("127.0.0.1", 8080)}), allow_loopback=True)

    assert policy.check("http://127.0.0.1:8081/", "127.0.0.1", ("http",)).port == 8081
    with pytest.raises(OnvifError):
        policy.check("http://127.0.0.1:8080/", "127.0.0.1", ("http",))


def test_loopback_is_the_cameras_own_address_or_none() -> None:
    policy = UriPolicy(allow_loopback=True)

    assert policy.check("rtsp://127.0.1.1/x", "127.0.1.1", ("rtsp",)).host == "127.0.1.1"
    for uri, camera in (("rtsp://127.0.1.2/x", "127.0.1.1"), ("rtsp://127.0.0.1/x", CAMERA)):
        with pytest.raises(OnvifError):
            policy.check(uri, camera, ("rtsp",))


@given(st.text(max_size=200) | st.from_regex(r"(rtsp|http)://[0-9a-f.:\[\]@%]{0,40}(/.*)?", fullmatch=True))
def test_whatever_passes_is_one_of_few_hosts(uri: str) -> None:
    try:
        checked = POLICY.check(uri, CAMERA, ("rtsp", "http"))
    except OnvifError as error:
        assert error.reason in (Reason.REFUSED_BY_POLICY, Reason.MALFORMED)
        return

    address = parse_ip(checked.host)
    assert address is not None
    assert checked.host == CAMERA or any(address in network for network in POLICY.approved)
    assert "@" not in checked.authority
    assert 0 < checked.port < 65_536


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://admin:hunter2@10.0.0.1/x",
        "rtsp://10.0.0.1/user=admin_password=hunter2_channel=1",
        "rtsp://10.0.0.1?pw=hunter2",
        "rtsp://a:b@c:hunter2@10.0.0.1\\hunter2",
        "admin:hunter2@10.0.0.1",
    ],
)
def test_shown_address_holds_no_password(uri: str) -> None:
    assert "hunter2" not in without_userinfo(uri)
