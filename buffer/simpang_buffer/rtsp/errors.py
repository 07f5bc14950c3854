"""Why a stream cannot be had, as a caller acts on it.

    StreamError
    ├── Unreachable       no connection, or it broke: retry soon
    ├── Timeout           connected, but the camera does not answer or sends nothing: retry soon
    │   └── NothingPlayed      it agreed to play and sends no picture, as in privacy mode: retry slowly
    ├── AuthRefused       the camera refused the sign-in: retry slowly, cameras lock accounts
    ├── Limit             the camera is serving too many already (453, 503): retry slowly
    ├── Malformed         what it sends cannot be read
    ├── Unsupported       it has nothing that can be recorded, or not at that address
    │   └── TransportRefused   it refuses this transport (461): the other one may do
    └── RefusedByPolicy   it sent us somewhere else, and we do not go; or its certificate is not the right one
        └── Redirected    it named another address, which may or may not be followed

`reason` is a camera reason of the outside contract, `gap` what the index says of the time without footage.
"""

from __future__ import annotations

from typing import ClassVar

from simpang_buffer.model import GapReason


class StreamError(Exception):
    """`detail` is for people: what happened and where possible what to do. It never holds a credential."""

    reason: ClassVar[str] = "unreachable"
    gap: ClassVar[GapReason] = GapReason.UNREACHABLE

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Unreachable(StreamError):
    """No connection, or it broke."""


class Timeout(StreamError):
    """Connected, but silent or too slow."""

    reason = "timeout"
    gap = GapReason.TIMEOUT


class NothingPlayed(Timeout):
    """The camera agreed to play, and no picture came."""


class AuthRefused(StreamError):
    """The sign-in was refused, or none that we would send is accepted.

    tried: whether a password was sent and refused, which is what makes cameras lock an account; tries: how
    often.
    """

    reason = "auth"
    gap = GapReason.AUTH

    def __init__(self, detail: str, *, tried: bool = False, tries: int = 1) -> None:
        super().__init__(detail)
        self.tried = tried
        self.tries = tries


class Limit(StreamError):
    """The camera serves as many as it can."""

    reason = "limit"


class Malformed(StreamError):
    """What came cannot be read, or is larger than we take."""

    reason = "malformed"


class Unsupported(StreamError):
    """Nothing that we can record."""

    reason = "unsupported"


class TransportRefused(Unsupported):
    """The camera does not want this transport (TCP or UDP)."""


class RefusedByPolicy(StreamError):
    """The camera named a place that is not followed, or is not known to be the one it should be."""

    reason = "refused-by-policy"


class Redirected(RefusedByPolicy):
    """location: the address that it named, unchecked."""

    def __init__(self, detail: str, location: str | None) -> None:
        super().__init__(detail)
        self.location = location
