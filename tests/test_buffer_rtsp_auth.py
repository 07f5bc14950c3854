from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpang_buffer.rtsp.auth import (
    ClientAuth,
    Credentials,
    ServerAuth,
    Verdict,
    digest_response,
    parse_challenges,
    strongest,
)
from simpang_buffer.rtsp.errors import AuthRefused
from simpang_buffer.rtsp.message import Headers

URL = "rtsp://10.0.4.21/stream"
WHO = Credentials("admin", 'p@ss:w"örd\\')


def challenge(*values: str) -> Headers:
    return Headers([("WWW-Authenticate", value) for value in values])


def test_digest_is_that_of_rfc_7616_section_3_9_1() -> None:
    said = {
        "realm": "http-auth@example.org",
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "uri": "/dir/index.html",
        "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        "nc": "00000001",
        "qop": "auth",
    }
    who = Credentials("Mufasa", "Circle of Life")

    assert digest_response(said, who, "GET", algorithm="MD5") == "8ca523f5e9506fed4657c9700eebdbec"
    assert (
        digest_response(said, who, "GET", algorithm="SHA-256")
        == "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    )


@pytest.mark.parametrize("algorithms", [("MD5",), ("SHA-256",), ("MD5", "SHA-256"), ("SHA-256", "MD5")])
def test_client_and_server_agree(algorithms: tuple[str, ...]) -> None:
    server = ServerAuth({"admin": WHO.password}, realm='a "realm"', algorithms=algorithms)
    client = ClientAuth(WHO)

    client.challenge(challenge(*server.challenges("10.0.4.2")))
    answer = client.authorization("DESCRIBE", URL)

    assert server.check("DESCRIBE", URL, answer, "10.0.4.2") is Verdict.ACCEPTED
    assert server.check("SETUP", URL, answer, "10.0.4.2") is Verdict.REFUSED
    assert server.check("DESCRIBE", URL + "2", answer, "10.0.4.2") is Verdict.REFUSED
    assert server.check("DESCRIBE", URL, answer, "10.0.4.3") is Verdict.REFUSED
    assert server.check("DESCRIBE", URL, None, "10.0.4.2") is Verdict.REFUSED


def test_server_refuses_wrong_password_and_unknown_user() -> None:
    server = ServerAuth({"admin": "right"})
    for who in (Credentials("admin", "wrong"), Credentials("nobody", "right")):
        client = ClientAuth(who)
        client.challenge(challenge(*server.challenges("p")))

        assert server.check("PLAY", URL, client.authorization("PLAY", URL), "p") is Verdict.REFUSED


def test_server_calls_an_old_nonce_stale() -> None:
    clock = [1000.0]
    server = ServerAuth({"admin": WHO.password}, now=lambda: clock[0])
    client = ClientAuth(WHO)
    client.challenge(challenge(*server.challenges("p")))
    client.accepted()

    clock[0] += 400

    assert server.check("PLAY", URL, client.authorization("PLAY", URL), "p") is Verdict.STALE
    client.challenge(challenge(*server.challenges("p", stale=True)))
    assert server.check("PLAY", URL, client.authorization("PLAY", URL), "p") is Verdict.ACCEPTED


def test_strongest_challenge_is_answered_and_unknown_ones_are_passed_over() -> None:
    offered = parse_challenges(
        (
            'Basic realm="x", Digest realm = "x" , nonce="1", qop="auth,auth-int"',
            'Digest realm="x", nonce="2", algorithm=SHA-256, stale=false',
            'Digest realm="x", nonce="3", algorithm=ROT13',
            'Digest realm="x", nonce="4", algorithm="SHA-256", qop="auth-int"',
        )
    )

    chosen = strongest(offered, allow_basic=True)

    assert [c.scheme for c in offered] == ["basic", "digest", "digest", "digest", "digest"]
    assert chosen is not None
    assert chosen.parameters["nonce"] == "2"


def test_basic_is_answered_only_where_it_is_allowed() -> None:
    allowed = ClientAuth(WHO, allow_basic=True)
    allowed.challenge(challenge('Basic realm="x"'))

    sent = allowed.authorization("PLAY", URL)

    assert sent is not None
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == f"{WHO.user}:{WHO.password}"
    careful = ClientAuth(WHO)
    with pytest.raises(AuthRefused) as refused:
        careful.challenge(challenge('Basic realm="x"'))
    assert not refused.value.tried
    assert careful.authorization("PLAY", URL) is None


def test_one_refusal_ends_the_attempt() -> None:
    client = ClientAuth(WHO)
    client.challenge(challenge('Digest realm="x", nonce="1"'))
    assert client.authorization("PLAY", URL) is not None

    with pytest.raises(AuthRefused) as refused:
        client.challenge(challenge('Digest realm="x", nonce="2"'))

    assert refused.value.tried
    assert client.authorization("TEARDOWN", URL) is None


def test_stale_nonce_is_answered_once_more_and_not_for_ever() -> None:
    client = ClientAuth(WHO)
    client.challenge(challenge('Digest realm="x", nonce="1"'))
    client.authorization("PLAY", URL)
    client.challenge(challenge('Digest realm="x", nonce="2", stale=TRUE'))
    client.authorization("PLAY", URL)

    with pytest.raises(AuthRefused):
        client.challenge(challenge('Digest realm="x", nonce="3", stale=true'))


def test_new_nonce_after_success_is_no_refusal() -> None:
    client = ClientAuth(WHO)
    for nonce in range(5):
        client.challenge(challenge(f'Digest realm="x", nonce="{nonce}"'))
        assert f'nonce="{nonce}"' in (client.authorization("OPTIONS", URL) or "")
        client.accepted()


def test_nothing_set_says_so() -> None:
    with pytest.raises(AuthRefused, match="none is set"):
        ClientAuth(None).challenge(challenge('Digest realm="x", nonce="1"'))


def test_password_is_in_no_text() -> None:
    client = ClientAuth(WHO)
    client.challenge(challenge('Digest realm="x", nonce="1"'))
    sent = client.authorization("PLAY", URL) or ""

    for text in (repr(WHO), str(WHO), sent):
        assert WHO.password not in text


@given(st.lists(st.text(max_size=200), max_size=4).map(tuple))
def test_hostile_challenges_raise_nothing_but_auth_refused(values: tuple[str, ...]) -> None:
    for prefix in ("", 'Digest realm="x", nonce="', "Digest nonce=1,algorithm="):
        client = ClientAuth(WHO, allow_basic=True)
        try:
            client.challenge(challenge(*(prefix + value for value in values)))
        except AuthRefused:
            assert client.authorization("PLAY", URL) is None
        else:
            assert client.authorization("PLAY", URL)


@given(st.text(max_size=300))
def test_hostile_answers_are_refused(text: str) -> None:
    server = ServerAuth({"admin": "right"})

    for said in (
        text,
        "Digest " + text,
        f'Digest username="admin", uri="{URL}", nonce="{text}", response="{text}"',
    ):
        assert server.check("PLAY", URL, said, "p") is Verdict.REFUSED


@pytest.mark.parametrize(
    "piece", ["a", '"', 'x="', "a=", " ", "Digest ", 'a="\\', "a ", "-", ",", 'a="b" ', '\\"', "a\t="]
)
def test_reading_a_challenge_takes_time_in_proportion_to_its_length(piece: str) -> None:
    value = "Digest " + piece * (16_000 // len(piece))

    started = time.process_time()
    parse_challenges((value,))

    assert time.process_time() - started < 1
