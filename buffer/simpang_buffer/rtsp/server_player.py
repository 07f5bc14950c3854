"""Sends what a mount publishes to one client, and the sender reports that date it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simpang_buffer.model import AccessUnit
from simpang_buffer.rtsp.mount import Mount
from simpang_buffer.rtsp.packetize import RtpSender
from simpang_buffer.rtsp.rtcp import build_sender_report
from simpang_buffer.rtsp.server_transport import Interleaved, Udp

_REPORT_EVERY_S = 5.0


@dataclass(slots=True)
class Channel:
    """A track that was set up. url: as the client named it."""

    sender: RtpSender
    carrier: Interleaved | Udp
    url: str
    last_report_s: float | None = None


async def play(mount: Mount, channels: Sequence[Channel], now: Callable[[], float]) -> None:
    """Send until cancelled. Raises MountClosed, ConnectionError, TimeoutError if the client takes nothing."""
    by_kind = {channel.sender.track.kind: channel for channel in channels}
    with mount.subscribe() as feed:
        while True:
            unit = await feed.get()
            channel = by_kind.get("video" if unit.video else "audio")
            if channel is None:
                continue
            ticks = unit.dts + unit.pts_offset
            report = _report(channel, unit, ticks, now())
            if not await channel.carrier.send(channel.sender.send(unit.data, ticks), report):
                feed.skip_to_key()


def _report(channel: Channel, unit: AccessUnit, ticks: int, now_s: float) -> bytes | None:
    """The sender report that goes before a unit, where one is due: the first at once."""
    if channel.last_report_s is not None and now_s - channel.last_report_s < _REPORT_EVERY_S:
        return None
    channel.last_report_s = now_s
    sender = channel.sender
    stamp = sender.rtp_time(ticks)
    return build_sender_report(sender.ssrc, unit.arrival_us, stamp, sender.packets, sender.octets)
