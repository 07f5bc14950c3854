"""What a recorder process says, noted in the streams' views at once and in the index in order.

Bounded: row_writer.MAX_WAITING index writes wait; beyond that the process is not read, its outbox fills, and
it drops what can be dropped (see outbox.py). Live frames pass by the index writes, so a slow disk does not
delay a picture.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from simpang_buffer.index import certificates
from simpang_buffer.index.index import Index
from simpang_buffer.media.seal import TIME_LIMIT_US
from simpang_buffer.model import GapReason, StreamKey
from simpang_buffer.recording import protocol
from simpang_buffer.recording.contents import contents_of
from simpang_buffer.recording.live import LiveInit
from simpang_buffer.recording.protocol import Message, ProtocolError
from simpang_buffer.recording.repairs import repair_counts, repair_words
from simpang_buffer.recording.row_writer import RowWriter
from simpang_buffer.recording.sandbox.confinement import Confinement, confinement_of
from simpang_buffer.recording.view import StreamView, frame_from

logger = logging.getLogger(__name__)

# A recorder says a word every 2 s; one that is silent for this long hangs, and is replaced.
SILENCE_S = 15.0
_STATES = frozenset({"recording", "connecting", "auth", "unreachable"})
_WORD = re.compile(r"[a-z][a-z-]{0,31}")
# The longest of ours names a certificate's beginnings, a path, and what a person can do.
_MOST_DETAIL = 1_000


class Hearing:
    """`listen` and `commit` run side by side, for as long as one process lives.

    pulse: called with the CPU seconds and resident bytes of the process. idle: called with the stream, the
    gap's reason and whether a file was left broken, after the rows of its files are committed. on_disk_full:
    called when the index finds no room. confined: called with what the process has taken from itself.
    sign_in: called with each step of a stream's sign-in, how often it was refused, and whether Basic had to
    be used. failed: called with the media folder in which a file could not be written, why, and the same in
    words. left: called with a stream and its run of which files are to be adopted. holds: whether a stream is
    the process's own: it is believed of no other. silence_s: how long it may say nothing.
    """

    def __init__(
        self,
        views: Mapping[StreamKey, StreamView],
        index: Index,
        pulse: Callable[[float, int], None],
        idle: Callable[[StreamKey, str, bool], None],
        on_disk_full: Callable[[], None],
        confined: Callable[[Confinement], None],
        *,
        sign_in: Callable[[StreamKey, str, int, bool], None],
        failed: Callable[[int, GapReason, str], None],
        left: Callable[[StreamKey, int], None],
        holds: Callable[[StreamKey], bool],
        silence_s: float = SILENCE_S,
    ) -> None:
        self._failed = failed
        self._left = left
        self._sign_in = sign_in
        self._holds = holds
        self._silence_s = silence_s
        self._confined = confined
        self._views = views
        self._index = index
        self._pulse = pulse
        self._idle = idle
        self._rows = RowWriter(index, self._committed, on_disk_full)

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Until the process closes its end. Raises ProtocolError, and TimeoutError for one that hangs."""
        while True:
            try:
                async with asyncio.timeout(self._silence_s):
                    message = await protocol.receive(reader)
            except TimeoutError:
                said = f"the recorder process has been silent for {self._silence_s:.0f} s"
                raise TimeoutError(said) from None
            if message is None:
                return
            try:
                if self._take(message):
                    await self._rows.put(message)
            except (KeyError, ValueError, TypeError) as error:
                raise ProtocolError(f"a {message.kind!r} that is wrong: {error!r}") from error

    async def commit(self) -> None:
        """The index writes, in the order of what was said, until cancelled. Raises StorageError."""
        await self._rows.run()

    async def committed(self) -> None:
        """Waits until the index knows all that was said so far."""
        await self._rows.flushed()

    def _take(self, message: Message) -> bool:
        """Notes what a message says; True when the index has to hear of it."""
        fields, key = message.fields, message.stream
        if key is None:
            if message.kind == "pulse":
                self._pulse(fields["cpu_s"], fields["rss_bytes"])
            elif message.kind == "confined":
                self._confined(confinement_of(fields))
            else:
                raise ProtocolError("no such message")
            return False
        if not self._holds(key):
            raise ProtocolError(f"a {message.kind!r} of {key}, which another process records")
        view = self._views[key]
        match message.kind:
            case "condition":
                for kind in view.told_condition(repair_counts(fields["repairs"]), float(fields["lag_s"])):
                    logger.info("%s: repaired: %s", key, repair_words(kind))
            case "contents":
                view.told_contents(contents_of(fields))
            case "sign-in":
                self._sign_in(key, fields["step"], int(fields["tries"]), bool(fields["basic"]))
            case "timed":
                protocol.timed(fields)
                return True
            case "certificate":
                logger.info("%s: known from now on by the certificate that it showed first", key)
                return True
            case "state":
                self._note_state(view, *state_of(fields))
            case "opened":
                header = protocol.run_header(key, fields)
                place = int(fields["folder"])
                view.opened(header, fields["width"], fields["height"], bytes(message.payload), place)
                return True
            case "failed":
                self._failed(int(fields["folder"]), GapReason(fields["reason"]), str(fields["detail"]))
                if fields["broken"]:
                    view.broke(fields["run"], fields["seq"])
                return True
            case "fragment":
                view.written(fields["run"], fields["seq"], protocol.fragment(fields["fragment"]))
            case "closed" | "idle":
                if message.kind == "closed" and fields["segment"] is not None:
                    self._index.places[fields["segment"]["folder"]]  # a KeyError: there is no such folder
                return True
            case "init":
                view.live_init(LiveInit(init=bytes(message.payload), **fields))
            case "frame":
                view.live_frame(frame_from(fields["frame"], bytes(message.payload)))
            case "dropped":
                view.live_dropped(fields["frames"])
            case _:
                raise ProtocolError("no such message")
        return False

    def _note_state(
        self, view: StreamView, state: str, reason: str | None, detail: str, retry_at_us: int | None
    ) -> None:
        """The first failure is a warning, its repeats are not, the recovery is news.

        Trying again does not make a trouble go away: it is shown until the stream records.
        """
        if state == "connecting" and reason is None and view.status.reason is not None:
            return
        if state == "recording":
            logger.info("%s: recording", view.key)
        elif reason is not None:
            level = logging.DEBUG if reason == view.status.reason else logging.WARNING
            logger.log(level, "%s: %s: %s", view.key, reason, detail)
        view.told_state(state, reason, detail, retry_at_us)

    async def _committed(self, message: Message) -> None:
        key = message.stream
        assert key is not None  # only messages of streams are put into the queue
        view, fields = self._views[key], message.fields
        if message.kind == "closed":
            view.settled(fields["run"], fields["seq"])
        if message.kind in ("closed", "failed"):
            for run in view.runs_left():
                self._left(key, run)
        elif message.kind == "certificate":
            port, sha256 = int(fields["port"]), str(fields["sha256"])
            await certificates.pin(self._index, key.camera, port, sha256, time.time_ns() // 1000)
        elif message.kind == "idle":
            self._idle(key, fields["reason"], bool(fields["broken"]))


def state_of(fields: Mapping[str, Any]) -> tuple[str, str | None, str, int | None]:
    """State, reason, detail and when it is tried again: they end up in a log and on a page. Raises KeyError,
    ValueError."""
    state, reason, retry_at_us = fields["state"], fields["reason"], fields["retry_at_us"]
    if state not in _STATES or not (reason is None or _WORD.fullmatch(str(reason))):
        raise ValueError("no such state")
    if retry_at_us is not None and not 0 <= int(retry_at_us) < TIME_LIMIT_US:
        raise ValueError("no such time")
    detail = "".join(c if c.isprintable() else "?" for c in str(fields["detail"])[:_MOST_DETAIL])
    return state, reason, detail, None if retry_at_us is None else int(retry_at_us)
