"""What can be wrong with a camera.

    OnvifError        reason says which; the caller looks nothing else up

One class: callers act on `reason`, a closed list that people and programs outside see.
"""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Why a camera is not recorded. A closed list, seen from outside."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    AUTH = "auth"
    LOCKED = "locked"
    CLOCK = "clock"
    NOT_ONVIF = "not-onvif"
    UNSUPPORTED = "unsupported"
    MALFORMED = "malformed"
    LIMIT = "limit"
    MOVED = "moved"
    REFUSED_BY_POLICY = "refused-by-policy"


# What a person can do, where the place that raises knows nothing better.
_REMEDIES = {
    Reason.UNREACHABLE: "check its power, cable and address",
    Reason.TIMEOUT: "restart the camera; if it stays silent, check its network load",
    Reason.AUTH: "set user and password of its ONVIF account; many cameras keep that apart from the web one",
    Reason.LOCKED: "wait until the camera unlocks the account (often 30 min), then set the right password",
    Reason.CLOCK: "set the camera's date and time",
    Reason.NOT_ONVIF: "switch ONVIF on in the camera's own page, or give its ONVIF port",
    Reason.UNSUPPORTED: "update its firmware, or give its RTSP address by hand",
    Reason.MALFORMED: "update its firmware, or give its RTSP address by hand",
    Reason.LIMIT: "close other clients of this camera",
    Reason.MOVED: "look for it under Discovery: it may have a new address",
    Reason.REFUSED_BY_POLICY: "correct the address in the camera's own network settings",
}


class OnvifError(Exception):
    """A camera, or what it said, that cannot be used.

    detail: what happened, with which address; never a credential. remedy: what a person can do about it.
    """

    def __init__(self, reason: Reason, detail: str, remedy: str | None = None) -> None:
        self.reason = reason
        self.detail = detail
        self.remedy = _REMEDIES[reason] if remedy is None else remedy
        super().__init__(f"{detail}; {self.remedy}")
