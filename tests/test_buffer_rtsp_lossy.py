"""Networks that lose, repeat, swap and delay: what is done to each packet is a list (quirks 7.12, 7.17).

A case names what happens to the n-th packets. What must come of it is worked out from the same list: whole
pictures are as the encoder made them, and none that hangs on a lost packet passes for whole.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pytest

from media_samples import Unit, nal_kind, video, video_packets
from scripted_camera import SDP, Datagram, Habits, frame, scripted_camera
from simpang_buffer.media.access_units import Picture
from simpang_buffer.recording.intake import Intake
from simpang_buffer.rtsp.rtcp import build_sender_report
from simpang_buffer.rtsp.session import Session, open_session

SSRC = 0x5151_5151
# What video_packets begins with.
FIRST_TIME = 0xFFFF_F000
VIDEO_ONLY = SDP.partition(b"m=audio")[0]
UNITS = video("h264", frames=26, key_every=6, noise=700)
# A key frame, so that nothing before it decides whether it comes whole.
LAST = 24
# Packets of slices, at 600 bytes each. (A lost parameter set harms no picture: the file has it.)
SLICES = [
    n for n, packet in enumerate(video_packets("h264", UNITS, mtu=600)) if packet[12] & 31 in (1, 5, 28)
]
# The first of the second key frame's.
SECOND_KEY = next(n for n in SLICES if n >= len(video_packets("h264", UNITS[:6], mtu=600)))
SLICES_OF_KEYS = [len(video_packets("h264", UNITS[:n], mtu=600)) for n in (0, 6, 12, 18, LAST)]
# In the middle of the second group.
RESTART = SECOND_KEY + 9
LAST_KEY = len(video_packets("h264", UNITS[:LAST], mtu=600))


@dataclass(frozen=True)
class Lossy:
    """drop, repeat, swap (with the next one) and late (0.4 s): numbers of packets. backwards: sent in groups
    of so many, each from its last to its first. strangers: each packet also comes from another address."""

    id: str
    drop: Sequence[int] = ()
    repeat: Sequence[int] = ()
    swap: Sequence[int] = ()
    late: Sequence[int] = ()
    backwards: int = 1
    strangers: bool = False
    mtu: int = 600
    counts: tuple[str, ...] = ()


CASES = [
    Lossy("nothing happens"),
    Lossy("neighbours swapped", swap=range(2, 60, 2)),
    Lossy("a window sent backwards", backwards=12),
    Lossy("some repeated", repeat=range(0, 60, 5), counts=("late_packets",)),
    Lossy("one lost", drop=[13], counts=("lost_packets",)),
    Lossy("first of a key frame lost", drop=[SECOND_KEY], counts=("lost_packets",)),
    Lossy("a burst lost", drop=range(20, 41), counts=("lost_packets",)),
    Lossy("every tenth lost", drop=[n for n in SLICES[9::10] if n < LAST_KEY], counts=("lost_packets",)),
    Lossy("late beyond use", late=[25], counts=("lost_packets",)),
    Lossy("lost, swapped and repeated", drop=[17, 33], swap=[4, 40], repeat=[6], counts=("lost_packets",)),
    Lossy("10 kB datagrams (Tapo)", mtu=10_000),
    Lossy("a stranger sends the same", strangers=True, counts=("foreign_senders",)),
]


def sent(case: Lossy, packets: Sequence[bytes]) -> list[int]:
    """In which order which packets go out."""
    order = [n for n in range(len(packets)) if n not in set(case.drop) | set(case.late)]
    for first in case.swap:
        if first in order and first + 1 in order:
            at = order.index(first)
            order[at], order[at + 1] = order[at + 1], order[at]
    if case.backwards > 1:
        # The very first stays: nothing can be put before it.
        rest = order[1:]
        groups = [rest[at : at + case.backwards] for at in range(0, len(rest), case.backwards)]
        order = order[:1] + [n for group in groups for n in reversed(group)]
    return [n for number in order for n in [number] * (2 if number in case.repeat else 1)]


def untouched(units: Sequence[Unit], case: Lossy) -> list[bytes]:
    """The pictures that arrive whole and hang on nothing that was lost."""
    first = 0
    whole: list[bytes] = []
    hurt = True
    for unit in units:
        count = len(video_packets("h264", [unit], mtu=case.mtu))
        torn = any(first <= n < first + count for n in (*case.drop, *case.late))
        hurt = torn or (hurt and not unit.key)
        if not hurt:
            whole.append(unit.data)
        first += count
    return whole


async def pictures(session: Session, seconds: float = 5.0) -> list[Picture]:
    """What is taken in on the recorder's beat until the last key frame, whole or not, has come."""
    end = (FIRST_TIME + UNITS[LAST].pts) & 0xFFFF_FFFF
    intake = Intake(session.tracks)
    found: list[Picture] = []
    async with asyncio.timeout(seconds):
        while end not in [picture.rtp_time for picture in found]:
            arrivals = intake.take(session.read_available())
            found.extend(arrival for arrival in arrivals if isinstance(arrival, Picture))
            await asyncio.sleep(0.01)
    return [p for p in found if p.rtp_time != (FIRST_TIME + UNITS[LAST + 1].pts) & 0xFFFF_FFFF]


def on_both(case: Lossy) -> Sequence[Literal["udp", "tcp"]]:
    """TCP loses, where the camera drops; it neither swaps nor repeats nor lets strangers in."""
    only_udp = case.swap or case.repeat or case.late or case.backwards > 1 or case.strangers
    return ("udp",) if only_udp else ("udp", "tcp")


@pytest.mark.parametrize(
    ("case", "transport"),
    [pytest.param(case, one, id=f"{case.id}-{one}") for case in CASES for one in on_both(case)],
)
async def test_only_whole_pictures_pass_for_whole(case: Lossy, transport: Literal["udp", "tcp"]) -> None:
    packets = video_packets("h264", UNITS, mtu=case.mtu)
    media: list[bytes | float | Datagram] = []
    for number, n in enumerate(sent(case, packets)):
        if transport == "tcp":
            media.append(frame(0, packets[n]))
            continue
        if case.strangers:
            media.append(Datagram(packets[n], stranger="127.0.0.9"))
        media.append(Datagram(packets[n]))
        if number % 8 == 7:
            media.append(0.012)
    if case.late:
        media += [0.4, *[Datagram(packets[n]) for n in case.late]]
    habits = Habits(sdp=VIDEO_ONLY, media=media)

    async with (
        scripted_camera(habits=habits) as camera,
        open_session(camera.source(transport=transport)) as session,
    ):
        found = await pictures(session)
        session._send_reports()
        counts = dict(session.counts)

    whole = [picture.data for picture in found if not picture.damaged]
    wanted = untouched(UNITS[: LAST + 1], case)
    assert [data for data in wanted if data not in whole] == []
    assert [data for data in whole if data not in wanted] == []
    for kind in case.counts:
        assert counts.get(kind, 0) > 0, counts


def numbered(packet: bytes, sequence: int, ssrc: int) -> bytes:
    return (
        packet[:2]
        + struct.pack(">H", sequence & 0xFFFF)
        + packet[4:8]
        + struct.pack(">I", ssrc)
        + packet[12:]
    )


def by_group(number: int) -> tuple[int, int]:
    """7.10 (Uniview): each group of pictures has a source and numbers of its own."""
    first = [n for n in SLICES_OF_KEYS if n <= number][-1:] or [0]
    return 1000 * first[0] + number, 100 + first[0]


def restarts(number: int) -> tuple[int, int]:
    """7.12 (Eufy): the counter starts over in mid-stream."""
    return (number if number < RESTART else number - 40_000), 7


def picture_of(number: int) -> int:
    """The picture that a packet belongs to."""
    return next(n for n in range(len(UNITS)) if len(video_packets("h264", UNITS[: n + 1], mtu=600)) > number)


@pytest.mark.parametrize(
    ("number_of", "hurt"),
    [(by_group, []), (restarts, list(range(picture_of(RESTART), 12)))],
    ids=["7.10 source per group", "7.12 counter restarts"],
)
async def test_sources_and_counters_that_begin_anew_cost_no_group(
    number_of: Callable[[int], tuple[int, int]], hurt: list[int]
) -> None:
    packets = video_packets("h264", UNITS, mtu=600)
    media = [frame(0, numbered(packet, *number_of(n))) for n, packet in enumerate(packets)]

    async with (
        scripted_camera(habits=Habits(sdp=VIDEO_ONLY, media=media)) as camera,
        open_session(camera.source()) as session,
    ):
        found = await pictures(session)

    whole = {picture.data for picture in found if not picture.damaged}
    lost = [n for n, unit in enumerate(UNITS[: LAST + 1]) if unit.data not in whole]
    assert whole <= {unit.data for unit in UNITS}
    # From where the counter started over to the next key frame, and no farther.
    assert lost == hurt


async def test_a_dead_sessions_packets_are_kept_out_of_the_pictures() -> None:
    """7.9: live555 before 2017.06.04 mixes the packets of a session that is gone into ours."""
    packets = video_packets("h264", UNITS, mtu=600)
    media = [
        frame(0, numbered(packet, number, 7)) + frame(0, numbered(packet, 30_000 + number, 99))
        for number, packet in enumerate(packets)
    ]

    async with (
        scripted_camera(habits=Habits(sdp=VIDEO_ONLY, media=media)) as camera,
        open_session(camera.source()) as session,
    ):
        found = await pictures(session)
        counts = dict(session.counts)

    assert [p.data for p in found if not p.damaged] == [unit.data for unit in UNITS[: LAST + 1]]
    assert counts["foreign_sources"] > len(packets) // 2


async def test_ports_are_guarded_and_reports_go_out() -> None:
    """7.17, 7.2: only the camera's address is heard, and it hears from us from the first moment."""
    packets = video_packets("h264", UNITS[:7], mtu=600)
    report = build_sender_report(SSRC, 1_700_000_000_000_000, 0, 1, 1)
    media = [
        Datagram(report, rtcp=True, stranger="127.0.0.8"),
        *[Datagram(packet) for packet in packets[:1]],
        Datagram(report, rtcp=True),
        *[Datagram(packet) for packet in packets[1:]],
        0.2,
    ]
    reports: list[int] = []

    async with scripted_camera(habits=Habits(sdp=VIDEO_ONLY, media=media)) as camera:
        async with open_session(camera.source(transport="udp")) as session, asyncio.timeout(5):
            session._send_reports()
            while len(reports) < 1:
                reports += [i.report.ssrc for i in session.read_available() if hasattr(i, "report")]
                await asyncio.sleep(0.01)
            session._send_reports()
            counts = dict(session.counts)
            await asyncio.sleep(0.05)
        await camera.closed.wait()

    assert reports == [SSRC]
    assert counts["foreign_senders"] == 1
    kinds = [data[1] for data in camera.reports]
    assert kinds.count(201) == 2


def test_the_samples_are_what_the_cases_suppose() -> None:
    kinds = [{nal_kind("h264", nal) for nal in unit.nals} for unit in UNITS]

    assert [n for n, kind in enumerate(kinds) if 5 in kind] == [0, 6, 12, 18, LAST]
    assert min(len(video_packets("h264", [unit], mtu=600)) for unit in UNITS) >= 2
