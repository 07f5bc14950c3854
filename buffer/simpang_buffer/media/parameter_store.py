"""Collects one stream's parameter sets.

A camera may send them in its SDP, in its stream, or in both and unlike. What the stream says wins as soon as
it is complete; until then both count. They are stored as sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from simpang_buffer.media.parameter_sets import (
    H264_PPS,
    H264_SPS,
    H265_PPS,
    H265_SPS,
    H265_VPS,
    Encoding,
    ParameterSets,
    first_readable,
    nal_type,
    video_format,
)
from simpang_buffer.media.sps import h264_set_id, h265_set_id
from simpang_buffer.model import VideoFormat

# avcC counts parameter sets in 5 bits (SPS) and 8 bits (PPS); real cameras send one to three of each.
_MAX_SETS = 31
# Far above any real set; keeps the file's header small whatever a camera sends.
_MAX_SET_BYTES = 8192


class ParameterSetStore:
    """What SDP and stream sent. Bounded: 31 sets of a kind, 8 kB each; more are ignored and counted."""

    def __init__(self, encoding: Encoding, described: Iterable[bytes] = ()) -> None:
        """described: NAL units from the SDP (`split_annex_b` has been applied)."""
        self._encoding = encoding
        self._kinds = (H264_SPS, H264_PPS) if encoding == "H264" else (H265_VPS, H265_SPS, H265_PPS)
        self._described: dict[tuple[int, int], bytes] = {}
        self._sent: dict[tuple[int, int], bytes] = {}
        self._format: VideoFormat | None = None
        self._reorder: int | None = None
        self._stale = True
        self.ignored = 0
        for nal in described:
            self._keep(self._described, nal)

    def add(self, nal: bytes) -> None:
        """A whole NAL unit from the stream; whatever is no parameter set is ignored."""
        self._keep(self._sent, nal)

    @property
    def video_format(self) -> VideoFormat | None:
        """None until there is one of each kind. The same object while nothing changes."""
        self._refresh()
        return self._format

    @property
    def reorder(self) -> int | None:
        """Sps.reorder of the set in force; None where unknown."""
        self._refresh()
        return self._reorder

    def _keep(self, sets: dict[tuple[int, int], bytes], nal: bytes) -> None:
        if not nal:
            return
        kind = nal_type(self._encoding, nal)
        # An SPS states profile and level in its first four bytes; the others need their header and id.
        if kind not in self._kinds or len(nal) < (4 if kind in (H264_SPS, H265_SPS) else 3):
            return
        key = kind, _set_id(self._encoding, kind, nal)
        if sets.get(key) == nal:
            return
        if len(nal) > _MAX_SET_BYTES or (key not in sets and sum(k == kind for k, _ in sets) >= _MAX_SETS):
            self.ignored += 1
            return
        sets[key] = nal
        self._stale = True

    def _refresh(self) -> None:
        if not self._stale:
            return
        self._stale = False
        complete = {kind for kind, _ in self._sent}.issuperset(self._kinds)
        chosen = self._sent if complete else self._described | self._sent
        of_kind = [tuple(nal for (kind, _), nal in chosen.items() if kind == k) for k in self._kinds]
        if not all(of_kind):
            self._format = None
            return
        sets = ParameterSets(*of_kind) if len(of_kind) == 3 else ParameterSets((), *of_kind)
        self._format = video_format(self._encoding, sets)
        sps = first_readable(self._encoding, sets.sps)
        self._reorder = sps.reorder if sps else None


def _set_id(encoding: Encoding, kind: int, nal: bytes) -> int:
    """The set's own number, so that a new version replaces the old."""
    if encoding == "H264":
        return h264_set_id(nal, is_sps=kind == H264_SPS)
    return h265_set_id(nal, is_vps=kind == H265_VPS, is_sps=kind == H265_SPS)
