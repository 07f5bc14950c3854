"""What one client may cost the RTSP server, in places, seconds and tries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """clients: more than any gateway's readers; each takes about a megabyte at most while it is slow.

    stranger_s: how long a client holds a place that has not signed in, or where no password is asked for, not
    asked for anything. request_s: from a request's first byte to its last. session_s: silence that ends a
    session, as SETUP's answer says. stuck_s: a client that takes no bytes for so long is gone. refusals:
    wrong passwords on one connection; guessing on costs a new connection each time.
    """

    clients: int = 64
    stranger_s: float = 10.0
    request_s: float = 10.0
    session_s: float = 60.0
    stuck_s: float = 10.0
    refusals: int = 4


DEFAULT_LIMITS = ServerLimits()
