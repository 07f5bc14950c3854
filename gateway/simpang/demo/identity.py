"""Who a demo camera is: what never changes while it runs, and after a restart is the same again."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Literal

Codec = Literal["h264", "h265"]
Audio = Literal["none", "aac", "pcma"]

MANUFACTURER = "Simpang"
FIRMWARE = "1.0"


@dataclass(frozen=True, slots=True)
class Stream:
    """One of its streams, as it is configured. bps: the most it takes."""

    token: str
    name: str
    width: int
    height: int
    fps: int
    bps: int
    key_every: int

    @property
    def path(self) -> str:
        return f"/{self.token}"


# As simpang.picture.paint paints them.
STREAMS = (
    Stream("main", "Main stream", 1280, 720, 15, 2_000_000, 30),
    Stream("sub", "Sub stream", 640, 360, 10, 500_000, 20),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """host: the one address that it has; ports of ONVIF and RTSP on it."""

    name: str
    host: str
    http_port: int
    rtsp_port: int
    codec: Codec
    audio: Audio
    user: str
    password: str = field(repr=False)
    time_zone: str = "UTC"

    @property
    def serial(self) -> str:
        return hashlib.sha256(f"{self.name}/{self.host}".encode()).hexdigest()[:12].upper()

    @property
    def endpoint(self) -> str:
        """The endpoint reference: stable over restarts (WS-Discovery 2.6)."""
        return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'simpang-demo:{self.serial}')}"

    @property
    def mac(self) -> str:
        """A locally administered address."""
        return ":".join(["02", *(self.serial[i : i + 2] for i in range(0, 10, 2))])

    @property
    def model(self) -> str:
        return f"Demo {self.codec.upper()}"

    @property
    def seed(self) -> int:
        """What makes its picture differ from another's."""
        return int(self.serial[:6], 16)

    @property
    def service_url(self) -> str:
        return f"http://{self.host}:{self.http_port}/onvif/device_service"

    def stream_url(self, stream: Stream) -> str:
        return f"rtsp://{self.host}:{self.rtsp_port}{stream.path}"
