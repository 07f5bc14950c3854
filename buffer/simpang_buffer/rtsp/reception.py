"""What is received of one track: which packets are its own, and the figures for receiver reports."""

from __future__ import annotations

import struct
from collections import Counter

from simpang_buffer.rtsp.rtcp import ReportBlock, SenderReport, middle_bits

_RTP = struct.Struct(">BBH4xI")
_SHORTEST = 12
# The followed source has fallen silent, where one that had ended goes on alone.
_MOST_STRANGE = 100
# Sequence numbers a little behind are late; farther off in either direction the counter has started over.
# What one read brings is far less.
_LATE = 256
_STARTS_OVER = 8192
# A camera that makes up a new source for each packet must not fill the memory.
_MOST_ENDED = 64


class Reception:
    """One track's packets as they come.

    ssrc_hint: from the Transport field, a hint only. A new source is followed at once (Uniview changes it at
    each group of pictures). If the one before it comes back, two streams are mixed on this track (live555
    before 2017 leaks a dead session's packets): then the one of the hint is kept, else the newer.
    in_order: the packets come over TCP, so that those that are missing are lost (Eufy), and counted.
    """

    __slots__ = (
        "_base", "_counts", "_early", "_ended", "_expected_before", "_highest", "_hint", "_in_order", "_last",
        "_received", "_received_before", "_report", "_report_at_s", "_ssrc", "_strange",
        "_strange_since", "index", "payload_type",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        payload_type: int,
        ssrc_hint: int | None,
        counts: Counter[str],
        *,
        in_order: bool = True,
    ) -> None:
        self._in_order = in_order
        self.index = index
        self.payload_type = payload_type
        self._hint = ssrc_hint
        self._counts = counts
        self._ended: set[int] = set()
        self._early: SenderReport | None = None
        self._ssrc: int | None = None
        self._last = 0
        self._base = self._highest = 0
        self._received = 0
        self._expected_before = self._received_before = 0
        # Middle bits of the last sender report's NTP time, and when it came.
        self._report = 0
        self._report_at_s = 0.0
        # Packets in a row of a source that had ended, and how much was received when the row began.
        self._strange = self._strange_since = 0

    @property
    def ssrc(self) -> int | None:
        """The source that is followed; None before its first packet."""
        return self._ssrc

    def admit(self, data: memoryview | bytes) -> bool:
        """Whether this is an RTP packet of the track. The hot path: once per packet."""
        if len(data) < _SHORTEST:
            self._counts["short_packets"] += 1
            return False
        first, second, sequence, ssrc = _RTP.unpack_from(data)
        if first & 0xC0 != 0x80 or second & 0x7F != self.payload_type:
            self._counts["foreign_payloads"] += 1
            return False
        if ssrc != self._ssrc and not self._follow(ssrc, sequence):
            self._counts["foreign_sources"] += 1
            return False
        self._last = sequence
        self._received += 1
        return True

    def settle(self) -> None:
        """Bring the highest sequence number up to date; called once per read, which is well below a cycle."""
        step = (self._last - self._highest) & 0xFFFF
        if step < _STARTS_OVER:
            self._highest += step
        elif step < 0x10000 - _LATE:
            self._counts["sequence_restarts"] += 1
            self._base = self._highest = self._last
            self._received = 1
            self._expected_before = self._received_before = 0

    def heard(self, report: SenderReport, now_s: float) -> bool:
        """Whether a sender report is this track's. Before the first packet the hint decides; another one is
        kept until the packets show whose it is (see early_report)."""
        if self._ssrc is None and report.ssrc != self._hint:
            self._early = report
            return False
        if report.ssrc != (self._hint if self._ssrc is None else self._ssrc):
            self._counts["foreign_reports"] += 1
            return False
        self._report = middle_bits(report.ntp_us)
        self._report_at_s = now_s
        return True

    def early_report(self, now_s: float) -> SenderReport | None:
        """One that came before the first packet, once it has proved to be this track's."""
        report = self._early
        if report is None or self._ssrc is None:
            return None
        self._early = None
        return report if self.heard(report, now_s) else None

    def block(self, now_s: float) -> ReportBlock | None:
        """The report since the last call; None before the first packet."""
        if self._ssrc is None:
            return None
        expected = self._highest - self._base + 1
        expected_now = expected - self._expected_before
        lost_now = expected_now - (self._received - self._received_before)
        self._expected_before, self._received_before = expected, self._received
        if self._in_order and lost_now > 0:
            self._counts["lost_packets"] += lost_now
        fraction = lost_now * 256 // expected_now if expected_now > 0 and lost_now > 0 else 0
        since = int((now_s - self._report_at_s) * 65_536) if self._report else 0
        return ReportBlock(
            self._ssrc, min(fraction, 255), expected - self._received, self._highest, self._report, since
        )

    def _follow(self, ssrc: int, sequence: int) -> bool:
        before = self._ssrc
        if ssrc in self._ended:
            # Else: the old one is ours and the new one an intruder, or the new one has gone.
            if ssrc != self._hint and not self._alone():
                return False
            self._ended.discard(ssrc)
        if before is not None:
            if len(self._ended) >= _MOST_ENDED:
                self._ended.clear()
            self._ended.add(before)
            self._counts["new_sources"] += 1
        self._ssrc = ssrc
        self._last = self._base = self._highest = sequence
        self._received = self._expected_before = self._received_before = 0
        self._report = 0
        self._strange = self._strange_since = 0
        return True

    def _alone(self) -> bool:
        if self._received != self._strange_since:
            self._strange, self._strange_since = 0, self._received
        self._strange += 1
        return self._strange > _MOST_STRANGE
