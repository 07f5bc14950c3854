"""What a camera did wrong and we put right: counted by kind, over all its sessions, and told to the daemon.

Every kind that a session counts has its words here: a technician reads them beside the camera.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

# kind -> what happened, as "40 times: ..."; QUIRKS in brackets.
WORDS: Mapping[str, str] = {
    "audio_refused": "the camera refused to send its sound; recorded without",
    "camera_requests": "the camera sent requests of its own, which were answered (7.13)",
    "changed_session_ids": "the camera changed its session id; the first one was kept (7.3)",
    "dropped_tracks": "tracks that cannot be recorded were left out (7.14)",
    "early_packets": "packets that came before the camera agreed to play were dropped (7.8)",
    "far_packets": "packets with a sequence number far off were dropped",
    "foreign_channels": "packets on channels that were not agreed on were dropped (7.8)",
    "foreign_payloads": "packets of another kind than agreed on were dropped (7.8)",
    "foreign_reports": "clock reports of another source were passed over (10.1)",
    "foreign_senders": "packets from another address than the camera's were dropped",
    "foreign_sources": "packets of another session were dropped (7.9)",
    "junk_bytes": "bytes that belong to nothing were skipped (7.11)",
    "late_packets": "packets came twice or too late to be of use",
    "late_sends": "the camera was slow to read what it was sent",
    "lost_packets": "packets were lost on the way; pictures are damaged up to the next key frame (7.12)",
    "new_sources": "the camera began a new packet source, which was followed (7.10)",
    "other_channels": "the camera named other channels than asked for, which were used (7.7)",
    "other_transport": "the camera refused the transport asked for; the other one is used (7.16)",
    "redirects": "the camera sent us to another address of its own (7.15)",
    "refused_keepalives": "the camera refused to be kept alive; another request was tried (7.1)",
    "refused_url_forms": "the camera refused a form of its own address; another was tried (7.5)",
    "repaired_base_urls": "the address that the camera gave its stream was repaired (7.4)",
    "repaired_descriptions": "the camera's stream description was incomplete and read all the same (7.14)",
    "resyncs": "the place in the stream was lost and found again (7.11)",
    "sequence_restarts": "the camera's packet counter started over (7.12)",
    "short_packets": "packets too short to be any were dropped",
    "signed_again": "the camera wanted a new sign-in in mid-session and got it (3.7)",
    "stray_line_breaks": "stray line breaks between packets were skipped (7.11)",
    "torn_frames": "half-written packets were dropped (7.11)",
    "udp_errors": "the network refused packets",
    "unanswered_keepalives": "the camera did not answer when kept alive; another request was tried (7.1)",
}
# Of a part that counts kinds of its own, no more than these.
_MOST_KINDS = 64
# A counter in JSON and SQL; nobody reads the digits beyond.
_MOST = (1 << 53) - 1


def repair_words(kind: str) -> str:
    return WORDS.get(kind, kind.replace("_", " "))


def repair_counts(fields: Mapping[str, Any]) -> dict[str, int]:
    """From `Repairs.news`, read back. Raises ValueError, TypeError."""
    counts = {str(kind)[:64]: int(count) for kind, count in fields.items()}
    if len(counts) > _MOST_KINDS or not all(0 <= count <= _MOST for count in counts.values()):
        raise ValueError("repairs without bounds")
    return counts


class Repairs:
    """Of one stream, as long as its recorder lives: sessions come and go."""

    def __init__(self) -> None:
        self._done: Counter[str] = Counter()
        self._session: Mapping[str, int] = {}
        self._told: dict[str, int] = {}

    def follow(self, counts: Mapping[str, int]) -> None:
        """A new session counts here from now on."""
        self._done.update(self._session)
        self._session = counts

    def totals(self) -> dict[str, int]:
        total = self._done + Counter(self._session)
        return {kind: min(count, _MOST) for kind, count in total.most_common(_MOST_KINDS) if count > 0}

    def news(self) -> dict[str, int] | None:
        """The totals if they are others than at the last call."""
        totals = self.totals()
        if totals == self._told:
            return None
        self._told = totals
        return totals
