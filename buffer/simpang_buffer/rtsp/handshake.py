"""OPTIONS, DESCRIBE, SETUP: what has to be agreed before PLAY."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from simpang_buffer.rtsp.connection import Connection, Source
from simpang_buffer.rtsp.control_url import aggregate_urls, base_url, track_urls
from simpang_buffer.rtsp.errors import (
    AuthRefused,
    Limit,
    Malformed,
    NothingPlayed,
    Redirected,
    RefusedByPolicy,
    StreamError,
    TransportRefused,
    Unreachable,
    Unsupported,
)
from simpang_buffer.rtsp.message import Response
from simpang_buffer.rtsp.sdp import Sdp, Track, parse_sdp
from simpang_buffer.rtsp.transport import Transport, parse_transport, tcp_transport, udp_transport
from simpang_buffer.rtsp.udp import PortPair

# In the order of preference: MJPEG costs ten times the space, so it is for cameras that offer nothing else.
VIDEO_ENCODINGS = (frozenset({"H264", "H265"}), frozenset({"JPEG"}))
METADATA_ENCODINGS = frozenset({"VND.ONVIF.METADATA", "VND.ONVIF.METADATA.GZIP"})
AUDIO_ENCODINGS = frozenset({"MPEG4-GENERIC", "PCMA", "PCMU"})
# RFC 2326 section 12.37: what holds where the camera names none.
_DEFAULT_TIMEOUT_S = 60
_SESSION_ID = re.compile(r"[!-:<-~]{1,256}")
# The address form was wrong, where another may be right.
_TRY_ANOTHER_URL = frozenset({400, 404, 405, 451, 454, 455, 459, 460})
_TRANSPORT_STATUS = frozenset({406, 461})


@dataclass(frozen=True, slots=True)
class SetUpTrack:
    """A track that plays. index: its place in the session. ssrc: what the camera announced, a hint only."""

    index: int
    track: Track
    ssrc: int | None


@dataclass(slots=True)
class Agreement:
    """What the handshake has come to.

    urls: forms of the whole presentation's URL to try; url: the one that works. channels: RTP and RTCP
    channel of each track; over UDP ports instead. offered: all tracks that the camera describes.
    """

    urls: tuple[str, ...] = ()
    url: str = ""
    session_id: str = ""
    timeout_s: int = _DEFAULT_TIMEOUT_S
    methods: frozenset[str] = frozenset()
    offered: tuple[Track, ...] = ()
    tracks: list[SetUpTrack] = field(default_factory=list)
    channels: list[tuple[int, int]] = field(default_factory=list)
    ports: list[PortPair] = field(default_factory=list)

    def session_field(self) -> tuple[tuple[str, str], ...]:
        return (("Session", self.session_id),) if self.session_id else ()


async def describe(connection: Connection, source: Source, agreement: Agreement) -> tuple[Sdp, str]:
    """Ask what there is; returns it with the base URL of its controls. Raises StreamError."""
    options = await connection.request("OPTIONS", source.url)
    # Some answer 404 or 501 to OPTIONS and yet play; what matters comes with DESCRIBE.
    if options.status in (401, 403):
        raise _refusal(options, "OPTIONS", connection)
    public = ",".join((*options.headers.get_all("public"), *options.headers.get_all("allow")))
    agreement.methods = frozenset(word.strip().upper() for word in public.split(","))
    response, _ = await _first_that_works(
        connection, "DESCRIBE", [source.url], [("Accept", "application/sdp")]
    )
    sdp = parse_sdp(response.body)
    agreement.offered = sdp.tracks
    if sdp.repaired:
        connection.counts["repaired_descriptions"] += 1
    if sdp.dropped:
        connection.counts["dropped_tracks"] += len(sdp.dropped)
    stated = response.headers.get("content-base") or response.headers.get("content-location")
    base = base_url(source.url, stated)
    if stated and stated.strip() != base:
        connection.counts["repaired_base_urls"] += 1
    agreement.urls = aggregate_urls(source.url, base, sdp.control)
    agreement.url = agreement.urls[0]
    return sdp, base


def choose_tracks(sdp: Sdp, audio: bool, metadata: bool = False) -> list[Track]:
    """The first video track that we can record and, if wanted, the first such audio track and the first with
    ONVIF metadata; video first.

    Raises Unsupported without such video, naming what there is.
    """
    videos = [t for t in sdp.tracks if t.kind == "video"]
    video = next((t for encodings in VIDEO_ENCODINGS for t in videos if t.encoding in encodings), None)
    if video is None:
        there = [t.encoding for t in sdp.tracks if t.kind == "video"] or [*sdp.dropped] or ["no video"]
        raise Unsupported(f"the camera offers {', '.join(there[:4])}; H264, H265 or JPEG can be recorded")
    heard = next((t for t in sdp.tracks if t.kind == "audio" and t.encoding in AUDIO_ENCODINGS), None)
    told = next((t for t in sdp.tracks if t.encoding in METADATA_ENCODINGS), None)
    chosen = (video, heard if audio else None, told if metadata else None)
    return [track for track in chosen if track is not None]


async def set_up(
    connection: Connection,
    source: Source,
    agreement: Agreement,
    tracks: Sequence[Track],
    base: str,
    *,
    udp: bool,
) -> None:
    """SETUP the tracks. The video must succeed; what is refused beside it is left out and counted. Raises
    StreamError.
    """
    for track in tracks:
        try:
            await _set_up_one(connection, source, agreement, track, base, udp=udp)
        except (Unsupported, Malformed, RefusedByPolicy):
            if track.kind == "video":
                raise
            connection.counts[f"{'audio' if track.kind == 'audio' else 'metadata'}_refused"] += 1
    connection.reader.channels = frozenset(channel for pair in agreement.channels for channel in pair)


async def play(connection: Connection, agreement: Agreement) -> None:
    """PLAY what was set up. Raises StreamError."""
    fields = [("Range", "npt=0.000-"), *agreement.session_field()]
    _, agreement.url = await _first_that_works(connection, "PLAY", agreement.urls, fields)


async def _set_up_one(
    connection: Connection, source: Source, agreement: Agreement, track: Track, base: str, *, udp: bool
) -> None:
    index = len(agreement.tracks)
    channels = (2 * index, 2 * index + 1)
    with contextlib.ExitStack() as stack:
        ports: PortPair | None = None
        if udp:
            ports = PortPair(connection.local_host, source.host, connection.counts)
            stack.callback(ports.close)
        wanted = tcp_transport(channels[0]) if ports is None else udp_transport(ports.port)
        fields = [("Transport", wanted), *agreement.session_field()]
        urls = track_urls(source.url, base, track.control)
        response, _ = await _first_that_works(connection, "SETUP", urls, fields)
        if _take_session(agreement, response):
            connection.counts["changed_session_ids"] += 1
        stated = response.headers.get("transport")
        answered = parse_transport(stated) if stated else Transport(tcp=not udp)
        if ports is None:
            agreement.channels.append(_channels(agreement, answered, channels))
            if not answered.tcp or agreement.channels[-1] != channels:
                connection.counts["other_channels"] += 1
        elif answered.multicast or answered.tcp:
            raise TransportRefused("the camera answers with another transport where UDP was asked for")
        else:
            ports.sends_from(answered.server_port)
            agreement.ports.append(ports)
        # From here on the agreement's owner closes the ports.
        stack.pop_all()
    agreement.tracks.append(SetUpTrack(index, track, answered.ssrc))


def _channels(agreement: Agreement, answered: Transport, asked: tuple[int, int]) -> tuple[int, int]:
    """The channels that the camera names (Panasonic: 20-21 whatever was asked), else those asked for."""
    if answered.interleaved is None and (answered.server_port is not None or answered.multicast):
        raise TransportRefused("the camera answers with UDP where TCP was asked for")
    pair = answered.interleaved or asked
    if {*pair} & {channel for other in agreement.channels for channel in other}:
        raise Malformed("the camera puts two tracks on one channel")
    return pair


async def _first_that_works(
    connection: Connection, method: str, urls: Iterable[str], fields: Sequence[tuple[str, str]]
) -> tuple[Response, str]:
    """Ask under each URL until one is accepted; the answer and that URL. Raises the last refusal."""
    refusal: StreamError = Malformed("the camera names an address that cannot be written")
    for url in urls:
        response = await connection.request(method, url, fields)
        if 200 <= response.status < 300:
            return response, url
        refusal = _refusal(response, method, connection)
        if response.status not in _TRY_ANOTHER_URL:
            break
        connection.counts["refused_url_forms"] += 1
    raise refusal


def _take_session(agreement: Agreement, response: Response) -> bool:
    """Keep the first session id and its timeout. Whether this is another one (some change it each time)."""
    identity, _, parameters = (response.headers.get("session") or "").partition(";")
    if agreement.session_id or not identity.strip():
        return bool(agreement.session_id) and identity.strip() not in ("", agreement.session_id)
    if _SESSION_ID.fullmatch(identity.strip()) is None:
        raise Malformed("the camera's session id cannot be read")
    agreement.session_id = identity.strip()
    stated = re.search(r"timeout\s*=\s*(\d{1,6})(?!\d)", parameters, re.IGNORECASE)
    agreement.timeout_s = int(stated[1]) if stated is not None and int(stated[1]) else _DEFAULT_TIMEOUT_S
    return False


def _refusal(response: Response, method: str, connection: Connection) -> StreamError:
    status = response.status
    said = f"{method} was answered with {status}"
    if "privacy" in response.reason.lower():
        return NothingPlayed(f"{said}: the camera's privacy mode is on; it records again once that is off")
    if 300 <= status < 400:
        return Redirected(
            f"{said}: the camera redirects, which is not followed here; enter the other address",
            response.headers.get("location") if method == "DESCRIBE" else None,
        )
    if status in (401, 403):
        return AuthRefused(f"{said}: the user may not see this stream", tried=connection.auth.signed)
    if status in (453, 503):
        return Limit(f"{said}: the camera serves as many viewers as it can")
    if status in _TRANSPORT_STATUS:
        return TransportRefused(f"{said}: the camera does not offer this transport")
    if status in (404, 410):
        return Unsupported(f"{said}: there is no such stream; check its address")
    if status >= 500 or status == 454:
        return Unreachable(f"{said}: the camera cannot serve it now")
    return Unsupported(f"{said}: the camera does not serve this stream to us")
