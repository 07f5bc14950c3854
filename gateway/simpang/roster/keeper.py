"""Keeps one camera recorded: signs in, hands its streams to the recorder, and starts over when they fail."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from simpang.config.secrets import SecretFault
from simpang.roster.condition import SIGN_IN, Condition, camera_reason, condition, worst
from simpang.roster.identity import facts_of, is_another, row_of
from simpang.roster.known import Known, KnownSource
from simpang.roster.onboard import specs
from simpang.roster.plan import Wanted
from simpang.roster.sign_ins import next_try_us
from simpang.roster.view import Camera, CameraState, stream_view
from simpang.roster.world import World
from simpang_buffer.index.rows import StreamTotals
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.recording.view import StreamStatus
from simpang_onvif.device import Credentials
from simpang_onvif.errors import OnvifError, Reason

logger = logging.getLogger(__name__)

# How often the streams' states are looked at: a dictionary look-up each.
POLL_S = 0.5
# A stream that is down for longer may have a new address: the camera is asked again.
PATIENCE_US = 30_000_000
# The recorder's own connecting takes at most 10 s before it has a reason.
CONNECT_US = 12_000_000
# While some stream is well, the camera is asked about the others in peace.
REFRESH_US = 300_000_000
HOUR_US = 3_600_000_000
# After a minute of health the waits start over.
HEALTHY_US = 60_000_000

# first wait, longest wait, by what a person or time would have to change first
_SOON = (2.0, 30.0)
_SLOWLY = (60.0, 600.0)
_WAITS = {Reason.UNREACHABLE: _SOON, Reason.TIMEOUT: _SOON, Reason.MOVED: _SOON}


class Keeper:
    """One camera. `streams` is what should be recorded of it now; `camera()` how it is doing."""

    def __init__(self, wanted: Wanted, row: Known | None, world: World, *, warned: bool = False) -> None:
        """warned: what is wrong with it was said aloud before."""
        self.wanted = wanted
        self.streams: tuple[StreamSpec, ...] = ()
        self._row = row
        self._world = world
        self._facts = facts_of(row, wanted)
        self._clock_offset_s: float | None = None
        self._trouble: OnvifError | None = None
        self._retry_us: int | None = None
        self._fresh = False
        self._poked = False
        self._shown = (CameraState.CONNECTING, world.now_us())
        self._warned = warned
        # Shown while the recorder tries anew, so that a camera that fails does not seem to be starting.
        self._last_failure: Condition | None = None

    def poke(self) -> None:
        """It was just heard of: whatever wait is on for its address ends."""
        self._poked = True

    def update(self, wanted: Wanted) -> None:
        """Takes over what does not touch the recording: name, origin, endpoint reference."""
        self.wanted = wanted

    @property
    def well(self) -> bool:
        """Whether any of its streams is being recorded."""
        return any(self._status(spec.key).state == "recording" for spec in self.streams)

    @property
    def failing(self) -> bool:
        """Whether it was tried in vain."""
        return self._trouble is not None and not self.well

    async def keep_running(self) -> None:
        """run_once for ever, with the waits that each reason asks for."""
        failures = 0
        while self.wanted.enabled:
            begun_us = self._world.now_us()
            try:
                await self._permitted()
                await self.run_once()
            except OnvifError as error:
                if self._world.now_us() - begun_us > HEALTHY_US:
                    failures = 0
                await self._failed(error, failures)
                failures += 1

    async def run_once(self) -> None:
        """Signs in, records and watches. Returns when the camera should be asked again, raises OnvifError
        when it is lost."""
        credentials = self._credentials()
        if not self.streams and (sources := await self._remembered()):
            # The streams are where they were, most likely: record first, ask afterwards.
            await self._record(sources, credentials)
        ask_again_us = None
        if not (self._fresh and self.well):
            try:
                await self._ask(credentials)
            except OnvifError as error:
                if not self.well:
                    raise
                # What is recorded stays recorded; some cameras have other accounts for ONVIF and for RTSP.
                wait_us = HOUR_US if error.reason in SIGN_IN else REFRESH_US
                ask_again_us = self._world.now_us() + wait_us
                logger.debug("camera %s records, but does not answer ONVIF: %s", self.wanted.id, error)
        await self._watch(ask_again_us)

    def camera(self, totals: Mapping[StreamKey, StreamTotals]) -> Camera:
        """The camera as it is at this moment."""
        judged = self._judge()
        names = {spec.key.stream for spec in self.streams} or set(self.wanted.record)
        return Camera(
            id=self.wanted.id,
            name=self.wanted.name,
            address=self.wanted.address or None,
            device=self._facts,
            state=judged.state,
            reason=judged.reason,
            detail=judged.detail,
            remedy=judged.remedy,
            since_us=self._shown[1],
            retry_us=None if judged.state is CameraState.RECORDING else self._retry_us,
            clock_offset_s=self._clock_offset_s,
            streams=tuple(
                stream_view(name, self._status(key), totals.get(key), self._world.recorder.tail(key))
                for name in sorted(names)
                for key in (StreamKey(self.wanted.id, name),)
            ),
        )

    async def _ask(self, credentials: Credentials | None) -> None:
        """Asks the camera itself and records what it names; streams that are as they were are left alone."""
        world = self._world
        try:
            found = await world.onboard(self.wanted, credentials, world.policy(self.wanted))
        except OnvifError as error:
            if error.reason in SIGN_IN:
                await world.known.note_refused(self.wanted.id, world.now_us())
            raise
        if self._row is not None and is_another(self._row, found.facts, self.wanted):
            world.not_this(self.wanted)
            raise OnvifError(Reason.MOVED, f"another camera answers at {self.wanted.address}")
        self._fresh = True
        epr = self.wanted.epr or (self._row.epr if self._row is not None else "")
        self._facts = replace(found.facts, epr=epr or None)
        self._clock_offset_s = found.clock_offset_s
        self._row = row_of(self.wanted, self._facts, self._row, world.now_us())
        await world.known.put(self._row, found.sources)
        await self._record(found.sources, credentials)

    async def _record(self, sources: tuple[KnownSource, ...], credentials: Credentials | None) -> None:
        """Wishes for the streams: the first alone until its sign-in is decided, so that a wrong password
        costs one try and not one for each stream."""
        trust = self._world.trust(self.wanted)
        wished = specs(self.wanted, sources, credentials, self._clock_offset_s, trust)
        if _places(wished) == _places(self.streams):
            return
        if self.well:
            self._wish(wished)
            return
        self._wish(wished[:1])
        deadline_us = self._world.now_us() + CONNECT_US
        # A stream that was wished for this moment may not be the recorder's yet: "disabled".
        while (
            self._status(wished[0].key).state in ("connecting", "disabled")
            and self._world.now_us() < deadline_us
        ):
            self._show()
            await self._world.pause(POLL_S / 10)
        await self._check_sign_in()
        self._wish(wished)

    async def _watch(self, ask_again_us: int | None) -> None:
        """Looks at the streams until ask_again_us, until one has long been down, or a sign-in is refused."""
        well_us = whole_us = self._world.now_us()
        accepted = False
        while True:
            await self._check_sign_in()
            self._show()
            now_us = self._world.now_us()
            if self.well:
                well_us = now_us
                self._trouble = self._retry_us = None
                if not accepted:
                    await self._world.known.note_accepted(self.wanted.id)
                    accepted = True
            elif now_us - well_us > PATIENCE_US:
                status = self._worst()
                raise OnvifError(camera_reason(status.reason), status.detail or "no stream")
            if self._worst().state == "recording":
                whole_us = now_us
            if (ask_again_us is not None and now_us >= ask_again_us) or now_us - whole_us > REFRESH_US:
                self._fresh = False
                return
            await self._world.pause(POLL_S)

    async def _check_sign_in(self) -> None:
        """Raises OnvifError(auth) when a stream's sign-in was refused."""
        if (refusal := await self._refusal()) is not None:
            raise refusal

    async def _refusal(self) -> OnvifError | None:
        """Takes the streams away from the recorder when one was refused: the tries are counted here alone."""
        for spec in self.streams:
            status = self._status(spec.key)
            if status.state == "auth":
                await self._world.known.note_refused(self.wanted.id, self._world.now_us())
                self._wish(())
                return OnvifError(Reason.AUTH, status.detail or f"stream {spec.key.stream}: password refused")
        return None

    async def _permitted(self) -> None:
        """Waits until the camera may be signed in to again."""
        while (at_us := await self._next_try_us()) > (now_us := self._world.now_us()):
            if self._trouble is None:
                said = f"{self.wanted.address}: password refused before the restart"
                self._trouble = OnvifError(Reason.AUTH, said)
            self._retry_us = at_us
            self._show()
            # In steps, for the clock may be set meanwhile.
            await self._world.pause(min((at_us - now_us) / 1e6, 5.0))

    async def _next_try_us(self) -> int:
        now_us = self._world.now_us()
        return next_try_us(await self._world.known.refused(self.wanted.id, now_us), now_us)

    async def _failed(self, error: OnvifError, failures: int) -> None:
        """Remembers why, and waits; a stream that comes back, or news of the camera, ends the wait."""
        self._trouble = error
        first_s, longest_s = _WAITS.get(error.reason, _SLOWLY)
        wait_s = min(first_s * 2 ** min(failures, 8), longest_s)
        self._retry_us = self._world.now_us() + round(wait_s * 1e6)
        if error.reason in SIGN_IN:
            self._wish(())
            self._retry_us = max(self._retry_us, await self._next_try_us())
        self._poked = False
        while self._world.now_us() < self._retry_us and not self.well:
            self._show()
            if (refusal := await self._refusal()) is not None:
                await self._failed(refusal, failures)
                return
            await self._world.pause(POLL_S)
            if self._poked and error.reason not in SIGN_IN:
                return

    def _credentials(self) -> Credentials | None:
        try:
            return self._world.credentials(self.wanted)
        except SecretFault as error:
            raise OnvifError(Reason.AUTH, error.what, error.try_this) from error

    async def _remembered(self) -> tuple[KnownSource, ...]:
        sources = await self._world.known.sources(self.wanted.id)
        return tuple(source for source in sources if source.stream in self.wanted.record)

    def _wish(self, streams: tuple[StreamSpec, ...]) -> None:
        if streams != self.streams:
            self.streams = streams
            self._world.changed()

    def _status(self, key: StreamKey) -> StreamStatus:
        return self._world.recorder.status(key)

    def _worst(self) -> StreamStatus:
        return worst(self._status(spec.key) for spec in self.streams)

    def _judge(self) -> Condition:
        return condition(
            enabled=self.wanted.enabled,
            statuses=[self._status(spec.key) for spec in self.streams],
            trouble=self._trouble,
            before=self._last_failure,
        )

    def _show(self) -> None:
        """Notes when the state changes, and says so: the first failure aloud, the next ones quietly."""
        judged = self._judge()
        self._last_failure = judged if judged.reason is not None else None
        if judged.state is self._shown[0]:
            return
        self._shown = (judged.state, self._world.now_us())
        name = f"camera {self.wanted.id} ({self.wanted.address})"
        if judged.state is CameraState.RECORDING:
            logger.info("%s: recording", name)
            self._warned = False
        elif judged.reason is not None:
            level = logging.DEBUG if self._warned else logging.WARNING
            logger.log(level, "%s: %s: %s; %s", name, judged.reason, judged.detail, judged.remedy)
            self._warned = True


def _places(streams: tuple[StreamSpec, ...]) -> list[object]:
    """What makes a stream another one; the clock offset is only noted and no reason to interrupt it."""
    return [(spec.key, spec.source) for spec in streams]
