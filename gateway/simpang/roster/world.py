"""What surrounds a keeper: the recorder, the cameras, what is remembered, and time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from simpang.roster.known import KnownCameras
from simpang.roster.onboard import Onboarded
from simpang.roster.plan import Wanted
from simpang_buffer.model import StreamKey
from simpang_buffer.reading.tail import Tail
from simpang_buffer.recording.view import StreamStatus
from simpang_buffer.rtsp.tls import Trust
from simpang_onvif.device import Credentials
from simpang_onvif.uri_policy import UriPolicy

Onboard = Callable[[Wanted, Credentials | None, UriPolicy], Awaitable[Onboarded]]


class Recorder(Protocol):
    """What a keeper needs of the recorder pool."""

    def status(self, key: StreamKey) -> StreamStatus: ...
    def tail(self, key: StreamKey) -> Tail | None: ...


@dataclass(frozen=True)
class World:
    """Everything around a keeper.

    credentials raises SecretFault. changed: the wished-for streams are others now. not_this: what answered is
    another camera.
    """

    known: KnownCameras
    recorder: Recorder
    onboard: Onboard
    credentials: Callable[[Wanted], Credentials | None]
    policy: Callable[[Wanted], UriPolicy]
    changed: Callable[[], None]
    not_this: Callable[[Wanted], None]
    # Raises OnvifError for a CA file that is none.
    trust: Callable[[Wanted], Trust]
    now_us: Callable[[], int]
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
