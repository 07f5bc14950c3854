"""The nouns of this package: what a camera network answers, as plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field

from simpang_onvif.errors import Reason


@dataclass(frozen=True, slots=True)
class Device:
    """One device that answered on the network.

    epr: its WS-Discovery endpoint reference, stable over address changes ("" where it names none).
    address: IP that the answer came from. xaddrs: service addresses as it claims them, unchecked.
    name, hardware, location: from its scopes, cleaned. interface: ours that heard it.
    problem: why it cannot be used as it stands, detail: in words.
    """

    epr: str
    address: str
    xaddrs: tuple[str, ...]
    name: str
    hardware: str
    location: str
    interface: str
    problem: Reason | None = None
    detail: str = ""

    @property
    def identity(self) -> tuple[str, str]:
        """Tells devices apart within one round of discovery: some clones share their endpoint reference."""
        return (self.epr, self.address)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A camera's user and password; the password never shows in a repr."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Information:
    """What the camera says it is, cleaned; "" where it says nothing. mac: lower-case with colons, or None."""

    make: str
    model: str
    firmware: str
    serial: str
    mac: str | None


@dataclass(frozen=True, slots=True)
class Profile:
    """One media profile that carries video.

    token: opaque. service: "media1" or "media2", where the token is valid. source: token of the video
    source, one per sensor or NVR channel. encoding: "H264", "H265", "JPEG", ... gop: frames per key frame.
    0 stands for what the camera does not state; everything is a claim until the stream is seen.
    """

    token: str
    service: str
    name: str
    source: str
    encoding: str
    width: int
    height: int
    fps: float
    bps: int
    gop: int


@dataclass(frozen=True, slots=True)
class CheckedUri:
    """An address that passed the URI policy: an IP literal, no user or password, ready to be connected to."""

    scheme: str
    host: str
    port: int
    path_and_query: str

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path_and_query}"
