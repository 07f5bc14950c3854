from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpang_buffer.rtsp.errors import Malformed
from simpang_buffer.rtsp.message import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    Headers,
    Request,
    Response,
    body_length,
    build_request,
    build_response,
    cseq,
    parse_request,
    parse_response,
)

TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


def test_headers_ignore_case_and_keep_repeats() -> None:
    response = parse_response(
        b'RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm="a"\r\nwww-authenticate: Basic\r\n\r\n'
    )

    assert response.headers.get_all("WWW-AUTHENTICATE") == ('Digest realm="a"', "Basic")
    assert response.headers.get("Www-Authenticate") == 'Digest realm="a"'
    assert "cseq" not in response.headers


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"RTSP/1.0 200\r\nCSeq: 1\r\n\r\n", 200, ""),
        (b"RTSP/1.0 200 \r\n\r\n", 200, ""),
        (b"\r\nRTSP/2.0  454 Session Not Found\n\n", 454, "Session Not Found"),
        (b"RTSP/1.0 200 \xe4\xbd\xa0\r\n", 200, "\xe4\xbd\xa0"),
    ],
)
def test_response_without_reason_or_with_odd_line_ends_is_read(head: bytes, status: int, reason: str) -> None:
    response = parse_response(head)

    assert (response.status, response.reason) == (status, reason)


@pytest.mark.parametrize(
    ("stated", "number"), [("7", 7), (" 0007 ", 7), ("", None), ("x", None), ("-1", None)]
)
def test_sequence_number_is_read_padded_or_not(stated: str, number: int | None) -> None:
    assert cseq(Headers([("CSeq", stated)])) == number


def test_folded_field_is_one_field() -> None:
    request = parse_request(b"PLAY rtsp://c/ RTSP/1.0\r\nRange: npt=0-\r\n ;time=x\r\n\r\n")

    assert request.headers.get("range") == "npt=0- ;time=x"


@pytest.mark.parametrize("stated", ["-1", "1e3", "0x10", "99999999999999", str(MAX_BODY_BYTES + 1), "²"])
def test_body_length_that_is_no_number_or_too_large_is_refused(stated: str) -> None:
    head = f"RTSP/1.0 200 OK\r\nContent-Length: {stated}\r\n\r\n".encode("latin-1")

    with pytest.raises(Malformed):
        body_length(head)


def test_head_larger_than_the_limit_is_refused() -> None:
    with pytest.raises(Malformed):
        parse_response(b"RTSP/1.0 200 OK\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n")


@pytest.mark.parametrize(
    "request_",
    [
        Request("PLAY", "rtsp://c/\r\nTEARDOWN rtsp://c/ RTSP/1.0", Headers()),
        Request("PLAY", "rtsp://c/a b", Headers()),
        Request("PLAY", "", Headers()),
        Request("PL AY", "rtsp://c/", Headers()),
        Request("PLAY", "rtsp://c/", Headers([("Session", "1\r\nX: y")])),
        Request("PLAY", "rtsp://c/", Headers([("X:", "y")])),
        Request("PLAY", "rtsp://c/€", Headers()),
    ],
)
def test_line_break_smuggled_into_a_request_is_refused(request_: Request) -> None:
    with pytest.raises(Malformed):
        build_request(request_)


@given(TEXT, st.lists(st.tuples(st.sampled_from(["CSeq", "Session", "X-a"]), TEXT)), st.binary(max_size=50))
def test_what_is_written_is_read_back(url: str, fields: list[tuple[str, str]], body: bytes) -> None:
    request = Request("PLAY", url, Headers(fields), body)
    response = Response(200, "OK", Headers(fields), body)

    for message, data in ((request, build_request(request)), (response, build_response(response))):
        head, _, rest = data.partition(b"\r\n\r\n")
        read = parse_request(head, rest) if message is request else parse_response(head, rest)
        assert [f for f in read.headers if f[0] != "Content-Length"] == fields
        assert body_length(head) == len(body)
        assert read.body == body


@given(st.binary(max_size=400))
def test_hostile_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    for parse in (parse_request, parse_response, body_length):
        for head in (
            data,
            b"RTSP/1.0 200 OK\r\n" + data,
            b"PLAY rtsp://c RTSP/1.0\r\nContent-Length:" + data,
        ):
            try:
                parse(head)
            except Malformed as error:
                assert error.reason == "malformed"
