"""A camera for tests of the roster: what it answers and how its streams do is as told; time is ours.

The recorder and the camera are stand-ins, so that an hour of refusals passes at once; state.db is real.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from simpang.config.secrets import SecretFault
from simpang.roster.keeper import Keeper
from simpang.roster.known import Known, KnownCameras, KnownSource
from simpang.roster.onboard import Onboarded
from simpang.roster.plan import Wanted
from simpang.roster.view import DeviceFacts
from simpang.roster.world import World
from simpang_buffer.model import StreamKey
from simpang_buffer.reading.tail import Tail
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.recording.view import StreamStatus
from simpang_buffer.rtsp.tls import Trust
from simpang_onvif.device import Credentials
from simpang_onvif.errors import OnvifError
from simpang_onvif.uri_policy import UriPolicy

UTARA = Wanted(
    id="utara", name="Utara", origin="config", target="10.0.4.21", user="simpang", password_file="p"
)
SOURCES = (
    KnownSource("main", "rtsp://10.0.4.21:554/main", "10.0.4.21", 554),
    KnownSource("sub", "rtsp://10.0.4.21:554/sub", "10.0.4.21", 554),
)
MAIN, SUB = StreamKey("utara", "main"), StreamKey("utara", "sub")


@dataclass
class Time:
    """Passes only in pauses; hooks run at each, so that a test may change the world at a moment."""

    now_us: int = 1_795_000_000_000_000
    begun_us: int = 1_795_000_000_000_000

    def wall(self) -> int:
        return self.now_us

    async def pause(self, seconds: float) -> None:
        self.now_us += round(seconds * 1e6)
        await asyncio.sleep(0)

    @property
    def minutes(self) -> float:
        return (self.now_us - self.begun_us) / 60e6


@dataclass
class KeptCamera:
    """onboard_error: what ONVIF says no with; errors: the same by camera. state: of a wished-for stream."""

    known: KnownCameras
    time: Time = field(default_factory=Time)
    onboard_error: OnvifError | None = None
    errors: dict[str, Exception] = field(default_factory=dict)
    sources: tuple[KnownSource, ...] = SOURCES
    facts: DeviceFacts = field(default_factory=lambda: DeviceFacts(make="Acme", serial="S1"))
    secret_fault: SecretFault | None = None
    state: Callable[[StreamSpec], StreamStatus] = lambda spec: StreamStatus("recording")
    asked: list[float] = field(default_factory=list)
    signed_in: list[tuple[float, str]] = field(default_factory=list)
    wished: list[tuple[str, ...]] = field(default_factory=list)
    not_these: list[Wanted] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None
    _wished: dict[StreamKey, StreamSpec] = field(default_factory=dict)

    def status(self, key: StreamKey) -> StreamStatus:
        spec = self._wished.get(key)
        return self.state(spec) if spec is not None else StreamStatus()

    def tail(self, key: StreamKey) -> Tail | None:
        return None

    def want(self, specs: Sequence[StreamSpec]) -> None:
        for spec in specs:
            if self._wished.get(spec.key) != spec:
                self.signed_in.append((self.time.minutes, spec.key.stream))
        self._wished = {spec.key: spec for spec in specs}
        self.wished.append(tuple(spec.key.stream for spec in specs))

    async def onboard(self, wanted: Wanted, credentials: Credentials | None, policy: UriPolicy) -> Onboarded:
        self.asked.append(self.time.minutes)
        await self.time.pause(0.1)
        if self.onboard_error is not None:
            raise self.onboard_error
        if wanted.id in self.errors:
            raise self.errors[wanted.id]
        return Onboarded(self.facts, 0.5, self.sources)

    def credentials(self, wanted: Wanted) -> Credentials | None:
        if self.secret_fault is not None:
            raise self.secret_fault
        return Credentials("simpang", "geheim")

    @contextlib.contextmanager
    def kept(self, wanted: Wanted = UTARA, row: Known | None = None) -> Iterator[Keeper]:
        """A keeper at work."""
        keeper = Keeper(
            wanted,
            row,
            World(
                known=self.known,
                recorder=self,
                onboard=self.onboard,
                credentials=self.credentials,
                policy=lambda wanted: UriPolicy(),
                changed=lambda: self.want(keeper.streams),
                not_this=self.not_these.append,
                trust=lambda wanted: Trust(),
                now_us=self.time.wall,
                pause=self.time.pause,
            ),
        )
        self._task = asyncio.get_running_loop().create_task(keeper.keep_running(), name="keeper")
        try:
            yield keeper
        finally:
            self._task.cancel()

    async def until(self, true: Callable[[], bool], minutes: float = 24 * 60) -> None:
        """Lets time pass until it is true; fails after so many minutes of the camera's time."""
        end = self.time.minutes + minutes
        while not true():
            if self._task is not None and self._task.done():
                self._task.result()
            assert self.time.minutes < end, "it never came true"
            await asyncio.sleep(0)

    async def passes(self, minutes: float) -> None:
        """Lets so much of the camera's time pass."""
        end = self.time.minutes + minutes
        await self.until(lambda: self.time.minutes >= end, minutes + 1)
