from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpang_buffer.rtsp.transport import Transport, parse_transport, tcp_transport, udp_transport


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            'RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=0A0b0C0d;mode="PLAY"',
            Transport(tcp=True, interleaved=(0, 1), ssrc=0x0A0B0C0D),
        ),
        # iDS-2CD9396: blanks before ssrc
        (
            "RTP/AVP/TCP;unicast;interleaved=2-3; ssrc = 12ab",
            Transport(tcp=True, interleaved=(2, 3), ssrc=0x12AB),
        ),
        # Escam Q6: names UDP, means TCP
        ("RTP/AVP;unicast;destination=1.1.1.1;interleaved=0-1", Transport(tcp=True, interleaved=(0, 1))),
        # Panasonic: other channels than asked for
        ("RTP/AVP/TCP;interleaved=20-21", Transport(tcp=True, interleaved=(20, 21))),
        ("RTP/AVP/TCP;interleaved=4", Transport(tcp=True, interleaved=(4, 5))),
        (
            "RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001,RTP/AVP;multicast",
            Transport(tcp=False, client_port=(5000, 5001), server_port=(6000, 6001)),
        ),
        ("RTP/AVP;multicast;destination=239.0.0.1", Transport(tcp=False, multicast=True)),
        ("RTP/AVP/TCP;interleaved=300-301;ssrc=-1", Transport(tcp=True)),
        ("RTP/AVP/TCP;interleaved=5-5;ssrc=0x12", Transport(tcp=True, ssrc=0x12)),
        ("", Transport(tcp=False)),
    ],
)
def test_transport_is_read_as_cameras_write_it(text: str, wanted: Transport) -> None:
    assert parse_transport(text) == wanted


def test_what_is_asked_for_is_read_back() -> None:
    assert parse_transport(tcp_transport(2)).interleaved == (2, 3)
    assert parse_transport(udp_transport(5000)).client_port == (5000, 5001)


@given(st.one_of(st.text(max_size=80), st.text("interleaved=-;ssrc0123,²_ ", max_size=60)))
def test_hostile_text_raises_nothing(text: str) -> None:
    found = parse_transport(text)

    assert found.interleaved is None or all(0 <= channel <= 255 for channel in found.interleaved)
    assert found.server_port is None or all(0 <= port <= 65_535 for port in found.server_port)
