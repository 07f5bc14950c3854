"""The Transport header field (RFC 2326 section 12.39), read as cameras write it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Transport:
    """One transport; pairs are (RTP, RTCP). None: not named."""

    tcp: bool
    multicast: bool = False
    interleaved: tuple[int, int] | None = None
    client_port: tuple[int, int] | None = None
    server_port: tuple[int, int] | None = None
    ssrc: int | None = None


def parse_transport(value: str) -> Transport:
    """Read the first transport of a field; never raises, what cannot be read counts as not named.

    One that names channels is TCP even if it says RTP/AVP (Escam Q6); blanks around "ssrc" are skipped
    (iDS-2CD9396).
    """
    pieces = [piece.strip() for piece in value.partition(",")[0].split(";")]
    named: dict[str, str] = {}
    for piece in pieces[1:]:
        name, _, rest = piece.partition("=")
        named.setdefault(name.strip().lower(), rest.strip().strip('"'))
    interleaved = _pair(named.get("interleaved"), 255)
    return Transport(
        tcp=interleaved is not None or pieces[0].upper().endswith("/TCP"),
        multicast="multicast" in named,
        interleaved=interleaved,
        client_port=_pair(named.get("client_port"), 65_535),
        server_port=_pair(named.get("server_port"), 65_535),
        ssrc=_hexadecimal(named.get("ssrc", "")),
    )


def tcp_transport(channel: int) -> str:
    """What a client asks for: RTP on this channel of the connection, RTCP on the next."""
    return f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"


def udp_transport(port: int) -> str:
    """What a client asks for: RTP to this port, RTCP to the next."""
    return f"RTP/AVP;unicast;client_port={port}-{port + 1}"


def _pair(text: str | None, highest: int) -> tuple[int, int] | None:
    numbers = [part.strip() for part in (text or "").split("-")[:2]]
    if not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in numbers):
        return None
    first = int(numbers[0])
    second = int(numbers[1]) if len(numbers) > 1 else first + 1
    return (first, second) if first <= highest and second <= highest and first != second else None


def _hexadecimal(text: str) -> int | None:
    try:
        return int(text, 16) if 1 <= len(text) <= 8 and text.isalnum() else None
    except ValueError:
        return None
