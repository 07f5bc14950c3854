"""Session descriptions (RFC 8866, with RFC 2326 appendix C) as cameras write them.

Cameras leave out compulsory lines, add blanks and invent media types (Reolink, TP-LINK, Hipcam), so lines are
read one by one: what cannot be read is left out, and a track that makes no sense is dropped alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from simpang_buffer.rtsp.errors import Malformed

Kind = Literal["video", "audio", "application"]
_KINDS: Mapping[str, Kind] = {"video": "video", "audio": "audio", "application": "application"}

# A panoramic camera with metadata, audio and a back channel for each lens has about 20.
_MAX_TRACKS = 32
_MAX_LINES = 4096
# JPEG has 16 bits for each side; no camera's picture is a quarter of that.
_MAX_SIDE = 16_384
# Static payload types (RFC 3551 tables 4 and 5) that cameras send: encoding, clock rate, channels.
_STATIC = {
    0: ("PCMU", 8000, 1),
    3: ("GSM", 8000, 1),
    4: ("G723", 8000, 1),
    8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
    14: ("MPA", 90000, 1),
    18: ("G729", 8000, 1),
    26: ("JPEG", 90000, 1),
    32: ("MPV", 90000, 1),
    33: ("MP2T", 90000, 1),
}
_ALIASES = {"HEVC": "H265", "AVC": "H264"}
_RTPMAP = re.compile(r"(\d{1,3})\s+([A-Za-z0-9.\-_]{1,64})(?:\s*/\s*(\d{1,9}))?(?:\s*/\s*(\d{1,3}))?")


@dataclass(frozen=True, slots=True)
class Track:
    """One `m=` section, with the one payload type that we follow.

    encoding: upper-case ("H264", "H265", "MPEG4-GENERIC", "PCMA"). fmtp: names lower-case. control: as the
    camera wrote it, "" if it wrote none. dimensions: width and height, where the camera states them.
    """

    kind: Kind
    payload_type: int
    encoding: str
    clock_rate: int
    channels: int = 1
    fmtp: Mapping[str, str] = field(default_factory=dict)
    control: str = ""
    dimensions: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Sdp:
    """What a camera offers. control: of the whole presentation. dropped: why tracks were left out. repaired:
    whether something compulsory is missing or cannot be read as it stands.
    """

    tracks: tuple[Track, ...]
    control: str = ""
    dropped: tuple[str, ...] = ()
    repaired: bool = False


def parse_sdp(data: bytes) -> Sdp:
    """Read a description leniently. Raises Malformed only where there is no `m=` line at all."""
    lines = data.decode("latin-1").replace("\r", "\n").split("\n")[:_MAX_LINES]
    sections: list[list[str]] = [[]]
    for line in (line.strip(" \t\0") for line in lines):
        if line[:2].lower() == "m=":
            if len(sections) > _MAX_TRACKS:
                break
            sections.append([])
        if line:
            sections[-1].append(line)
    if len(sections) == 1:
        raise Malformed("the camera's stream description names no media")
    tracks: list[Track] = []
    dropped: list[str] = []
    for section in sections[1:]:
        track = _track(section)
        if isinstance(track, str):
            dropped.append(track)
        else:
            tracks.append(track)
    return Sdp(tuple(tracks), _attribute(sections[0], "control"), tuple(dropped), _is_odd(sections))


def build_sdp(sdp: Sdp, *, address: str, session_id: int, name: str = "simpang") -> bytes:
    """Write a description for readers. address: of the server; session_id: new when content changes."""
    family = "IP6" if ":" in address else "IP4"
    lines = ["v=0", f"o=- {session_id} 1 IN {family} {address}", f"s={name}"]
    lines += [
        # Unspecified: nothing is sent before SETUP says where to (RFC 2326 appendix C.1.7).
        f"c=IN {family} {'::' if family == 'IP6' else '0.0.0.0'}",  # noqa: S104 - text, nothing is bound
        "t=0 0",
        f"a=control:{sdp.control or '*'}",
    ]
    for track in sdp.tracks:
        lines.append(f"m={track.kind} 0 RTP/AVP {track.payload_type}")
        channels = f"/{track.channels}" if track.kind == "audio" and track.channels != 1 else ""
        lines.append(f"a=rtpmap:{track.payload_type} {track.encoding}/{track.clock_rate}{channels}")
        if track.fmtp:
            lines.append(f"a=fmtp:{track.payload_type} {_fmtp_text(track.fmtp)}")
        lines.append(f"a=control:{track.control}")
    return "\r\n".join([*lines, ""]).encode()


def _is_odd(sections: Sequence[Sequence[str]]) -> bool:
    """RFC 8866 section 5: v=, o= and s= are compulsory; a fmtp names its payload type (section 6.15)."""
    named = {line[:2].lower() for line in sections[0]}
    if not {"v=", "o=", "s="} <= named:
        return True
    return any(
        (line[:7].lower() == "a=fmtp:" and not line[7:].lstrip()[:1].isdigit())
        or (line[:2].lower() == "c=" and len(line.split()) < 3)
        for section in sections
        for line in section
    )


def _track(section: Sequence[str]) -> Track | str:
    """The track of one section, or in words why there is none."""
    words = section[0][2:].split()
    kind = words[0].lower() if words else ""
    # "m=video 0 RTP/AVP 96"; TP-LINK sends "m=application/TP-LINK 0 RTP/AVP smart/1/90000".
    # Python refuses to read numbers of thousands of digits.
    numbers = [int(word) for word in words[3:] if word.isascii() and word.isdigit() and len(word) < 9]
    types = [number for number in numbers if number < 128]
    if kind not in _KINDS or not types:
        return f"a track of an unknown kind ({_clean(section[0][2:])})"
    if "SAVP" in words[2].upper():
        # UniFi's rtsps addresses, Axis with keys of its own: nothing we could read.
        return f"an encrypted {kind} track (SRTP); switch encryption off for this stream"
    maps = _rtpmaps(section)
    # The first type that something is known about; some cameras list one more that they never send.
    chosen = next((pt for pt in types if pt in maps or pt in _STATIC), None)
    if chosen is None:
        return f"a {kind} track that does not say how it is encoded (payload type {types[0]})"
    encoding, rate, channels = maps.get(chosen) or _STATIC[chosen]
    if rate == 0:
        rate = _STATIC[chosen][1] if chosen in _STATIC else 90_000 if kind != "audio" else 8_000
    return Track(
        kind=_KINDS[kind],
        payload_type=chosen,
        encoding=encoding,
        clock_rate=rate,
        channels=max(1, channels),
        fmtp=_fmtp(section, chosen),
        control=_attribute(section, "control"),
        dimensions=_dimensions(section),
    )


def _attribute(section: Sequence[str], name: str) -> str:
    prefix = f"a={name}:"
    found = (line[len(prefix) :].strip() for line in section if line[: len(prefix)].lower() == prefix)
    return next(found, "")


def _dimensions(section: Sequence[str]) -> tuple[int, int] | None:
    """`a=x-dimensions:2560,1440` (GStreamer), `a=framesize:26 2560-1440` (3GPP TS 26.234 section 5.3.3.1)."""
    texts = (_attribute(section, "x-dimensions"), _attribute(section, "framesize").partition(" ")[2])
    found = (re.fullmatch(r"\s*(\d{1,5})\s*[,-]\s*(\d{1,5})\s*", text) for text in texts)
    sizes = ((int(match[1]), int(match[2])) for match in found if match is not None)
    return next((size for size in sizes if min(size) > 0 and max(size) <= _MAX_SIDE), None)


def _rtpmaps(section: Sequence[str]) -> dict[int, tuple[str, int, int]]:
    maps: dict[int, tuple[str, int, int]] = {}
    for line in section:
        if line[:9].lower() != "a=rtpmap:":
            continue
        match = _RTPMAP.match(line[9:].strip())
        if match is not None and int(match[1]) < 128:
            encoding = match[2].upper()
            found = (_ALIASES.get(encoding, encoding), int(match[3] or 0), int(match[4] or 1))
            maps.setdefault(int(match[1]), found)
    return maps


def _fmtp(section: Sequence[str], payload_type: int) -> Mapping[str, str]:
    parameters: dict[str, str] = {}
    for line in section:
        if line[:7].lower() != "a=fmtp:":
            continue
        stated, _, rest = line[7:].strip().partition(" ")
        if not (stated.isascii() and stated.isdigit()):
            # A bare fmtp, without its payload type.
            rest = line[7:]
        elif int(stated[:9]) != payload_type:
            continue
        for piece in rest.split(";"):
            name, equals, value = piece.strip().partition("=")
            if equals and name:
                parameters.setdefault(name.strip().lower(), value.strip())
    return MappingProxyType(parameters)


def _fmtp_text(fmtp: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in fmtp.items())


def _clean(text: str) -> str:
    """What a camera wrote, fit for a log."""
    return "".join(c if c.isprintable() else "?" for c in text[:48])
